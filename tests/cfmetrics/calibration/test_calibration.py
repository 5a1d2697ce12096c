"""Every two-sample test rejects a true hypothesis as often as it says.

`pytest tests/cfmetrics/calibration --repetitions 1000 --table FILE` measures everything, in
minutes. As part of the other tests three of them are measured, with few repetitions, in seconds.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("levels.py")
FEW = ["cf_2samp", "cf_agg_2samp", "energy_2samp"]


@pytest.mark.timeout(7200)
def test_true_hypotheses_are_rejected_at_the_level(request, tmp_path):
    repetitions = request.config.getoption("--repetitions", default=None)
    found = tmp_path / "levels.json"
    command = [sys.executable, str(SCRIPT), "--json", str(found)]
    if repetitions is None:
        command += ["--repetitions", "200", "--processes", "1", "--tests", *FEW]
    else:
        processes = request.config.getoption("--processes")
        command += ["--repetitions", str(repetitions), "--processes", str(processes)]
        if (table := request.config.getoption("--table")) is not None:
            command += ["--table", str(table.absolute())]
    run = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert found.exists(), run.stderr
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n{run.stdout}")
    results = json.loads(found.read_text())
    assert len(results) == (15 if repetitions is None else 59)
    last = [result["second"] or result for result in results]
    assert [result for result in last if not result["inside"]] == []
    assert run.returncode == 0


def test_the_bounds_would_catch_a_wrong_level():
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import levels\n"
        "from scipy.stats import binom\n"
        "least, most = levels.bounds('cf_2samp', 'normal', 1000)\n"
        "assert binom.cdf(most, 1000, 0.05) - binom.cdf(least - 1, 1000, 0.05) >= 0.99\n"
        "assert binom.cdf(most, 1000, 0.1) < 1e-3 and binom.sf(least - 1, 1000, 0.02) < 5e-3\n"
        "assert levels.bounds('cf_2samp', 'counts', 1000) == (0, most)\n"
        "assert levels.bounds('CFState.test', 'normal', 1000)[0] < least\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from dd_core.errors import UserError
from dd_recipes import jobs
from dd_recipes.jobs import run_jobs


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that stands for the command; its code is written by each test."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "stand_in.py"


def test_each_worker_has_its_number_its_threads_and_its_prefix(
    module: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "_cores", lambda: 7)
    module.write_text(
        textwrap.dedent("""
        import os, sys
        print(*sys.argv[1:], os.environ["OMP_NUM_THREADS"])
        print(os.environ["DD_RECIPES_BEGAN"], file=sys.stderr)
    """)
    )
    assert run_jobs(3, ["reproduce", "x"], began=12.5, module="stand_in") == 0
    output = capfd.readouterr()
    assert sorted(output.out.splitlines()) == [
        f"[{k}] reproduce x --worker {k} 2" for k in (1, 2, 3)
    ]
    assert sorted(output.err.splitlines()) == [f"[{k}] 12.5" for k in (1, 2, 3)]


@pytest.mark.parametrize(
    ("code", "worst"),
    [("sys.exit({1: 0, 2: 2, 3: 1}[k])", 2), ("sys.exit(0)", 0),
     ("k == 2 and os.kill(os.getpid(), 9)", 137)],
)  # fmt: skip
def test_the_worst_code_counts(module: Path, code: str, worst: int) -> None:
    module.write_text(f"import os, sys\nk = int(sys.argv[-1])\n{code}\n")
    assert run_jobs(3, [], module="stand_in") == worst


def test_gpus_are_dealt_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    dealt = [jobs._environment(k, 3, 0.0)["CUDA_VISIBLE_DEVICES"] for k in (1, 2, 3)]
    assert dealt == ["4", "5", "4"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4")
    assert jobs._environment(2, 3, 0.0)["CUDA_VISIBLE_DEVICES"] == "4"


def test_no_jobs_is_refused() -> None:
    with pytest.raises(UserError, match="--jobs is 0"):
        run_jobs(0, [])


def test_ctrl_c_ends_all_workers(module: Path, tmp_path: Path) -> None:
    module.write_text(
        textwrap.dedent(f"""
        import os, signal, sys, time
        from pathlib import Path
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        Path({str(tmp_path)!r}, "pid" + sys.argv[-1]).write_text(str(os.getpid()))
        time.sleep(60)
    """)
    )
    code = (
        "from dd_recipes.jobs import run_jobs; raise SystemExit(run_jobs(2, [], module='stand_in'))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    files = [tmp_path / "pid1", tmp_path / "pid2"]
    deadline = time.monotonic() + 60
    while not all(f.exists() and f.read_text() for f in files) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)

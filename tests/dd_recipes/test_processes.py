"""Runs in processes of their own: killed in every phase, and several in one folder."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runner import Hardware, reproduce

PLAIN = Hardware(device="cpu", precision="float32", compile="off")

# Runs a pickled recipe; kills itself in a phase, where one is named.
SCRIPT = """
import os, pickle, signal, sys
from pathlib import Path
from dd_core.events import PhaseAdvanced, PhaseStarted
from dd_recipes.runner import Hardware, reproduce

phase = sys.argv[3]

def listen(event):
    if isinstance(event, PhaseStarted | PhaseAdvanced) and event.phase == phase:
        if event.done >= 3:
            os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    recipe = pickle.loads(Path(sys.argv[1]).read_bytes())
    plain = Hardware("cpu", "float32", "off")
    reproduce(recipe, Path(sys.argv[2]), hardware=plain, listen=listen, checkpoint_seconds=0.0)
"""


@pytest.fixture
def pickled(tiny: Recipe, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.pickle"
    path.write_bytes(pickle.dumps(tiny))
    return path


def start(recipe: Path, folder: Path, phase: str = "") -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(recipe), str(folder), phase],
        stderr=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip


def last(results: Results) -> dict[str, tuple[float, ...]]:
    return {row.name: row.last for row in results.rows}


def test_killed_in_each_phase_a_run_ends_with_the_same_numbers(
    tiny: Recipe, finished: tuple[Path, Results], pickled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    for phase in ("students random-packed", "distill dm", "pool ncfm", "distill ncfm"):
        process = start(pickled, folder, phase)
        _, log = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, log
    results = reproduce(tiny, folder, hardware=PLAIN)
    assert results.complete
    assert last(results) == last(finished[1])


def test_two_processes_share_a_folder(
    finished: tuple[Path, Results], pickled: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    processes = [start(pickled, folder) for _ in range(2)]
    for process in processes:
        _, log = process.communicate(timeout=120)
        assert process.returncode == 0, log
    results = Results.from_json(json.loads((folder / "results.json").read_text()))
    assert results.complete  # by the one that ended last
    assert last(results) == last(finished[1])
    logs = list(folder.glob("events-*.jsonl"))
    assert len(logs) == 2
    events = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    computed = [event["phase"] for event in events if event["event"] == "PhaseFinished"]
    assert len(computed) == len(set(computed)) == 7  # nothing was computed twice

"""``torchrun -m dd_recipes reproduce``: several processes share each distillation of a run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from dd_core import DistilledSet, Ranks
from dd_recipes.helpers import Helpers, joined
from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runner import reproduce


def torchrun(arguments: Sequence[str], processes: int = 2) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "0",
                "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        [sys.executable, "-m", *launcher, "-m", "dd_recipes", *arguments],
        capture_output=True, text=True, timeout=300, env=environment, check=False,
    )  # fmt: skip


def set_of(folder: Path, cell: str) -> torch.Tensor:
    key = json.loads((folder / "cells" / cell / "measured.json").read_text())["set"]
    return DistilledSet.load(folder / "sets" / key / "distilled").images


def test_two_processes_give_the_sets_of_one(
    tiny_arguments: list[str], finished: tuple[Path, Results], tmp_path: Path
) -> None:
    done = torchrun([*tiny_arguments, "--out", str(tmp_path / "run"), "--json"])
    assert done.returncode == 0, done.stderr
    assert "2 processes share the classes of each distillation" in done.stderr
    rows = json.loads(done.stdout)["rows"]  # printed once, by the first
    assert [row["status"] for row in rows] == ["done"] * 4
    for cell in ("dm", "ncfm"):
        ours, alone = set_of(tmp_path / "run", cell), set_of(finished[0], cell)
        torch.testing.assert_close(ours, alone, atol=1e-5, rtol=1e-4)


def test_a_failed_distillation_ends_the_run_with_a_report(
    tiny_arguments: list[str], tmp_path: Path
) -> None:
    """After an error nobody knows what the other process waits for."""
    wild = ["--set", "cells.dm.distill.objectives.dm.weight=1e38"]
    cells = ["--cells", "random-real", "--cells", "dm", "--cells", "ncfm"]
    done = torchrun([*tiny_arguments, *wild, *cells, "--out", str(tmp_path / "run"), "--json"])
    assert done.returncode != 0
    assert "is not finite" in done.stderr and "the run ends here" in done.stderr
    rows = {row["name"]: row["status"] for row in json.loads(done.stdout)["rows"]}
    assert rows["random-real"] == "done" and rows["dm"] == "failed" and rows["ncfm"] == "missing"
    assert (tmp_path / "run" / "report.html").exists()


def test_more_processes_than_classes_are_refused_before_a_pool_is_trained(
    tiny: Recipe, tmp_path: Path
) -> None:
    helpers = Helpers(Ranks(0, 11))
    results = reproduce(tiny, tmp_path / "run", cells=["ncfm"], helpers=helpers)
    (failed,) = results.failed
    assert "there are 11 processes for 10 classes" in failed.note
    assert not list((tmp_path / "run" / "pools").glob("*"))


def test_other_launchers_are_none_of_our_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    with joined() as helpers:
        assert helpers is not None and helpers.ranks.size == 1 and not helpers.lost


@pytest.mark.parametrize("option", [["--jobs", "2"], ["--cluster", "local"]])
def test_processes_of_two_kinds_are_refused(
    tiny_arguments: list[str], option: list[str], tmp_path: Path
) -> None:
    done = torchrun([*tiny_arguments, *option, "--out", str(tmp_path / "run")])
    assert done.returncode != 0
    assert "start processes of their own, and torchrun has started 2" in " ".join(
        done.stderr.split()
    )
    assert not (tmp_path / "run").exists()

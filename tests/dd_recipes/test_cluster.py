"""Jobs of a cluster, on the cluster that submitit makes of this machine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from dd_core.errors import UserError
from dd_recipes.cli import main
from dd_recipes.cluster import _Work, parse_options, run_on_cluster
from dd_recipes.commands.reproduce import _arguments_of_a_job

pytest.importorskip("submitit")


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module that stands for the command; its code is written by each test."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path / "stand_in.py"


def run(folder: Path, n: int = 2, **options: object) -> int:
    return run_on_cluster(
        n, ["reproduce", "x"], cluster="local", options=options, folder=folder, began=12.5,
        module="stand_in",
    )  # fmt: skip


def test_each_job_runs_the_command_with_its_number(module: Path, tmp_path: Path) -> None:
    module.write_text(
        "import os, pathlib, sys\n"
        "said = ' '.join(sys.argv[1:]) + ' ' + os.environ['DD_RECIPES_BEGAN']\n"
        f"pathlib.Path({str(tmp_path)!r}, sys.argv[-1]).write_text(said)\n"
    )
    assert run(tmp_path / "run") == 0
    for number in ("1", "2"):
        said = (tmp_path / number).read_text()
        assert said == f"reproduce x --worker {number} 12.5"
    assert list((tmp_path / "run-cluster").glob("*_log.out"))
    assert not (tmp_path / "run").exists()  # the jobs begin it


def test_the_worst_code_counts(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text("import sys\nsys.exit({'1': 0, '2': 2}[sys.argv[-1]])\n")
    assert run(tmp_path / "run") == 2
    assert "their logs:" in capsys.readouterr().err


def test_a_job_that_was_ended_is_submitted_again_as_it_was() -> None:
    work = _Work(["dd_recipes", "reproduce", "x"], ".", 1.0)
    again = work.checkpoint()
    assert again.function is work and again.args == ()


def test_unknown_parameters_and_clusters_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--cluster local cannot be used"):
        run(tmp_path / "run", no_such_parameter=3)
    with pytest.raises(UserError, match="--cluster slurm cannot be used"):
        run_on_cluster(1, [], cluster="slurm", options={}, folder=tmp_path / "run")


def test_options_are_pairs() -> None:
    assert parse_options(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}
    with pytest.raises(UserError, match="give KEY=VALUE"):
        parse_options(["timeout"])


def test_without_submitit_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match="pip install submitit"):
        run(tmp_path / "run")


def test_a_job_is_not_told_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    said = ["dd-recipes", "reproduce", "x", "--jobs=3", "--cluster", "slurm", "--cluster-option",
            "timeout_min=3", "--cluster-option=gpus_per_node=1", "--students", "2"]  # fmt: skip
    monkeypatch.setattr(sys, "argv", said)
    assert _arguments_of_a_job(Path("run")) == [
        "reproduce", "x", "--students", "2", "--out", "run",
    ]  # fmt: skip


def test_an_option_of_no_cluster_is_refused() -> None:
    result = CliRunner().invoke(main, ["reproduce", "quickstart", "--cluster-option", "a=1"])
    assert result.exit_code == 2 and "no effect without --cluster" in result.output

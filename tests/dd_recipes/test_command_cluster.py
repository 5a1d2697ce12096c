"""``reproduce --cluster slurm`` where jobs are submitted: what it makes of what they leave."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from click.testing import CliRunner, Result

from dd_core.errors import UserError
from dd_recipes.cli import main
from dd_recipes.commands.reproduce import _arguments_of_a_job
from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runfolder import held
from dd_recipes.runner import gather


def test_where_jobs_are_submitted_nothing_is_computed(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    """It may have neither the data nor the hardware of the jobs."""
    run_of_jobs, results = finished
    folder = copytree(run_of_jobs, tmp_path / "run")
    rmtree(folder / "cells" / "dm")
    record = json.loads((folder / "run.json").read_text())
    record["runtime"]["device_name"] = "cuda"
    (folder / "run.json").write_text(json.dumps(record))
    found = gather(tiny, folder, ["dd-recipes", "reproduce", "x", "--cluster", "slurm"])
    status = {row.name: row.status for row in found.rows}
    assert status.pop("dm") == "missing" and set(status.values()) == {"done"}
    assert found.runtime.startswith("cuda")
    assert [r.last for r in found.rows if r.done] == [
        r.last for r in results.rows if r.name != "dm"
    ]
    commands = json.loads((folder / "environment.json").read_text())["command"].splitlines()
    assert commands == ["dd-recipes reproduce x", "dd-recipes reproduce x --cluster slurm"]
    with pytest.raises(UserError, match="no run folder"):
        gather(tiny, tmp_path / "none")


def test_what_failed_for_want_of_data_stays_said(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    folder = copytree(finished[0], tmp_path / "run")
    rmtree(folder / "cells" / "dm")
    stored = json.loads((folder / "results.json").read_text())
    for row in stored["rows"]:
        if row["name"] == "dm":
            row.update(status="not run", note="no images")
    (folder / "results.json").write_text(json.dumps(stored))
    (row,) = (row for row in gather(tiny, folder).rows if row.name == "dm")
    assert (row.status, row.note) == ("not run", "no images")


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """The command on a Slurm that a function stands for, which fills the run folder."""

    def go(jobs: Callable[[Path], int], *arguments: str) -> Result:
        def submitted(n: int, argv: Sequence[str], *, folder: Path, **rest: object) -> int:
            rest["watch"]()
            code = jobs(folder)
            rest["watch"]()
            return code

        monkeypatch.setattr("dd_recipes.cluster.run_on_cluster", submitted)
        monkeypatch.setattr("dd_recipes.commands._cluster._STALE_SECONDS", 5.0)
        out = ["--out", str(tmp_path / "run"), "--cluster", "slurm"]
        return CliRunner().invoke(main, [*arguments, *out])

    yield go


def test_the_command_ends_with_what_its_jobs_measured(
    slurm: Callable[..., Result], tiny_arguments: list[str], finished: tuple[Path, Results]
) -> None:
    def all_but_one(folder: Path) -> int:
        copytree(finished[0], folder)
        rmtree(folder / "cells" / "dm")
        return 1

    result = slurm(all_but_one, *tiny_arguments)
    assert result.exit_code == 1
    assert "0 of 4 cells are measured\n3 of 4 cells are measured" in result.stderr
    assert "not measured, since jobs ended before: dm; the same command goes on" in result.stderr
    assert "random packed" in result.stdout

    again = slurm(lambda folder: 0, *tiny_arguments, "--seed", "9")
    assert again.exit_code == 2 and "holds another run" in again.stderr
    assert "cells are measured" not in again.stderr  # nothing was submitted


def test_a_cell_of_rerun_is_left_where_no_job_measured_it_anew(
    slurm: Callable[..., Result], tiny_arguments: list[str], finished: tuple[Path, Results]
) -> None:
    def nothing(folder: Path) -> int:
        copytree(finished[0], folder, dirs_exist_ok=True)
        return 1

    assert slurm(nothing, *tiny_arguments).exit_code == 0  # all cells are measured
    result = slurm(nothing, *tiny_arguments, "--rerun", "dm")
    assert result.exit_code == 1
    assert "3 of 4 cells are measured" in result.stderr
    assert "ended before: dm; the same command without --rerun goes on" in result.stderr


def test_a_cell_that_another_process_measures_is_not_missed(
    slurm: Callable[..., Result], tiny_arguments: list[str], finished: tuple[Path, Results]
) -> None:
    with ExitStack() as others:

        def one_is_held(folder: Path) -> int:
            copytree(finished[0], folder)
            (folder / "cells" / "dm" / "measured.json").unlink()
            assert others.enter_context(held(folder / "cells" / "dm"))
            return 0

        result = slurm(one_is_held, *tiny_arguments)
    assert result.exit_code == 0
    assert "1 of 4 cells are being measured by other processes" in result.stdout


def test_a_mistake_that_the_jobs_found_does_not_go_away_by_going_on(
    slurm: Callable[..., Result], tiny_arguments: list[str], finished: tuple[Path, Results]
) -> None:
    def refused(folder: Path) -> int:
        copytree(finished[0], folder)
        (folder / "cells" / "dm" / "measured.json").unlink()
        return 2

    result = slurm(refused, *tiny_arguments)
    assert result.exit_code == 2
    assert "ended before: dm; what the jobs said stands above" in result.stderr


def test_a_file_system_may_show_the_last_cell_late(
    slurm: Callable[..., Result],
    tiny_arguments: list[str],
    finished: tuple[Path, Results],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    late: list[Path] = []

    def all_(folder: Path) -> int:
        copytree(finished[0], folder)
        late.append((folder / "cells" / "dm" / "measured.json").rename(folder / "late.json"))
        return 0

    def sleep(seconds: float) -> None:
        late[0].rename(late[0].parent / "cells" / "dm" / "measured.json")

    monkeypatch.setattr("dd_recipes.commands._cluster.time.sleep", sleep)
    result = slurm(all_, *tiny_arguments)
    assert result.exit_code == 0 and "not measured" not in result.output


def test_jobs_that_never_began_are_said(
    slurm: Callable[..., Result], tiny_arguments: list[str], tmp_path: Path
) -> None:
    result = slurm(lambda folder: 1, *tiny_arguments)
    assert result.exit_code == 2
    assert f"No job began the run. What they printed is in {tmp_path}" in result.stderr


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

"""Jobs of a cluster, on the cluster that submitit makes of this machine."""

from __future__ import annotations

import json
import logging.config
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from click.testing import CliRunner, Result

from dd_core.errors import UserError
from dd_recipes.cli import main
from dd_recipes.cluster import _reason, _Work, parse_options, run_on_cluster
from dd_recipes.commands.reproduce import _arguments_of_a_job
from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runfolder import held
from dd_recipes.runner import gather

pytest.importorskip("submitit")
from submitit import AutoExecutor
from submitit.core.logger import CONFIG

LIMIT = {"timeout_min": 60}


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
    work = _Work(["dd_recipes", "reproduce", "x"], "slurm", 1.0)
    again = work.checkpoint()
    assert again.function is work and again.args == ()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_the_command_outlives_what_slurm_sends_before_it_ends_a_job(
    module: Path, tmp_path: Path, name: str
) -> None:
    """Else submitit, which outlives it too, would take the job for one that is done."""
    module.write_text(
        "import os, signal, sys\n"
        f"os.kill(os.getpid(), signal.{name})\n"
        "sys.exit(5 if 'DD_RECIPES_ALONE' in os.environ else 6)\n"
    )
    assert _Work(["stand_in"], "slurm", 1.0)() == 5
    assert _Work(["stand_in"], "local", 1.0)() == -getattr(signal, name)


@pytest.mark.parametrize(
    ("given", "asked", "site", "threads"),
    [("8", "6", "1", 6), ("8", "6", None, 6), ("8", None, "1", 1), ("8", None, None, 8)],
)
def test_a_job_takes_as_many_threads_as_cores_were_asked_for(
    module: Path,
    given: str,
    asked: str | None,
    site: str | None,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a login shell says of threads counts only where nothing was asked for."""
    module.write_text("import os, sys\nsys.exit(int(os.environ['OMP_NUM_THREADS']))\n")
    for name, value in (
        ("SLURM_CPUS_ON_NODE", given),
        ("SLURM_CPUS_PER_TASK", asked),
        ("OMP_NUM_THREADS", site),
    ):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert _Work(["stand_in"], "slurm", 1.0)() == threads


def test_a_command_that_was_killed_is_no_success(module: Path, tmp_path: Path) -> None:
    module.write_text("import os\nos.kill(os.getpid(), 9)\n")
    assert run(tmp_path / "run", n=1) == 137


def test_an_error_of_a_job_is_passed_on(
    module: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.write_text("import sys\nprint('Error: no data.', file=sys.stderr)\nsys.exit(2)\n")
    assert run(tmp_path / "run", n=1) == 2
    assert "ended with exit code 2: no data." in capsys.readouterr().err


# What submitit tells of a job that was cancelled, and of one that reached its time limit too often.
CANCELLED = """Job 8 (task: 0) with path /run-cluster/8_0_result.pkl
has not produced any output (state: CANCELLED by 0)
Error stream produced:
----------------------------------------
srun: forcing job termination"""
TOO_OFTEN = """Job (task=0) failed during processing with trace:
----------------------
Traceback (most recent call last):
  File "job_environment.py", line 227, in checkpoint_and_try_requeue
    raise utils.UncompletedJobError(message)
submitit.core.utils.UncompletedJobError: Job not requeued because: timed-out too many times.

----------------------
You can check full logs with 'job.stderr(0)' and 'job.stdout(0)'or at paths:
  - /run-cluster/3_0_log.err
  - /run-cluster/3_0_log.out"""


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        (CANCELLED, "CANCELLED by 0"),
        (TOO_OFTEN, "Job not requeued because: timed-out too many times."),
        ("disk full", "disk full"),
        ("", "no reason was given"),
    ],
)
def test_the_reason_of_a_lost_job_is_short(told: str, reason: str) -> None:
    assert _reason(told) == reason


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


def test_ctrl_c_while_jobs_are_submitted_cancels_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Job:
        cancelled = False

        def cancel(self, check: bool) -> None:
            self.cancelled = True

    jobs: list[Job] = []

    def submit(executor: AutoExecutor, work: object) -> Job:
        signal.raise_signal(signal.SIGINT)  # held back until the job is known
        jobs.append(Job())
        return jobs[-1]

    monkeypatch.setattr(AutoExecutor, "submit", submit)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "run", n=3)
    assert [job.cancelled for job in jobs] == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_log_of_submitit_keeps_out_of_standard_output(
    module: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    module.write_text("")
    logging.config.dictConfig(CONFIG)  # as it is where submitit was just imported
    logging.getLogger("submitit").warning("before")
    assert "before" in capfd.readouterr().out
    assert run(tmp_path / "run", n=1) == 0
    logging.getLogger("submitit").warning("sacct is away")
    out, err = capfd.readouterr()
    assert "sacct" not in out and "sacct is away" in err


def test_jobs_that_never_began_are_said(
    slurm: Callable[..., Result], tiny_arguments: list[str], tmp_path: Path
) -> None:
    result = slurm(lambda folder: 1, *tiny_arguments)
    assert result.exit_code == 2
    assert f"No job began the run. What they printed is in {tmp_path}" in result.stderr


def test_unknown_parameters_and_clusters_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="--cluster local cannot be used"):
        run(tmp_path / "run", no_such_parameter=3)
    monkeypatch.setenv("PATH", str(tmp_path))  # without Slurm's commands
    with pytest.raises(UserError, match="--cluster slurm cannot be used"):
        run_on_cluster(1, [], cluster="slurm", options=LIMIT, folder=tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "needs a time limit"),
        ({"timeout_min": 2}, "timeout_min is 2; give a whole number from 3"),
        ({"timeout_min": ""}, "timeout_min is ''; give a whole number"),
        ({**LIMIT, "slurm_max_num_timeout": "abc"}, "slurm_max_num_timeout is 'abc'; give a whole"),
        ({**LIMIT, "tasks_per_node": 2}, "tasks_per_node is 2; each job is one process"),
        ({**LIMIT, "slurm_ntasks_per_node": 2}, "each job is one process"),
        ({**LIMIT, "nodes": 2}, "nodes is 2; each job is one process"),
        ({**LIMIT, "mem_gb": "many"}, "cannot be used: Parameter .mem_gb"),
    ],
)
def test_options_that_would_do_harm_are_refused(
    options: dict[str, object], words: str, commands: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        run_on_cluster(1, [], cluster="slurm", options=options, folder=tmp_path / "run")


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what submitit looks for to find a Slurm, alone on the path."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("srun", "sbatch"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(("options", "most"), [({}, 100), ({"slurm_max_num_timeout": 7}, 7)])
def test_a_job_may_reach_its_time_limit_often(
    options: dict[str, int],
    most: int,
    commands: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """submitit's own limit is 3, and it is a parameter of the executor, not of a job."""
    made: list[AutoExecutor] = []

    def submit(executor: AutoExecutor, work: object) -> None:
        made.append(executor)
        raise KeyError("submitted")

    monkeypatch.setattr(AutoExecutor, "submit", submit)
    with pytest.raises(KeyError, match="submitted"):
        run_on_cluster(1, [], cluster="slurm", options=LIMIT | options, folder=tmp_path / "run")
    assert made[0]._executor.max_num_timeout == most


def test_a_job_that_slurm_refuses_is_said(commands: Path, tmp_path: Path) -> None:
    (commands / "sbatch").write_text("#!/bin/sh\necho invalid partition: x >&2\nexit 1\n")
    with pytest.raises(UserError, match=r"did not take the job: .*invalid partition: x"):
        run_on_cluster(1, [], cluster="slurm", options=LIMIT, folder=tmp_path / "run")


def test_options_are_pairs() -> None:
    assert parse_options(["a=1", "b=x=y", "c="]) == {"a": 1, "b": "x=y", "c": ""}
    assert parse_options(["a=true", 'b=["x y"]', "c=1.5"]) == {"a": True, "b": ["x y"], "c": 1.5}
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

"""Jobs of a cluster, on the cluster that submitit makes of this machine."""

from __future__ import annotations

import logging.config
import os
import signal
import sys
from pathlib import Path

import pytest

from dd_core.errors import UserError
from dd_recipes.cluster import _reason, _Work, parse_options, run_on_cluster

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
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # nohup would ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", n=3)
        assert [job.cancelled for job in jobs] == [True]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


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

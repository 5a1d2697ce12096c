"""Processes that share one run folder as jobs of a cluster, through submitit."""

from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from dd_recipes.jobs import ALONE, BEGAN, THREADS, exit_code
from dd_recipes.overrides import toml_value

__all__ = ["logs_of", "parse_options", "run_on_cluster"]

_POLL_SECONDS = 5.0
_TIMEOUTS = "slurm_max_num_timeout"  # not of a job but of the executor, so submitit has it apart
# submitit's own are 3 limits of time, and locally 2 minutes, which a run of days would soon spend.
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "slurm": {_TIMEOUTS: 100},
    "local": {"timeout_min": 366 * 24 * 60},
}
_OF_ONE = ("nodes", "tasks_per_node", "ntasks_per_node")


def parse_options(pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters of submitit's executor, from ``KEY=VALUE`` each.

    Values are TOML, as those of ``--set``; what is not TOML is text.

    Raises:
        UserError: A text has no ``=``.

    Example:
        >>> parse_options(["slurm_partition=gpu", "timeout_min=600", "mem_gb=1.5"])
        {'slurm_partition': 'gpu', 'timeout_min': 600, 'mem_gb': 1.5}
        >>> parse_options(["slurm_additional_parameters={requeue = true}"])
        {'slurm_additional_parameters': {'requeue': True}}
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            from dd_core.errors import UserError

            raise UserError(
                f"--cluster-option is {pair!r}; give KEY=VALUE, as in slurm_partition=gpu or "
                "timeout_min=600."
            )
        found[key] = toml_value(value.strip())
    return found


def logs_of(folder: Path) -> Path:
    """The folder of the jobs' logs, beside the run folder, which is for the jobs to begin."""
    return folder.with_name(f"{folder.name}-cluster")


def run_on_cluster(
    n: int,
    argv: Sequence[str],
    *,
    cluster: str,
    options: Mapping[str, Any],
    folder: Path,
    began: float | None = None,
    module: str = "dd_recipes",
    watch: Callable[[], None] = lambda: None,
) -> int:
    """Submits n jobs of the command that share its run folder, and waits for them.

    The run folder must be seen by all machines. A job that the cluster ends early (a time limit, a
    preemption) is submitted again and goes on where it was; it may reach its time limit 100 times,
    or as often as ``slurm_max_num_timeout`` of the options says. An error here, or Ctrl-C, cancels
    the jobs.

    Args:
        n: Number of jobs.
        argv: Arguments of the command, without those of the cluster.
        cluster: ``slurm``, or ``local`` for processes of this machine.
        options: Parameters of submitit's ``AutoExecutor.update_parameters``.
        folder: The run folder; the jobs' logs lie beside it, in RUN-cluster.
        began: When the command began (`time.time`), by default now.
        module: What is run with ``python -m``.
        watch: Called again and again while the jobs are waited for.

    Returns:
        The worst exit code.

    Raises:
        UserError: submitit is not installed, the cluster is not there, it knows no such
            parameter, or refuses the job.
        KeyboardInterrupt: Ctrl-C.
    """
    from dd_core.errors import UserError

    try:
        import submitit
    except ImportError:
        raise UserError(
            "--cluster needs submitit, which is not installed; run: python -m pip install submitit"
        ) from None
    logs = logs_of(folder)
    _check(cluster, options)
    asked = {"name": "dd-recipes", **_DEFAULTS[cluster], **options}
    apart = {key: asked.pop(key) for key in (_TIMEOUTS,) if key in asked}
    _quieten()
    try:
        executor = submitit.AutoExecutor(folder=logs.resolve(), cluster=cluster, **apart)
        executor.update_parameters(**asked)
    except (AssertionError, RuntimeError, ValueError, TypeError, NameError) as error:
        said = str(error).partition("\n")[0]
        raise UserError(f"--cluster {cluster} cannot be used: {said}") from None
    if cores := asked.get("cpus_per_task"):  # which srun, from Slurm 22.05 on, no longer takes over
        os.environ["SRUN_CPUS_PER_TASK"] = str(cores)
    began = time.time() if began is None else began
    jobs: list[Any] = []
    try:
        for number in range(1, n + 1):
            work = _Work([module, *argv, "--worker", str(number)], cluster, began)
            with _uninterrupted(), _saying_why_not(cluster):
                jobs.append(executor.submit(work))
        click.echo(f"jobs {', '.join(job.job_id for job in jobs)}; their logs: {logs}", err=True)
        watch()
        while not all(job.done() for job in jobs):
            time.sleep(_POLL_SECONDS if cluster == "slurm" else 0.2)
            watch()
    except BaseException:
        for job in jobs:
            job.cancel(check=False)
        raise
    return max(_code(job) for job in jobs)


def _check(cluster: str, options: Mapping[str, Any]) -> None:
    """Refuses options that submitit would take and that would do harm."""
    from dd_core.errors import UserError

    limit = options.get("timeout_min", options.get("slurm_time"))
    if cluster == "slurm" and limit is None:
        raise UserError(
            "--cluster slurm needs a time limit for each job, since submitit's own is 5 minutes; "
            "give --cluster-option timeout_min=MINUTES. A job that reaches it goes on in the queue."
        )
    for key, least in ((_TIMEOUTS, 0), ("timeout_min", 3), ("slurm_time", 3)):
        value = options.get(key, least)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(
                f"--cluster-option {key} is {value!r}; give a whole number from {least}."
            )
    for key, value in options.items():
        if key.removeprefix("slurm_") in _OF_ONE and value != 1:
            raise UserError(
                f"--cluster-option {key} is {value!r}; each job is one process. Leave it out, and "
                "give the number of jobs as --jobs."
            )


def _quieten() -> None:
    """Keeps submitit's log from standard output, which may be JSON for other programs."""
    logger = logging.getLogger("submitit")
    for handler in list(logger.handlers):
        if handler.get_name() == "submitit_out":
            logger.removeHandler(handler)


@contextmanager
def _saying_why_not(cluster: str) -> Iterator[None]:
    """Says why a cluster does not take a job.

    Raises:
        UserError: It does not.
    """
    try:
        yield
    except RuntimeError as error:  # what submitit makes of an error of sbatch
        from dd_core.errors import UserError

        raise UserError(f"--cluster {cluster} did not take the job: {error}") from None


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Holds Ctrl-C back until what is within is done: half a job could not be cancelled."""
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if caught:
            signal.raise_signal(signal.SIGINT)


def _code(job: Any) -> int:
    """The exit code of a job's command, with a line that says why where it is not 0."""
    try:
        code = exit_code(int(job.result()))
    except Exception as error:  # whatever the cluster did to it
        click.echo(f"job {job.job_id} did not end well: {_reason(str(error))}", err=True)
        return 1
    if code > 1:  # 1 is that of cells that failed, which the table says
        said = (job.stderr() or "").strip().splitlines()
        last = next((line for line in reversed(said) if line.startswith("Error: ")), "")
        what = f"job {job.job_id} ended with exit code {code}"
        click.echo(f"{what}: {last.removeprefix('Error: ')}" if last else what, err=True)
    return code


def _reason(told: str) -> str:
    """Why a job has no exit code: what the cluster calls its state, or the error in its log."""
    state = re.search(r"\(state: (.+)\)", told)
    if state:
        return state[1]
    inside = re.search(r"^-{9,}$(.+?)^-{9,}$", told, re.DOTALL | re.MULTILINE)
    lines = (inside[1] if inside else told).strip().splitlines()
    return lines[-1].rpartition("Error: ")[2] if lines else "no reason was given"


class _Work:
    """One job: the command in a process of its own, begun anew where the cluster ended it.

    Before Slurm ends a job for good it sends signals to all its processes. submitit answers them;
    the command must not, for a job whose command is gone would count as one that is done.
    """

    def __init__(self, argv: list[str], cluster: str, began: float) -> None:
        self.argv, self.cluster, self.began = argv, cluster, began
        self.directory = os.getcwd()

    def __call__(self) -> int:
        """Runs the command and gives its exit code."""
        apart = self.cluster == "slurm"  # on hardware that the cluster gave to this job alone
        environment = {**os.environ, BEGAN: repr(self.began)}
        if apart:
            environment[ALONE] = "1"
            cores = os.environ.get("SLURM_CPUS_PER_TASK")  # is there if it was asked for
            here = os.environ.get("SLURM_CPUS_ON_NODE", "1")
            environment |= {name: cores or environment.get(name, here) for name in THREADS}
        return subprocess.run(
            [sys.executable, "-m", *self.argv], cwd=self.directory, env=environment,
            preexec_fn=_ignore_warnings if apart else None, check=False,
        ).returncode  # fmt: skip

    def checkpoint(self) -> Any:
        """What is submitted again: the same, since a run goes on where it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _ignore_warnings() -> None:
    """Ignores, in a process to be, the signals that a cluster sends before it kills."""
    for name in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(name, signal.SIG_IGN)

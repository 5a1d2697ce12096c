"""Processes that share one run folder as jobs of a cluster, through submitit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dd_recipes.jobs import ALONE, BEGAN, THREADS, exit_code

__all__ = ["logs_of", "parse_options", "run_on_cluster"]

_POLL_SECONDS = 5.0
_TIMEOUTS = "slurm_max_num_timeout"  # not of a job but of the executor, so submitit has it apart
_MOST_TIMEOUTS = 100  # submitit's own is 3, which a run of days at a limit of hours would spend


def parse_options(pairs: Sequence[str]) -> dict[str, str | int]:
    """Parameters of submitit's executor, from ``KEY=VALUE`` each; whole numbers become such.

    Raises:
        UserError: A text has no ``=``.

    Example:
        >>> parse_options(["slurm_partition=gpu", "timeout_min=600"])
        {'slurm_partition': 'gpu', 'timeout_min': 600}
    """
    found: dict[str, str | int] = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key:
            from dd_core.errors import UserError

            raise UserError(
                f"--cluster-option is {pair!r}; give KEY=VALUE, as in slurm_partition=gpu or "
                "timeout_min=600."
            )
        found[key] = int(value) if value.isdecimal() else value
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
    preemption) is submitted again and goes on where it was; after 100 time limits, or as many as
    ``slurm_max_num_timeout`` of the options says, it is given up. Ctrl-C cancels the jobs.

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
        The worst exit code, as of `dd_recipes.jobs.run_jobs`.

    Raises:
        UserError: submitit is not installed, the cluster is not there, it knows no such
            parameter, or refuses the job.
    """
    from dd_core.errors import UserError

    try:
        import submitit
    except ImportError:
        raise UserError(
            "--cluster needs submitit, which is not installed; run: python -m pip install submitit"
        ) from None
    logs = logs_of(folder)
    asked = {"name": "dd-recipes", **options}
    timeouts = {_TIMEOUTS: asked.pop(_TIMEOUTS, _MOST_TIMEOUTS)}
    try:
        executor = submitit.AutoExecutor(folder=logs.resolve(), cluster=cluster, **timeouts)
        executor.update_parameters(**asked)
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise UserError(f"--cluster {cluster} cannot be used: {error}") from None
    began = time.time() if began is None else began
    jobs: list[Any] = []
    try:
        for number in range(1, n + 1):
            work = _Work([module, *argv, "--worker", str(number)], cluster, began)
            jobs.append(executor.submit(work))
    except RuntimeError as error:  # what submitit makes of an error of sbatch
        for job in jobs:
            job.cancel()
        raise UserError(f"--cluster {cluster} did not take the job: {error}") from None
    click.echo(f"jobs {', '.join(job.job_id for job in jobs)}; their logs: {logs}", err=True)
    try:
        while not all(job.done() for job in jobs):
            watch()
            time.sleep(_POLL_SECONDS if cluster == "slurm" else 0.2)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        return 130
    watch()
    return max(_code(job) for job in jobs)


def _code(job: Any) -> int:
    """The exit code of a job's command, with a line that says why where it is not 0."""
    try:
        code = exit_code(int(job.result()))
    except Exception as error:  # whatever the cluster did to it
        click.echo(f"job {job.job_id} did not end well: {_reason(str(error))}", err=True)
        return 1
    if code:
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
            if cores := environment.get("SLURM_CPUS_PER_TASK"):
                environment |= {name: environment.get(name, cores) for name in THREADS}
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

"""Processes that share one run folder as jobs of a cluster, through submitit."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from dd_recipes.jobs import BEGAN

__all__ = ["parse_options", "run_on_cluster"]

_POLL_SECONDS = 5.0


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


def run_on_cluster(
    n: int,
    argv: Sequence[str],
    *,
    cluster: str,
    options: Mapping[str, Any],
    folder: Path,
    began: float | None = None,
    module: str = "dd_recipes",
) -> int:
    """Submits n jobs of the command that share its run folder, and waits for them.

    The run folder must be seen by all machines. A job that the cluster ends early (a time limit, a
    preemption) is submitted again by submitit and goes on where it was. Ctrl-C cancels the jobs.

    Args:
        n: Number of jobs.
        argv: Arguments of the command, without those of the cluster.
        cluster: ``slurm``, or ``local`` for processes of this machine.
        options: Parameters of submitit's ``AutoExecutor.update_parameters``.
        folder: The run folder; the jobs' logs lie beside it, in RUN-cluster.
        began: When the command began (`time.time`), by default now.
        module: What is run with ``python -m``.

    Returns:
        The worst exit code.

    Raises:
        UserError: submitit is not installed, the cluster is not there, or it knows no such
            parameter.
    """
    from dd_core.errors import UserError

    try:
        import submitit
    except ImportError:
        raise UserError(
            "--cluster needs submitit, which is not installed; run: python -m pip install submitit"
        ) from None
    logs = folder.with_name(f"{folder.name}-cluster")  # the run folder is for the runs to begin
    try:
        executor = submitit.AutoExecutor(folder=logs.resolve(), cluster=cluster)
        executor.update_parameters(**{"name": "dd-recipes", **options})
    except (RuntimeError, ValueError, TypeError, NameError) as error:
        raise UserError(f"--cluster {cluster} cannot be used: {error}") from None
    began = time.time() if began is None else began
    jobs = [
        executor.submit(_Work([module, *argv, "--worker", str(number)], os.getcwd(), began))
        for number in range(1, n + 1)
    ]
    click.echo(f"jobs {', '.join(job.job_id for job in jobs)}; their logs: {logs}", err=True)
    try:
        while not all(job.done() for job in jobs):
            time.sleep(_POLL_SECONDS if cluster == "slurm" else 0.2)
    except KeyboardInterrupt:
        for job in jobs:
            job.cancel()
        return 130
    return max(_code(job) for job in jobs)


def _code(job: Any) -> int:
    """The exit code of a job's command; 1, with a line that says why, where it has none."""
    try:
        return int(job.result())
    except Exception as error:  # whatever the cluster did to it
        lines = str(error).strip().splitlines() or [type(error).__name__]
        click.echo(f"job {job.job_id} did not end well: {lines[-1]}", err=True)
        return 1


class _Work:
    """One job: the command in a process of its own, begun anew where the cluster ended it."""

    def __init__(self, argv: list[str], directory: str, began: float) -> None:
        self.argv, self.directory, self.began = argv, directory, began

    def __call__(self) -> int:
        """Runs the command and gives its exit code."""
        return subprocess.run(
            [sys.executable, "-m", *self.argv], cwd=self.directory,
            env={**os.environ, BEGAN: repr(self.began)}, check=False,
        ).returncode  # fmt: skip

    def checkpoint(self) -> Any:
        """What is submitted again: the same, since a run goes on where it was."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

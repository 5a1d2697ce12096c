"""Several processes that share one run folder, each with its part of the cores or a GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import IO

import click

__all__ = ["ALONE", "BEGAN", "THREADS", "exit_code", "is_torchrun", "run_jobs"]

BEGAN = "DD_RECIPES_BEGAN"
"""Environment variable that tells the processes of one command when it began."""
ALONE = "DD_RECIPES_ALONE"
"""Environment variable that tells a process of several that it has hardware of its own."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that tell a process how many threads to take."""

_GRACE_SECONDS = 10.0


def is_torchrun() -> bool:
    """Whether torchrun started this process as one of several."""
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    return several and "TORCHELASTIC_RUN_ID" in os.environ  # others set WORLD_SIZE too


def run_jobs(
    n: int, argv: Sequence[str], *, began: float | None = None, module: str = "dd_recipes"
) -> int:
    """Starts processes of the command that share its run folder, and waits for them.

    Each gets ``--worker K``, an equal part of the CPU threads and, where there are several CUDA
    devices, one of them. Their lines are passed on with ``[K]`` before them. They leave cells
    that measure speed to a `dd_recipes.runner.reproduce` that comes after them.

    Args:
        n: Number of processes.
        argv: Arguments of the command, without ``--jobs``.
        began: When the command began (`time.time`), by default now. Give the same to a
            `dd_recipes.runner.reproduce` that puts the results together afterwards.
        module: What is run with ``python -m``.

    Returns:
        The worst exit code: 130 where the processes were stopped by Ctrl-C, and more than 128
        for one that was killed.

    Raises:
        UserError: ``n`` is less than 1.
    """
    if n < 1:
        from dd_core.errors import UserError

        raise UserError(f"--jobs is {n}; give at least 1.")
    began = time.time() if began is None else began
    workers: list[subprocess.Popen[str]] = []
    readers: list[Thread] = []
    try:
        for number in range(1, n + 1):
            worker = subprocess.Popen(
                [sys.executable, "-m", module, *argv, "--worker", str(number)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env=_environment(number, n, began),
            )
            workers.append(worker)
            readers += _passing_on(worker, f"[{number}] ")
        codes = [worker.wait() for worker in workers]
    except KeyboardInterrupt:
        return 130
    finally:
        _end(workers)
        for reader in readers:
            reader.join()
    return max(exit_code(code) for code in codes)


def exit_code(code: int) -> int:
    """The exit code of a process as a shell has it: where a signal ended it, more than 128.

    Example:
        >>> exit_code(2), exit_code(-15)
        (2, 143)
    """
    return code if code >= 0 else 128 - code


def _environment(number: int, n: int, began: float) -> dict[str, str]:
    """The environment of one worker: its threads and its GPU."""
    environment = dict(os.environ)
    environment |= {name: str(max(1, _cores() // n)) for name in THREADS}
    environment[BEGAN] = repr(began)
    devices = _devices(environment)
    if len(devices) > 1:
        environment["CUDA_VISIBLE_DEVICES"] = devices[(number - 1) % len(devices)]
    return environment


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _devices(environment: Mapping[str, str]) -> list[str]:
    """CUDA devices, without asking CUDA."""
    given = environment.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    try:
        cards = list(Path("/proc/driver/nvidia/gpus").iterdir())
    except OSError:
        return []
    return [str(number) for number in range(len(cards))]


def _passing_on(worker: subprocess.Popen[str], prefix: str) -> list[Thread]:
    """Threads that pass on what a worker prints, line by line."""
    threads = []
    for stream, error in ((worker.stdout, False), (worker.stderr, True)):
        assert stream is not None
        thread = Thread(target=_pass_on, args=(stream, prefix, error), daemon=True)
        thread.start()
        threads.append(thread)
    return threads


def _pass_on(stream: IO[str], prefix: str, error: bool) -> None:
    with stream:
        for line in stream:
            click.echo(f"{prefix}{line.rstrip()}", err=error)


def _end(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Ends the workers that still run; what they stored stays good."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    for worker in workers:
        try:
            worker.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()

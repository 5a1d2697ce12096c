"""Measurements in processes of their own, in interleaved rounds, under a time limit."""

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from twosample.catalogue import ENTRIES, Entry
from twosample.worker import Answer, Job

Status = Literal["measured", "over", "missing", "failed"]

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)

_SLOW = 10.0


@dataclass(slots=True)
class Series:
    """All that was measured of one job.

    Attributes:
        job: The job.
        status: "measured", "over" (the limit), "missing" (a package) or "failed".
        message: What to say where nothing was measured.
        rounds: Median seconds of a call in every round.
        calls: Number of calls in all rounds.
        extra_mb: Largest extra memory of a first call.
    """

    job: Job
    status: Status = "measured"
    message: str = ""
    rounds: list[float] = field(default_factory=list)
    calls: int = 0
    extra_mb: float = 0.0

    @property
    def entry(self) -> Entry:
        """The test."""
        return ENTRIES[self.job.key]

    @property
    def seconds(self) -> float | None:
        """Median over the rounds; None where nothing was measured."""
        return statistics.median(self.rounds) if self.rounds else None

    @property
    def done(self) -> bool:
        """Whether another round would bring nothing, or too late."""
        return self.status != "measured" or bool(self.rounds and self.rounds[-1] > _SLOW)

    def add(self, answer: Answer | tuple[Status, str]) -> None:
        """Add what one process reported."""
        if isinstance(answer, Answer):
            self.rounds.append(statistics.median(answer.seconds))
            self.calls += len(answer.seconds)
            self.extra_mb = max(self.extra_mb, answer.extra_mb)
        elif not self.rounds:
            self.status, self.message = answer

    def as_record(self) -> dict[str, Any]:
        """Return an entry for the JSON file."""
        return {**asdict(self), "seconds": self.seconds}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Series":
        """Read an entry of the JSON file."""
        values = {**record, "job": Job(**record["job"])}
        values.pop("seconds")
        return cls(**values)


def measure(jobs: Sequence[Job], rounds: int, progress: Callable[[str], None]) -> list[Series]:
    """Measure every job once a round, each in a process of its own.

    The order turns round every round. Of the processes one works at a time, the others wait. A job
    that takes long is measured once; one that is over its limit, or fails, is given up.
    """
    series = [Series(job) for job in jobs]
    with contextlib.ExitStack() as stack:
        processes: dict[int, Process] = {}
        for number in range(rounds):
            order = list(enumerate(series))
            for index, each in order if number % 2 == 0 else reversed(order):
                if each.done:
                    continue
                progress(f"round {number + 1}/{rounds}: {each.entry.title}, n = {each.job.n}")
                if index not in processes:
                    processes[index] = stack.enter_context(Process(each.job))
                each.add(processes[index].turn())
                if each.done or number == rounds - 1:
                    processes[index].close()
    return series


class Process:
    """The process of one job; use it as a context manager."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self._missing = ENTRIES[job.key].missing
        self._process: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in __exit__)
        self._ready = False

    def __enter__(self) -> Self:
        """Start it, where nothing is missing."""
        if not self._missing:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "twosample.worker", json.dumps(asdict(self.job))],
                env=environment(self.job.threads),
                cwd=Path(__file__).resolve().parents[1],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        """End it, whatever it does."""
        self.close()
        self._errors.close()

    def close(self) -> None:
        """End the process, and so free its memory."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def turn(self) -> Answer | tuple[Status, str]:
        """Measure once."""
        if self._process is None:
            return "missing", self._missing or "the process has ended"
        assert self._process.stdin is not None and self._process.stdout is not None
        if not self._ready:
            self._ready = self._process.stdout.readline() == "ready\n"
        if self._ready:
            print("turn", file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
            if answer:
                return Answer(**json.loads(answer))
        return self._what_ended_it(self._process.wait())

    def _what_ended_it(self, code: int) -> tuple[Status, str]:
        if code == -signal.SIGALRM and self._ready:
            return "over", f"over the limit of {self.job.limit:g} s"
        if code == -signal.SIGKILL:
            return "failed", "killed by the system, as it is where memory runs out"
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return "failed", lines[-1] if lines else f"exit code {code}"


def environment(threads: int) -> dict[str, str]:
    """Give the environment of a process with so many threads, on the CPU."""
    found = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    python_path = [str(Path(path).resolve()) for path in _python_path()]
    return {**found, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": os.pathsep.join(python_path)}


def _python_path() -> list[str]:
    """Keep what the user set, as absolute paths: the process starts in another folder."""
    return [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]


def import_seconds(repeats: int = 5) -> tuple[float, bool]:
    """Measure `import cfmetrics` in fresh processes; also say whether that imports torch."""
    code = (
        "import sys, time; start = time.perf_counter(); import cfmetrics; "
        "print(time.perf_counter() - start, 'torch' in sys.modules)"
    )
    taken, torch = [], False
    for _ in range(repeats):
        output = subprocess.run(
            [sys.executable, "-c", code],
            env=environment(1),
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        seconds, loaded = output.split()
        taken.append(float(seconds))
        torch = torch or loaded == "True"
    return statistics.median(taken), torch

"""A side in a process of its own, which runs iterations when it is asked to."""

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from stepbench import memory
from stepbench.workload import Workload

USER_ERROR, FAILED = 2, 1
INSTALL = 'run: python -m pip install "./packages/cfmetrics[torch]" ./packages/dd-core'
SideName = Literal["ours", "official"]
_TITLES = {"ours": "our side", "official": "the official side"}


class BenchmarkError(Exception):
    """The benchmark cannot go on; the message says why and ``code`` is the exit code."""

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Options:
    """How the sides are to run: settings of the processes, of ours, and of the official side."""

    checkout: Path
    threads: int
    allocator: str
    precision: str
    compiled: str
    official_loader: str
    debug: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """Some iterations in a row: wall and processor seconds of one iteration (their mean)."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory of a process in MB.

    Attributes:
        imports: Resident after the imports, before anything is built.
        steps: Peak since the last time this was asked for.
        ever: Peak since the start, compilation included.
    """

    imports: float
    steps: float
    ever: float


class Side(Protocol):
    """A workload on one side."""

    summary: str

    def step(self, iteration: int) -> None:
        """Run one iteration."""


class Worker:
    """A side in a fresh process; use it as a context manager.

    Args:
        name: The side.
        work: The workload.
        options: Settings of the benchmark.

    Raises:
        BenchmarkError: On entry or on a request, where the process fails.
    """

    def __init__(self, name: SideName, work: Workload, options: Options) -> None:
        context = get_context("spawn")
        self.name = name
        self.summary = ""
        self._pipe, self._remote = context.Pipe()
        self._environment = _environment(options)
        arguments = (self._remote, name, work, options)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)

    def __enter__(self) -> Self:
        """Start the process and wait until the side is set up."""
        with self._environment:
            self._process.start()
        self._remote.close()
        self.summary = self._answer()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process: it stops, and removes its files, when the pipe is closed."""
        self._pipe.close()
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()

    def run(self, iterations: int) -> Turn:
        """Run iterations in a row."""
        turn: Turn = self._ask(iterations)
        return turn

    def usage(self) -> Usage:
        """Return the memory figures, and start the peak of the steps anew."""
        usage: Usage = self._ask("usage")
        return usage

    def _ask(self, request: int | str) -> Any:
        self._pipe.send(request)
        return self._answer()

    def _answer(self) -> Any:
        try:
            failure, value = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise BenchmarkError(
                f"the process of {_TITLES[self.name]} ended with code {self._process.exitcode}; "
                "if it was killed, choose a workload that needs less memory"
            ) from None
        if failure is not None:
            raise BenchmarkError(failure, value)
        return value


@contextlib.contextmanager
def _environment(options: Options) -> Iterator[None]:
    """Set, for a process that is started meanwhile, what a library reads when it is loaded."""
    settings = {
        "OMP_NUM_THREADS": str(options.threads),
        "MKL_NUM_THREADS": str(options.threads),
        "CUDA_VISIBLE_DEVICES": "",
    }
    if options.allocator == "keep":
        settings |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _serve(pipe: Connection, name: SideName, work: Workload, options: Options) -> None:
    """Set up a side and answer requests until the other end is closed or this process ended."""
    try:
        imports = _import(name, options)
        side = _build(name, work, options)
        pipe.send((None, side.summary))
        ever, iteration = 0.0, 0
        while True:
            request = pipe.recv()
            if request == "usage":
                steps = memory.peak_mb()
                ever = max(ever, steps)
                pipe.send((None, Usage(imports, steps, ever)))
                memory.reset_peak()
            else:
                pipe.send((None, _turn(side, iteration, request)))
                iteration += request
    except (EOFError, KeyboardInterrupt):
        return
    except ImportError as error:
        pipe.send((f"{_TITLES[name]} cannot start: {error}; {INSTALL}", USER_ERROR))
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        pipe.send((f"{_TITLES[name]} failed: {type(error).__name__}: {error}", FAILED))


def _import(name: SideName, options: Options) -> float:
    """Import what the side needs, with what torch loads at the first optimiser, and weigh it."""
    import torch

    torch.set_num_threads(options.threads)
    if name == "official":
        from stepbench.checkout import Checkout

        Checkout(options.checkout).load_all()
    else:
        from stepbench import ours

        ours.load_all()
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])
    return memory.resident_mb()


def _build(name: SideName, work: Workload, options: Options) -> Side:
    if name == "official":
        from stepbench.checkout import Checkout
        from stepbench.official import OfficialSide

        return OfficialSide(Checkout(options.checkout), work, options.official_loader)
    from stepbench.ours import OurSide

    return OurSide(work, options.threads, options.precision, options.compiled)


def _turn(side: Side, first: int, iterations: int) -> Turn:
    """Time iterations, of which the first has the given number."""
    sys.stdout.flush()
    wall, cpu = time.perf_counter(), time.process_time()
    for iteration in range(first, first + iterations):
        side.step(iteration)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Turn(wall / iterations, cpu / iterations)

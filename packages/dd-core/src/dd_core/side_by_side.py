"""Networks trained at the same time in threads of one process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from queue import SimpleQueue
from threading import Event as Flag
from typing import Literal, TypeVar

import torch

from dd_core._arguments import as_count
from dd_core.errors import SettingsError
from dd_core.runtime import Runtime

__all__ = ["count_workers", "in_rounds", "run_side_by_side"]

_T = TypeVar("_T")


class _Stopped(Exception):
    """Ends the other networks' training when one failed or the caller was interrupted."""


def count_workers(workers: int | Literal["auto"], runtime: Runtime, networks: int) -> int:
    """How many networks are trained at a time.

    Args:
        workers: As the user gave it; ``auto`` is one for each thread on the CPU, and 1 elsewhere.
        runtime: Device and threads.
        networks: Networks that are to be trained.

    Raises:
        SettingsError: ``workers`` is no count, or more than 1 for compiled networks.
    """
    if workers == "auto":
        suitable = runtime.device.type == "cpu" and not runtime.compile
        workers = runtime.threads if suitable else 1
    else:
        workers = as_count("workers", workers)
        if workers > 1 and runtime.compile:
            raise SettingsError(
                f"workers is {workers}, but the runtime compiles networks, which one thread must "
                "do; set workers = 1 or compile = 'off'."
            )
    return max(1, min(workers, networks))


def in_rounds(numbers: Sequence[int], count: int, workers: int) -> Iterator[tuple[int, list[int]]]:
    """Networks in groups, with the workers of each: those left over at the end share all threads.

    Args:
        numbers: Those of ``count`` networks that are to be trained.
        count: All networks; by it a network keeps its group whatever is done already.
        workers: Networks at a time.

    Example:
        >>> list(in_rounds([1, 2, 3, 4], 5, 2))
        [(2, [1, 2, 3]), (1, [4])]
    """
    rest = count % workers
    for many, group in (
        (workers, [number for number in numbers if number < count - rest]),
        (rest, [number for number in numbers if number >= count - rest]),
    ):
        if group:
            yield many, group


def run_side_by_side(
    run: Callable[[int, Callable[[int, _T], None]], None],
    numbers: Sequence[int],
    workers: int,
    report: Callable[[int, int, _T], None],
    *,
    threads: int,
) -> None:
    """Trains networks, some at a time; PyTorch computes outside Python's lock.

    Threads share the images, and none outlives the process, so a resumed run finds no other
    writer. The first error is raised here after the other threads have stopped.

    Args:
        run: Trains the network of a number; calls its second argument after each step with the
            steps complete and what is to be reported.
        numbers: Which networks.
        workers: Networks at a time; 1 runs them in the caller's thread.
        report: Receives number, steps complete and what was given, in the caller's thread.
        threads: PyTorch's threads for all workers together; each has its share.
    """
    if workers == 1:
        for number in numbers:
            run(number, partial(report, number))
        return
    events: SimpleQueue[tuple[int, int, _T] | Future[None]] = SimpleQueue()
    stop = Flag()

    def one(number: int) -> None:
        def after_step(step: int, what: _T) -> None:
            events.put((number, step, what))
            if stop.is_set():
                raise _Stopped

        if not stop.is_set():
            run(number, after_step)

    before = torch.get_num_threads()
    executor = ThreadPoolExecutor(
        workers, "training", initializer=torch.set_num_threads,
        initargs=(max(1, threads // workers),),
    )  # fmt: skip
    try:
        for number in numbers:
            executor.submit(one, number).add_done_callback(events.put)
        complete = 0
        while complete < len(numbers):
            event = events.get()
            if isinstance(event, Future):
                event.result()  # raises the error of its thread
                complete += 1
            else:
                report(*event)
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)
        torch.set_num_threads(before)

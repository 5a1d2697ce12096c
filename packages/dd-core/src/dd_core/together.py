"""How many networks are trained as one, where the device is a GPU."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from dd_core.checkpoint import load_record, save_record
from dd_core.memory import is_out_of_memory
from dd_core.runtime import Runtime
from dd_core.training import TrainingSet, TrainingSettings, train

__all__ = [
    "choose_together",
    "computes_as_one",
    "kept_choice",
    "lot_file",
    "lot_of",
    "lot_starts",
    "step_seconds",
]

_WORTH_A_TRIAL = 2000  # steps of all networks: fewer take less time than the trial would
_STEPS = 12


class _Enough(Exception):
    """Ends a trial."""


def computes_as_one(runtime: Runtime) -> bool:
    """Whether several networks at a time are one; on a CPU a thread for each is faster."""
    return runtime.device.type != "cpu"


def lot_of(number: int, together: int, count: int) -> range:
    """The networks that are trained as one with this one; lots are always the same.

    Example:
        >>> [list(lot_of(number, 2, 3)) for number in range(3)]
        [[0, 1], [0, 1], [2]]
    """
    first = number // together * together
    return range(first, min(first + together, count))


def lot_file(folder: Path, kind: str, lot: range) -> Path:
    """The file of a lot's unfinished state.

    Example:
        >>> [lot_file(Path(), "student", lot).name for lot in (range(2, 5), range(1))]
        ['student_002-004.unfinished', 'student_000.unfinished']
    """
    last = f"-{lot[-1]:03d}" if len(lot) > 1 else ""
    return folder / f"{kind}_{lot[0]:03d}{last}.unfinished"


def lot_starts(missing: Sequence[int], together: int) -> list[int]:
    """The first network of each lot that has one missing.

    Example:
        >>> lot_starts([1, 4, 5], 4)
        [0, 4]
    """
    return sorted({number // together * together for number in missing})


def choose_together(count: int, trial: Callable[[int], float]) -> int:
    """How many of ``count`` networks to train as one: all, as many as fit, or one at a time.

    Args:
        count: Networks that are to be trained.
        trial: Gives the seconds of one step of that many networks together.

    Example:
        >>> choose_together(10, lambda k: 1.0)  # a step takes as long for ten as for one
        10
        >>> choose_together(10, lambda k: 1.1 * k)
        1
    """
    together = count
    while together > 1:
        try:
            seconds = trial(together)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            together = (together + 1) // 2
        else:
            return together if seconds < together * trial(1) else 1
    return 1


def kept_choice(
    folder: Path, key: str, count: int, steps: int, trial: Callable[[int], float]
) -> int:
    """`choose_together` once: what was chosen is stored, and a resumed training goes by it.

    Args:
        folder: Folder of the networks, where the choice is kept.
        key: What it belongs to.
        count: Networks that are to be trained.
        steps: Steps of each.
        trial: As for `choose_together`.
    """
    path = folder / "together.json"
    if (stored := load_record(path, key=key)) is not None:
        return int(stored["together"])
    together = choose_together(count, trial) if count * steps >= _WORTH_A_TRIAL else 1
    save_record(path, {"together": together}, key=key)
    return together


def step_seconds(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: TrainingSet,
    settings: TrainingSettings,
    *,
    seeds: Sequence[int],
    runtime: Runtime,
) -> float:
    """Seconds of one step of training, the median of a few; the network is of no use afterwards."""
    laps = [time.perf_counter()]

    def lap(step: int, losses: Tensor, facts: dict[str, object]) -> None:
        if runtime.device.type == "cuda":
            torch.cuda.synchronize(runtime.device)
        laps.append(time.perf_counter())
        if step >= _STEPS:
            raise _Enough

    with tempfile.TemporaryDirectory() as folder, suppress(_Enough):
        train(
            network, optimizer, data, settings, seeds=seeds, runtime=runtime,
            state=Path(folder) / "trial", key="trial", checkpoint_seconds=float("inf"),
            after_step=lap,
        )  # fmt: skip
    later = laps[(len(laps) - 1) // 2 :]  # the first steps set things up
    return statistics.median(b - a for a, b in pairwise(later))

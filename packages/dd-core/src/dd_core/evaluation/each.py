"""Students of several sets at the same time, one student of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch

from dd_core.artifact import DistilledSet
from dd_core.checkpoint import load_record
from dd_core.evaluation.students import Evaluation, evaluate
from dd_core.events import Event, Listener, PhaseAdvanced
from dd_core.images import LabeledImages
from dd_core.progress import Phase
from dd_core.runtime import Runtime
from dd_core.settings import NetworkSettings, StudentSettings
from dd_core.side_by_side import count_workers, in_rounds, run_side_by_side
from dd_core.together import computes_as_one
from dd_core.training import total_steps

__all__ = ["Part", "evaluate_each"]


@dataclass(frozen=True, slots=True)
class Part:
    """What one student is trained and tested on.

    Attributes:
        data: A set, or real images.
        test: Test images of the same classes.
        folder: Where its result and its unfinished state are kept.
        seed: Seed of its weights, order and augmentation.
    """

    data: DistilledSet | LabeledImages
    test: LabeledImages
    folder: Path
    seed: int


def evaluate_each(
    parts: Sequence[Part],
    network: NetworkSettings,
    settings: StudentSettings,
    *,
    runtime: Runtime,
    listen: Listener,
    phase: str,
    checkpoint_seconds: float,
    workers: int | Literal["auto"],
) -> Evaluation:
    """One student of each part, side by side on the CPU, as one evaluation of as many students.

    Args:
        parts: At least one; the i-th student is that of the i-th part.
        network: The students' architecture.
        settings: Their training; its number of students is not read.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phase in the events.
        checkpoint_seconds: Time between two stored states.
        workers: Students at a time on the CPU, see `evaluate`; elsewhere one after the other.
    """
    one = replace(settings, students=1)
    many = 1 if computes_as_one(runtime) else count_workers(workers, runtime, len(parts))
    steps = [total_steps(_images(part.data), one) for part in parts]
    seconds = [_seconds_of(part) for part in parts]
    done = [0 if known is None else n for known, n in zip(seconds, steps, strict=True)]
    missing = seconds.count(None)
    progress = Phase(
        phase, sum(steps), "step", listen, done=sum(done),
        seconds=sum(known for known in seconds if known is not None),
    )  # fmt: skip
    found: dict[int, Evaluation] = {}

    def run(number: int, after_step: Callable[[int, Mapping[str, float]], None]) -> None:
        def hear(event: Event) -> None:
            if isinstance(event, PhaseAdvanced):
                after_step(event.done, event.values)

        part = parts[number]
        found[number] = evaluate(
            part.data, part.test, network, one, folder=part.folder, seed=part.seed,
            runtime=runtime, listen=hear, phase=phase, checkpoint_seconds=checkpoint_seconds,
            workers=1,
        )  # fmt: skip

    def report(number: int, step: int, values: Mapping[str, float]) -> None:
        done[number] = step
        progress.advance(sum(done), values)

    for at_a_time, group in in_rounds(range(len(parts)), len(parts), many):
        run_side_by_side(run, group, at_a_time, report, threads=runtime.threads)
    whole = _joined([found[number] for number in range(len(parts))])
    if missing:
        progress.finish({"accuracy": whole.mean})
    return whole


def _images(data: DistilledSet | LabeledImages) -> int:
    """Images that a student sees in one epoch."""
    return len(data) if isinstance(data, LabeledImages) else int(data.view_counts.sum())


def _seconds_of(part: Part) -> float | None:
    """Time of a student that is done; None where it is not. `evaluate` checks whose it is."""
    stored = load_record(part.folder / "student_000.json", key=None)
    return None if stored is None else float(stored["seconds"])


def _joined(found: Sequence[Evaluation]) -> Evaluation:
    """Students of several parts as one evaluation."""
    matrices = [one.confusion for one in found if one.confusion is not None]
    return Evaluation(
        tuple(accuracy for one in found for accuracy in one.last),
        tuple(accuracy for one in found for accuracy in one.best),
        tuple(curve for one in found for curve in one.curves),
        sum(one.seconds for one in found),
        torch.cat(matrices) if len(matrices) == len(found) else None,
    )

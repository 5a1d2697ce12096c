"""Accuracy on the way: students on the pixels as they were at evenly spaced iterations."""

from __future__ import annotations

from dataclasses import replace

from dd_core.artifact import DistilledSet
from dd_core.distillation import snapshot_folder
from dd_core.evaluation import Evaluation
from dd_recipes.phases import Bench, SmallSet, make_set, train_students
from dd_recipes.rows import Curve
from dd_recipes.work import Work

__all__ = ["MOMENTS", "measure_dynamics", "moments"]

MOMENTS = 5


def moments(iterations: int) -> tuple[int, ...]:
    """Five evenly spaced iterations, the last at the end; fewer where there are fewer.

    Example:
        >>> moments(20000), moments(3)
        ((4000, 8000, 12000, 16000, 20000), (1, 2, 3))
    """
    chosen = {round(iterations * number / MOMENTS) for number in range(1, MOMENTS + 1)}
    return tuple(sorted(chosen - {0}))


def measure_dynamics(bench: Bench, work: Work) -> tuple[SmallSet, list[Evaluation], Curve]:
    """Distils, keeping the pixels on the way, and trains students on each stage.

    Returns:
        The set at the end, the students of each stage, and their accuracies by iteration.
    """
    cell = work.cell
    assert cell.distill is not None
    iterations = moments(cell.distill.iterations)
    small = make_set(bench, replace(work, snapshots=iterations))
    trained = [
        train_students(
            bench, cell, DistilledSet.load(snapshot_folder(small.folder / "distillation", each)),
            work.data.test, f"students/iteration-{each:06d}", f", iteration {each}",
        )
        for each in iterations
    ]  # fmt: skip
    curve = tuple((each, found.last) for each, found in zip(iterations, trained, strict=True))
    return small, trained, curve

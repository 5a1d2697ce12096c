"""Class-incremental learning with a cell's small set as memory."""

from __future__ import annotations

from dd_core.evaluation.continual import Continual, evaluate_continual
from dd_recipes.phases import Bench, SmallSet, make_set
from dd_recipes.work import Work

__all__ = ["also", "measure_continual"]


def measure_continual(bench: Bench, work: Work) -> tuple[SmallSet, Continual]:
    """Trains and tests students after each step.

    Returns:
        The whole set, and what the students reached at each step.
    """
    cell, small = work.cell, make_set(bench, work)
    found = evaluate_continual(
        small.distilled, work.data.test, cell.student_network, cell.students,
        n_steps=cell.continual.steps, folder=bench.folder.cell(cell.name) / "students",
        phase=f"students {cell.name}", **bench.common,
    )  # fmt: skip
    return small, found


def also(found: Continual) -> str:
    """The average incremental accuracy in words."""
    deviation = f" ± {found.std:.1f}" if found.n > 1 else ""
    steps = len(found.steps)
    return f"{found.mean:.1f}{deviation} % on average over the {steps} steps (n = {found.n})."

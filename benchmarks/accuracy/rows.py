"""What a row of the accuracy table is, and how two rows are compared."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from dd_core import DistillSettings, StudentSettings, Term

Split = Literal["validation", "test"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a method with all its settings.

    Attributes:
        title: What it is, in words.
        settings: The distillation.
        students: The networks that are trained on the distilled set.
        long_tailed: Whether the training images are CIFAR-10-LT.
        precision: ``auto``, ``float32`` or ``bfloat16``, of distillation and students.
        compile: ``auto``, ``on`` or ``off``, likewise.
        against: Row that this one is compared with; "" for none.
        as_long_as: Two rows: the iterations are as many as take the time of the first at the pace
            of the second. Both must have been run.
    """

    title: str
    settings: DistillSettings
    students: StudentSettings
    long_tailed: bool = False
    precision: str = "auto"
    compile: str = "auto"
    against: str = ""
    as_long_as: tuple[str, str] | None = None


def quick(row: Row) -> Row:
    """The row with next to no work, to see that it runs."""
    terms = tuple(_few(term) for term in row.settings.objectives)
    return replace(
        row,
        settings=replace(row.settings, objectives=terms, iterations=6, batch_real=8),
        students=replace(row.students, students=2, epochs=2, evaluations=1),
    )


def _few(term: Term) -> Term:
    options = {name: 16 if name == "n_frequencies" else v for name, v in term.options.items()}
    return replace(term, options=options)


def with_iterations(row: Row, found: Mapping[str, Mapping[str, Any]]) -> Row:
    """The row with its number of iterations, where that follows from the time of other rows.

    Args:
        row: The row.
        found: Records of rows by name.

    Raises:
        KeyError: One of the other rows has not been run; the message is its name.
    """
    if row.as_long_as is None:
        return row
    first, second = (found[name] for name in row.as_long_as)
    pace = second["seconds"] / second["iterations"]
    iterations = max(1, round(first["seconds"] / pace))
    return replace(row, settings=replace(row.settings, iterations=iterations))


def difference(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Mean difference of two rows' students, and its standard error.

    The i-th students of two rows start from the same weights, so they are compared in pairs.

    >>> [round(x, 3) for x in difference([50.0, 51.0, 52.0], [49.0, 49.5, 51.0])]
    [1.167, 0.167]
    """
    steps = [a - b for a, b in zip(ours, theirs, strict=True)]
    if len(steps) < 2:
        return steps[0], math.nan
    return statistics.fmean(steps), statistics.stdev(steps) / math.sqrt(len(steps))

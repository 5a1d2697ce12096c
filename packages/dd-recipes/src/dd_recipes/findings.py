"""What a run bought, in sentences computed from its numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dd_recipes.rows import Row
from dd_recipes.verdict import interval_of_difference, why_no_interval

__all__ = ["sentences"]

_SHOWN = 0.05  # smaller differences are zero as printed


def sentences(measured: Sequence[Row]) -> list[str]:
    """What a run bought.

    The best set is chosen on the test images, and where it is one of several the sentence says so.
    In each column with real images as they are, or packed, the best distilled set is compared
    with them, so that the gain of packing is not taken for a gain of distillation.

    Args:
        measured: The rows that were measured.
    """
    rows = [row for row in measured if row.measure == "accuracy" and row.unit == "%"]
    columns = list(dict.fromkeys(row.column for row in rows))
    found: list[str] = []
    for column in columns:
        here = [row for row in rows if row.column == column]
        head = f"{column}: " if len(columns) > 1 else ""
        found += [f"{head}{sentence}" for sentence in _of_column(here, alone=not head)]
    return found + [f"{row.row}, {row.column}: {row.also}" for row in measured if row.also]


def _of_column(rows: list[Row], *, alone: bool) -> Iterator[str]:
    distilled = [row for row in rows if row.kind == "distill"]
    plain = [row for row in rows if row.kind == "random" and row.factor == 1]
    packed = [row for row in rows if row.kind == "random" and row.factor > 1]
    if not distilled or not (plain or packed or alone):
        return
    best = max(distilled, key=lambda row: row.mean)
    n = len(distilled)
    chosen = f" (the best of {n} sets on the test images)" if n > 1 else ""
    yield (
        f"Trained on {_images(best)} distilled by {best.row}{chosen}, a new network gets "
        f"{best.mean:.1f}% of {best.test_images:,} unseen test images right."
    )
    if plain:
        yield _against(best, plain[0], f"On {_images(plain[0])} as they are")
    if packed:
        views = packed[0].factor ** 2
        subject = f"Packing {views} real images into each image, without distilling them,"
        yield _against(best, packed[0], subject)


def _against(best: Row, other: Row, subject: str) -> str:
    gain = round(best.mean, 1) - round(other.mean, 1)  # agrees with the figures as printed
    ours, theirs = best.sample, other.sample
    interval = interval_of_difference(ours, theirs) if ours and theirs else None
    known = f", 95% interval {interval[0]:+.1f} to {interval[1]:+.1f}" if interval else ""
    verb = "it gets" if subject.startswith("On ") else "gives"
    undecided = interval is not None and interval[0] <= 0 <= interval[1]
    tail = "; the students do not tell the two apart" if undecided else ""
    if ours and theirs and interval is None:
        tail = f" ({why_no_interval(ours, theirs)})"
    measured = f"{subject} {verb} {other.mean:.1f}%"
    points = f"{abs(gain):.1f} points {'better' if gain > 0 else 'worse'}"
    if abs(best.mean - other.mean) < _SHOWN:  # though the printed figures may differ by 0.1
        points = "as good"
    return f"{measured}: {best.row} is {points}{known}{tail}."


def _images(row: Row) -> str:
    return f"{row.ipc} image{'s' if row.ipc != 1 else ''} a class"

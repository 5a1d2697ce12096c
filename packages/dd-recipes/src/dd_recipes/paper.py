"""What a paper says: its reference, and published accuracies with their source."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Paper", "PublishedValue"]


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper that a recipe reproduces.

    Attributes:
        title: Title.
        venue: Where and when it appeared.
        url: Address of the text.
    """

    title: str
    venue: str
    url: str


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """A published test accuracy.

    Attributes:
        mean: Mean accuracy in percent.
        std: Standard deviation over the students, in percentage points.
        n: Number of students.
        source: The table and cell that it stands in.
        note: What a reader must know to compare (best epoch or last, budget, ...).
        comparable: False where the recipe's budget or protocol differs so much that a verdict
            would mislead; the note then says why.

    Example:
        >>> PublishedValue(mean=49.5, std=0.3, n=10, source="NCFM, Table 1").mean
        49.5
    """

    mean: float
    std: float
    n: int
    source: str
    note: str = ""
    comparable: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.mean <= 100:
            raise ValueError(f"mean is {self.mean}; give an accuracy in percent.")
        if self.std < 0:
            raise ValueError(f"std is {self.std}; it must not be negative.")
        if self.n < 2:
            raise ValueError(f"n is {self.n}; a standard deviation needs at least 2 students.")
        if not self.comparable and not self.note:
            raise ValueError("comparable is false; say why in note.")

"""What a paper says: its reference, published values with their source, and its claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Claim", "Paper", "PublishedValue", "Reference", "Sense", "Unit"]

Unit = Literal["%", "s", "GB", "rho"]
Sense = Literal["at_least", "up_to", "about", "at_most"]


@dataclass(frozen=True, slots=True)
class Paper:
    """The paper that a recipe reproduces.

    Attributes:
        title: Title.
        venue: Where and when it appeared.
        url: Address of the text.
        authors: Its authors, as a reference gives them.
        bibtex: Its BibTeX entry.
    """

    title: str
    venue: str
    url: str
    authors: str = ""
    bibtex: str = ""


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """A published value of one cell.

    Attributes:
        mean: Mean, in ``unit``.
        std: Standard deviation over the students, or what the paper gives as such; None where it
            gives none.
        n: Number of students; None where the paper does not say, and a verdict then takes ``std``
            as the error of the mean, which is the most it can be.
        source: The table and cell that it stands in.
        note: What a reader must know to compare (best epoch or last, budget, ...).
        comparable: False where the recipe's budget or protocol differs so much that a verdict
            would mislead; the note then says why.
        unit: ``%`` (test accuracy), ``s`` (seconds an iteration), ``GB`` (peak memory) or
            ``rho`` (rank correlation).

    Example:
        >>> PublishedValue(mean=49.5, std=0.3, n=10, source="NCFM, Table 1").text
        '49.5 ± 0.3'
    """

    mean: float
    source: str
    std: float | None = None
    n: int | None = None
    note: str = ""
    comparable: bool = True
    unit: Unit = "%"

    def __post_init__(self) -> None:
        if self.unit == "%" and not 0 <= self.mean <= 100:
            raise ValueError(f"mean is {self.mean}; give an accuracy in percent.")
        if self.unit != "%" and self.mean <= 0:
            raise ValueError(f"mean is {self.mean} {self.unit}; it must be positive.")
        if self.std is not None and self.std < 0:
            raise ValueError(f"std is {self.std}; it must not be negative.")
        if self.n is not None and self.n < 2:
            raise ValueError(f"n is {self.n}; a standard deviation needs at least 2 students.")
        if not self.comparable and not self.note:
            raise ValueError("comparable is false; say why in note.")

    @property
    def text(self) -> str:
        """Mean and deviation as a table shows them."""
        return _text(self.mean, self.std)


@dataclass(frozen=True, slots=True)
class Reference:
    """A published value of a method that the recipe does not run.

    Attributes:
        row: The method.
        column: Column of the table.
        mean: Value, in the unit of the column.
        std: Its standard deviation; None where none is given.
    """

    row: str
    column: str
    mean: float
    std: float | None = None

    @property
    def text(self) -> str:
        """Mean and deviation as a table shows them."""
        return _text(self.mean, self.std)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper in words: by how much one cell exceeds another.

    Attributes:
        text: The claim.
        source: Where it stands.
        cell: Name of the cell that is claimed to be better.
        against: Name of the cell that it is compared with; or ``references``, the best published
            value in the cell's column, or ``references:ROW``, that of one row.
        difference: The claimed difference, in the cells' unit.
        sense: Whether more is as good (``at_least``), less is (``at_most``), or neither
            (``about``); or whether it is the largest of several differences (``up_to``), so that a
            smaller one does not refute it.
    """

    text: str
    source: str
    cell: str
    against: str
    difference: float
    sense: Sense = "at_least"


def _text(mean: float, std: float | None) -> str:
    return _number(mean) if std is None else f"{_number(mean)} ± {_number(std)}"


def _number(value: float) -> str:
    """As a paper prints it: with a decimal, and with as many more as there are."""
    return f"{value:.1f}" if f"{value:.1f}" == str(float(value)) else f"{value:g}"

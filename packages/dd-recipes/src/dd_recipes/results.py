"""What a run measured: one row a method, and what follows from the rows in words."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dd_recipes.paper import PublishedValue
from dd_recipes.verdict import Verdict, judge, welch_interval

__all__ = ["Results", "Row", "duration", "findings"]


@dataclass(frozen=True, slots=True)
class Row:
    """One method's measurement.

    Attributes:
        label: Name of the method.
        slug: Its folder.
        kind: ``random`` (real images) or ``distill``.
        about: One sentence on it.
        ipc: Stored images a class.
        factor: Views along each side of a stored image, at most.
        training_images: Images a class that a student sees: the views of all stored images.
        last: Test accuracy of each student after its last epoch, in percent.
        best: Best test accuracy of each student over its epochs; only to compare with papers
            that report it, because it is chosen on the test images.
        distill_seconds: Time of the distillation, without the pool; None for real images.
        student_seconds: Time of all the students.
        published: The paper's value.
    """

    label: str
    slug: str
    kind: Literal["random", "distill"]
    about: str
    ipc: int
    factor: int
    training_images: int
    last: tuple[float, ...]
    best: tuple[float, ...]
    distill_seconds: float | None
    student_seconds: float
    published: PublishedValue | None = None

    @property
    def n(self) -> int:
        """Number of students."""
        return len(self.last)

    @property
    def mean(self) -> float:
        """Mean accuracy at the last epoch, in percent."""
        return statistics.fmean(self.last)

    @property
    def std(self) -> float:
        """Standard deviation (n - 1) over the students; 0 for a single one."""
        return statistics.stdev(self.last) if self.n > 1 else 0.0

    @property
    def accuracy(self) -> str:
        """Mean, standard deviation and number of students as text."""
        return _mean_std(self.last)

    @property
    def best_accuracy(self) -> str:
        """The same for the best epochs."""
        return _mean_std(self.best)

    @property
    def verdict(self) -> Verdict | None:
        """The comparison with the paper, where there is a published value."""
        if self.published is None:
            return None
        return judge(self.mean, self.std, self.n, self.published)


@dataclass(frozen=True, slots=True)
class Results:
    """A run's measurements so far.

    Attributes:
        recipe: Name of the recipe.
        title: Its title.
        seed: Seed of the run.
        data: Name of the data set.
        class_names: Its classes.
        train_images: Number of real training images.
        test_images: Number of test images.
        runtime: How it was computed, one line.
        pool_seconds: Time to train the extractors; None where no method needs them.
        rows: The methods that are complete.
        methods: How many methods the recipe has.
    """

    recipe: str
    title: str
    seed: int
    data: str
    class_names: tuple[str, ...]
    train_images: int
    test_images: int
    runtime: str
    pool_seconds: float | None
    rows: tuple[Row, ...]
    methods: int

    @property
    def complete(self) -> bool:
        """Whether every method has been measured."""
        return len(self.rows) == self.methods

    @property
    def seconds(self) -> float:
        """Time of all phases together."""
        own = sum((row.distill_seconds or 0.0) + row.student_seconds for row in self.rows)
        return own + (self.pool_seconds or 0.0)

    def as_json(self) -> dict[str, Any]:
        """JSON-able form, with what follows from the numbers; `from_json` reads it."""
        tables = asdict(self)
        for table, row in zip(tables["rows"], self.rows, strict=True):
            table |= {"n": row.n, "mean": row.mean, "std": row.std}
            table["verdict"] = asdict(row.verdict) if row.verdict else None
        return {"complete": self.complete, **tables, "findings": findings(self)}

    @classmethod
    def from_json(cls, tables: Mapping[str, Any]) -> Results:
        """Reads what `as_json` made."""
        known = {name: tables[name] for name in cls.__slots__}
        rows = tuple(_row(table) for table in tables["rows"])
        return cls(**{**known, "rows": rows, "class_names": tuple(tables["class_names"])})


def findings(results: Results) -> list[str]:
    """What the run bought, in sentences computed from its numbers.

    The best distilled set is compared with real images as they are and with the packed control,
    so that the gain of packing is not taken for a gain of distillation.
    """
    distilled = [row for row in results.rows if row.kind == "distill"]
    plain = [row for row in results.rows if row.kind == "random" and row.factor == 1]
    packed = [row for row in results.rows if row.kind == "random" and row.factor > 1]
    if not distilled:
        return []
    best = max(distilled, key=lambda row: row.mean)
    sentences = [
        f"Trained on {_images(best)} distilled by {best.label}, a new network gets "
        f"{best.mean:.1f}% of {results.test_images:,} unseen test images right."
    ]
    if plain:
        sentences.append(_against(best, plain[0], f"On {_images(plain[0])} as they are"))
    if packed:
        views = packed[0].factor ** 2
        subject = f"Packing {views} real images into each image, without distilling them,"
        sentences.append(_against(best, packed[0], subject))
    return sentences


def duration(seconds: float | None) -> str:
    """Seconds as text.

    Example:
        >>> duration(None), duration(8.24), duration(75), duration(3725)
        ('–', '8.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds is None:
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _against(best: Row, other: Row, subject: str) -> str:
    gain = round(best.mean, 1) - round(other.mean, 1)  # agrees with the figures as printed
    interval = welch_interval(best.mean, best.std, best.n, other.mean, other.std, other.n)
    known = f", 95% interval {interval[0]:+.1f} to {interval[1]:+.1f}" if interval else ""
    verb = "it gets" if subject.startswith("On ") else "gives"
    undecided = interval is not None and interval[0] <= 0 <= interval[1]
    tail = "; the students do not tell the two apart" if undecided else ""
    measured = f"{subject} {verb} {other.mean:.1f}%"
    word = "better" if gain >= 0 else "worse"
    return f"{measured}: {best.label} is {abs(gain):.1f} points {word}{known}{tail}."


def _images(row: Row) -> str:
    return f"{row.ipc} image{'s' if row.ipc != 1 else ''} a class"


def _mean_std(values: tuple[float, ...]) -> str:
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.1f} (1)"
    return f"{mean:.1f} ± {statistics.stdev(values):.1f} ({len(values)})"


def _row(table: Mapping[str, Any]) -> Row:
    known = {name: table[name] for name in Row.__slots__}
    published = table["published"]
    return Row(**{
        **known,
        "last": tuple(table["last"]),
        "best": tuple(table["best"]),
        "published": PublishedValue(**published) if published else None,
    })  # fmt: skip

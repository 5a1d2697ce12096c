"""One cell's measurement, as tables, figures and reports take it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import Literal

from dd_recipes.paper import PublishedValue, Unit
from dd_recipes.verdict import Sample, Verdict

__all__ = ["Curve", "Row", "Status", "duration"]

Status = Literal["done", "failed", "not run", "running elsewhere", "missing"]
Curve = tuple[tuple[float, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One cell's measurement.

    Attributes:
        name: Name of the cell, and of its folder.
        row: Row of the table: the method.
        column: Column of the table.
        kind: ``distill``, or the kind of choice of real images.
        measure: ``accuracy``, ``speed``, ``dynamics``, ``continual`` or ``search``.
        about: One sentence on it.
        ipc: Stored images a class.
        factor: Views along each side of a stored image, at most.
        training_images: Images a class that a student sees: the views of all stored images.
        status: ``done``; ``failed`` (see ``note``); ``not run``, because its data are missing
            (see ``note``); ``running elsewhere``, in another process; or ``missing``.
        note: The error of a failed cell, or what is missing.
        unit: Unit of ``last``: ``%``, ``s``, ``GB`` or ``rho``.
        last: Test accuracy of each student after its last epoch, in percent; for ``speed`` one
            number, the median seconds of an iteration or the peak memory; for ``search`` one,
            Spearman's rank correlation.
        best: Best test accuracy of each student over its epochs; only to compare with papers
            that report it, because it is chosen on the test images; empty where they were tested
            once.
        curve: Accuracies of the students at each iteration (``dynamics``) or number of classes
            (``continual``).
        iteration_seconds: Median seconds of an iteration, for ``speed``.
        gigabytes: Peak memory, for ``speed``.
        also: What else was found, in a sentence, for ``continual`` and ``search``.
        whole_seconds: Time of training on the real images, for ``search``; its cells share it.
        distill_seconds: Time of the distillation, without the pool; None for real images.
        student_seconds: Time of all the students of the small set.
        set: Key of the small set, whose folder is ``sets/KEY``.
        data: Name of the data set.
        train_images: Number of real training images.
        test_images: Number of test images.
        x: Place on the axis of a figure.
        published: The paper's value.
        verdict: The comparison with it.
    """

    name: str
    row: str
    column: str
    kind: str
    measure: str = "accuracy"
    about: str = ""
    ipc: int = 1
    factor: int = 1
    training_images: int = 1
    status: Status = "missing"
    note: str = ""
    unit: Unit = "%"
    last: tuple[float, ...] = ()
    best: tuple[float, ...] = ()
    curve: Curve = ()
    iteration_seconds: float | None = None
    gigabytes: float | None = None
    also: str = ""
    whole_seconds: float | None = None
    distill_seconds: float | None = None
    student_seconds: float | None = None
    set: str | None = None
    data: str = ""
    train_images: int = 0
    test_images: int = 0
    x: float | None = None
    published: PublishedValue | None = None
    verdict: Verdict | None = None

    @property
    def done(self) -> bool:
        """Whether it has been measured."""
        return self.status == "done"

    @property
    def n(self) -> int:
        """Number of students; 1 for ``speed`` and ``search``."""
        return len(self.last)

    @property
    def mean(self) -> float:
        """Mean at the last epoch; NaN where nothing was measured."""
        return statistics.fmean(self.last) if self.last else float("nan")

    @property
    def std(self) -> float:
        """Standard deviation (n - 1) over the students; 0 for a single one."""
        return statistics.stdev(self.last) if self.n > 1 else 0.0

    @property
    def sample(self) -> Sample | None:
        """Mean, deviation and number of students; None where nothing was measured."""
        return Sample(self.mean, self.std, self.n) if self.done else None

    @property
    def value(self) -> str:
        """What was measured as text, without the number of students."""
        if not self.done:
            return self.status
        if self.unit != "%":
            return f"{self.mean:.3g} {self.unit}"
        return f"{self.mean:.1f}" + (f" ± {self.std:.1f}" if self.n > 1 else "")

    @property
    def accuracy(self) -> str:
        """Mean, standard deviation and number of students as text."""
        return f"{self.value} ({self.n})" if self.done and self.unit == "%" else self.value

    @property
    def best_accuracy(self) -> str:
        """The same for the best epochs; empty where there are none."""
        if self.best:
            return _mean_std(self.best)
        return "tested once" if self.done and self.unit == "%" else ""

    @property
    def speed(self) -> str:
        """Both figures of ``speed`` as text; empty for other measures."""
        if self.iteration_seconds is None or self.gigabytes is None:
            return ""
        return f"{self.iteration_seconds:.3g} s an iteration, {self.gigabytes:.3g} GB"

    @property
    def seconds(self) -> float:
        """Time of distillation and students."""
        return (self.distill_seconds or 0.0) + (self.student_seconds or 0.0)


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


def _mean_std(values: tuple[float, ...]) -> str:
    mean = statistics.fmean(values)
    if len(values) == 1:
        return f"{mean:.1f} (1)"
    return f"{mean:.1f} ± {statistics.stdev(values):.1f} ({len(values)})"

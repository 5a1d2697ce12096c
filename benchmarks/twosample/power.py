"""Rejection rates of the tests on pairs of distributions, by many processes at once."""

import os
import statistics
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from typing import Any

from twosample.catalogue import ENTRIES

LEVEL = 0.05
_BATCH = 5
_ROTATION_SEED = 6  # It turns the plane by 22 degrees: far from the axes and from the diagonals.


@dataclass(frozen=True, slots=True)
class Setting:
    """A pair of distributions, and the sizes at which the tests meet it.

    Attributes:
        key: Its name on the command line and in the JSON file.
        title: Its name in tables and plots.
        function: A function of `cfmetrics.datasets`.
        d: Features.
        sizes: Observations in each sample.
        options: Options of the function.
        rotated: Whether one fixed random rotation is applied to both samples.
        factor: How many times the chosen number of repetitions.
    """

    key: str
    title: str
    function: str
    d: int
    sizes: tuple[int, ...]
    options: dict[str, Any] = field(default_factory=dict)
    rotated: bool = False
    factor: int = 1

    @property
    def null(self) -> bool:
        """Whether both samples come from one distribution."""
        return bool(self.options.get("null", False))

    def draw(self, n: int, seed: int) -> tuple[Any, Any]:
        """Draw one pair of samples."""
        import numpy as np

        from cfmetrics import datasets

        # The rotated setting gets the samples of the one that is not, turned.
        rng = np.random.default_rng([zlib.crc32(self.function.encode()), n, seed])
        x, y = getattr(datasets, self.function)(n, rng=rng, **self.options)
        if self.rotated:
            normal = np.random.default_rng(_ROTATION_SEED).standard_normal((self.d, self.d))
            q, r = np.linalg.qr(normal)
            rotation = q * np.sign(np.diag(r))  # uniform over all rotations and reflections
            x, y = x @ rotation, y @ rotation
        return x, y


_FULL, _SHORT = (100, 200, 500, 1000), (200, 500)

SETTINGS: dict[str, Setting] = {
    setting.key: setting
    for setting in (
        Setting("shift", "mean shift of 0.2, d = 10", "gaussian_mean_shift", 10, _FULL),
        Setting("variance", "variance 2, d = 10", "gaussian_variance_shift", 10, _FULL),
        Setting("blobs", "blobs, d = 2", "blobs", 2, _FULL),
        Setting("hdgm", "HDGM, d = 4", "hdgm", 4, _FULL, {"n_features": 4}),
        Setting("shift-rotated", "mean shift of 0.2, d = 10, rotated", "gaussian_mean_shift", 10,
            _SHORT, rotated=True),
        Setting("variance-rotated", "variance 2, d = 10, rotated", "gaussian_variance_shift", 10,
            _SHORT, rotated=True),
        Setting("blobs-rotated", "blobs, rotated", "blobs", 2, _SHORT, rotated=True),
        Setting("one-feature", "variance 1.5, d = 1", "gaussian_variance_shift", 1, (100, 200, 500),
            {"n_features": 1, "variance": 1.5}),
        Setting("null-normal", "null: normal, d = 10", "gaussian_mean_shift", 10, (100, 500),
            {"null": True}, factor=2),
        Setting("null-blobs", "null: blobs, d = 2", "blobs", 2, (100,), {"null": True}, factor=2),
        Setting("null-one-feature", "null: normal, d = 1", "gaussian_mean_shift", 1, (100,),
            {"n_features": 1, "null": True}, factor=2),
    )
}  # fmt: skip
"""Every pair of distributions by its key."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One setting at one size.

    Attributes:
        setting: Key of the setting.
        n: Observations in each sample.
    """

    setting: str
    n: int

    def tests(self, chosen: Sequence[str]) -> list[str]:
        """Which of the chosen tests take part: those that apply and are quick enough."""
        d = SETTINGS[self.setting].d
        entries = [ENTRIES[key] for key in chosen]
        return [
            entry.key
            for entry in entries
            if (d == 1 or not entry.univariate) and (entry.largest or self.n) >= self.n
        ]


@dataclass(slots=True)
class Tally:
    """What one test did in one cell.

    Attributes:
        setting: Key of the setting.
        n: Observations in each sample.
        test: Key of the test.
        pvalues: One p-value for each repetition, in order; 1 where the call failed.
        seconds: Seconds of each.
        failures: Messages of the calls that failed.
    """

    setting: str
    n: int
    test: str
    pvalues: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @property
    def rejections(self) -> int:
        """Number of p-values up to the level."""
        return sum(self.decisions)

    @property
    def decisions(self) -> list[bool]:
        """Whether each repetition rejected."""
        return [p <= LEVEL for p in self.pvalues]

    @property
    def repetitions(self) -> int:
        """Number of repetitions."""
        return len(self.pvalues)

    @property
    def rate(self) -> float:
        """Share of rejections."""
        return self.rejections / self.repetitions

    @property
    def median_seconds(self) -> float:
        """Median seconds of a call."""
        return statistics.median(self.seconds)

    def add(self, outcome: "Outcome") -> None:
        """Add one repetition."""
        self.pvalues.append(outcome.pvalue)
        self.seconds.append(outcome.seconds)
        if outcome.failure is not None:
            self.failures.append(outcome.failure)

    def as_record(self) -> dict[str, Any]:
        """Return an entry for the JSON file."""
        record = asdict(self)
        record["seconds"] = [round(value, 6) for value in self.seconds]
        record["pvalues"] = [round(value, 6) for value in self.pvalues]
        return {**record, "rejections": self.rejections, "repetitions": self.repetitions}

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Tally":
        """Read an entry of the JSON file."""
        names = ("setting", "n", "test", "pvalues", "seconds", "failures")
        return cls(**{name: record[name] for name in names})


@dataclass(frozen=True, slots=True)
class Outcome:
    """One call of one test."""

    test: str
    repetition: int
    pvalue: float
    seconds: float
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """Some repetitions of all tests in one cell."""

    cell: Cell
    tests: tuple[str, ...]
    repetitions: tuple[int, ...]
    resamples: int


def warm_up(tests: Sequence[str]) -> None:
    """Load and compile what the tests need, in a new process, so that it is not timed."""
    for key in tests:
        d = 1 if ENTRIES[key].univariate else 10
        setting = Setting("", "", "gaussian_mean_shift", d, (), {"n_features": d})
        _call(key, *setting.draw(60, 0), 9, 0)


def run(task: Task) -> list[Outcome]:
    """Run all tests of a task, each on the same samples."""
    setting = SETTINGS[task.cell.setting]
    outcomes = []
    for repetition in task.repetitions:
        x, y = setting.draw(task.cell.n, repetition)
        outcomes += [_call(key, x, y, task.resamples, repetition) for key in task.tests]
    return outcomes


def _call(key: str, x: Any, y: Any, resamples: int, repetition: int) -> Outcome:
    failure = None
    start = time.perf_counter()
    try:
        pvalue = ENTRIES[key].call(x, y, resamples, repetition)
    except Exception as error:
        pvalue, failure = 1.0, f"{type(error).__name__}: {error}"
    return Outcome(key, repetition, pvalue, time.perf_counter() - start, failure)


def tasks(cell: Cell, tests: Sequence[str], repetitions: int, resamples: int) -> Iterator[Task]:
    """Split a cell into tasks."""
    total = repetitions * SETTINGS[cell.setting].factor
    for start in range(0, total, _BATCH):
        numbers = tuple(range(start, min(start + _BATCH, total)))
        yield Task(cell, tuple(tests), numbers, resamples)


def measure(
    cells: Sequence[Cell],
    tests: Sequence[str],
    *,
    repetitions: int,
    resamples: int,
    processes: int,
    finished: Callable[[list[Tally]], None],
    stop: Callable[[], bool],
) -> bool:
    """Run the tests in every cell, and hand over the tallies of a cell as soon as it is done.

    Args:
        cells: Settings and sizes, in this order.
        tests: Keys of the tests.
        repetitions: Pairs of samples for each cell, but for a setting's factor.
        resamples: Relabelings.
        processes: How many processes, each with one thread; set the environment first.
        finished: Called with the tallies of each cell.
        stop: Asked before a cell is begun; True ends the measurement.

    Returns:
        Whether all cells were measured.
    """
    pool = ProcessPoolExecutor(
        processes, get_context("spawn"), initializer=warm_up, initargs=(list(tests),)
    )
    with pool:
        for cell in cells:
            if stop():
                return False
            finished(_measure_cell(pool, cell, cell.tests(tests), repetitions, resamples))
    return True


def _measure_cell(
    pool: ProcessPoolExecutor, cell: Cell, tests: Sequence[str], repetitions: int, resamples: int
) -> list[Tally]:
    pending: list[Future[list[Outcome]]] = [
        pool.submit(run, task) for task in tasks(cell, tests, repetitions, resamples)
    ]
    outcomes = [outcome for future in as_completed(pending) for outcome in future.result()]
    tallies = {key: Tally(cell.setting, cell.n, key) for key in tests}
    for outcome in sorted(outcomes, key=lambda each: each.repetition):
        tallies[outcome.test].add(outcome)
    return list(tallies.values())


def default_processes() -> int:
    """One process for each core."""
    return os.cpu_count() or 1

"""What an architecture search found: rankings by two ways, and how far they agree."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from dd_core.evaluation.students import Evaluation
from dd_core.settings import NetworkSettings

__all__ = ["ArchitectureSearch", "Candidate", "RankCorrelation", "chosen", "spearman"]

_EXACT, _RESAMPLES = 7, 9999


@dataclass(frozen=True, slots=True)
class RankCorrelation:
    """How far two rankings of the same things agree.

    Attributes:
        value: From -1 (one is the other turned round) to 1 (the same ranking); NaN where all
            values of one are equal.
        pvalue: Two-sided, of the hypothesis that the rankings are independent; NaN with the value.
    """

    value: float
    pvalue: float

    def as_record(self) -> dict[str, float | None]:
        """What JSON can say: None for NaN."""
        return {name: v if math.isfinite(v) else None for name, v in asdict(self).items()}


@dataclass(frozen=True)
class Candidate:
    """One network of a search.

    Attributes:
        name: Its name.
        network: Its architecture.
        parameters: Number of its weights.
        on_set: Students of the small set, tested on the validation images.
        on_all: Students of all other training images, tested on the same; None where they were
            not trained.
    """

    name: str
    network: NetworkSettings
    parameters: int
    on_set: Evaluation
    on_all: Evaluation | None = None


@dataclass(frozen=True)
class ArchitectureSearch:
    """What a search found; accuracies are in percent.

    Attributes:
        candidates: The networks, in the order given.
        validation_images: Number of real images that ranked them.
        training_images: Number of the other ones, on which ``on_all`` was trained.
        pick_test: The pick's students on the test images: those of all other training images, or
            those of the small set where there was no training on all.
        best_test: Those of `best`; None where there was no training on all.
    """

    candidates: tuple[Candidate, ...]
    validation_images: int
    training_images: int
    pick_test: Evaluation
    best_test: Evaluation | None

    @property
    def pick(self) -> Candidate:
        """The network that students of the small set chose, on validation images."""
        return chosen(self.candidates, [c.on_set for c in self.candidates])

    @property
    def best(self) -> Candidate | None:
        """The one that training on all other images chooses, on the same."""
        found = self._on_all
        return chosen(self.candidates, found) if found else None

    @property
    def spearman(self) -> RankCorrelation | None:
        """Spearman's rho of the mean accuracies by both ways; None where there is one way.

        Its p-value is of permutations: all of them for up to 7 networks, else 9999 of them, as
        (1 + #{|rho*| >= |rho|}) / 10000.
        """
        return spearman(*self._means) if self._on_all else None

    @property
    def kendall(self) -> RankCorrelation | None:
        """Kendall's tau-b, likewise: the share of pairs ranked alike less that ranked otherwise.

        Its p-value is SciPy's: exact for up to 33 networks of which no two accuracies are equal
        (for more, where at most one pair is ranked alike or at most one otherwise), and else that
        of the normal approximation.
        """
        if not self._on_all:
            return None
        from scipy.stats import kendalltau

        with warnings.catch_warnings():  # NaN says that all are equal
            warnings.simplefilter("ignore")
            found = kendalltau(*self._means, method="auto")
        return RankCorrelation(float(found.statistic), float(found.pvalue))

    @property
    def regret(self) -> float | None:
        """Test accuracy that the small set's choice costs: that of `best` less that of `pick`.

        It can be negative, because validation images chose both.
        """
        return None if self.best_test is None else self.best_test.mean - self.pick_test.mean

    @property
    def seconds_on_set(self) -> float:
        """Time of all students of the small set, added up, that of making the set not counted.

        Students may run at the same time, so this is not the time on the clock.
        """
        return sum(candidate.on_set.seconds for candidate in self.candidates)

    @property
    def seconds_on_all(self) -> float | None:
        """The same of the other training images, those for the test not counted."""
        return sum(each.seconds for each in self._on_all) if self._on_all else None

    @property
    def times_faster(self) -> float | None:
        """How many times less added time the small set took, that of making it not counted."""
        if self.seconds_on_all is None or self.seconds_on_set == 0:
            return None
        return self.seconds_on_all / self.seconds_on_set

    def as_record(self) -> dict[str, Any]:
        """What JSON can say: percent and seconds, None for what is not there."""
        return {
            "candidates": [_candidate_record(candidate) for candidate in self.candidates],
            "validation_images": self.validation_images,
            "training_images": self.training_images,
            "spearman": None if self.spearman is None else self.spearman.as_record(),
            "kendall": None if self.kendall is None else self.kendall.as_record(),
            "pick": self.pick.name,
            "best": None if self.best is None else self.best.name,
            "pick_test": _record(self.pick_test),
            "best_test": _record(self.best_test),
            "regret": self.regret,
            "seconds_on_set": self.seconds_on_set,
            "seconds_on_all": self.seconds_on_all,
            "times_faster": self.times_faster,
        }

    @property
    def _on_all(self) -> list[Evaluation]:
        return [c.on_all for c in self.candidates if c.on_all is not None]

    @property
    def _means(self) -> tuple[list[float], list[float]]:
        return [c.on_set.mean for c in self.candidates], [found.mean for found in self._on_all]


def spearman(x: Sequence[float], y: Sequence[float]) -> RankCorrelation:
    """Spearman's rho with its p-value by permutations; see `ArchitectureSearch.spearman`.

    Example:
        >>> spearman([1, 2, 3, 4], [10, 20, 30, 50])
        RankCorrelation(value=1.0, pvalue=0.08333333333333333)
    """
    from scipy.stats import rankdata

    a, b = (rankdata(values) - (len(x) + 1) / 2 for values in (x, y))
    scale = math.sqrt(float(a @ a) * float(b @ b))
    if scale == 0:
        return RankCorrelation(math.nan, math.nan)
    value = float(a @ b) / scale
    exact = len(x) <= _EXACT
    if exact:
        others = np.array(list(itertools.permutations(b)))
    else:
        others = np.random.default_rng(0).permuted(np.tile(b, (_RESAMPLES, 1)), axis=1)
    extreme = int((np.abs(others @ a) >= (abs(value) - 1e-12) * scale).sum())
    pvalue = extreme / len(others) if exact else (1 + extreme) / (1 + _RESAMPLES)
    return RankCorrelation(value, pvalue)


def chosen(candidates: Sequence[Candidate], found: Sequence[Evaluation]) -> Candidate:
    """The most accurate network; of equal ones the smallest."""
    ranked = zip(candidates, found, strict=True)
    return max(ranked, key=lambda pair: (pair[1].mean, -pair[0].parameters))[0]


def _candidate_record(candidate: Candidate) -> dict[str, Any]:
    return {
        "name": candidate.name,
        "network": asdict(candidate.network),
        "parameters": candidate.parameters,
        "on_set": _record(candidate.on_set),
        "on_all": _record(candidate.on_all),
    }


def _record(found: Evaluation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mean": found.mean,
        "std": found.std if found.n > 1 else None,
        "n": found.n,
        "last": list(found.last),
        "seconds": found.seconds,
    }

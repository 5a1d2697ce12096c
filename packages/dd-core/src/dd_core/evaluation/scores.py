"""LRS and ARS of DD-Ranking: scores that a teacher's labels and augmentation cannot lift.

Li et al. 2025, "DD-Ranking: Rethinking the Evaluation of Dataset Distillation" (arXiv 2505.13300).
Both compare a set with random real images that get the same help, so that what the help alone
achieves cancels. The formulas are the paper's, on accuracies as fractions. The trainings that they
need are run by `dd_core.evaluation.robustness`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dd_core._arguments import as_number
from dd_core.errors import SettingsError
from dd_core.evaluation.students import Evaluation

__all__ = ["RobustScores", "Score", "augmentation_robust_score", "label_robust_score"]


def label_robust_score(improvement: float, recovery: float, *, weight: float = 0.5) -> float:
    """LRS: how good a set is beyond what a teacher's labels do for any images.

    With alpha = weight * improvement - (1 - weight) * recovery, from -1 to 1, it is
    (e^alpha - e^-1) / (e - e^-1). It rises with the improvement and falls with the recovery gap. A
    set that is as good as random images, and as the whole data under hard labels (alpha = 0), has
    1 / (1 + e) = 0.269.

    Args:
        improvement: IOR: accuracy of students of the set, trained in the method's own way, less
            that of students of as many random real images, trained in the same way. Accuracies
            are fractions, so it is from -1 to 1.
        recovery: HLR ("hard label recovery"): accuracy of students of the whole training set less
            that of students of the set, both on plain labels; from -1 to 1. A gap: less is better.
        weight: w of the paper, from 0 to 1; its leaderboard takes 0.5.

    Returns:
        The score, from 0 to 1. The paper prints it times 100.

    Raises:
        SettingsError: An argument is out of its range, such as accuracies in percent.

    Example:
        >>> round(label_robust_score(0.20, 0.15), 3)  # 20 points over random, 15 below all data
        0.28
        >>> label_robust_score(1, -1), label_robust_score(-1, 1)
        (1.0, 0.0)
    """
    weight = _weight(weight)
    gap = _difference("recovery", recovery)
    return _normalized(weight * _difference("improvement", improvement) - (1 - weight) * gap)


def augmentation_robust_score(augmented: float, plain: float, *, weight: float = 0.5) -> float:
    """ARS: how good a set is beyond what augmentation does for any images.

    With beta = weight * augmented + (1 - weight) * plain it is (e^beta - e^-1) / (e - e^-1); it
    rises with both. A set that is as good as random images has 1 / (1 + e) = 0.269.

    Args:
        augmented: Accuracy of students of the set less that of students of random real images,
            both with augmentation; fractions, so from -1 to 1.
        plain: The same without augmentation.
        weight: gamma of the paper, from 0 to 1.

    Returns:
        The score, from 0 to 1. The paper prints it times 100.

    Raises:
        SettingsError: An argument is out of its range, such as accuracies in percent.

    Example:
        >>> round(augmentation_robust_score(0.20, 0.25), 3)
        0.376
    """
    weight = _weight(weight)
    bare = _difference("plain", plain)
    return _normalized(weight * _difference("augmented", augmented) + (1 - weight) * bare)


@dataclass(frozen=True, slots=True)
class Score:
    """A score and how sure it is, given the spread of the students.

    Attributes:
        value: From 0 to 1.
        argument: The weighted difference of accuracies that it is made of (alpha or beta), a
            fraction from -1 to 1.
        deviation: Standard error of the value; None where a part has one student only.
        interval: 95 %; None likewise.
    """

    value: float
    argument: float
    deviation: float | None
    interval: tuple[float, float] | None

    def as_record(self) -> dict[str, Any]:
        """What JSON can say."""
        return {
            "value": self.value,
            "argument": self.argument,
            "deviation": self.deviation,
            "interval": None if self.interval is None else list(self.interval),
        }


@dataclass(frozen=True)
class RobustScores:
    """The accuracies that both scores are made of, and the scores.

    Every part is an `Evaluation`, in percent. Students of one number in ``own``, ``hard`` and
    ``plain`` start from the same weights, and those in ``random`` and ``random_plain`` share
    weights and images; each number there has random images of its own.

    Attributes:
        own: The set, trained on as the settings say.
        hard: The set with plain labels; the same object as ``own`` where it has no others.
        plain: The set without augmentation; the same object where the settings have none.
        random: Random real images, trained on as ``own``.
        random_plain: The same images without augmentation.
        whole: The whole training set with plain labels: trained, or an accuracy in percent that
            was given, or None.
        random_labels: ``hard``, or ``teacher`` where the random images have soft labels.
        soft: Whether students of ``own`` learned from soft labels.
        random_images: Random images of each class, the stored images of the set's.

    Example:
        >>> def found(*last):
        ...     return Evaluation(last, last, tuple(((1.0, a),) for a in last), 1.0)
        >>> own, random = found(62.0, 64.0), found(43.0, 45.0)
        >>> plain, random_plain = found(55.0, 57.0), found(35.0, 37.0)
        >>> scores = RobustScores(own, own, plain, random, random_plain, whole=86.0)
        >>> round(100 * scores.improvement, 1), round(100 * scores.recovery, 1)
        (19.0, 23.0)
        >>> score = scores.label_robust()
        >>> f"{score.value:.3f} +- {score.deviation:.3f}"
        '0.261 +- 0.005'
    """

    own: Evaluation
    hard: Evaluation
    plain: Evaluation
    random: Evaluation
    random_plain: Evaluation
    whole: Evaluation | float | None = None
    random_labels: Literal["hard", "teacher"] = "hard"
    soft: bool = False
    random_images: tuple[int, ...] = ()

    @property
    def improvement(self) -> float:
        """IOR: over random images, trained on in the same way; a fraction."""
        return (self.own.mean - self.random.mean) / 100

    @property
    def recovery(self) -> float | None:
        """HLR: what the set lacks of the whole training set under plain labels; a fraction."""
        whole = self._whole_mean
        return None if whole is None else (whole - self.hard.mean) / 100

    @property
    def alike(self) -> bool:
        """Whether random images had labels of the same kind as the set's.

        Where not, the set's side alone has soft labels, with augmentation and without. Both
        differences to random images then hold what soft labels do, and both scores are too high
        by it. Settings with ``labels = "hard"`` compare plain labels (`dd-recipes evaluate
        --soft-labels ignore`).
        """
        return not self.soft or self.random_labels == "teacher"

    @property
    def seconds(self) -> float:
        """Time of all students, each training counted once."""
        parts = {id(part): part for part in self._parts.values() if isinstance(part, Evaluation)}
        return sum(part.seconds for part in parts.values())

    def label_robust(self, weight: float = 0.5) -> Score | None:
        """LRS with its uncertainty; None without an accuracy of the whole training set.

        See `label_robust_score`. The interval is Student's t of alpha, with the degrees of
        freedom of Welch and Satterthwaite, put through the score, which is monotone; the
        deviation is that of alpha times the score's slope. An accuracy of the whole training set
        that was given, or comes from one student, is taken as exact.
        """
        w, recovery = _weight(weight), self.recovery
        if recovery is None:
            return None
        value = label_robust_score(self.improvement, recovery, weight=w)
        spread = [
            [w * a + (1 - w) * b for a, b in zip(self.own.last, self.hard.last, strict=True)],
            [w * a for a in self.random.last],
        ]
        if isinstance(self.whole, Evaluation) and self.whole.n > 1:
            spread.append([(1 - w) * a for a in self.whole.last])
        return _score(value, w * self.improvement - (1 - w) * recovery, spread)

    def augmentation_robust(self, weight: float = 0.5) -> Score:
        """ARS with its uncertainty; see `augmentation_robust_score` and `label_robust`."""
        w = _weight(weight)
        bare = (self.plain.mean - self.random_plain.mean) / 100
        pairs = ((self.own, self.plain), (self.random, self.random_plain))
        spread = [
            [w * a + (1 - w) * b for a, b in zip(first.last, second.last, strict=True)]
            for first, second in pairs
        ]
        value = augmentation_robust_score(self.improvement, bare, weight=w)
        return _score(value, w * self.improvement + (1 - w) * bare, spread)

    def as_record(self) -> dict[str, Any]:
        """What JSON can say: scores and differences as fractions, accuracies in percent."""
        label = self.label_robust()
        return {
            "label_robust": None if label is None else label.as_record(),
            "augmentation_robust": self.augmentation_robust().as_record(),
            "weight": 0.5,
            "improvement": self.improvement,
            "recovery": self.recovery,
            "accuracies": {name: _summary(part) for name, part in self._parts.items()},
            "soft_labels": self.soft,
            "random_labels": self.random_labels,
            "labels_alike": self.alike,
            "random_images": list(self.random_images),
            "seconds": self.seconds,
        }

    @property
    def _whole_mean(self) -> float | None:
        return self.whole.mean if isinstance(self.whole, Evaluation) else self.whole

    @property
    def _parts(self) -> dict[str, Evaluation | float | None]:
        return {
            "own": self.own, "hard": self.hard, "plain": self.plain, "random": self.random,
            "random_plain": self.random_plain, "whole": self.whole,
        }  # fmt: skip


def _normalized(argument: float) -> float:
    """(e^a - e^-1) / (e - e^-1), multiplied by e above and below."""
    return math.expm1(argument + 1) / math.expm1(2)


def _score(value: float, argument: float, spread: Sequence[Sequence[float]]) -> Score:
    """A score whose argument is a sum of independent means of these values, in percent."""
    if min(map(len, spread)) < 2:
        return Score(value, argument, None, None)
    squares = [statistics.variance(values) / 1e4 / len(values) for values in spread]
    error = math.sqrt(sum(squares))
    half = 0.0
    if error > 0:
        from scipy.stats import t

        freedom = error**4 / sum(
            s**2 / (len(values) - 1) for s, values in zip(squares, spread, strict=True)
        )
        half = float(t.ppf(0.975, freedom)) * error
    low, high = max(-1.0, argument - half), min(1.0, argument + half)
    slope = math.exp(argument + 1) / math.expm1(2)
    return Score(value, argument, slope * error, (_normalized(low), _normalized(high)))


def _weight(value: float) -> float:
    weight = as_number("weight", value)
    if not 0 <= weight <= 1:
        raise SettingsError(f"weight is {value}; give a number from 0 to 1.")
    return weight


def _difference(name: str, value: float) -> float:
    difference = as_number(name, value)
    if not -1 <= difference <= 1:
        raise SettingsError(
            f"{name} is {value}; give a difference of accuracies as fractions, from -1 to 1 "
            "(percent divided by 100)."
        )
    return difference


def _summary(part: Evaluation | float | None) -> dict[str, Any] | None:
    if part is None:
        return None
    if not isinstance(part, Evaluation):
        return {"mean": part, "std": None, "n": 0, "interval": None, "last": [], "best": []}
    record = part.as_record()
    return {name: record[name] for name in ("mean", "std", "n", "interval", "last", "best")}

r"""A measured value against a published one, and a claimed difference against a measured one.

Means of independent students have standard deviations, so a difference has Welch's standard
error and interval (Welch 1947, Biometrika 34, 28-35):

.. math::
    d = \bar m - \bar p, \quad
    s^2 = \frac{s_m^2}{n_m} + \frac{s_p^2}{n_p}, \quad
    \nu = \frac{s^4}{\frac{s_m^4}{n_m^2 (n_m - 1)} + \frac{s_p^4}{n_p^2 (n_p - 1)}}, \quad
    d \pm t_{0.975, \nu}\, s .

Where the paper gives no deviation, its value is taken as exact: :math:`s_p = 0`,
:math:`\nu = n_m - 1`. Where it gives a deviation and not of how many students, the deviation is
taken as the error of its mean, the most that it can be: :math:`s_p^2` in the place of
:math:`s_p^2 / n_p`, and the last term under :math:`\nu` is zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dd_recipes.paper import PublishedValue, Sense, Unit

__all__ = [
    "TOLERANCE",
    "Sample",
    "Verdict",
    "interval_of_difference",
    "judge",
    "judge_claim",
    "not_run",
    "student_t_quantile",
    "why_no_interval",
]

TOLERANCE = 1.0
"""Percentage points. The authors' own re-evaluation of their released NCFM sets, with tuned
evaluation and the best epoch, differs from the paper by 0.5 to 1.0 in 6 of 9 cells."""

_MOST_DOF = 1e4  # the quantile is the normal distribution's to four digits
_SHARE = 0.1
"""Tolerance of seconds and gigabytes, as a share of the published value."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A mean over independent students.

    Attributes:
        mean: The mean.
        std: Standard deviation (n - 1); None where it is not known.
        n: Number of students; None where it is not known. The deviation then counts as the error
            of the mean.
    """

    mean: float
    std: float | None = None
    n: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison with a paper.

    Attributes:
        word: ``reproduced``, ``below``, ``above``, ``undecided``, ``not comparable`` or ``not
            run``; of a claim ``holds``, ``does not hold``, ``undecided`` or ``not measured``.
        difference: Measured minus published value, or one cell minus the other; None where
            nothing was measured.
        low: Lower end of the 95% interval of the difference; None where there is none.
        high: Upper end.
        text: The verdict as one sentence.
        reason: Why nothing can be compared, or nothing was measured; else empty.
    """

    word: str
    difference: float | None
    low: float | None
    high: float | None
    text: str
    reason: str = ""

    @property
    def label(self) -> str:
        """The word, with the reason where there is one.

        Example:
            >>> not_run("CIFAR-10 is missing").label
            'not run (CIFAR-10 is missing)'
        """
        return f"{self.word} ({self.reason})" if self.reason else self.word


def judge(
    mean: float,
    std: float | None,
    n: int,
    published: PublishedValue,
    *,
    budget: str = "full",
    reason: str = "",
) -> Verdict:
    """Compares a measured value with a published one.

    Of accuracies, ``above`` and ``below`` mean that the whole interval lies more than one point
    away; ``reproduced``, that the difference is at most one point and known to one point, which
    is half of its interval; otherwise ``undecided``.
    Seconds and gigabytes have no interval: ``reproduced`` is within a tenth of the published
    value.

    Args:
        mean: Measured mean, in the unit of ``published``.
        std: Measured standard deviation over the students.
        n: Number of students.
        published: The paper's value.
        budget: The budget of the run; another than ``full`` cannot be compared.
        reason: Why the two cannot be compared, if they cannot.

    Example:
        >>> from dd_recipes.paper import PublishedValue
        >>> paper = PublishedValue(49.5, "Table 1", 0.3, 10)
        >>> judge(49.6, 0.2, 5, paper).word
        'reproduced'
        >>> judge(40.0, 0.2, 5, paper, budget="cpu").label
        'not comparable (cpu budget)'
    """
    difference = mean - published.mean
    interval = None
    if published.unit == "%":
        paper = Sample(published.mean, published.std, published.n)
        interval = interval_of_difference(Sample(mean, std, n), paper)
    reason = _reason(published, budget, reason)
    tolerance = TOLERANCE if published.unit == "%" else _SHARE * published.mean
    word = "not comparable" if reason else _word(difference, interval, tolerance, published.unit)
    low, high = interval if interval is not None else (None, None)
    head = f"{word} ({reason})" if reason else word
    shown = _difference(difference, interval, published.unit, Sample(mean, std, n))
    return Verdict(word, difference, low, high, f"{head}: {shown}", reason)


def not_run(reason: str) -> Verdict:
    """The verdict on a cell that was not measured."""
    return Verdict("not run", None, None, None, f"not run: {reason}", reason)


def judge_claim(
    claimed: float,
    cell: Sample | None,
    against: Sample | None,
    *,
    unit: Unit = "%",
    sense: Sense = "at_least",
    reason: str = "",
) -> Verdict:
    """Compares a claimed difference with a measured one.

    A claim of ``at_least`` holds where the measured difference reaches the claimed one, less the
    tolerance, and its interval lies on the claimed side of zero; of ``at_most``, where it stays
    below the claimed one and the tolerance; of ``about``, where it is within the tolerance. It
    ``does not hold`` where the whole interval lies beyond. A claim of ``up_to`` holds as one of
    ``at_least``; else it is ``undecided``, for the largest gain may be that of another cell.

    Args:
        claimed: The claimed difference; for ``at_most`` positive.
        cell: What was measured of the cell; None where nothing was.
        against: What it is compared with.
        unit: Unit of all of them.
        sense: ``at_least``, ``up_to``, ``at_most`` or ``about``.
        reason: Why the two cannot be compared, if they cannot.

    Example:
        >>> judge_claim(14.0, Sample(52.0, 0.5, 5), Sample(38.0, 0.4, 5)).word
        'holds'
        >>> drop = judge_claim(5.7, Sample(60, 0.5, 5), Sample(40, 0.4, 5), sense="at_most")
        >>> drop.word
        'does not hold'
    """
    if cell is None or against is None:
        return Verdict("not measured", None, None, None, "not measured")
    difference = cell.mean - against.mean
    interval = interval_of_difference(cell, against) if unit == "%" else (difference, difference)
    tolerance = TOLERANCE if unit == "%" else _SHARE * abs(claimed)
    word = "not comparable"
    if not reason:
        word = _CLAIM_WORDS[sense](claimed, difference, interval, tolerance)
    low, high = interval if interval is not None else (None, None)
    shown = _difference(difference, interval, unit, cell, against)
    head = f"{word} ({reason})" if reason else word
    return Verdict(word, difference, low, high, f"{head}: {shown}", reason)


def interval_of_difference(ours: Sample, theirs: Sample) -> tuple[float, float] | None:
    """The 95% interval of a difference of means; a mean without a deviation is taken as exact.

    A deviation of unknown many students is taken as the error of its mean.

    Returns:
        Lower and upper end; None where a side that has a deviation has a single sample, neither
        has one, or all are zero: a few equal values do not say how far others would spread.

    Example:
        >>> low, high = interval_of_difference(Sample(3.0, 1.0, 4), Sample(1.0))
        >>> round(low, 2), round(high, 2)
        (0.41, 3.59)
    """
    known = [side for side in (ours, theirs) if side.std is not None]
    if not known or any(side.n is not None and side.n < 2 for side in known):
        return None
    errors = [_error(side) for side in known]
    return _interval(ours.mean - theirs.mean, errors) if any(each for each, _ in errors) else None


def why_no_interval(*sides: Sample) -> str:
    """Why `interval_of_difference` gave none.

    Example:
        >>> why_no_interval(Sample(3.0, 0.0, 1), Sample(1.0, 0.5, 4))
        'one student, no interval'
        >>> why_no_interval(Sample(3.0, 0.0, 3), Sample(1.0))
        'all students alike, no interval'
    """
    alike = all(side.n is None or side.n > 1 for side in sides if side.std is not None)
    return f"{'all students alike' if alike else 'one student'}, no interval"


def student_t_quantile(p: float, dof: float) -> float:
    r"""Quantile of Student's t distribution.

    With :math:`t = \sqrt\nu \tan\theta` the density is proportional to
    :math:`\cos^{\nu - 1}\theta`, smooth on a finite interval; it is summed on a fine grid.

    Args:
        p: Probability, from 0.5 up to but not including 1.
        dof: Degrees of freedom, at least 1.

    Example:
        >>> round(student_t_quantile(0.975, 4), 3)
        2.776
    """
    theta = np.linspace(0.0, math.pi / 2, 20001)
    density = np.cos(theta) ** (dof - 1)
    mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = np.interp(2 * p - 1, mass / mass[-1], theta)
    return math.sqrt(dof) * math.tan(float(angle))


def _error(side: Sample) -> tuple[float, float]:
    """Squared error of a mean, and one over its degrees of freedom."""
    assert side.std is not None
    if side.n is None:
        return side.std**2, 0.0
    return side.std**2 / side.n, 1 / (side.n - 1)


def _interval(difference: float, errors: list[tuple[float, float]]) -> tuple[float, float]:
    """Welch's interval from squared errors and one over their degrees of freedom."""
    squared = sum(error for error, _ in errors)
    spread = sum((error / squared) ** 2 * inverse for error, inverse in errors)
    dof = min(1 / spread, _MOST_DOF) if spread else _MOST_DOF
    half = student_t_quantile(0.975, dof) * math.sqrt(squared)
    return difference - half, difference + half


def _reason(published: PublishedValue, budget: str, reason: str) -> str:
    if budget != "full":
        return f"{budget} budget"
    return reason if published.comparable else published.note


def _word(
    difference: float, interval: tuple[float, float] | None, tolerance: float, unit: Unit
) -> str:
    if unit != "%":
        interval = (difference, difference)
    if interval is None:
        return "undecided"
    if interval[1] < -tolerance:
        return "below"
    if interval[0] > tolerance:
        return "above"
    known = interval[1] - interval[0] <= 2 * tolerance
    return "reproduced" if known and abs(difference) <= tolerance else "undecided"


def _at_least(
    claimed: float, difference: float, interval: tuple[float, float] | None, tolerance: float
) -> str:
    if interval is None:
        return "undecided"
    side = 1.0 if claimed >= 0 else -1.0
    low, high = sorted(side * end for end in interval)
    wanted = abs(claimed) - tolerance
    if high < wanted:
        return "does not hold"
    return "holds" if side * difference >= wanted and low > 0 else "undecided"


def _up_to(
    claimed: float, difference: float, interval: tuple[float, float] | None, tolerance: float
) -> str:
    word = _at_least(claimed, difference, interval, tolerance)
    return word if word == "holds" else "undecided"


def _at_most(
    claimed: float, difference: float, interval: tuple[float, float] | None, tolerance: float
) -> str:
    if interval is None:
        return "undecided"
    if interval[0] > claimed + tolerance:
        return "does not hold"
    return "holds" if difference <= claimed + tolerance else "undecided"


def _about(
    claimed: float, difference: float, interval: tuple[float, float] | None, tolerance: float
) -> str:
    if interval is None:
        return "undecided"
    low, high = claimed - tolerance, claimed + tolerance
    if interval[1] < low or interval[0] > high:
        return "does not hold"
    return "holds" if low <= difference <= high else "undecided"


_CLAIM_WORDS = {"at_least": _at_least, "up_to": _up_to, "at_most": _at_most, "about": _about}


def _difference(
    difference: float, interval: tuple[float, float] | None, unit: Unit, *sides: Sample
) -> str:
    if unit != "%":
        return f"{difference:+.3g} {unit}"
    if interval is None:
        return f"{difference:+.1f} points ({why_no_interval(*sides)})"
    low, high = interval
    return f"{difference:+.1f} points (95% interval {low:+.1f} to {high:+.1f})"

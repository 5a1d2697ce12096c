r"""A measured accuracy against a published one.

Both are means of independent students with their standard deviations, so the difference has
Welch's standard error and interval (Welch 1947, Biometrika 34, 28-35):

.. math::
    d = \bar m - \bar p, \quad
    s^2 = \frac{s_m^2}{n_m} + \frac{s_p^2}{n_p}, \quad
    \nu = \frac{s^4}{\frac{s_m^4}{n_m^2 (n_m - 1)} + \frac{s_p^4}{n_p^2 (n_p - 1)}}, \quad
    d \pm t_{0.975, \nu}\, s .
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dd_recipes.paper import PublishedValue

__all__ = ["TOLERANCE", "Verdict", "judge", "student_t_quantile"]

TOLERANCE = 1.0
"""Percentage points. The authors' own re-evaluation of their released NCFM sets, with tuned
evaluation and the best epoch, differs from the paper by 0.5 to 1.0 in 6 of 9 cells."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A comparison with a paper.

    Attributes:
        word: ``reproduced``, ``below``, ``above``, ``undecided`` or ``not comparable``.
        difference: Measured minus published mean, in percentage points.
        low: Lower end of the 95% interval of the difference (None with a single student).
        high: Upper end.
        text: The verdict as one sentence.
    """

    word: str
    difference: float
    low: float | None
    high: float | None
    text: str


def judge(mean: float, std: float, n: int, published: PublishedValue) -> Verdict:
    """Compares a measured accuracy with a published one.

    ``above`` and ``below`` mean that the whole interval lies more than one point away;
    ``reproduced``, that the difference is at most one point; otherwise ``undecided``.

    Args:
        mean: Measured mean accuracy in percent.
        std: Measured standard deviation over the students, in percentage points.
        n: Number of students.
        published: The paper's value.

    Example:
        >>> from dd_recipes.paper import PublishedValue
        >>> judge(49.6, 0.2, 5, PublishedValue(49.5, 0.3, 10, "Table 1")).word
        'reproduced'
    """
    difference = mean - published.mean
    interval = welch_interval(mean, std, n, published.mean, published.std, published.n)
    word = "not comparable" if not published.comparable else _word(difference, interval)
    shown = "one student, no interval"
    if interval is not None:
        shown = f"95% interval {interval[0]:+.1f} to {interval[1]:+.1f}"
    text = f"{word}: {difference:+.1f} points ({shown})"
    if not published.comparable:
        text = f"{word}: {published.note}"
    low, high = interval if interval is not None else (None, None)
    return Verdict(word, difference, low, high, text)


def welch_interval(
    mean: float, std: float, n: int, other_mean: float, other_std: float, other_n: int
) -> tuple[float, float] | None:
    """The 95% interval of a difference of means; None where one has a single sample.

    Example:
        >>> low, high = welch_interval(3.0, 1.0, 10, 1.0, 1.0, 10)
        >>> round(low, 2), round(high, 2)
        (1.06, 2.94)
    """
    if n < 2 or other_n < 2:
        return None
    ours, theirs = std**2 / n, other_std**2 / other_n
    difference = mean - other_mean
    if ours + theirs == 0:
        return difference, difference
    dof = (ours + theirs) ** 2 / (ours**2 / (n - 1) + theirs**2 / (other_n - 1))
    half = student_t_quantile(0.975, dof) * math.sqrt(ours + theirs)
    return difference - half, difference + half


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


def _word(difference: float, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return "undecided"
    if interval[1] < -TOLERANCE:
        return "below"
    if interval[0] > TOLERANCE:
        return "above"
    return "reproduced" if abs(difference) <= TOLERANCE else "undecided"

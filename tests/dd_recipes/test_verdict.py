from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dd_recipes.paper import PublishedValue
from dd_recipes.verdict import judge, student_t_quantile, welch_interval

PAPER = PublishedValue(49.5, 0.3, 10, "Table 1")


# Two-sided 95% values of Student's t as every statistics book prints them.
@pytest.mark.parametrize(
    ("dof", "quantile"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (120, 1.980)],
)
def test_t_quantiles_are_the_printed_ones(dof: int, quantile: float) -> None:
    assert student_t_quantile(0.975, dof) == pytest.approx(quantile, abs=6e-4)


@given(st.floats(1, 200), st.floats(0.55, 0.99))
def test_t_quantile_inverts_the_distribution(dof: float, p: float) -> None:
    # P(T <= t) - 1/2 is the integral of the density from 0 to t.
    t = np.linspace(0, student_t_quantile(p, dof), 4001)
    constant = math.exp(math.lgamma((dof + 1) / 2) - math.lgamma(dof / 2))
    density = constant / math.sqrt(dof * math.pi) * (1 + t**2 / dof) ** (-(dof + 1) / 2)
    integral = float(((density[1:] + density[:-1]) / 2 * np.diff(t)).sum())
    assert integral == pytest.approx(p - 0.5, abs=1e-4)


def test_equal_sizes_and_deviations_give_students_interval() -> None:
    # With n = m and equal deviations Welch's degrees of freedom are 2n - 2 (= 18 here).
    low, high = welch_interval(3.0, 1.0, 10, 1.0, 1.0, 10) or (0, 0)
    half = 2.101 * math.sqrt(2 / 10)
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-3)


@given(
    st.floats(0, 100), st.floats(0.01, 9), st.integers(2, 20),
    st.floats(0, 100), st.floats(0.01, 9), st.integers(2, 20),
)  # fmt: skip
def test_interval_is_antisymmetric(
    a: float, sa: float, n: int, b: float, sb: float, m: int
) -> None:
    low, high = welch_interval(a, sa, n, b, sb, m) or (0, 0)
    other_low, other_high = welch_interval(b, sb, m, a, sa, n) or (0, 0)
    assert (low, high) == pytest.approx((-other_high, -other_low))
    assert low <= a - b <= high


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    trials, covered = 2000, 0
    for _ in range(trials):
        x, y = rng.normal(50, 1.0, 5), rng.normal(49, 0.3, 10)
        low, high = welch_interval(
            x.mean(), x.std(ddof=1), 5, y.mean(), y.std(ddof=1), 10
        ) or (0, 0)  # fmt: skip
        covered += low <= 1.0 <= high
    # Four standard deviations of a binomial proportion of 0.95 with 2000 trials are 0.0195.
    assert covered / trials == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("mean", "std", "n", "word"),
    [(49.65, 0.2, 3, "reproduced"), (46.4, 0.4, 5, "below"), (52.0, 0.4, 5, "above"),
     (48.0, 1.5, 3, "undecided"), (49.5, 0.0, 1, "undecided"), (49.5, 0.0, 5, "reproduced")],
)  # fmt: skip
def test_words(mean: float, std: float, n: int, word: str) -> None:
    verdict = judge(mean, std, n, PAPER)
    assert verdict.word == word
    assert verdict.text.startswith(word)


def test_not_comparable_says_why() -> None:
    paper = PublishedValue(71.8, 0.3, 10, "Table 1", "1500 of 20000 iterations", comparable=False)
    verdict = judge(63.3, 0.4, 3, paper)
    assert verdict.text == "not comparable: 1500 of 20000 iterations"
    assert verdict.difference == pytest.approx(-8.5)


def test_without_any_deviation_the_interval_is_a_point() -> None:
    assert welch_interval(3.0, 0.0, 2, 1.0, 0.0, 2) == (2.0, 2.0)
    assert welch_interval(3.0, 0.0, 1, 1.0, 0.0, 2) is None

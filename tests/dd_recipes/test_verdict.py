from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dd_recipes.paper import PublishedValue, Sense
from dd_recipes.verdict import (
    Sample,
    interval_of_difference,
    judge,
    judge_claim,
    not_run,
    student_t_quantile,
)


def welch(
    mean: float, std: float, n: int, other_mean: float, other_std: float, other_n: int
) -> tuple[float, float]:
    interval = interval_of_difference(Sample(mean, std, n), Sample(other_mean, other_std, other_n))
    assert interval is not None
    return interval


PAPER = PublishedValue(49.5, "Table 1", 0.3, 10)


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
    low, high = welch(3.0, 1.0, 10, 1.0, 1.0, 10)
    half = 2.101 * math.sqrt(2 / 10)
    assert (low, high) == pytest.approx((2 - half, 2 + half), abs=1e-3)


@given(
    st.floats(0, 100), st.floats(0.01, 9), st.integers(2, 20),
    st.floats(0, 100), st.floats(0.01, 9), st.integers(2, 20),
)  # fmt: skip
def test_interval_is_antisymmetric(
    a: float, sa: float, n: int, b: float, sb: float, m: int
) -> None:
    low, high = welch(a, sa, n, b, sb, m)
    other_low, other_high = welch(b, sb, m, a, sa, n)
    assert (low, high) == pytest.approx((-other_high, -other_low))
    assert low <= a - b <= high


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    trials, covered = 2000, 0
    for _ in range(trials):
        x, y = rng.normal(50, 1.0, 5), rng.normal(49, 0.3, 10)
        low, high = welch(
            x.mean(), x.std(ddof=1), 5, y.mean(), y.std(ddof=1), 10
        )  # fmt: skip
        covered += low <= 1.0 <= high
    # Four standard deviations of a binomial proportion of 0.95 with 2000 trials are 0.0195.
    assert covered / trials == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(
    ("mean", "std", "n", "word"),
    [(49.65, 0.2, 3, "reproduced"), (46.4, 0.4, 5, "below"), (52.0, 0.4, 5, "above"),
     (48.0, 1.5, 3, "undecided"), (49.5, 0.0, 1, "undecided"), (49.5, 0.0, 5, "reproduced"),
     (49.5, 1.5, 3, "undecided")],
)  # fmt: skip
def test_words(mean: float, std: float, n: int, word: str) -> None:
    verdict = judge(mean, std, n, PAPER)
    assert verdict.word == word
    assert verdict.text.startswith(word)


def test_not_comparable_says_why_and_shows_the_difference() -> None:
    paper = PublishedValue(
        71.8, "Table 1", 0.3, 10, note="1500 of 20000 iterations", comparable=False
    )
    verdict = judge(63.3, 0.4, 3, paper)
    assert verdict.word == "not comparable"
    assert verdict.label == "not comparable (1500 of 20000 iterations)"
    assert verdict.text.startswith(f"{verdict.label}: -8.5 points (95% interval -9.")
    assert verdict.difference == pytest.approx(-8.5)
    assert verdict.low is not None and verdict.low < -8.5


@pytest.mark.parametrize("budget", ["cpu", "smoke"])
def test_a_small_budget_is_not_compared(budget: str) -> None:
    verdict = judge(49.5, 0.2, 5, PAPER, budget=budget)
    assert verdict.label == f"not comparable ({budget} budget)"
    assert "+0.0 points (95% interval" in verdict.text


def test_without_a_published_deviation_the_interval_uses_ours_alone() -> None:
    paper = PublishedValue(49.5, "Figure 3")
    verdict = judge(49.6, 0.2, 5, paper)
    assert verdict.word == "reproduced"
    half = 2.776 * 0.2 / math.sqrt(5)
    assert (verdict.low, verdict.high) == pytest.approx((0.1 - half, 0.1 + half), abs=1e-3)
    assert judge(49.6, 0.0, 1, paper).word == "undecided"
    assert judge(49.6, 0.2, 5, PublishedValue(49.5, "Figure 3", n=10)) == verdict


def test_a_deviation_of_unknown_many_students_is_the_error_of_the_mean() -> None:
    paper = PublishedValue(26.0, "Table 1", 0.8)
    assert paper.text == "26.0 ± 0.8"
    verdict = judge(27.4, 0.5, 10, paper)
    # The limit of Welch's interval for ever more students with the same error of the mean.
    limit = welch(27.4, 0.5, 10, 26.0, 0.8 * math.sqrt(1e6), 10**6)
    assert (verdict.low, verdict.high) == pytest.approx(limit, abs=1e-3)
    assert verdict.word == "undecided"  # it would be "above" a value without a deviation
    assert judge(27.4, 0.5, 10, PublishedValue(26.0, "Table 1")).word == "above"
    for n in (2, 5, 10):
        known = judge(27.4, 0.5, 10, PublishedValue(26.0, "Table 1", 0.8, n))
        assert n == 2 or (known.low or 0) >= (verdict.low or 0)


@pytest.mark.parametrize(
    ("mean", "word"), [(1.05, "reproduced"), (0.95, "reproduced"), (1.5, "above"), (0.5, "below")]
)
@pytest.mark.parametrize("unit", ["s", "GB"])
def test_seconds_and_memory_are_compared_by_a_tenth(mean: float, word: str, unit: str) -> None:
    paper = PublishedValue(1.0, "Table 5", unit=unit)  # type: ignore[arg-type]
    verdict = judge(mean, 0.0, 1, paper)
    assert verdict.word == word
    assert verdict.text == f"{word}: {mean - 1:+.3g} {unit}"
    assert judge(mean, 0.0, 1, paper, reason="another GPU").label == "not comparable (another GPU)"


def test_what_was_not_run_has_no_difference() -> None:
    verdict = not_run("CIFAR-10 is missing")
    assert (verdict.word, verdict.difference) == ("not run", None)
    assert verdict.text == "not run: CIFAR-10 is missing"


@pytest.mark.parametrize(
    ("mean", "std", "n", "against", "word"),
    [
        (52.0, 0.5, 5, Sample(38.0, 0.5, 5), "holds"),
        (59.0, 0.5, 5, Sample(38.0, 0.5, 5), "holds"),  # more is as good
        (51.2, 0.5, 5, Sample(38.0), "holds"),  # within the tolerance
        (45.0, 0.5, 5, Sample(38.0, 0.5, 5), "does not hold"),
        (30.0, 0.5, 5, Sample(38.0, 0.5, 5), "does not hold"),
        (50.0, 9.0, 3, Sample(38.0, 9.0, 3), "undecided"),
        (52.0, 0.0, 1, Sample(38.0, 0.5, 5), "undecided"),
    ],
)
def test_claims(mean: float, std: float, n: int, against: Sample, word: str) -> None:
    verdict = judge_claim(14.0, Sample(mean, std, n), against)
    assert verdict.word == word
    assert verdict.difference == pytest.approx(mean - against.mean)
    assert verdict.text.startswith(f"{word}: {mean - against.mean:+.1f} points")


def test_claims_of_less_and_claims_without_measurements() -> None:
    assert judge_claim(-0.5, Sample(0.4), Sample(1.0), unit="s").word == "holds"
    assert judge_claim(-0.5, Sample(0.9), Sample(1.0), unit="s").word == "does not hold"
    assert judge_claim(-5.0, Sample(10.0, 0.1, 5), Sample(16.0, 0.1, 5)).word == "holds"
    for cell, against in ((None, Sample(1.0)), (Sample(1.0), None)):
        assert judge_claim(1.0, cell, against).word == "not measured"


def test_a_smaller_gain_does_not_refute_a_largest_one() -> None:
    over = Sample(48.8, 0.4, 5)
    assert judge_claim(4.1, Sample(49.5, 0.4, 5), over).word == "does not hold"
    assert judge_claim(4.1, Sample(49.5, 0.4, 5), over, sense="up_to").word == "undecided"
    assert judge_claim(4.1, Sample(53.0, 0.4, 5), over, sense="up_to").word == "holds"


MEANS, STDS, SIZES = st.floats(0, 100), st.floats(0.01, 9), st.integers(2, 20)
SAMPLES = (
    st.builds(Sample, MEANS, STDS, SIZES)
    | st.builds(Sample, MEANS)
    | st.builds(Sample, MEANS, STDS)
)


@given(SAMPLES, SAMPLES)
def test_the_interval_of_a_difference_is_antisymmetric_and_holds_it(a: Sample, b: Sample) -> None:
    found, mirrored = interval_of_difference(a, b), interval_of_difference(b, a)
    assert (found is None) == (a.std is None and b.std is None) == (mirrored is None)
    if found is not None and mirrored is not None:
        assert found == pytest.approx((-mirrored[1], -mirrored[0]))
        assert found[0] <= a.mean - b.mean <= found[1]


@given(MEANS, STDS, SIZES, MEANS)
def test_a_word_agrees_with_its_interval(mean: float, std: float, n: int, published: float) -> None:
    verdict = judge(mean, std, n, PublishedValue(published, "Table 1", 0.3, 10))
    assert verdict.low is not None and verdict.high is not None and verdict.difference is not None
    if verdict.word == "below":
        assert verdict.high < -1
    elif verdict.word == "above":
        assert verdict.low > 1
    elif verdict.word == "reproduced":
        assert abs(verdict.difference) <= 1 and verdict.high - verdict.low <= 2
    else:
        assert abs(verdict.difference) > 1 or verdict.high - verdict.low > 2
        assert verdict.low <= 1 and verdict.high >= -1


@given(MEANS, STDS, SIZES, st.floats(-50, 50), st.floats(0, 20))
def test_more_in_the_claimed_direction_is_never_worse(
    mean: float, std: float, n: int, claimed: float, more: float
) -> None:
    order = ("does not hold", "undecided", "holds")
    side = 1.0 if claimed >= 0 else -1.0
    against = Sample(50.0, 0.5, 10)
    first = judge_claim(claimed, Sample(mean, std, n), against).word
    second = judge_claim(claimed, Sample(mean + side * more, std, n), against).word
    assert order.index(second) >= order.index(first)


@pytest.mark.parametrize(
    ("sense", "drop", "word"),
    [
        ("at_least", 20.0, "holds"), ("at_least", 2.0, "does not hold"),
        ("at_most", 20.0, "does not hold"), ("at_most", 2.0, "holds"), ("at_most", 6.5, "holds"),
        ("about", 20.0, "does not hold"), ("about", 2.0, "does not hold"),
        ("about", 5.0, "holds"),
    ],
)  # fmt: skip
def test_a_claim_has_a_sense(sense: Sense, drop: float, word: str) -> None:
    high, low = Sample(60.0, 0.3, 10), Sample(60.0 - drop, 0.3, 10)
    assert judge_claim(5.7, high, low, sense=sense).word == word


def test_a_claim_that_cannot_be_judged_says_why() -> None:
    verdict = judge_claim(5.7, Sample(60.0, 0.3, 5), Sample(50.0, 0.3, 5), reason="smoke budget")
    assert verdict.label == "not comparable (smoke budget)"
    assert verdict.difference == 10.0


@pytest.mark.parametrize("n", [2, 5])
def test_students_that_are_all_alike_give_no_interval(n: int) -> None:
    """A few equal values, as of a small test set, do not say that all others would be equal."""
    exact = PublishedValue(50.0, "Table 1")
    verdict = judge(50.0, 0.0, n, exact)
    assert (verdict.word, verdict.low, verdict.high) == ("undecided", None, None)
    assert verdict.text.endswith("+0.0 points (all students alike, no interval)")
    claim = judge_claim(5.0, Sample(60.0, 0.0, n), Sample(40.0, 0.0, n))
    assert (claim.word, claim.low) == ("undecided", None)
    one = judge_claim(5.0, Sample(60.0, 0.0, 1), Sample(40.0, 0.5, n))
    assert one.text.endswith("(one student, no interval)")
    assert judge_claim(5.0, Sample(60.0, 0.0, n), Sample(40.0, 0.5, n)).word == "holds"

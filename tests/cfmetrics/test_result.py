"""The result of a test: unpacking, text, copies, and the interval of its p-value."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from scipy import stats

from cfmetrics import TestResult, cf_2samp, energy_2samp, scf_2samp

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(40, 2)), rng.normal(loc=0.4, size=(30, 2))


def result_with(reached, draws, method="permutation"):
    """A result in which `reached` of `draws` random statistics reach the observed one."""
    null = np.concatenate([np.ones(reached), np.zeros(draws - reached)])
    return TestResult(
        statistic=0.5,
        pvalue=(reached + 1) / (draws + 1),
        test="test",
        method=method,
        n=9,
        m=8,
        n_features=2,
        null_distribution=null,
    )


def test_unpacks_like_the_results_of_scipy():
    result = energy_2samp(X, Y, rng=1)
    statistic, pvalue = result
    assert statistic == result.statistic
    assert pvalue == result.pvalue
    assert type(statistic) is type(pvalue) is float


def test_says_what_it_is():
    result = energy_2samp(X, Y, n_resamples=99, rng=1)
    assert repr(result) == (
        f"TestResult(test='energy_2samp', statistic={result.statistic:.6g}, "
        f"pvalue={result.pvalue:.4g}, method='permutation', null_distribution=<99 values>, "
        f"n=40, m=30, n_features=2)"
    )
    asymptotic = scf_2samp(X, Y, rng=1)
    assert "null_distribution" not in repr(asymptotic)
    assert "method='asymptotic'" in repr(asymptotic)


@pytest.mark.parametrize(
    "twin", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))]
)
def test_copies_hold_the_same(twin):
    result = cf_2samp(X, Y, n_resamples=99, rng=1)
    other = twin(result)
    assert other == result
    np.testing.assert_array_equal(other.null_distribution, result.null_distribution)
    np.testing.assert_array_equal(other.details["frequencies"], result.details["frequencies"])


def test_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        result_with(3, 9).pvalue = 0.01


def test_results_differ_by_what_they_say():
    assert result_with(3, 9) == result_with(3, 9)
    assert result_with(3, 9) != result_with(4, 9)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("reached", "draws"), [(0, 99), (3, 99), (99, 99), (1, 1), (50, 999)])
def test_the_interval_is_that_of_clopper_and_pearson(reached, draws, level):
    expected = stats.binomtest(reached, draws).proportion_ci(level, method="exact")
    found = result_with(reached, draws).confidence_interval(level)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_more_resamples_narrow_the_interval_around_the_p_value_of_all():
    x, y = np.array([0.1, 0.4, 0.9, 1.3, 2.0, 2.2]), np.array([0.3, 1.1, 2.4, 2.9, 3.1, 3.3])
    exact = energy_2samp(x, y)
    assert exact.method == "exact"
    widths = []
    for n_resamples in (40, 200, 800):
        low, high = energy_2samp(x, y, n_resamples=n_resamples, rng=3).confidence_interval(0.999)
        assert low <= exact.pvalue <= high
        widths.append(high - low)
    assert widths == sorted(widths, reverse=True)


def test_without_random_draws_the_interval_is_a_point():
    for result in (result_with(3, 9, method="exact"), scf_2samp(X, Y, rng=0)):
        assert result.confidence_interval() == (result.pvalue, result.pvalue)


@pytest.mark.parametrize(
    ("level", "error"),
    [(0, ValueError), (1, ValueError), (95, ValueError), (-0.5, ValueError), ("0.95", TypeError)],
)
def test_the_level_of_the_interval_is_checked(level, error):
    with pytest.raises(error, match="confidence_level is"):
        result_with(3, 9).confidence_interval(level)


def test_pytest_does_not_take_it_for_a_test():
    assert TestResult.__test__ is False

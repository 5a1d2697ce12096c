"""The Wald test of cos/sin features: SciPy's test, closed forms, and moments from chunks."""

import math

import array_api_compat.numpy as xp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics.two_sample import asymptotic
from cfmetrics.two_sample.asymptotic import feature_moments, merge_moments, wald_test

law = settings(deadline=None, max_examples=40, derandomize=True)

LAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "poisson": lambda rng, n: rng.poisson(5, n).astype(float),
    "far": lambda rng, n: rng.normal(1e6, 3, size=n),
}


def mean_and_covariance(x, t):
    """Moments of the features of `x`, as wald_test takes them."""
    n, mean, scatter = feature_moments(xp, x.reshape(len(x), -1), t, covariance=True)
    return mean, scatter / n, n


def epps_singleton(x, y, t=(0.4, 0.8), **options):
    semi_range = scipy.stats.iqr(np.concatenate([x, y])) / 2
    scaled = np.array(t)[:, None] / semi_range
    return wald_test(*mean_and_covariance(x, scaled), *mean_and_covariance(y, scaled), **options)


@pytest.mark.parametrize("draw", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(
    ("n", "m"), [(5, 5), (5, 24), (24, 24), (24, 25), (25, 7), (100, 30), (2000, 3000)]
)
@pytest.mark.parametrize("t", [(0.4, 0.8), (0.3,), (0.2, 0.5, 1.1)])
def test_epps_singleton_of_scipy(draw, n, m, t):
    if len(t) == 3:  # Six features of five observations would have no inverse covariance.
        n, m = n + 19, m + 19
    rng = np.random.default_rng([n, m])
    x, y = draw(rng, n), draw(rng, m)
    expected = scipy.stats.epps_singleton_2samp(x, y, t=t)
    statistic, degrees_of_freedom, pvalue = epps_singleton(x, y, t)
    assert degrees_of_freedom == 2 * len(t)
    # The condition number of the covariance is about 1e7 for three t.
    rtol = 1e-6 if len(t) == 3 else 1e-9
    np.testing.assert_allclose([statistic, pvalue], expected, rtol=rtol)


def test_the_correction_for_small_samples_is_a_factor():
    x, y = (np.random.default_rng(seed).normal(size=n) for seed, n in ((0, 20), (1, 24)))
    with_it, without = epps_singleton(x, y), epps_singleton(x, y, small_sample_correction=False)
    factor = 1 / (1 + 44**-0.45 + 10.1 * (20**-1.7 + 24**-1.7))
    np.testing.assert_allclose(with_it.statistic, factor * without.statistic)


@pytest.mark.parametrize("n", [60, 100_000])
@pytest.mark.parametrize("t", [[0.7], [0.4, 0.8], [0.4, 0.4, 0.8, 3.0]])
def test_zeros_and_ones_give_the_test_of_two_shares(n, t):
    # All features are functions of one another, so the rank is 1 whatever the frequencies.
    rng = np.random.default_rng(2)
    x, y = (rng.random(n) < 0.5).astype(float), (rng.random(n // 2) < 0.6).astype(float)
    p, q = x.mean(), y.mean()
    moments = [mean_and_covariance(s, np.array(t)[:, None]) for s in (x, y)]
    statistic, degrees_of_freedom, pvalue = wald_test(*moments[0], *moments[1])
    expected = (p - q) ** 2 / (p * (1 - p) / len(x) + q * (1 - q) / len(y))
    np.testing.assert_allclose(statistic, expected, rtol=1e-9)
    assert degrees_of_freedom == 1
    np.testing.assert_allclose(pvalue, math.erfc(math.sqrt(expected / 2)), rtol=1e-8)


def test_one_feature_is_the_t_test():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=30), rng.normal(0.4, size=50)
    moments = [(np.array([s.mean()]), np.array([[s.var()]]), len(s)) for s in (x, y)]
    t, p = scipy.stats.ttest_ind(x, y)
    pooled = wald_test(*moments[0], *moments[1], form="hotelling")
    np.testing.assert_allclose(pooled, [t**2, 1, p])
    apart = wald_test(*moments[0], *moments[1])
    z = (x.mean() - y.mean()) ** 2 / (x.var() / 30 + y.var() / 50)
    np.testing.assert_allclose(apart, [z, 1, scipy.stats.chi2.sf(z, 1)])


@pytest.mark.parametrize("form", ["epps_singleton", "hotelling"])
def test_a_linear_map_of_the_features_changes_nothing(form):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(30, 3)) + 0.3
    transform = rng.normal(size=(3, 3)) @ np.diag([1e-6, 1.0, 1e5])

    def moments(s):
        return s.mean(axis=0), np.cov(s.T, bias=True), len(s)

    before = wald_test(*moments(x), *moments(y), form=form)
    after = wald_test(*moments(x @ transform), *moments(y @ transform), form=form)
    np.testing.assert_allclose(after, before, rtol=1e-6)


@pytest.mark.parametrize("form", ["epps_singleton", "hotelling"])
@pytest.mark.parametrize("values", [(3.0, 3.0), (3.0, 5.0), (1e8, 1e8)])
@pytest.mark.parametrize("n", [10, 300_000])
def test_constants_have_rank_zero(form, values, n):
    t = np.array([[0.4], [0.8]])
    moments = [mean_and_covariance(np.full(n, v), t) for v in values]
    assert wald_test(*moments[0], *moments[1], form=form) == (0, 0, 1)


@pytest.mark.parametrize("form", ["epps_singleton", "hotelling"])
def test_equal_samples_have_statistic_zero(form):
    x = np.random.default_rng(5).normal(size=40)
    moments = mean_and_covariance(x, np.array([[0.4], [0.8]]))
    assert wald_test(*moments, *moments, form=form) == (0, 4, 1)


@pytest.mark.parametrize("form", ["epps_singleton", "hotelling"])
def test_the_pvalue_is_never_zero(form):
    x = np.random.default_rng(6).normal(size=5000)
    t = np.array([[0.4], [0.8]])
    result = wald_test(*mean_and_covariance(x, t), *mean_and_covariance(x + 9, t), form=form)
    assert 0 < result.pvalue < 1e-300


@pytest.mark.parametrize(
    ("form", "n", "m", "frequencies"),
    [("hotelling", 60, 60, 10), ("hotelling", 60, 300, 10), ("epps_singleton", 500, 500, 2)],
)
def test_level(form, n, m, frequencies):
    rng = np.random.default_rng(7)
    t = rng.normal(size=(frequencies, 3))
    repetitions, rejected = 600, 0
    for _ in range(repetitions):
        x, y = (mean_and_covariance(rng.normal(size=(k, 3)), t) for k in (n, m))
        rejected += wald_test(*x, *y, form=form).pvalue <= 0.05
    # The upper end of the 99.9% binomial interval around 0.06, the size that is granted.
    assert rejected <= scipy.stats.binom.ppf(0.999, repetitions, 0.06)
    assert rejected >= scipy.stats.binom.ppf(0.001, repetitions, 0.03)


def test_separate_covariances_take_the_smaller_sample_too_seriously():
    # Why "hotelling" exists: the numbers of the docstring.
    rng = np.random.default_rng(8)
    t = rng.normal(size=(10, 3)) / np.sqrt(3)
    moments = [
        [mean_and_covariance(rng.normal(size=(k, 3)), t) for k in (60, 600)] for _ in range(100)
    ]
    shares = [
        np.mean([wald_test(*x, *y, form=form).pvalue <= 0.05 for x, y in moments])
        for form in ("epps_singleton", "hotelling")
    ]
    assert shares[0] > 0.4
    assert shares[1] < 0.2


samples = hnp.arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.just(2)),
    elements=st.floats(-4, 4, allow_subnormal=False),
)
T = np.random.default_rng(9).normal(size=(3, 2))


def moments_of(x):
    return feature_moments(xp, x, T, covariance=True)


def assert_same(a, b):
    assert a.n == b.n
    np.testing.assert_allclose(a.mean, b.mean, atol=1e-14)
    np.testing.assert_allclose(a.scatter, b.scatter, atol=1e-13)


@law
@given(samples, samples, samples)
def test_moments_of_pieces_are_those_of_the_whole(x, y, z):
    left = merge_moments(merge_moments(moments_of(x), moments_of(y)), moments_of(z))
    right = merge_moments(moments_of(z), merge_moments(moments_of(y), moments_of(x)))
    assert_same(left, moments_of(np.concatenate([x, y, z])))
    assert_same(left, right)


def test_moments_are_the_mean_and_the_covariance(monkeypatch):
    rng = np.random.default_rng(10)
    x = rng.normal(size=(5000, 2))
    z = np.concatenate([np.cos(x @ T.T), np.sin(x @ T.T)], axis=1)
    for rows in (4, 1000):
        monkeypatch.setattr(asymptotic, "_CPU_CHUNK_BYTES", 0)
        monkeypatch.setattr(asymptotic, "_COVARIANCE_ROWS", rows)
        n, mean, scatter = moments_of(x)
        np.testing.assert_allclose(mean, z.mean(axis=0), atol=1e-15)
        np.testing.assert_allclose(scatter / n, np.cov(z.T, bias=True), atol=1e-14)
    without = feature_moments(xp, x, T, covariance=False)
    assert without.scatter is None
    np.testing.assert_allclose(without.mean, mean, atol=1e-14)


def test_a_tiny_variance_beside_a_large_mean_keeps_its_digits():
    # cos(u) = 1 - u^2/2 with u near 1e-4: E[z^2] - E[z]^2 would keep no digit of 1e-17.
    rng = np.random.default_rng(11)
    x = rng.normal(size=(20_000, 1)) * 1e-4
    n, _, scatter = feature_moments(xp, x, np.ones((1, 1)), covariance=True)
    exact = 2 * np.sin(x[:, 0] / 2) ** 2  # 1 - cos, without cancellation
    np.testing.assert_allclose(scatter[0, 0] / n, exact.var(), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"n": 1}, ValueError, "n is 1"),
        ({"m": 2.0}, TypeError, "m must be an integer"),
        ({"x_mean": np.zeros(3)}, ValueError, "x_mean and x_cov have shapes"),
        ({"x_mean": np.zeros(3), "x_cov": np.eye(3)}, ValueError, "3 features but y_mean has 2"),
        ({"y_cov": np.full((2, 2), np.nan)}, ValueError, "y_mean or y_cov holds NaN"),
        ({"form": "F"}, ValueError, "form is 'F'"),
        ({"n": 2, "m": 1}, ValueError, "m is 1"),
    ],
)
def test_bad_arguments(change, error, words):
    arguments = {"x_mean": np.zeros(2), "x_cov": np.eye(2), "n": 9}
    arguments |= {"y_mean": np.zeros(2), "y_cov": np.eye(2), "m": 9}
    with pytest.raises(error, match=words):
        wald_test(**(arguments | change))


def test_more_features_than_observations_can_determine():
    with pytest.raises(ValueError, match="pass fewer frequencies"):
        wald_test(np.zeros(9), np.eye(9), 5, np.zeros(9), np.eye(9), 5)

"""The characteristic-function test: its statistic, SciPy's Epps-Singleton test, its options."""

import numpy as np
import pytest
import scipy.stats

from cfmetrics import CFState, cf_2samp, cf_distance, median_bandwidth
from cfmetrics.frequencies import sample_frequencies
from cfmetrics.two_sample.asymptotic import wald_test

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(80, 3)), rng.normal(loc=0.2, size=(60, 3))
T = rng.normal(size=(11, 3))

KERNELS = ["rbf", "laplace", "laplace_l1", "cauchy", "rational_quadratic", "imq", "matern"]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 3])
def test_the_statistic_is_the_squared_distance_at_its_frequencies(kernel, d):
    x, y = X[:, :d], Y[:, :d]
    result = cf_2samp(x, y, kernel=kernel, n_frequencies=64, n_resamples=9, rng=1)
    frequencies = result.details["frequencies"]
    assert frequencies.shape == (64, d)
    expected = cf_distance(x, y, frequencies=frequencies, squared=True)
    # Frequencies of heavy tails have angles of thousands, of which float32 keeps three digits.
    rtol = 1e-4 if kernel in ("rbf", "cauchy", "imq") else 3e-3
    np.testing.assert_allclose(result.statistic, expected, rtol=rtol)


def test_default_frequencies_are_those_of_the_median_bandwidth():
    result = cf_2samp(X, Y, n_resamples=9, rng=1)
    assert result.details["frequencies"].shape == (128, 3)
    assert result.details["bandwidth"] == median_bandwidth(X, Y)
    spread = result.details["frequencies"].std() * result.details["bandwidth"]
    assert abs(spread - 1) < 0.15
    for method in ("asymptotic", "epps_singleton"):
        assert cf_2samp(X, Y, method=method, rng=1).details["frequencies"].shape == (5, 3)


def test_given_frequencies_are_in_radians_per_bandwidth():
    plain = cf_2samp(X, Y, frequencies=T, n_resamples=19, rng=1)
    np.testing.assert_array_equal(plain.details["frequencies"], T)
    assert plain.details["bandwidth"] == 1
    scaled = cf_2samp(X, Y, frequencies=2 * T, bandwidth=2.0, n_resamples=19, rng=1)
    np.testing.assert_allclose(scaled.details["frequencies"], T)
    assert scaled == plain
    shaped = cf_2samp(X, Y, kernel="matern", shape=5.0, bandwidth=0.7, n_resamples=9, rng=2)
    drawn = sample_frequencies(128, 3, kernel="matern", shape=5.0, orthogonal=True, rng=2)
    np.testing.assert_allclose(shaped.details["frequencies"], drawn / 0.7)


def test_many_frequencies_approach_the_kernel():
    exact = cf_distance(X, Y, method="closed_form", squared=True, bandwidth=1.5)
    result = cf_2samp(X, Y, n_frequencies=20_000, bandwidth=1.5, n_resamples=1, rng=3)
    np.testing.assert_allclose(result.statistic, exact, rtol=0.05)


SHAPES = [(5, 5), (5, 24), (24, 24), (24, 25), (25, 7), (100, 30), (2000, 3000), (16_384, 50)]
LAWS = {
    "normal": lambda rng, n: rng.normal(size=n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "poisson": lambda rng, n: rng.poisson(5, n),
    "far": lambda rng, n: rng.normal(1e6, 3, size=n),
    "small": lambda rng, n: rng.exponential(1e-7, size=n),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize(("n", "m"), SHAPES)
def test_epps_singleton_is_that_of_scipy(law, n, m):
    rng = np.random.default_rng([n, m])
    x, y = LAWS[law](rng, n), LAWS[law](rng, m)
    expected = scipy.stats.epps_singleton_2samp(x, y)
    ours = cf_2samp(x, y, frequencies=[0.4, 0.8], bandwidth="semi-iqr", method="epps_singleton")
    np.testing.assert_allclose(tuple(ours), tuple(expected), rtol=1e-7)
    assert ours.details["degrees_of_freedom"] == 4


@pytest.mark.parametrize(
    ("method", "form"), [("asymptotic", "hotelling"), ("epps_singleton", "epps_singleton")]
)
def test_asymptotic_methods_are_wald_tests_of_the_features(method, form):
    def moments(sample):
        z = np.concatenate([np.cos(sample @ T.T), np.sin(sample @ T.T)], axis=1)
        return z.mean(axis=0), np.cov(z.T, bias=True), len(sample)

    expected = wald_test(*moments(X), *moments(Y), form=form)
    result = cf_2samp(X, Y, frequencies=T, method=method)
    np.testing.assert_allclose(result.statistic, expected.statistic, rtol=1e-8)
    np.testing.assert_allclose(result.pvalue, expected.pvalue, rtol=1e-8)
    assert result.details["degrees_of_freedom"] == expected.degrees_of_freedom == 22
    assert (result.method, result.null_distribution) == (method, None)


@pytest.mark.parametrize("method", ["asymptotic", "epps_singleton"])
def test_asymptotic_methods_are_those_of_the_state(method):
    states = [CFState(T, covariance=True).update(sample) for sample in (X, Y)]
    form = "hotelling" if method == "asymptotic" else method
    expected = states[0].test(states[1], form=form)
    result = cf_2samp(X, Y, frequencies=T, method=method)
    np.testing.assert_allclose(tuple(result), tuple(expected), rtol=1e-7)


def test_asymptotic_methods_work_in_float64_far_from_the_origin():
    near = cf_2samp(X, Y, frequencies=T, method="asymptotic")
    far = cf_2samp(X + 1e7, Y + 1e7, frequencies=T, method="asymptotic")
    np.testing.assert_allclose(far.statistic, near.statistic, rtol=1e-5)


@pytest.mark.parametrize("method", ["permutation", "asymptotic", "epps_singleton"])
def test_p_of_a_clear_difference_is_small_but_not_zero(method):
    x = np.random.default_rng(4).normal(size=(4000, 1))
    result = cf_2samp(x, x + 8, method=method, n_resamples=49, rng=0)
    assert 0 < result.pvalue <= 0.02


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "exact"}, ValueError, "method is 'exact'; pass one of 'permutation'"),
        ({"kernel": "gauss"}, ValueError, "kernel is 'gauss'; pass one of 'rbf'"),
        ({"kernel": "rbf", "shape": 2.0}, ValueError, "shape is 2.0, but kernel 'rbf' has no"),
        ({"kernel": "linear"}, ValueError, "kernel is 'linear'; pass one of 'rbf'"),
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        ({"n_frequencies": True}, TypeError, "n_frequencies must be an integer, not True"),
        ({"n_frequencies": 10**12}, ValueError, "n_frequencies is 1000000000000, which takes"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth is 0.0; pass a number > 0"),
        ({"bandwidth": np.nan}, ValueError, "bandwidth is nan; pass a finite number"),
        ({"bandwidth": "wide"}, ValueError, "bandwidth is 'wide'; pass a number > 0"),
        ({"frequencies": T[:, :2]}, ValueError, "frequencies has shape .* but x has 3"),
        (
            {"method": "asymptotic", "n_frequencies": 70},
            ValueError,
            "140 features .* 80 and 60 observations; pass fewer frequencies",
        ),
        (
            {"method": "epps_singleton", "n_frequencies": 10**7},  # 3 PB of covariances.
            ValueError,
            "20000000 features .* pass fewer frequencies",
        ),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        cf_2samp(X, Y, **options)


def test_semi_iqr_of_mostly_equal_observations_is_an_error():
    with pytest.raises(ValueError, match="more than half of the observations are equal"):
        cf_2samp(np.ones(20), np.arange(6), frequencies=[0.4], bandwidth="semi-iqr")

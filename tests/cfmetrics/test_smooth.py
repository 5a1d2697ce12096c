"""Smooth characteristic functions: definition, two ways to one statistic, hyppo's numbers."""

import numpy as np
import pytest
from scipy import stats

from cfmetrics import median_bandwidth, scf_2samp
from cfmetrics.two_sample import smooth

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(90, 4)), rng.normal(loc=0.2, size=(70, 4))
T = rng.normal(size=(3, 4))


def smooth_features(sample, frequencies):
    weights = np.exp(-(sample**2).sum(axis=1) / 2)[:, None]
    angles = sample @ frequencies.T
    return np.concatenate([np.cos(angles) * weights, np.sin(angles) * weights], axis=1)


def hotelling(a, b):
    """T^2 of two samples of features, and its p-value."""
    (n, p), m = a.shape, len(b)
    gap = a.mean(axis=0) - b.mean(axis=0)
    pooled = ((n - 1) * np.cov(a.T) + (m - 1) * np.cov(b.T)) / (n + m - 2)
    t2 = n * m / (n + m) * gap @ np.linalg.solve(pooled, gap)
    return t2, stats.f.sf(t2 * (n + m - p - 1) / (p * (n + m - 2)), p, n + m - p - 1)


@pytest.mark.parametrize("method", ["asymptotic", "permutation"])
def test_is_hotellings_test_of_the_smooth_features(method):
    result = scf_2samp(X, Y, frequencies=T, bandwidth=1.7, method=method, n_resamples=9, rng=1)
    centre = np.median(np.concatenate([X, Y]), axis=0)
    features = [smooth_features((sample - centre) / 1.7, T) for sample in (X, Y)]
    t2, pvalue = hotelling(*features)
    np.testing.assert_allclose(result.statistic, t2, rtol=1e-4)
    np.testing.assert_allclose(result.details["frequencies"], T / 1.7)
    assert result.details["degrees_of_freedom"] == 6
    if method == "asymptotic":
        np.testing.assert_allclose(result.pvalue, pvalue, rtol=1e-3)
        assert result.null_distribution is None


@pytest.mark.parametrize("d", [1, 2, 5, 50])
@pytest.mark.parametrize("n_frequencies", [1, 5])
def test_both_methods_have_one_statistic(d, n_frequencies):
    # In one dimension ten smooth features are nearly dependent: both leave the same ones out.
    for seed in range(8):
        rng = np.random.default_rng([d, seed])
        x, y = rng.normal(size=(200, d)), rng.normal(loc=0.1, size=(250, d))
        ways = [
            scf_2samp(x, y, n_frequencies=n_frequencies, method=method, n_resamples=9, rng=seed)
            for method in ("asymptotic", "permutation")
        ]
        np.testing.assert_allclose(ways[1].statistic, ways[0].statistic, rtol=5e-3)
        ranks = [way.details["degrees_of_freedom"] for way in ways]
        assert ranks[0] == ranks[1] <= 2 * n_frequencies


def test_the_null_distribution_is_that_of_a_loop():
    result = scf_2samp(
        X, Y, frequencies=T, bandwidth=1.7, method="permutation", n_resamples=60, rng=1
    )
    pooled = np.concatenate([X, Y])
    features = smooth_features((pooled - np.median(pooled, axis=0)) / 1.7, T)
    random = np.random.default_rng(2)
    values = []
    for _ in range(400):
        order = random.permutation(160)
        values.append(hotelling(features[order[:90]], features[order[90:]])[0])
    assert stats.ks_2samp(result.null_distribution, values).pvalue > 1e-3
    expected = np.mean(np.array(values) >= hotelling(features[:90], features[90:])[0])
    assert abs(result.pvalue - expected) < 5 * np.sqrt(expected * (1 - expected) / 60) + 1 / 61


def test_statistics_of_relabelings_are_exact_in_small_samples():
    x, y = X[:4, :1], Y[:5, :1]
    result = scf_2samp(x, y, frequencies=[0.7], bandwidth=1.0, method="permutation")
    assert result.method == "exact"
    pooled = np.concatenate([x, y])
    features = smooth_features(pooled - np.median(pooled, axis=0), np.array([[0.7]]))
    expected = stats.permutation_test(
        (np.arange(4), np.arange(4, 9)),
        lambda a, b: hotelling(features[a], features[b])[0],
        n_resamples=np.inf,
        vectorized=False,
        alternative="greater",
    )
    assert result.pvalue == pytest.approx(expected.pvalue, rel=1e-12)


def test_the_documented_example_of_hyppo(monkeypatch):
    # SmoothCFTest documents "4.70, 0.910" for these samples. It divides by the covariance of the
    # differences x_i - y_i of arbitrary pairs; ours is that of the two samples, pooled. For
    # independent samples both estimate one matrix: pairing y anew 2000 times moves hyppo's value by
    # 0.23 (standard deviation), so the two may differ by three times that, and p accordingly.
    state = np.random.RandomState(1234)
    x, y = state.randn(500, 10), state.randn(500, 10)
    frequencies = np.random.RandomState(1234).randn(10, 5).T
    features = [smooth_features(sample, frequencies) for sample in (x, y)]
    gaps = features[0] - features[1]
    mean = gaps.mean(axis=0)
    theirs = 500 * mean @ np.linalg.solve(np.cov(gaps.T), mean)
    assert f"{theirs:.2f}, {stats.chi2.sf(theirs, 10):.3f}" == "4.70, 0.910"
    # Ours is centred, hyppo's is not.
    monkeypatch.setattr(smooth, "some_rows", lambda *arguments: np.zeros((1, 10)))
    ours = scf_2samp(x, y, frequencies=frequencies, bandwidth=1.0)
    np.testing.assert_allclose(ours.statistic, hotelling(*features)[0], rtol=1e-4)
    assert abs(ours.statistic - theirs) < 3 * 0.23
    assert abs(ours.pvalue - 0.910) < 0.05
    assert ours.details["degrees_of_freedom"] == 10


def test_bandwidth_and_centre_come_from_the_pooled_sample():
    result = scf_2samp(X, Y, rng=1)
    assert result.details["bandwidth"] == median_bandwidth(X, Y)
    assert result.details["frequencies"].shape == (5, 4)
    many = scf_2samp(np.tile(X, (20, 1)), np.tile(Y, (20, 1)), rng=1)
    np.testing.assert_allclose(many.details["bandwidth"], median_bandwidth(X, Y), rtol=0.1)


def test_samples_far_from_the_origin_and_of_any_unit_keep_their_power():
    # The test of the paper has weights exp(-|x|^2 / 2), which vanish for such samples.
    near = scf_2samp(X, Y + 0.5, rng=1)
    far = scf_2samp(1e4 * X + 1e7, 1e4 * (Y + 0.5) + 1e7, rng=1)
    np.testing.assert_allclose(far.statistic, near.statistic, rtol=1e-3)
    assert far.pvalue < 1e-3


def test_weights_of_far_outliers_vanish():
    x = np.concatenate([X, np.full((2, 4), 1e25)])
    result = scf_2samp(x, Y, bandwidth=1.0, frequencies=T, rng=1)
    without = scf_2samp(X, Y, bandwidth=1.0, frequencies=T, rng=1)
    np.testing.assert_allclose(result.statistic, without.statistic, rtol=0.1)


@pytest.mark.parametrize("method", ["asymptotic", "permutation"])
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        ({"n_frequencies": 2.0}, TypeError, "n_frequencies must be an integer, not 2.0"),
        ({"n_frequencies": 10**12}, ValueError, "n_frequencies is 1000000000000, which takes"),
        ({"n_frequencies": 90}, ValueError, "180 features .* pass fewer frequencies"),
        ({"bandwidth": 0}, ValueError, "bandwidth is 0; pass a number > 0"),
        ({"bandwidth": None}, TypeError, "bandwidth is a NoneType"),
        ({"frequencies": np.ones((2, 3))}, ValueError, "frequencies has shape .* but x has 4"),
    ],
)
def test_bad_options_are_named(method, options, error, message):
    with pytest.raises(error, match=message):
        scf_2samp(X, Y, method=method, **options)


def test_unknown_methods_are_named():
    with pytest.raises(ValueError, match="method is 'exact'; pass one of 'asymptotic'"):
        scf_2samp(X, Y, method="exact")

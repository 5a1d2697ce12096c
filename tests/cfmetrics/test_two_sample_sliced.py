"""The sliced Wasserstein test: its statistic is the distance, SciPy's and POT's."""

import numpy as np
import ot
import pytest
from scipy import stats

from cfmetrics import sliced_wasserstein, sliced_wasserstein_2samp
from cfmetrics.two_sample import sliced
from cfmetrics.two_sample.relabel import Relabelings

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 3)), rng.normal(loc=0.2, size=(45, 3))


@pytest.mark.parametrize(("n", "m"), [(60, 45), (40, 40), (2, 45), (7, 3)])
def test_the_statistic_is_the_distance_along_its_projections(n, m):
    x, y = X[:n], Y[:m]
    result = sliced_wasserstein_2samp(x, y, n_resamples=9, rng=1)
    projections = result.details["projections"]
    assert projections.shape == (64, 3)
    np.testing.assert_allclose(np.linalg.norm(projections, axis=1), 1)
    expected = sliced_wasserstein(x, y, projections=projections, p=1)
    np.testing.assert_allclose(result.statistic, expected, rtol=1e-4)
    pot = ot.sliced_wasserstein_distance(x, y, projections=projections.T, p=1)
    np.testing.assert_allclose(result.statistic, pot, rtol=1e-4)


def test_one_feature_has_the_distance_of_scipy():
    x, y = X[:, 0], Y[:, 0]
    result = sliced_wasserstein_2samp(x, y, n_resamples=9, rng=1)
    np.testing.assert_allclose(result.statistic, stats.wasserstein_distance(x, y), rtol=1e-5)
    np.testing.assert_array_equal(result.details["projections"], [[1.0]])


@pytest.mark.parametrize("chunk_bytes", [1, 10_000, 2**22])
def test_the_null_distribution_is_that_of_a_loop(monkeypatch, chunk_bytes):
    monkeypatch.setattr(sliced, "_CHUNK_BYTES", chunk_bytes)
    generator = np.random.default_rng(2)
    result = sliced_wasserstein_2samp(X, Y, n_projections=5, n_resamples=50, rng=2)
    generator.standard_normal((5, 3))  # The projections are drawn before the labels.
    pooled = np.concatenate([X, Y])
    projections = result.details["projections"]
    labels = Relabelings(60, 45, 50, generator).all()
    values = [
        sliced_wasserstein(pooled[label], pooled[~label], projections=projections, p=1)
        for label in labels
    ]
    np.testing.assert_allclose(result.null_distribution, values[1:], rtol=1e-4)
    assert result.pvalue == np.mean(np.array(values) >= values[0])


def test_ties_do_not_depend_on_how_they_are_sorted():
    x, y = rng.integers(0, 3, size=200), rng.integers(0, 3, size=150)
    result = sliced_wasserstein_2samp(x, y, n_resamples=9, rng=1)
    np.testing.assert_allclose(result.statistic, stats.wasserstein_distance(x, y), rtol=1e-5)


def test_the_directions_are_uniform():
    result = sliced_wasserstein_2samp(X, Y, n_projections=4000, n_resamples=1, rng=3)
    # A coordinate of a uniform direction in space is uniform on (-1, 1).
    projections = result.details["projections"]
    for k in range(3):
        assert stats.kstest((projections[:, k] + 1) / 2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_projections": 0}, ValueError, "n_projections is 0; pass a whole number >= 1"),
        ({"n_projections": 1.5}, TypeError, "n_projections must be an integer, not 1.5"),
        ({"n_projections": 10**12}, ValueError, "n_projections is 1000000000000, which takes"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        sliced_wasserstein_2samp(X, Y, **options)

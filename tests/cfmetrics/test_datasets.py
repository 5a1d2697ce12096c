"""The benchmark pairs have the moments that their definitions say."""

import math

import numpy as np
import pytest
from scipy import stats

from cfmetrics.datasets import blobs, gaussian_mean_shift, gaussian_variance_shift, hdgm

ALL = [blobs, hdgm, gaussian_mean_shift, gaussian_variance_shift]
N = 200_000


def assert_mean(values, expected):
    """Check the mean of i.i.d. values (n, ...) against theory, within 4.5 standard errors."""
    error = values.std(axis=0) / math.sqrt(len(values))
    assert (abs(values.mean(axis=0) - expected) <= 4.5 * error + 1e-12).all()


def assert_covariance(sample, mean, covariance):
    """Check the first two moments of a sample against theory."""
    assert_mean(sample, mean)
    centred = sample - mean
    assert_mean(centred[:, :, None] * centred[:, None, :], covariance)


def test_blobs():
    x, y = blobs(N, rng=0)
    # Centres -7.5, -2.5, 2.5, 7.5 in each coordinate: variance 5^2 (4^2 - 1) / 12.
    grid = 25 * 15 / 12 * np.eye(2)
    assert_covariance(x, 0, grid + np.eye(2))
    long = np.array([1, 1]) / math.sqrt(2)
    assert_covariance(y, 0, grid + np.eye(2) + np.outer(long, long))


@pytest.mark.parametrize("angle", [0, math.pi / 4, 2.0])
def test_a_blob_has_its_axes(angle):
    x, y = blobs(N, side=1, stretch=5.0, angle=angle, rng=1)
    assert_covariance(x, 0, np.eye(2))
    long = np.array([math.cos(angle), math.sin(angle)])
    short = np.array([-long[1], long[0]])
    assert_covariance(y, 0, 5 * np.outer(long, long) + np.outer(short, short))
    assert stats.kstest(y @ long / math.sqrt(5), "norm").pvalue > 1e-3
    assert stats.kstest(y @ short, "norm").pvalue > 1e-3


def test_blobs_are_equally_frequent_and_apart():
    for sample in blobs(16_000, side=3, distance=40.0, rng=2):
        cells = np.round(sample / 40 + 1).astype(int)
        counts = np.unique(cells, axis=0, return_counts=True)[1]
        assert len(counts) == 9
        assert stats.chisquare(counts).pvalue > 1e-3
        assert np.abs(sample - 40 * (cells - 1)).max() < 8


@pytest.mark.parametrize("d", [2, 10])
def test_hdgm_has_equal_means_and_covariances(d):
    expected = np.eye(d) + 0.25 / 4 * np.ones((d, d))
    for sample in hdgm(N, n_features=d, rng=3):
        assert_covariance(sample, np.full(d, 0.25), expected)


def test_hdgm_correlates_in_the_clusters():
    # Far apart, so that the clusters can be told.
    x, y = hdgm(N, n_features=4, offset=50.0, correlation=0.5, rng=4)
    unit = np.zeros((4, 4))
    unit[0, 1] = unit[1, 0] = 1
    for sample, correlation in ((x, 0.0), (y, 0.5)):
        second = sample[:, 3] > 25
        assert stats.binomtest(int(second.sum()), N).pvalue > 1e-3
        assert_covariance(sample[~second], 0, np.eye(4) + correlation * unit)
        assert_covariance(sample[second], 50, np.eye(4) - correlation * unit)


def test_gaussian_mean_shift():
    x, y = gaussian_mean_shift(N, rng=5)
    assert_covariance(x, 0, np.eye(10))
    assert_covariance(y, np.array([0.2] + 9 * [0]), np.eye(10))


def test_gaussian_variance_shift():
    x, y = gaussian_variance_shift(N, n_features=3, rng=6)
    assert_covariance(x, 0, np.eye(3))
    assert_covariance(y, 0, np.diag([2.0, 1, 1]))


@pytest.mark.parametrize("draw", ALL)
def test_under_the_null_both_are_from_p(draw):
    x, y = draw(20_000, 30_000, null=True, rng=7)
    pooled, p = np.concatenate([x, y]), draw(20_000, rng=8)[0]
    for a, b in ((x, y), (pooled, p)):
        statistics = [a, a**2, a[:, :1] * a[:, 1:2] * (a.sum(axis=1, keepdims=True) - 1)]
        others = [b, b**2, b[:, :1] * b[:, 1:2] * (b.sum(axis=1, keepdims=True) - 1)]
        for values, other in zip(statistics, others, strict=True):
            assert (stats.ttest_ind(values, other, axis=0).pvalue > 1e-4).all()
        assert min(stats.ks_2samp(u, v).pvalue for u, v in zip(a.T, b.T, strict=True)) > 1e-4


@pytest.mark.parametrize("draw", ALL)
def test_shapes_and_seeds(draw):
    x, y = draw(7, 5, rng=9)
    assert len(x) == 7
    assert len(y) == 5
    assert x.dtype == y.dtype == np.float64
    assert [len(s) for s in draw(7, rng=9)] == [7, 7]
    again = draw(7, 5, rng=np.random.default_rng(9))
    np.testing.assert_array_equal(np.concatenate([x, y]), np.concatenate(again))
    assert not np.array_equal(x, draw(7, 5, rng=10)[0])
    np.testing.assert_array_equal(x, draw(7, 5, null=True, rng=9)[0])


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: blobs(0), ValueError, "n is 0"),
        (lambda: hdgm(5, 0), ValueError, "m is 0"),
        (lambda: gaussian_mean_shift(5.0), TypeError, "n must be an integer"),
        (lambda: blobs(5, stretch=0), ValueError, "stretch is 0"),
        (lambda: blobs(5, distance=-1), ValueError, "distance is -1"),
        (lambda: blobs(5, angle=math.inf), ValueError, "angle is inf"),
        (lambda: hdgm(5, n_features=1), ValueError, "n_features is 1"),
        (lambda: hdgm(5, correlation=1.0), ValueError, "correlation is 1.0"),
        (lambda: gaussian_variance_shift(5, variance=0), ValueError, "variance is 0"),
        (lambda: gaussian_mean_shift(5, shift="a"), TypeError, "shift is a str"),
        (lambda: gaussian_mean_shift(5, rng=-1), ValueError, "rng is -1"),
    ],
)
def test_bad_arguments(call, error, words):
    with pytest.raises(error, match=words):
        call()

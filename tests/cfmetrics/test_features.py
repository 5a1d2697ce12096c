"""Features in float32: what they are, how exact they stay, and where their bandwidth comes from."""

import numpy as np
import pytest
from scipy import stats

from cfmetrics import median_bandwidth
from cfmetrics.two_sample.features import (
    cos_sin,
    find_bandwidth,
    given_frequencies,
    some_rows,
    standardise,
)
from cfmetrics.two_sample.prepare import prepare

rng = np.random.default_rng(0)
X, Y, T = rng.normal(size=(30, 3)), rng.normal(size=(20, 3)), rng.normal(size=(7, 3))


def samples(x=X, y=Y):
    return prepare(x, y, "raise", test="test")


def test_features_are_cosines_and_sines():
    pair = samples()
    for unit in (1.0, 0.3):
        angles = (X - pair.centre()) @ T.T / unit
        expected = np.concatenate([np.cos(angles), np.sin(angles)], axis=1)
        found = cos_sin(pair, T, unit)(X)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_given_centre_is_used():
    centre = np.array([1.0, 2.0, 3.0])
    found = cos_sin(samples(), T, 1.0, centre=centre)(X)[:, :7]
    np.testing.assert_allclose(found, np.cos((X - centre) @ T.T), atol=1e-5)


@pytest.mark.parametrize("offset", [1e6, 1e9])
@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e200])
def test_digits_survive_offsets_and_scales(offset, scale):
    # Angles of size 1e9 would have no digit left in float32.
    x, y = X + offset, Y + offset
    near = cos_sin(samples(x - offset, y - offset), T, 1.0)(x - offset)
    found = cos_sin(samples(x * scale, y * scale), T, scale)(x * scale)
    np.testing.assert_allclose(found, near, atol=1e-5 + 1e-15 * offset * 100)


@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_frequencies_may_have_any_size(size):
    found = cos_sin(samples(), T * size, size)(X)
    np.testing.assert_allclose(found, cos_sin(samples(), T, 1.0)(X), atol=1e-6)


def test_far_outliers_have_finite_features():
    x = X.copy()
    x[0] = [1e300, -1e300, 1e10]
    found = cos_sin(samples(x), T, 1e-5)(x)
    assert np.isfinite(found).all()
    assert (abs(found) <= 1).all()


def test_frequencies_of_zero_give_constants():
    found = cos_sin(samples(), np.zeros((2, 3)), 1.0)(X)
    np.testing.assert_array_equal(found, np.repeat([[1.0, 1, 0, 0]], 30, axis=0))


def test_standardise_bounds_and_converts():
    found = standardise(np.array([[0.0, 5.0, -1e40]]), np.array([1.0, 1.0, 0.0]), 2.0)
    np.testing.assert_array_equal(found, np.array([[-0.5, 2.0, -1e30]], dtype=np.float32))
    found = standardise(np.array([[1e9]]), np.zeros(1), 1.0, largest=1e3)
    np.testing.assert_array_equal(found, [[1e3]])


def test_the_median_bandwidth_is_that_of_the_discrepancies():
    generator = np.random.default_rng(1)
    assert find_bandwidth(samples(), "median", generator) == median_bandwidth(X, Y)
    assert find_bandwidth(samples(), 3, generator) == 3.0


def test_the_median_of_many_observations_is_near():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(4000, 3)), rng.normal(size=(3000, 3))
    found = find_bandwidth(samples(x, y), "median", np.random.default_rng(3))
    # |x - x'| is sqrt(2) times a chi with three degrees of freedom.
    assert abs(found / (np.sqrt(2) * stats.chi(3).median()) - 1) < 0.05


def test_the_semi_interquartile_range_is_that_of_scipy():
    x, y = X[:, 0], Y[:, 0]
    found = find_bandwidth(samples(x, y), "semi-iqr", np.random.default_rng(0))
    assert found == pytest.approx(stats.iqr(np.concatenate([x, y])) / 2, rel=1e-12)


@pytest.mark.parametrize(
    ("bandwidth", "x", "error", "message"),
    [
        (0, X, ValueError, "bandwidth is 0; pass a number > 0"),
        (-1.0, X, ValueError, "bandwidth is -1.0; pass a number > 0"),
        (np.nan, X, ValueError, "bandwidth is nan; pass a finite number"),
        (np.inf, X, ValueError, "bandwidth is inf; pass a finite number"),
        ("mean", X, ValueError, "bandwidth is 'mean'; pass a number > 0, 'median' or 'semi-iqr'"),
        ("semi-iqr", X, ValueError, "'semi-iqr', which is for one feature, but .* have 3"),
        ("semi-iqr", np.zeros(9), ValueError, "more than half of the observations are equal"),
        ([1.0, 2.0], X, TypeError, "bandwidth is a list; pass a plain number"),
        (True, X, TypeError, "bandwidth is a bool"),
        (None, X, TypeError, "bandwidth is a NoneType"),
    ],
)
def test_bad_bandwidths_are_named(bandwidth, x, error, message):
    with pytest.raises(error, match=message):
        find_bandwidth(samples(x, x), bandwidth, np.random.default_rng(0))


def test_given_frequencies_may_be_a_vector_for_one_feature():
    np.testing.assert_array_equal(given_frequencies([0.4, 0.8], 1), [[0.4], [0.8]])
    assert given_frequencies(T.astype(np.float32), 3).dtype == np.float64


@pytest.mark.parametrize(
    ("frequencies", "error", "message"),
    [
        (T[:, :2], ValueError, r"frequencies has shape \(7, 2\), so 2 features, but x has 3"),
        (np.ones(4), ValueError, r"frequencies has shape \(4,\), so 1 features"),
        (np.ones((0, 3)), ValueError, "with F >= 1"),
        (np.ones((1, 2, 3)), ValueError, r"frequencies has shape \(1, 2, 3\)"),
        (np.full((2, 3), np.nan), ValueError, "frequencies holds 6 NaN"),
        (T + 0j, TypeError, "frequencies has dtype complex128"),
        ("rbf", TypeError, "frequencies has dtype <U3"),
    ],
)
def test_bad_frequencies_are_named(frequencies, error, message):
    with pytest.raises(error, match=message):
        given_frequencies(frequencies, 3)


def test_some_rows_are_drawn_from_both_samples_alike():
    x, y = np.zeros((3000, 1)), np.ones((1000, 1))
    found = [some_rows(samples(x, y), 200, np.random.default_rng(seed)) for seed in range(100)]
    assert {rows.shape for rows in found} == {(200, 1)}
    shares = [rows.mean() for rows in found]
    expected = stats.hypergeom(4000, 1000, 200)
    assert abs(np.mean(shares) * 200 - expected.mean()) < 4 * expected.std() / 10
    assert 0.5 < np.std(shares) * 200 / expected.std() < 1.5


def test_some_rows_are_all_where_there_are_few():
    found = some_rows(samples(), 50, np.random.default_rng(0))
    np.testing.assert_array_equal(found, np.concatenate([X, Y]))

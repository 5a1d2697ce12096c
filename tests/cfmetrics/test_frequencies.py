"""Samplers of frequencies."""

import numpy as np
import pytest
from scipy import stats

from cfmetrics import normal_frequencies


def test_shape_and_dtype():
    t = normal_frequencies(5, 3, rng=0)
    assert t.shape == (5, 3)
    assert t.dtype == np.float64


def test_seed_and_generator_agree_and_fresh_draws_differ():
    np.testing.assert_array_equal(
        normal_frequencies(4, 2, rng=3), normal_frequencies(4, 2, rng=np.random.default_rng(3))
    )
    rng = np.random.default_rng(3)
    assert (normal_frequencies(4, 2, rng=rng) != normal_frequencies(4, 2, rng=rng)).all()
    assert (normal_frequencies(4, 2) != normal_frequencies(4, 2)).all()


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_coordinates_are_independent_normals(scale):
    t = normal_frequencies(20_000, 2, scale=scale, rng=11)
    for column in t.T:
        assert stats.kstest(column, "norm", args=(0, scale)).pvalue > 1e-3
    assert abs(stats.pearsonr(*t.T).statistic) < 4 / np.sqrt(20_000)


def test_they_are_the_spectral_measure_of_the_rbf_kernel():
    scale, f = 0.7, 50_000
    t = normal_frequencies(f, 2, scale=scale, rng=5)
    for difference in ([0.0, 0.0], [1.0, 0.0], [1.0, -2.0], [3.0, 1.0]):
        cosines = np.cos(t @ difference)
        kernel = np.exp(-np.dot(difference, difference) * scale**2 / 2)
        assert abs(cosines.mean() - kernel) <= 4 * cosines.std() / np.sqrt(f)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        ({"n_frequencies": 2.0}, TypeError, "n_frequencies must be an integer, not 2.0"),
        ({"n_features": -1}, ValueError, "n_features is -1"),
        ({"n_features": True}, TypeError, "n_features must be an integer, not True"),
        ({"scale": 0.0}, ValueError, "scale is 0.0; pass a number > 0"),
        ({"scale": float("inf")}, ValueError, "scale is inf; pass a finite number"),
        ({"scale": "median"}, TypeError, "scale is a str; pass a plain number"),
        ({"rng": "seed"}, TypeError, "rng is a str; pass a numpy.random.Generator"),
        ({"rng": -1}, ValueError, "rng is -1; pass a seed >= 0"),
    ],
)
def test_bad_input(arguments, error, message):
    with pytest.raises(error, match=message):
        normal_frequencies(**{"n_frequencies": 2, "n_features": 2, **arguments})

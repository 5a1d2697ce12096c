"""MMD and energy test: their statistics are those of the discrepancies, and of dcor."""

import dcor
import numpy as np
import pytest
from scipy import stats

from cfmetrics import energy_2samp, energy_distance, median_bandwidth, mmd, mmd_2samp
from cfmetrics.kernels import KERNELS

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 3)), rng.normal(loc=0.2, size=(45, 3))
SHAPES = {"rational_quadratic": 2.5, "matern": 5.0, "polynomial": 2}


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("d", [1, 3])
def test_the_mmd_is_the_unbiased_estimate(kernel, d):
    x, y = X[:, :d], Y[:, :d]
    for options in ({"bandwidth": 0.8}, {"bandwidth": [0.3, 1.0, 4.0]}, {"bandwidth": "median"}):
        for shape in {None, SHAPES.get(kernel)}:
            kwargs = {**options, "kernel": kernel, "shape": shape}
            result = mmd_2samp(x, y, n_resamples=9, rng=1, **kwargs)
            expected = mmd(x, y, estimator="unbiased", **kwargs)
            np.testing.assert_allclose(result.statistic, expected, rtol=1e-3, atol=3e-7)


def test_several_tiles_and_many_observations(monkeypatch):
    from cfmetrics.two_sample import permutation

    monkeypatch.setattr(permutation, "_TILE_ROWS", 100)
    x, y = rng.normal(size=(450, 2)), rng.normal(loc=0.1, size=(330, 2))
    np.testing.assert_allclose(
        mmd_2samp(x, y, bandwidth=1.0, n_resamples=9).statistic, mmd(x, y, bandwidth=1.0), rtol=1e-3
    )
    np.testing.assert_allclose(
        energy_2samp(x, y, n_resamples=9).statistic, energy_distance(x, y, squared=True), rtol=1e-4
    )


def test_the_median_bandwidth_is_reported():
    assert mmd_2samp(X, Y, n_resamples=9).details["bandwidth"] == median_bandwidth(X, Y)
    found = mmd_2samp(X, Y, bandwidth=(1, 2.0), n_resamples=9).details["bandwidth"]
    assert found == [1.0, 2.0]


@pytest.mark.parametrize("size", [1e-60, 1e-20, 1e16, 1e60])
def test_linear_kernels_have_any_unit(size):
    x, y = X * size, Y * size
    result = mmd_2samp(x, y, kernel="linear", n_resamples=99, rng=1)
    np.testing.assert_allclose(result.statistic, mmd(x, y, kernel="linear"), rtol=1e-4)
    assert result.pvalue == mmd_2samp(X, Y, kernel="linear", n_resamples=99, rng=1).pvalue


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of the overflow.
def test_values_beyond_float32_are_an_error_not_nan():
    with pytest.raises(ValueError, match=r"x and y give mmd_2samp a statistic .* not finite"):
        mmd_2samp(X * 1e14, Y * 1e14, kernel="polynomial", n_resamples=9)


@pytest.mark.parametrize("d", [1, 2, 50])
@pytest.mark.parametrize(("n", "m"), [(20, 30), (100, 7), (2, 2)])
def test_energy_is_that_of_dcor(d, n, m):
    rng = np.random.default_rng([d, n, m])
    x, y = rng.normal(size=(n, d)), rng.standard_t(3, size=(m, d))
    result = energy_2samp(x, y, n_resamples=9, rng=1)
    factor = n * m / (n + m)
    expected = dcor.homogeneity.energy_test_statistic(x, y)
    np.testing.assert_allclose(factor * result.statistic, expected, rtol=1e-4)


def test_energy_in_one_dimension_is_that_of_scipy():
    x, y = X[:, 0], Y[:, 0]
    result = energy_2samp(x, y, n_resamples=9, rng=1)
    np.testing.assert_allclose(result.statistic, stats.energy_distance(x, y) ** 2, rtol=1e-4)


def test_the_p_value_of_energy_is_that_of_dcor():
    # Both are random; with 999 relabelings each, p near 0.1 has a standard error of 0.01.
    ours = energy_2samp(X, Y, rng=1).pvalue
    theirs = dcor.homogeneity.energy_test(X, Y, num_resamples=999, random_state=1).pvalue
    assert abs(ours - theirs) < 4 * np.sqrt(2 * ours * (1 - ours) / 999)


def test_far_outliers_have_their_distance():
    # One observation r away: 2 E|X - Y| - E|X - X'| is 2 r / n - 2 r (n - 1) / n^2 = 2 r / n^2.
    for r in (1e9, 1e20, 1e150):
        x = X.copy()
        x[0, 0] = r
        result = energy_2samp(x, Y, n_resamples=9, rng=1)
        np.testing.assert_allclose(result.statistic, 2 * r / 60**2, rtol=1e-3 if r < 1e10 else 1e-5)


def test_rotations_change_nothing():
    q = stats.ortho_group(3, seed=1).rvs()
    for test in (energy_2samp, mmd_2samp):
        before, after = (test(a, b, n_resamples=99, rng=2) for a, b in ((X, Y), (X @ q, Y @ q)))
        np.testing.assert_allclose(after.statistic, before.statistic, rtol=1e-3)
        assert after.pvalue == before.pvalue


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel": "gauss"}, ValueError, "kernel is 'gauss'; pass one of 'rbf'"),
        ({"kernel": "minus_distance"}, ValueError, "kernel is 'minus_distance'; pass one of"),
        ({"kernel": None}, ValueError, "kernel is None; pass one of"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth is 0.0; pass a number > 0"),
        ({"bandwidth": [1.0, -1]}, ValueError, r"bandwidth\[1\] is -1; pass a number > 0"),
        ({"bandwidth": []}, ValueError, "bandwidth is empty; pass at least one number > 0"),
        ({"bandwidth": np.nan}, ValueError, "bandwidth is nan; pass a finite number"),
        ({"bandwidth": "mean"}, ValueError, "bandwidth is 'mean'; pass a number > 0, 'median'"),
        ({"shape": 1.0}, ValueError, "shape is 1.0, but kernel 'rbf' has no shape"),
        ({"kernel": "matern", "shape": 2.0}, ValueError, "no closed form here; pass 1, 3 or 5"),
        ({"kernel": "polynomial", "shape": 1.5}, ValueError, "pass a whole number, the degree"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        mmd_2samp(X, Y, **options)


@pytest.mark.parametrize("test", [mmd_2samp, energy_2samp])
@pytest.mark.parametrize("value", [1.0, 1e10])
@pytest.mark.parametrize("row", [3, 103])
def test_one_odd_observation_is_no_evidence(test, value, row):
    # Every labeling has the same statistic; rounding must not tell the observed one apart.
    pooled = np.zeros(200)
    pooled[row] = value
    assert test(pooled[:100], pooled[100:], n_resamples=99, rng=0).pvalue == 1


@pytest.mark.parametrize("test", [mmd_2samp, energy_2samp])
def test_sparse_counts_do_not_reject_too_often(test):
    rejected = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        x, y = rng.binomial(1, 0.005, 100), rng.binomial(1, 0.005, 150)
        rejected += test(x, y, n_resamples=99, rng=seed).pvalue <= 0.05
    assert rejected <= 11  # The 99% bound of 100 draws at 0.05.


@pytest.mark.parametrize("test", [mmd_2samp, energy_2samp])
def test_a_far_outlier_does_not_reject_too_often(test):
    rejected = 0
    for seed in range(100):
        pooled = np.random.default_rng(seed).normal(size=(200, 2))
        pooled[2 * seed % 200] = 1e10
        rejected += test(pooled[:100], pooled[100:], n_resamples=99, rng=seed).pvalue <= 0.05
    assert rejected <= 11

"""Samplers of frequencies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats
from scipy.spatial.distance import pdist

from cfmetrics import (
    _validate,
    kernel_matrix,
    median_bandwidth,
    normal_frequencies,
    sample_frequencies,
    scale_mixture_frequencies,
)

law = settings(deadline=None, max_examples=25, derandomize=True)

ISOTROPIC = [
    ("rbf", None),
    ("laplace", None),
    ("rational_quadratic", None),
    ("rational_quadratic", 0.3),
    ("imq", None),
    ("matern", 1.0),
    ("matern", None),
    ("matern", 5.0),
]
KERNELS = [*ISOTROPIC, ("laplace_l1", None), ("cauchy", None)]

DIFFERENCES = np.array([[0.0, 0.0], [0.3, 0.4], [1.0, 0.0], [1.0, -2.0], [-4.0, 3.0]])


def kernel_at(differences, **options):
    return kernel_matrix(differences, np.zeros((1, 2)), **options)[:, 0]


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


def assert_mean_of_cosines(t, expected):
    """Compare E cos <t, z> with the kernel, to four standard errors."""
    cosines = np.cos(t @ DIFFERENCES.T)
    errors = cosines.std(axis=0) / np.sqrt(len(t))
    assert (np.abs(cosines.mean(axis=0) - expected) <= 4 * errors + 1e-12).all()
    assert errors.max() < 0.006  # The bound is sharp enough to fail.


@pytest.mark.parametrize(("kernel", "shape"), KERNELS)
def test_spectral_measure_of_every_kernel(kernel, shape):
    options = {"kernel": kernel, "shape": shape, "bandwidth": 1.5}
    t = sample_frequencies(20_000, 2, rng=12, **options)
    assert t.shape == (20_000, 2)
    assert t.dtype == np.float64
    assert_mean_of_cosines(t, kernel_at(DIFFERENCES, **options))


@pytest.mark.parametrize("nu", [0.5, 2.0, 7.5])
def test_spectral_measure_of_matern_kernels_of_any_smoothness(nu):
    from scipy.special import gamma, kv

    r = np.sqrt(nu) * np.maximum(np.linalg.norm(DIFFERENCES, axis=1), 1e-9)
    expected = r ** (nu / 2) * kv(nu / 2, r) / (gamma(nu / 2) * 2 ** (nu / 2 - 1))
    t = sample_frequencies(20_000, 2, kernel="matern", shape=nu, rng=13)
    assert_mean_of_cosines(t, np.where(r < 1e-8, 1.0, expected))


@pytest.mark.parametrize(("kernel", "shape"), ISOTROPIC)
def test_orthogonal_frequencies_have_the_same_spectral_measure(kernel, shape):
    options = {"kernel": kernel, "shape": shape}
    t = sample_frequencies(20_001, 2, orthogonal=True, rng=14, **options)
    pairs = t[:20_000].reshape(-1, 2, 2)
    directions = pairs / np.linalg.norm(pairs, axis=2, keepdims=True)
    inner = (directions[:, 0] * directions[:, 1]).sum(axis=1)
    assert np.abs(inner).max() < 1e-12
    assert_mean_of_cosines(t, kernel_at(DIFFERENCES, **options))
    plain = sample_frequencies(20_001, 2, rng=14, **options)
    np.testing.assert_allclose(np.linalg.norm(t, axis=1), np.linalg.norm(plain, axis=1))


def test_orthogonal_directions_are_uniform_and_lower_the_variance():
    draws = [
        sample_frequencies(4, 4, orthogonal=orthogonal, rng=seed)
        for orthogonal in (False, True)
        for seed in range(2000)
    ]
    plain, orthogonal = np.array(draws[:2000]), np.array(draws[2000:])
    for row in range(4):  # Each row alone stays N(0, I).
        assert stats.kstest(orthogonal[:, row].ravel(), "norm").pvalue > 1e-3
    z = np.full(4, 0.6)
    variances = [np.cos(t @ z).mean(axis=1).var() for t in (plain, orthogonal)]
    assert variances[1] < 0.5 * variances[0]


def test_frequencies_are_shared_out_among_bandwidths_in_order():
    t = sample_frequencies(8, 2, bandwidth=[1.0, 10.0, 100.0], rng=3)
    unit = sample_frequencies(8, 2, rng=3)
    np.testing.assert_allclose(t, unit / np.repeat([1.0, 10.0, 100.0], [3, 3, 2])[:, None])
    for several in ((0.5, 2.0), np.array([0.5, 2.0])):
        expected = (kernel_at(DIFFERENCES, bandwidth=0.5) + kernel_at(DIFFERENCES, bandwidth=2)) / 2
        assert_mean_of_cosines(sample_frequencies(20_000, 2, bandwidth=several, rng=4), expected)


def test_rbf_frequencies_are_the_normal_frequencies():
    ours = sample_frequencies(5, 3, bandwidth=4.0, rng=6)
    np.testing.assert_allclose(ours, normal_frequencies(5, 3, scale=0.25, rng=6))


def test_heavy_tails_stay_finite_in_float32():
    t = sample_frequencies(20_000, 3, kernel="matern", shape=0.01, rng=0)
    assert np.isfinite(t.astype(np.float32)).all()


def test_scale_mixture_repeats_its_components():
    normal = normal_frequencies(5, 3, rng=2)
    ours = scale_mixture_frequencies(5, 3, [1, 100], rng=2)
    np.testing.assert_allclose(ours, normal * np.repeat([1.0, 100.0], [3, 2])[:, None])
    widths = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])
    ours = scale_mixture_frequencies(5, 3, widths, rng=2)
    np.testing.assert_allclose(ours, normal * np.repeat(widths, [3, 2], axis=0))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": "gauss"}, ValueError, "kernel is 'gauss'; pass one of 'rbf', 'laplace'"),
        ({"kernel": "linear"}, ValueError, "kernel is 'linear'; pass one of 'rbf', 'laplace'"),
        ({"kernel": None}, ValueError, "kernel is None; pass one of"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth is 0.0; pass a number > 0"),
        ({"bandwidth": []}, ValueError, "bandwidth is empty; pass at least one number > 0"),
        ({"bandwidth": [1.0, -1.0]}, ValueError, r"bandwidth\[1\] is -1.0; pass a number > 0"),
        ({"bandwidth": None}, TypeError, "bandwidth is a NoneType; pass a plain number"),
        (
            {"bandwidth": "median"},
            ValueError,
            r"'median'; .*median_bandwidth\(x, y\)",
        ),
        ({"bandwidth": [1.0, 2.0, 3.0]}, ValueError, "n_frequencies is 2, but bandwidth has 3"),
        ({"shape": 2.0}, ValueError, "shape is 2.0, but kernel 'rbf' has no shape; leave it out"),
        ({"kernel": "matern", "shape": 0}, ValueError, "shape is 0; pass a number > 0"),
        (
            {"kernel": "cauchy", "orthogonal": True},
            ValueError,
            "orthogonal is True, but the frequencies of kernel 'cauchy' prefer some directions",
        ),
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        ({"n_frequencies": 10**12}, ValueError, r"n_frequencies is 10+, which takes 14901.2 GiB"),
        ({"rng": 1.5}, TypeError, "rng is a float; pass a numpy.random.Generator"),
    ],
)
def test_bad_kernels_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sample_frequencies(**{"n_frequencies": 2, "n_features": 2, **arguments})


@pytest.mark.parametrize(
    ("scales", "message"),
    [
        ([], r"scales has shape \(0,\); pass \(K,\) or \(K, 2\), with K >= 1"),
        (1.0, r"scales has shape \(\); pass \(K,\)"),
        (np.ones((2, 3)), r"scales has shape \(2, 3\); pass \(K,\) or \(K, 2\)"),
        ([1.0, 0.0], "scales holds 0.0; pass numbers > 0"),
        ([1.0, np.nan], "scales holds 1 NaN"),
        (np.ones(9), "n_frequencies is 4, but scales has 9 components"),
    ],
)
def test_bad_scales_are_named(scales, message):
    with pytest.raises(ValueError, match=message):
        scale_mixture_frequencies(4, 2, scales)


def test_memory_is_guessed_where_the_system_does_not_say(monkeypatch):
    def unknown(name):
        raise ValueError(name)

    monkeypatch.setattr(_validate.os, "sysconf", unknown)
    with pytest.raises(ValueError, match=r"more than half of this machine's memory \(16.0 GiB\)"):
        sample_frequencies(2**32, 2)


points = st.integers(1, 12).flatmap(
    lambda n: hnp.arrays(np.float64, (n, 2), elements=st.integers(-3, 3).map(float))
)


@law
@given(points, st.integers(0, 12))
def test_median_is_that_of_all_distinct_points(pool, n):
    n = min(max(n, 1), len(pool) - 1)
    distances = pdist(pool)
    distances = distances[distances > 0]
    expected = np.median(distances) if len(distances) else 1.0
    ours = median_bandwidth(pool[:n], pool[n:]) if n else median_bandwidth(pool)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@law
@given(points, st.integers(-(10**6), 10**6), st.sampled_from([1e-200, 1e-3, 7.0, 1e200]))
def test_median_moves_with_the_data(x, shift, factor):
    one = median_bandwidth(x)
    assert one > 0
    np.testing.assert_allclose(median_bandwidth(x + shift), one, rtol=1e-12)
    if (x != x[0]).any():  # Coinciding points have bandwidth 1 on every scale.
        np.testing.assert_allclose(median_bandwidth(factor * x), factor * one, rtol=1e-12)


def test_median_of_a_part_depends_on_the_pool_only():
    pool = np.random.default_rng(0).normal(size=(300, 4)) * np.array([1.0, 2.0, 30.0, 1.0])
    values = {median_bandwidth(pool[:n], pool[n:], max_points=50, rng=5) for n in (1, 40, 299)}
    assert values == {median_bandwidth(pool, max_points=50, rng=5)}
    assert values != {median_bandwidth(pool)}
    np.testing.assert_allclose(values.pop(), np.median(pdist(pool)), rtol=0.2)


def test_every_point_is_drawn_equally_often():
    # One point lies apart: a pair holds it with probability 2 / 10.
    x, y = np.zeros(9), np.ones(1)
    far = [median_bandwidth(np.arange(9) * 1e-3, y * 1e6, max_points=2, rng=s) for s in range(1000)]
    count = int((np.array(far) > 1e3).sum())
    assert stats.binomtest(count, 1000, 0.2).pvalue > 1e-3
    assert median_bandwidth(x, y) == 1.0


def test_outliers_cost_the_other_points_no_digits():
    x = np.random.default_rng(1).normal(size=(101, 3))
    x[0] = 1e12
    np.testing.assert_allclose(median_bandwidth(x), np.median(pdist(x)), rtol=1e-9)
    many = np.random.default_rng(1).standard_cauchy((200, 3)) * 1e150
    np.testing.assert_allclose(median_bandwidth(many), np.median(pdist(many)), rtol=1e-9)


@pytest.mark.parametrize("x", [[5.0], [2.0, 2.0, 2.0], np.zeros((4, 3))])
def test_equal_points_have_bandwidth_one(x):
    assert median_bandwidth(x) == 1.0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": np.zeros((2, 4, 2))}, ValueError, r"x has shape \(2, 4, 2\); .* x.reshape\(-1, 2\)"),
        ({"y": np.zeros((2, 4, 2))}, ValueError, r"y has shape \(2, 4, 2\); pass one sample"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"x": np.full((2, 2), np.nan)}, ValueError, "x holds 4 NaN"),
        ({"max_points": 1}, ValueError, "max_points is 1; pass at least 2"),
        ({"max_points": 10.0}, TypeError, "max_points must be an integer, not 10.0"),
        ({"rng": -3}, ValueError, "rng is -3; pass a seed >= 0"),
    ],
)
def test_bad_samples_of_the_median_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        median_bandwidth(**{"x": np.zeros((3, 2)), **arguments})

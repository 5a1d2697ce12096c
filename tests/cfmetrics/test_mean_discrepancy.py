"""The maximum mean discrepancy: definitions, laws, closed forms, and what it needs."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import (
    _kernel_forms,
    kernel_matrix,
    kernels,
    mean_discrepancy,
    median_bandwidth,
    mmd,
)
from cfmetrics.kernels import KERNELS
from cfmetrics.mean_discrepancy import ESTIMATORS

law = settings(deadline=None, max_examples=25, derandomize=True)

numbers = st.floats(-4, 4, allow_subnormal=False)
names = st.sampled_from(KERNELS)


@st.composite
def three_samples(draw, least=1):
    """Three samples of different sizes with the same d."""
    d = draw(st.integers(1, 3))
    return tuple(
        draw(hnp.arrays(np.float64, (draw(st.integers(least, 7)), d), elements=numbers))
        for _ in range(3)
    )


def naive(x, y, estimator, block_size=None, **options):
    """Follow the definitions pair by pair."""

    def k(u, v):
        return kernel_matrix(u[None], v[None], **options)[0, 0]

    def mean(a, b, same=False):
        pairs = [(i, j) for i in range(len(a)) for j in range(len(b)) if not (same and i == j)]
        return sum(k(a[i], b[j]) for i, j in pairs) / len(pairs)

    if estimator in ("biased", "unbiased"):
        same = estimator == "unbiased"
        return mean(x, x, same) + mean(y, y, same) - 2 * mean(x, y)
    n = min(len(x), len(y))
    if estimator == "linear":
        terms = [
            k(x[i], x[i + 1]) + k(y[i], y[i + 1]) - k(x[i], y[i + 1]) - k(x[i + 1], y[i])
            for i in range(0, n - 1, 2)
        ]
        return np.mean(terms)
    size = block_size or max(2, int(np.sqrt(n)))
    blocks = [slice(i * size, (i + 1) * size) for i in range(n // size)]
    return np.mean([naive(x[b], y[b], "unbiased", **options) for b in blocks])


@pytest.mark.parametrize("estimator", ESTIMATORS)
@law
@given(case=three_samples(least=2), kernel=names)
def test_equals_its_definition(estimator, case, kernel):
    x, y, _ = case
    options = {"kernel": kernel, "bandwidth": 1.5}
    scale = np.abs(kernel_matrix(np.concatenate([x, y]), x, **options)).max()
    expected = naive(x, y, estimator, **options)
    ours = mmd(x, y, estimator=estimator, **options)
    # Close observations are rounded to coincide where distances come from inner products.
    np.testing.assert_allclose(ours, expected, atol=3e-6 * scale)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_equals_its_definition_to_rounding(kernel, estimator):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(14, 2)), rng.normal(size=(11, 2)) + 1
    options = {"kernel": kernel, "bandwidth": [0.5, 3.0], "estimator": estimator}
    np.testing.assert_allclose(mmd(x, y, **options), naive(x, y, **options), rtol=1e-10)
    if estimator == "block":
        options["block_size"] = 5
        np.testing.assert_allclose(mmd(x, y, **options), naive(x, y, **options), rtol=1e-10)


@law
@given(three_samples(), names, st.randoms(use_true_random=False))
def test_biased_is_not_negative_symmetric_and_zero_for_equal_samples(case, kernel, random):
    x, y, _ = case
    options = {"kernel": kernel, "bandwidth": 1.0, "estimator": "biased"}
    value = mmd(x, y, **options)
    assert value >= 0
    scale = max(1.0, np.abs(kernel_matrix(x, x, kernel=kernel)).max())
    np.testing.assert_allclose(mmd(y, x, **options), value, rtol=1e-9, atol=1e-13 * scale)
    order = random.sample(range(len(x)), len(x))
    assert mmd(x, x[order], **options) <= 1e-7 * scale
    reordered = mmd(x[order], y, **options)
    np.testing.assert_allclose(reordered, value, rtol=1e-6, atol=1e-7 * scale)


@law
@given(three_samples(), names)
def test_root_of_biased_obeys_the_triangle_inequality(case, kernel):
    options = {"kernel": kernel, "bandwidth": 2.0, "estimator": "biased"}
    x, y, z = case
    xy, yz, xz = (np.sqrt(mmd(a, b, **options)) for a, b in ((x, y), (y, z), (x, z)))
    assert xz <= xy + yz + 1e-5 * (1 + xz)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@law
@given(case=three_samples(least=2), shift=numbers, factor=st.sampled_from([1e-3, 5.0, 1e6]))
def test_shifts_and_scales_of_both_samples_change_nothing(estimator, case, shift, factor):
    x, y, _ = case
    value = mmd(x, y, bandwidth=1.0, estimator=estimator)
    shifted = mmd(x + 100 * shift, y + 100 * shift, bandwidth=1.0, estimator=estimator)
    scaled = mmd(x * factor, y * factor, bandwidth=factor, estimator=estimator)
    np.testing.assert_allclose([shifted, scaled], value, atol=1e-9)


def test_rotations_change_nothing_under_an_isotropic_kernel():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(8, 3)) * 2
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for kernel, turns in (("laplace", False), ("matern", False), ("laplace_l1", True)):
        one, two = (mmd(a, b, kernel=kernel) for a, b in ((x, y), (x @ rotation, y @ rotation)))
        assert (abs(one - two) > 1e-4) == turns


def gaussian_mmd(shift, scale, sigma, d):
    """Squared MMD of N(0, I) and N(m, s^2 I), |m| = shift, under an RBF kernel (by hand)."""

    def mean(variance, distance=0.0):  # E k(U - V), where U - V ~ N(m, variance I)
        ratio = sigma**2 / (sigma**2 + variance)
        return ratio ** (d / 2) * np.exp(-(distance**2) / 2 / (sigma**2 + variance))

    return mean(2) + mean(2 * scale**2) - 2 * mean(1 + scale**2, shift)


@pytest.mark.parametrize("estimator", ["unbiased", "linear", "block"])
@pytest.mark.parametrize(("shift", "scale"), [(0.0, 1.0), (0.7, 1.0), (0.5, 2.0)])
def test_estimators_are_unbiased(estimator, shift, scale):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1500, 20, 3))
    y = scale * rng.normal(size=(1500, 15, 3)) + np.array([0.0, shift, 0.0])
    values = mmd(x, y, bandwidth=1.2, estimator=estimator)
    expected, error = gaussian_mmd(shift, scale, 1.2, 3), values.std() / np.sqrt(1500)
    assert abs(values.mean() - expected) < 4 * error
    assert error < 0.006
    assert (values < 0).any()  # So it is no distance.


def test_biased_is_biased_by_the_diagonal():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(1500, 20, 3)), rng.normal(size=(1500, 15, 3)) + 0.3
    values = mmd(x, y, bandwidth=1.2, estimator="biased")
    within = [(1.44 / 3.44) ** 1.5 * (1 - 1 / n) + 1 / n for n in (20, 15)]
    expected = sum(within) + gaussian_mmd(0.3 * 3**0.5, 1, 1.2, 3) - 2 * (1.44 / 3.44) ** 1.5
    assert abs(values.mean() - expected) < 4 * values.std() / np.sqrt(1500)


def test_variance_falls_from_linear_to_block_to_unbiased():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(400, 36, 2)), rng.normal(size=(400, 36, 2)) + 0.5
    linear, block, unbiased = (
        mmd(x, y, bandwidth=1.0, estimator=estimator).var()
        for estimator in ("linear", "block", "unbiased")
    )
    assert linear > 1.2 * block > 1.2 * 1.2 * unbiased


def test_one_block_of_all_observations_is_the_unbiased_estimate():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    whole = mmd(x, y, bandwidth=2.0, estimator="block", block_size=12)
    np.testing.assert_allclose(whole, mmd(x, y, bandwidth=2.0), rtol=1e-12)


def test_diracs():
    a, b = np.zeros((1, 2)), np.array([[3.0, 4.0]])
    expected = 2 - 2 * np.exp(-5 / 2)
    ours = mmd(a, b, kernel="laplace", bandwidth=2.0, estimator="biased")
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@law
@given(three_samples())
def test_linear_kernel_matches_means(case):
    x, y, _ = case
    expected = ((x.mean(axis=0) - y.mean(axis=0)) ** 2).sum()
    ours = mmd(x, y, kernel="linear", estimator="biased")
    np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-14)


def test_polynomial_kernel_matches_moments():
    # Degree 1 sees means only, degree 2 also variances.
    x, y = np.array([[-1.0], [1.0]]), np.array([[-3.0], [3.0]])
    options = {"kernel": "polynomial", "estimator": "biased"}
    assert mmd(x, y, shape=1, **options) < 1e-12
    np.testing.assert_allclose(mmd(x, y, shape=2, **options), 8.0**2)


def test_median_heuristic_is_the_default():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) * 3
    expected = mmd(x, y, bandwidth=median_bandwidth(x, y))
    np.testing.assert_allclose(mmd(x, y), expected, rtol=1e-12)
    x, y = np.tile(x, (40, 1)), np.tile(y, (40, 1))
    expected = mmd(x, y, bandwidth=median_bandwidth(x, y, rng=3))
    np.testing.assert_allclose(mmd(x, y, rng=3), expected, rtol=1e-12)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("kernel", ["rbf", "laplace", "laplace_l1", "linear", "polynomial"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_and_batch_agree(dtype, kernel, estimator, monkeypatch):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(3, 21, 4)).astype(dtype) * np.array([1, 2, 3], dtype)[:, None, None]
    y = rng.normal(size=(18, 4)).astype(dtype)
    options = {"kernel": kernel, "estimator": estimator}
    expected = mmd(x, y, **options)
    assert expected.shape == (3,)
    assert expected.dtype == dtype
    results = [
        np.array([mmd(a, y, **options) for a in x]),  # Each with its own median.
        mmd(x, y, chunk_size=2, **options),
        mmd(x, y, chunk_size=1000, **options),
    ]
    assert results[0].dtype == dtype
    monkeypatch.setattr(kernels, "_TILE_BYTES", 8 * 3 * 25)
    monkeypatch.setattr(_kernel_forms, "_BROADCAST_NUMBERS", 4)
    monkeypatch.setattr(mean_discrepancy, "_CHUNK_BYTES", 1000)
    results.append(mmd(x, y, **options))
    for result in results:
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(result, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_no_matrix_of_all_pairs_is_made(estimator):
    x = np.random.default_rng(8).normal(size=(3000, 5)).astype(np.float32)
    tracemalloc.start()
    mmd(x, x + 1, bandwidth=2.0, estimator=estimator)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # The matrix would take 36 MB.


X, Y = np.zeros((4, 2)), np.ones((5, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"estimator": "u"}, ValueError, "estimator is 'u'; pass one of 'unbiased', 'biased'"),
        ({"kernel": "gauss"}, ValueError, "kernel is 'gauss'; pass one of 'rbf', .*, 'linear'"),
        ({"bandwidth": 0.0}, ValueError, "bandwidth is 0.0; pass a number > 0"),
        (
            {"bandwidth": "mean"},
            ValueError,
            "bandwidth is 'mean'; pass 'median', or one",
        ),
        ({"shape": 2.0}, ValueError, "shape is 2.0, but kernel 'rbf' has no shape"),
        ({"x": X[:1]}, ValueError, "x has 1 observation, but estimator 'unbiased' needs pairs"),
        (
            {"y": Y[:1], "estimator": "linear"},
            ValueError,
            "y has 1 observation, .* pass at least 2, or estimator='biased'",
        ),
        ({"block_size": 2}, ValueError, "block_size is 2, but estimator is 'unbiased'"),
        ({"block_size": 1, "estimator": "block"}, ValueError, "block_size is 1; pass 2 to 4"),
        ({"block_size": 5, "estimator": "block"}, ValueError, "block_size is 5; pass 2 to 4"),
        ({"block_size": 2.0, "estimator": "block"}, TypeError, "block_size must be an integer"),
        ({"chunk_size": 0}, ValueError, "chunk_size is 0; pass a whole number >= 1"),
        ({"chunk_size": 0, "estimator": "linear"}, ValueError, "chunk_size is 0"),
        ({"chunk_size": 1.0, "estimator": "block"}, TypeError, "chunk_size must be an integer"),
        ({"rng": "a"}, TypeError, "rng is a str"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.full((2, 2), np.nan)}, ValueError, "y holds 4 NaN"),
        ({"x": np.zeros((0, 2))}, ValueError, "x has shape .* holds no observation"),
        ({"x": np.zeros((3, 4, 2)), "y": np.zeros((2, 4, 2))}, ValueError, "batch shapes of x and"),
        ({"x": X.astype(object)}, TypeError, "x has dtype object"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        mmd(**{"x": X, "y": Y, **arguments})

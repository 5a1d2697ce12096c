"""Kernels: their definitions, their laws, and their computation in tiles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import _kernel_forms, kernel_matrix, kernels
from cfmetrics.kernels import KERNELS

law = settings(deadline=None, max_examples=25, derandomize=True)

numbers = st.floats(-4, 4, allow_subnormal=False)
bandwidths = st.sampled_from([0.3, 1.0, 5.0])

PROFILES = {
    ("rbf", None): lambda z: math.exp(-(z @ z) / 2),
    ("laplace", None): lambda z: math.exp(-math.sqrt(z @ z)),
    ("laplace_l1", None): lambda z: math.exp(-abs(z).sum()),
    ("cauchy", None): lambda z: 1 / np.prod(1 + z**2),
    ("rational_quadratic", None): lambda z: 1 / (1 + z @ z / 2),
    ("rational_quadratic", 2.5): lambda z: (1 + z @ z / 5) ** -2.5,
    ("imq", None): lambda z: (1 + z @ z) ** -0.5,
    ("matern", 1): lambda z: math.exp(-math.sqrt(z @ z)),
    ("matern", None): lambda z: _matern(math.sqrt(3 * (z @ z)), 0),
    ("matern", 5.0): lambda z: _matern(math.sqrt(5 * (z @ z)), 1 / 3),
}
"""Kernels of bandwidth 1 as functions of the difference of two observations."""

ISOTROPIC = [case for case in PROFILES if case[0] not in ("laplace_l1", "cauchy")]

every_kernel = pytest.mark.parametrize(("kernel", "shape"), PROFILES)


def _matern(s, quadratic):
    return (1 + s + quadratic * s * s) * math.exp(-s)


@st.composite
def two_samples(draw):
    d = draw(st.integers(1, 3))
    return tuple(
        draw(hnp.arrays(np.float64, (draw(st.integers(1, 6)), d), elements=numbers))
        for _ in range(2)
    )


@every_kernel
@law
@given(case=two_samples(), bandwidth=bandwidths)
def test_equals_its_definition(kernel, shape, case, bandwidth):
    x, y = case
    profile = PROFILES[kernel, shape]
    expected = [[profile((u - v) / bandwidth) for v in y] for u in x]
    ours = kernel_matrix(x, y, kernel=kernel, shape=shape, bandwidth=bandwidth)
    # Distances below 1e-7 of the spread are rounded to 0.
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)
    far = np.array(expected) < 1 - 1e-4
    np.testing.assert_allclose(ours[far], np.array(expected)[far], rtol=1e-9, atol=1e-13)


@law
@given(two_samples())
def test_kernels_of_inner_products_equal_their_definition(case):
    x, y = case
    products = np.array([[np.dot(u, v) for v in y] for u in x])
    for degree in (None, 1, 2.0):
        ours = kernel_matrix(x, y, kernel="polynomial", shape=degree)
        expected = (products / x.shape[1] + 1) ** (degree or 3)
        np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(kernel_matrix(x, y, kernel="linear"), products, atol=1e-12)


@every_kernel
@law
@given(case=two_samples())
def test_is_symmetric_positive_definite_and_one_on_the_diagonal(kernel, shape, case):
    x, y = case
    pool = np.concatenate([x, y])
    matrix = kernel_matrix(pool, pool, kernel=kernel, shape=shape)
    np.testing.assert_allclose(matrix, matrix.T, rtol=1e-12)
    np.testing.assert_allclose(np.diag(matrix), 1, rtol=1e-13)
    assert np.linalg.eigvalsh(matrix).min() > -1e-5  # Close points are rounded to one.


@every_kernel
@law
@given(case=two_samples(), shift=numbers, factor=st.sampled_from([1e-150, 0.1, 3.0, 1e150]))
def test_shifts_and_common_scales_change_nothing(kernel, shape, case, shift, factor):
    x, y = case
    expected = kernel_matrix(x, y, kernel=kernel, shape=shape)
    shifted = kernel_matrix(x + 100 * shift, y + 100 * shift, kernel=kernel, shape=shape)
    np.testing.assert_allclose(shifted, expected, atol=1e-5)
    scaled = kernel_matrix(factor * x, factor * y, kernel=kernel, shape=shape, bandwidth=factor)
    np.testing.assert_allclose(scaled, expected, atol=1e-5)


@pytest.mark.parametrize(("kernel", "shape"), ISOTROPIC)
def test_rotations_change_nothing(kernel, shape):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, 3)), rng.normal(size=(4, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    expected = kernel_matrix(x, y, kernel=kernel, shape=shape)
    ours = kernel_matrix(x @ rotation, y @ rotation, kernel=kernel, shape=shape)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


@every_kernel
def test_several_bandwidths_are_the_mean_of_their_kernels(kernel, shape):
    rng = np.random.default_rng(1)
    x, y, options = (
        rng.normal(size=(5, 2)),
        rng.normal(size=(4, 2)),
        dict(kernel=kernel, shape=shape),
    )
    expected = np.mean([kernel_matrix(x, y, bandwidth=s, **options) for s in (0.5, 2, 8)], axis=0)
    for several in ([0.5, 2, 8], (0.5, 2.0, 8.0), np.array([0.5, 2, 8])):
        np.testing.assert_allclose(kernel_matrix(x, y, bandwidth=several, **options), expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_tiles_fit_together(kernel, monkeypatch):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 11, 3)), rng.normal(size=(7, 3))
    expected = kernel_matrix(x, y, kernel=kernel)
    assert expected.shape == (2, 11, 7)
    np.testing.assert_allclose(expected[1], kernel_matrix(x[1], y, kernel=kernel), rtol=1e-12)
    monkeypatch.setattr(kernels, "_TILE_BYTES", 8 * 2 * 9)  # Tiles of 3 by 3.
    monkeypatch.setattr(_kernel_forms, "_BROADCAST_NUMBERS", 4)  # The way of large tiles.
    np.testing.assert_allclose(kernel_matrix(x, y, kernel=kernel), expected, rtol=1e-12)


@every_kernel
def test_coinciding_observations_have_a_kernel_of_one(kernel, shape):
    # From inner products their distance would be about 1e-8 in float64 and 1e-3 in float32.
    x = np.random.default_rng(3).normal(size=(40, 300)) + 5
    options = {"kernel": kernel, "shape": shape, "bandwidth": 20.0}
    for dtype in ("float32", "float64"):
        diagonal = np.diag(kernel_matrix(x.astype(dtype), x.astype(dtype), **options))
        rounded = dtype == "float32" and kernel not in ("laplace", "matern")
        np.testing.assert_allclose(diagonal, 1, atol=1e-6 if rounded else 1e-12)


def test_far_observations_have_a_kernel_of_zero():
    x = np.full((200, 400), 1e3)  # The product over the features is beyond float64.
    for kernel in ("rbf", "laplace", "laplace_l1", "cauchy"):
        assert (kernel_matrix(x, -x, kernel=kernel) == 0).all()


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "float32"), ("float32", "float32"), ("float64", "float64"), ("int8", "float64")],
)
@pytest.mark.parametrize("kernel", KERNELS)
def test_result_dtype(kernel, dtype, expected):
    x = np.arange(6).reshape(3, 2).astype(dtype)
    assert kernel_matrix(x, x, kernel=kernel, bandwidth=[1.0, 2.0]).dtype == expected


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": "sigmoid"}, ValueError, "kernel is 'sigmoid'; pass one of 'rbf', 'laplace'"),
        ({"kernel": "minus_distance"}, ValueError, "kernel is 'minus_distance'; pass one of 'rbf'"),
        ({"kernel": ["rbf"]}, ValueError, r"kernel is \['rbf'\]; pass one of 'rbf'"),
        ({"bandwidth": 0}, ValueError, "bandwidth is 0; pass a number > 0"),
        ({"bandwidth": float("nan")}, ValueError, "bandwidth is nan; pass a finite number"),
        ({"bandwidth": "median"}, ValueError, r"bandwidth is 'median'; .*median_bandwidth\(x, y\)"),
        ({"shape": 1.0}, ValueError, "shape is 1.0, but kernel 'rbf' has no shape"),
        ({"kernel": "matern", "shape": 2.0}, ValueError, "shape is 2.0, .*; pass 1, 3 or 5"),
        ({"kernel": "polynomial", "shape": 1.5}, ValueError, "shape is 1.5; pass a whole number"),
        ({"kernel": "imq", "shape": "a"}, ValueError, "kernel 'imq' has no shape"),
        ({"kernel": "matern", "shape": "a"}, TypeError, "shape is a str; pass a plain number"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"x": np.full((2, 2), np.inf)}, ValueError, "x holds 4 NaN or infinite"),
        ({"x": np.zeros((0, 2))}, ValueError, "holds no observation"),
        ({"y": np.zeros((4, 2), dtype=bool)}, TypeError, "y has dtype bool; pass real numbers"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        kernel_matrix(**{"x": np.zeros((3, 2)), "y": np.zeros((4, 2)), **arguments})


def test_too_many_pairs_are_named():
    x = np.broadcast_to(np.int8(0), (10**7, 1))
    with pytest.raises(ValueError, match=r"the number of pairs is 1\d+, which takes 745058.1 GiB"):
        kernel_matrix(x, x)

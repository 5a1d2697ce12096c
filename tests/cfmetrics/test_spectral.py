"""The spectral distribution distance and the class-wise weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import (
    amplitude_phase,
    cf_distance,
    characteristic_parts,
    class_weights,
    mmd,
    ncf_distance,
    sample_frequencies,
    spectral_distance,
)

law = settings(deadline=None, max_examples=25, derandomize=True)

numbers = st.floats(-4, 4, allow_subnormal=False)
alphas = st.floats(0, 1)


@st.composite
def samples_and_frequencies(draw):
    d = draw(st.integers(1, 3))
    return tuple(
        draw(hnp.arrays(np.float64, (draw(st.integers(1, 6)), d), elements=numbers))
        for _ in range(3)
    )


@law
@given(samples_and_frequencies(), alphas)
def test_equals_its_definition(case, alpha):
    x, y, t = case
    amplitude, phase = amplitude_phase(characteristic_parts(x, t), characteristic_parts(y, t))
    terms = alpha * amplitude + (1 - alpha) * phase
    ours = spectral_distance(x, y, frequencies=t, alpha=alpha)
    np.testing.assert_allclose(ours, terms.mean(), atol=1e-14)
    ours = spectral_distance(x, y, frequencies=t, alpha=alpha, root=True)
    np.testing.assert_allclose(ours, np.sqrt(np.maximum(terms, 1e-12)).mean(), rtol=1e-9)


@law
@given(samples_and_frequencies())
def test_half_weights_give_half_the_squared_cf_distance(case):
    x, y, t = case
    expected = cf_distance(x, y, frequencies=t, squared=True) / 2
    np.testing.assert_allclose(spectral_distance(x, y, frequencies=t), expected, atol=1e-14)


@law
@given(samples_and_frequencies(), alphas)
def test_with_the_root_it_is_the_ncf_distance(case, alpha):
    x, y, t = case
    expected = ncf_distance(x, y, frequencies=t, alpha=alpha, beta=1 - alpha)
    assert spectral_distance(x, y, frequencies=t, alpha=alpha, root=True) == expected


@law
@given(samples_and_frequencies(), alphas, numbers, st.randoms(use_true_random=False))
def test_is_not_negative_symmetric_and_ignores_order_and_common_shifts(case, alpha, shift, random):
    x, y, t = case
    options = {"frequencies": t, "alpha": alpha}
    value = spectral_distance(x, y, **options)
    assert value >= 0
    assert value == spectral_distance(y, x, **options)
    assert spectral_distance(x, x, **options) == 0
    order = random.sample(range(len(x)), len(x))
    for moved in ((x[order], y), (x + shift, y + shift)):
        np.testing.assert_allclose(spectral_distance(*moved, **options), value, atol=1e-12)


@law
@given(samples_and_frequencies(), numbers)
def test_amplitude_alone_ignores_a_shift_of_one_sample(case, shift):
    x, y, t = case
    one, moved = (spectral_distance(a, y, frequencies=t, alpha=1.0) for a in (x, x + shift))
    np.testing.assert_allclose(moved, one, atol=1e-12)


@pytest.mark.parametrize("kernel", ["rbf", "laplace", "cauchy", "imq"])
def test_twice_the_distance_estimates_the_squared_mmd_of_the_kernel(kernel):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 2)), rng.normal(size=(25, 2)) + 1
    ours = 2 * spectral_distance(x, y, kernel=kernel, bandwidth=0.8, n_frequencies=20_000, rng=1)
    exact = mmd(x, y, kernel=kernel, bandwidth=0.8, estimator="biased")
    np.testing.assert_allclose(ours, exact, rtol=0.03)


def test_frequencies_come_from_the_kernel_and_the_seed():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) + 1
    t = sample_frequencies(50, 2, kernel="matern", shape=5.0, bandwidth=[0.5, 2.0], rng=3)
    options = {"kernel": "matern", "shape": 5.0, "bandwidth": [0.5, 2.0], "n_frequencies": 50}
    assert spectral_distance(x, y, rng=3, **options) == spectral_distance(x, y, frequencies=t)
    assert spectral_distance(x, y, rng=3) == spectral_distance(x, y, rng=3, n_frequencies=1024)
    scaled = spectral_distance(7 * x, 7 * y, bandwidth="median", rng=3)
    np.testing.assert_allclose(scaled, spectral_distance(x, y, bandwidth="median", rng=3))


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_class_has_its_own_weight(dtype, root):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(3, 9, 2)).astype(dtype), rng.normal(size=(3, 5, 2)).astype(dtype) + 1
    t = rng.normal(size=(8, 2)).astype(dtype)
    alpha = class_weights([50, 5, 20], 0.9, n_head=1)
    options = {"frequencies": t, "root": root}
    ours = spectral_distance(x, y, alpha=alpha, **options)
    assert ours.dtype == dtype
    expected = [
        spectral_distance(*pair, alpha=float(a), **options)
        for *pair, a in zip(x, y, alpha, strict=True)
    ]
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(ours, expected, rtol=tolerance)
    chunked = spectral_distance(x, y, alpha=list(alpha), chunk_size=2, **options)
    np.testing.assert_allclose(chunked, ours, rtol=tolerance)
    batch = np.stack([x, x])
    expected = spectral_distance(batch, y, alpha=np.array([[0.2], [0.7]]), **options)
    np.testing.assert_allclose(
        expected[1], spectral_distance(x, y, alpha=0.7, **options), rtol=tolerance
    )


@pytest.mark.parametrize(
    ("counts", "n_head", "expected"),
    [
        ([500, 20, 100], None, [0.8, 0.2, 0.8]),
        ([1, 2, 3, 4], None, [0.2, 0.2, 0.8, 0.8]),
        ([5, 5, 5], 1, [0.8, 0.2, 0.2]),  # The first of equals.
        ([7], None, [0.8]),
        ([1.0, 2.0], 2, [0.8, 0.8]),
        (np.array([3, 0], dtype=np.uint8), 1, [0.8, 0.2]),
    ],
)
def test_class_weights(counts, n_head, expected):
    np.testing.assert_allclose(class_weights(counts, 0.8, n_head=n_head), expected)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"class_counts": []},
            ValueError,
            r"class_counts has shape \(0,\); pass one count for each",
        ),
        ({"class_counts": [[1, 2]]}, ValueError, r"class_counts has shape \(1, 2\)"),
        ({"class_counts": [1, -2]}, ValueError, "class_counts holds -2.0; pass counts >= 0"),
        ({"class_counts": ["a"]}, TypeError, "class_counts has dtype <U1"),
        ({"alpha_head": 1.5}, ValueError, "alpha_head is 1.5; pass a number from 0 to 1"),
        ({"alpha_head": None}, TypeError, "alpha_head is a NoneType; pass a plain number"),
        ({"n_head": 0}, ValueError, "n_head is 0; pass a whole number >= 1"),
        ({"n_head": 4}, ValueError, "n_head is 4; pass at most 3, the number of classes"),
    ],
)
def test_bad_class_weights_are_named(arguments, error, message):
    with pytest.raises(error, match=message):
        class_weights(**{"class_counts": [5, 6, 7], "alpha_head": 0.8, **arguments})


X = np.zeros((3, 4, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"alpha": -0.1}, ValueError, "alpha is -0.1; pass a number from 0 to 1"),
        ({"alpha": 2}, ValueError, "alpha is 2; pass a number from 0 to 1"),
        ({"alpha": True}, TypeError, "alpha is a bool; pass a plain number"),
        (
            {"alpha": [0.1, 0.2, 1.2]},
            ValueError,
            "alpha holds 0.1 to 1.2; pass numbers from 0 to 1",
        ),
        ({"alpha": np.ones(2)}, ValueError, r"alpha has shape \(2,\), .* batch \(3,\) of x and y"),
        ({"alpha": np.ones((2, 3))}, ValueError, r"alpha has shape \(2, 3\), which does not"),
        ({"alpha": ["a"]}, TypeError, "alpha has dtype <U1"),
        ({"kernel": "linear"}, ValueError, "kernel is 'linear'; pass one of 'rbf'"),
        ({"bandwidth": 0}, ValueError, "bandwidth is 0; pass a number > 0"),
        ({"frequencies": np.ones((2, 3))}, ValueError, "so 3 features, but x has 2"),
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.full((4, 2), np.nan)}, ValueError, "y holds 8 NaN"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        spectral_distance(**{"x": X, "y": X, **arguments})

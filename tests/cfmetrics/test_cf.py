"""Laws and closed forms of the CF and NCF distances and of the amplitude and phase parts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import (
    CharacteristicParts,
    amplitude_phase,
    cf_distance,
    cf_distance_parts,
    characteristic_function,
    characteristic_parts,
    kernel_matrix,
    median_bandwidth,
    mmd,
    ncf_distance,
    ncf_distance_parts,
    normal_frequencies,
    sample_frequencies,
)

law = settings(deadline=None, max_examples=40, derandomize=True)

FLOOR = 1e-6
numbers = st.floats(-4, 4, allow_subnormal=False)
weights = st.floats(0.01, 2)


def arrays(n, d):
    return hnp.arrays(np.float64, (n, d), elements=numbers)


@st.composite
def three_samples(draw):
    """Three samples of different sizes, and frequencies, with the same d."""
    d = draw(st.integers(1, 3))
    x, y, z = (draw(arrays(draw(st.integers(1, 6)), d)) for _ in range(3))
    return x, y, z, draw(arrays(draw(st.integers(1, 4)), d))


def naive_distance(x, y, t, alpha, beta):
    """Follow the definition with complex numbers, moduli and angles, frequency by frequency."""
    total = 0.0
    for frequency in t:
        p, q = (np.mean([np.exp(1j * np.dot(frequency, row)) for row in s]) for s in (x, y))
        amplitude = (abs(p) - abs(q)) ** 2
        phase = 2 * abs(p) * abs(q) * (1 - np.cos(np.angle(p) - np.angle(q)))
        total += np.sqrt(max(alpha * amplitude + beta * phase, 1e-12))
    return total / len(t)


@law
@given(three_samples(), weights, weights)
def test_distance_equals_its_definition(case, alpha, beta):
    x, y, _, t = case
    ours = ncf_distance(x, y, frequencies=t, alpha=alpha, beta=beta)
    # The definition itself loses half of the digits to 1 - cos.
    np.testing.assert_allclose(ours, naive_distance(x, y, t, alpha, beta), atol=1e-7)


@law
@given(three_samples())
def test_parts_are_not_negative_and_add_up(case):
    x, y, _, t = case
    amplitude, phase = amplitude_phase(characteristic_parts(x, t), characteristic_parts(y, t))
    difference = characteristic_function(x, t) - characteristic_function(y, t)
    np.testing.assert_allclose(amplitude + phase, np.abs(difference) ** 2, atol=1e-14)
    assert (amplitude >= 0).all()
    assert (phase >= 0).all()


@pytest.mark.parametrize(
    ("p", "q", "amplitude", "phase"),
    [
        (1, 1j, 0, 2),  # Equal moduli, a right angle: all phase.
        (1, -1, 0, 4),
        (0.5, 0.25, 0.0625, 0),  # Equal angles: all amplitude.
        (0.5j, 0, 0.25, 0),  # No angle: all amplitude.
        (0, 0, 0, 0),
        (0.6, 0.8j, 0.04, 0.96),
    ],
)
def test_parts_in_closed_form(p, q, amplitude, phase):
    parts = [CharacteristicParts(np.array([v.real]), np.array([v.imag])) for v in (p, q)]
    ours = amplitude_phase(*parts)
    np.testing.assert_allclose([ours.amplitude[0], ours.phase[0]], [amplitude, phase], atol=1e-14)


@law
@given(numbers, numbers, hnp.arrays(np.float64, 3, elements=numbers), weights)
def test_two_points_have_a_phase_only(a, b, t, beta):
    ours = ncf_distance(np.array([a]), np.array([b]), frequencies=t, alpha=1, beta=beta)
    expected = np.maximum(np.sqrt(beta) * np.abs(2 * np.sin(t * (a - b) / 2)), FLOOR).mean()
    np.testing.assert_allclose(ours, expected, atol=1e-8)


@law
@given(three_samples(), numbers)
def test_amplitude_ignores_a_shift(case, shift):
    x, y, _, t = case
    before = amplitude_phase(characteristic_parts(x, t), characteristic_parts(y, t))
    after = amplitude_phase(characteristic_parts(x + shift, t), characteristic_parts(y, t))
    np.testing.assert_allclose(after.amplitude, before.amplitude, atol=1e-12)


@law
@given(three_samples(), weights, weights)
def test_symmetry(case, alpha, beta):
    x, y, _, t = case
    options = {"frequencies": t, "alpha": alpha, "beta": beta}
    assert ncf_distance(x, y, **options) == ncf_distance(y, x, **options)


@law
@given(three_samples(), st.randoms(use_true_random=False))
def test_equal_samples_are_at_the_floor_in_any_order(case, random):
    x, _, _, t = case
    order = random.sample(range(len(x)), len(x))
    assert ncf_distance(x, x[order], frequencies=t) <= FLOOR * (1 + 1e-9)


@law
@given(three_samples(), weights)
def test_weights_scale_as_a_square_root(case, factor):
    x, y, _, t = case
    one = ncf_distance(x, y, frequencies=t, alpha=0.3, beta=0.7)
    scaled = ncf_distance(x, y, frequencies=t, alpha=0.3 * factor, beta=0.7 * factor)
    np.testing.assert_allclose(scaled, np.sqrt(factor) * one, rtol=1e-9, atol=2 * FLOOR)


@law
@given(three_samples(), weights, weights)
def test_triangle_inequality_where_alpha_is_not_below_beta(case, a, b):
    x, y, z, t = case
    options = {"frequencies": t, "alpha": max(a, b), "beta": min(a, b)}
    detour = ncf_distance(x, y, **options) + ncf_distance(y, z, **options)
    assert ncf_distance(x, z, **options) <= detour + 1e-9


@law
@given(weights, weights)
def test_triangle_inequality_fails_whenever_alpha_is_below_beta(a, b):
    alpha, beta = min(a, b), max(a, b)
    options = {"frequencies": np.array([1.0]), "alpha": alpha, "beta": beta}
    # Characteristic functions 1, 0 and -1 at t = 1: the middle one has no phase to match.
    x, y, z = np.array([0.0]), np.array([0.0, np.pi]), np.array([np.pi])
    direct = ncf_distance(x, z, **options)
    detour = ncf_distance(x, y, **options) + ncf_distance(y, z, **options)
    np.testing.assert_allclose([direct, detour], 2 * np.sqrt([beta, alpha]), rtol=1e-9)
    assert direct > detour or beta - alpha < 1e-6


def test_mean_square_is_the_rbf_mmd():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(40, 3)), rng.normal(loc=0.5, size=(30, 3))
    t = normal_frequencies(20_000, 3, rng=5)
    squares = sum(amplitude_phase(characteristic_parts(x, t), characteristic_parts(y, t)))

    def kernel(a, b):
        return kernel_matrix(a, b).mean()

    mmd = kernel(x, x) + kernel(y, y) - 2 * kernel(x, y)
    assert abs(squares.mean() - mmd) < 4 * squares.std() / np.sqrt(len(t))
    assert squares.std() / np.sqrt(len(t)) < 0.02 * mmd  # The bound is sharp enough to fail.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_batch_and_parts_agree(dtype):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(3, 8, 4)).astype(dtype)
    t = rng.normal(size=(9, 4)).astype(dtype)
    options = {"alpha": 0.8, "beta": 0.3}
    expected = ncf_distance(x, y, frequencies=t, **options)
    assert expected.dtype == dtype
    results = [
        ncf_distance(x, y, frequencies=t, chunk_size=5, **options),
        np.array([ncf_distance(a, b, frequencies=t, **options) for a, b in zip(x, y, strict=True)]),
        ncf_distance_parts(characteristic_parts(x, t), characteristic_parts(y, t), **options),
    ]
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=2e-5 if dtype == "float32" else 1e-12)


def test_a_single_sample_is_compared_with_every_one_of_a_batch():
    rng = np.random.default_rng(7)
    x, y, t = rng.normal(size=(3, 6, 2)), rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    expected = [ncf_distance(a, y, frequencies=t) for a in x]
    np.testing.assert_allclose(ncf_distance(x, y, frequencies=t), expected)


def test_drawn_frequencies_come_from_the_seed():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) + 1
    t = normal_frequencies(32, 2, scale=0.5, rng=9)
    expected = ncf_distance(x, y, frequencies=t)
    options = {"n_frequencies": 32, "scale": 0.5, "rng": 9}
    assert ncf_distance(x, y, **options) == expected


def test_float32_resolves_close_characteristic_functions():
    # 2 (|p| |q| - Re(p conj q)) in float32 has lost every digit here.
    p, q = np.exp(0.3j), np.exp(0.3001j)
    parts = [
        CharacteristicParts(*(np.array([v], dtype=np.float32) for v in (z.real, z.imag)))
        for z in (p, q)
    ]
    np.testing.assert_allclose(amplitude_phase(*parts).phase[0], abs(p - q) ** 2, rtol=2e-3)


def naive_cf_distance(x, y, t, weights):
    """Follow the definition with complex numbers, frequency by frequency."""
    total = 0.0
    for frequency, weight in zip(t, weights, strict=True):
        p, q = (np.mean([np.exp(1j * np.dot(frequency, row)) for row in s]) for s in (x, y))
        total += weight * abs(p - q) ** 2
    return np.sqrt(total)


@law
@given(three_samples(), st.data())
def test_cf_distance_equals_its_definition(case, data):
    x, y, _, t = case
    ours = cf_distance(x, y, frequencies=t)
    np.testing.assert_allclose(
        ours, naive_cf_distance(x, y, t, np.full(len(t), 1 / len(t))), atol=1e-7
    )
    w = data.draw(hnp.arrays(np.float64, len(t), elements=st.floats(0, 3)))
    ours = cf_distance(x, y, frequencies=t, weights=w)
    np.testing.assert_allclose(ours, naive_cf_distance(x, y, t, w), atol=1e-7)
    squared = cf_distance(x, y, frequencies=t, weights=w, squared=True)
    np.testing.assert_allclose(squared, ours**2, atol=1e-14)


@law
@given(three_samples(), numbers, st.randoms(use_true_random=False))
def test_cf_distance_is_a_pseudometric_that_ignores_order_and_shifts(case, shift, random):
    x, y, z, t = case
    value = cf_distance(x, y, frequencies=t)
    assert value >= 0
    assert value == cf_distance(y, x, frequencies=t)
    assert cf_distance(x, x, frequencies=t) == 0
    assert value <= cf_distance(x, z, frequencies=t) + cf_distance(z, y, frequencies=t) + 1e-12
    order = random.sample(range(len(x)), len(x))
    for moved in ((x[order], y), (x + shift, y + shift)):
        squared = cf_distance(*moved, frequencies=t, squared=True)
        np.testing.assert_allclose(squared, value**2, atol=1e-12)


@law
@given(three_samples(), st.sampled_from([1e-3, 2.0, 1e3]))
def test_cf_distance_does_not_change_when_data_and_bandwidth_are_scaled(case, factor):
    x, y, _, _ = case
    for kernel in ("rbf", "cauchy"):
        one, scaled = (
            cf_distance(c * x, c * y, kernel=kernel, bandwidth=c, n_frequencies=16, rng=0)
            for c in (1.0, factor)
        )
        np.testing.assert_allclose(scaled, one, atol=1e-7)


@law
@given(numbers, numbers, hnp.arrays(np.float64, 3, elements=numbers))
def test_cf_distance_of_diracs(a, b, t):
    ours = cf_distance(np.array([a]), np.array([b]), frequencies=t)
    expected = np.sqrt(np.mean((2 * np.sin(t * (a - b) / 2)) ** 2))
    np.testing.assert_allclose(ours, expected, atol=1e-7)


@pytest.mark.parametrize("bandwidth", [1.3, [0.5, 2.0]])
@pytest.mark.parametrize(
    ("kernel", "shape"),
    [
        ("rbf", None),
        ("laplace", None),
        ("laplace_l1", None),
        ("cauchy", None),
        ("rational_quadratic", 0.7),
        ("imq", None),
        ("matern", 5.0),
    ],
)
def test_sampled_distance_estimates_its_closed_form(kernel, shape, bandwidth):
    rng = np.random.default_rng(10)
    x, y = rng.normal(size=(25, 3)), rng.normal(loc=0.6, size=(20, 3))
    options = {"kernel": kernel, "shape": shape, "bandwidth": bandwidth, "squared": True}
    exact = cf_distance(x, y, method="closed_form", **options)
    t = sample_frequencies(20_000, 3, kernel=kernel, shape=shape, bandwidth=bandwidth, rng=11)
    squares = sum(amplitude_phase(characteristic_parts(x, t), characteristic_parts(y, t)))
    error = squares.std() / np.sqrt(len(t))
    assert abs(cf_distance(x, y, frequencies=t, squared=True) - exact) < 4 * error
    assert error < 0.01 * exact  # The bound is sharp enough to fail.
    sampled = cf_distance(x, y, n_frequencies=20_000, rng=11, **options)
    np.testing.assert_allclose(sampled, squares.mean(), rtol=1e-9)


def test_closed_form_is_the_biased_mmd():
    rng = np.random.default_rng(12)
    x, y = rng.normal(size=(30, 2)), rng.normal(loc=0.5, size=(40, 2))

    def mean(a, b):
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2 / 1.5**2).mean()

    options = {"bandwidth": 1.5, "method": "closed_form"}
    gaussian = mean(x, x) + mean(y, y) - 2 * mean(x, y)
    np.testing.assert_allclose(cf_distance(x, y, squared=True, **options), gaussian, rtol=1e-12)
    np.testing.assert_allclose(cf_distance(x, y, **options), np.sqrt(gaussian), rtol=1e-12)
    expected = mmd(x, y, kernel="laplace", estimator="biased")
    ours = cf_distance(x, y, kernel="laplace", method="closed_form", squared=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-12)


def test_quadrature_weights_integrate_over_the_spectral_measure():
    # Gauss-Hermite nodes and weights in place of random frequencies, in one dimension.
    x, y = np.array([0.0, 0.4, 2.0]), np.array([1.0, -0.5])
    nodes, w = np.polynomial.hermite_e.hermegauss(60)
    ours = cf_distance(x, y, frequencies=nodes, weights=w / w.sum(), squared=True)
    exact = cf_distance(x, y, bandwidth=1.0, method="closed_form", squared=True)
    np.testing.assert_allclose(ours, exact, rtol=1e-12)


def test_distance_of_a_sample_from_a_known_distribution():
    x, t = np.random.default_rng(13).normal(size=400), np.linspace(-3, 3, 41)
    normal = CharacteristicParts(np.exp(-(t**2) / 2), np.zeros(41))
    parts = characteristic_parts(x, t)
    w = np.exp(-np.abs(t))
    expected = np.sqrt((w * ((parts.real - normal.real) ** 2 + parts.imag**2)).sum())
    np.testing.assert_allclose(cf_distance_parts(parts, normal, weights=w), expected)
    np.testing.assert_allclose(
        cf_distance_parts(parts, normal, weights=w, squared=True), expected**2
    )
    # E |Phi_n - Phi|^2 = (1 - |Phi|^2) / n
    mean = ((1 - np.exp(-(t**2))) / 400).mean()
    assert 0.1 < cf_distance_parts(parts, normal, squared=True) / mean < 4


def test_median_bandwidth_and_frequencies_come_from_one_generator():
    rng = np.random.default_rng(14)
    x, y = rng.normal(size=(700, 2)), rng.normal(size=(600, 2)) + 1
    generator = np.random.default_rng(15)
    bandwidth = median_bandwidth(x, y, rng=generator)
    t = sample_frequencies(64, 2, bandwidth=bandwidth, rng=generator)
    expected = cf_distance(x, y, frequencies=t)
    assert cf_distance(x, y, n_frequencies=64, rng=15) == expected


@pytest.mark.parametrize("method", ["sampled", "closed_form"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_and_batch_of_cf_distance_agree(dtype, method):
    rng = np.random.default_rng(16)
    x = rng.normal(size=(3, 21, 4)).astype(dtype) * np.array([1, 2, 3], dtype)[:, None, None]
    y = rng.normal(size=(8, 4)).astype(dtype)
    options = {"method": method, "n_frequencies": 32, "kernel": "laplace"}
    expected = cf_distance(x, y, rng=3, **options)
    assert expected.shape == (3,)
    assert expected.dtype == dtype
    results = [
        cf_distance(x, y, chunk_size=5, rng=3, **options),
        np.array([cf_distance(a, y, rng=3, **options) for a in x]),  # Each with its own median.
    ]
    for result in results:
        assert result.dtype == dtype
        np.testing.assert_allclose(result, expected, rtol=2e-5 if dtype == "float32" else 1e-12)


def test_batch_of_parts_has_one_distance_each():
    rng = np.random.default_rng(17)
    x, y, t = rng.normal(size=(3, 6, 2)), rng.normal(size=(5, 2)), rng.normal(size=(4, 2))
    ours = cf_distance_parts(characteristic_parts(x, t), characteristic_parts(y, t))
    np.testing.assert_allclose(ours, cf_distance(x, y, frequencies=t))


X, T = np.zeros((4, 2)), np.ones((3, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"method": "exact"},
            ValueError,
            "method is 'exact'; pass one of 'sampled', 'closed_form'",
        ),
        (
            {"method": "closed_form", "frequencies": T},
            ValueError,
            "frequencies is given, but method 'closed_form' integrates over all frequencies",
        ),
        ({"method": "closed_form", "weights": T[0]}, ValueError, "weights is given, but method"),
        ({"method": "closed_form", "kernel": "linear"}, ValueError, "kernel is 'linear'; pass one"),
        (
            {"method": "closed_form", "kernel": "matern", "shape": 2},
            ValueError,
            "shape is 2.0, for which kernel 'matern' has no closed form here; pass 1, 3 or 5",
        ),
        (
            {"frequencies": T, "weights": np.ones(2)},
            ValueError,
            r"weights has shape \(2,\); .*\(3,\)",
        ),
        (
            {"frequencies": T, "weights": -np.ones(3)},
            ValueError,
            "weights holds -1.0; pass weights",
        ),
        ({"frequencies": T, "weights": np.full(3, np.inf)}, ValueError, "weights holds 3 NaN"),
        ({"weights": np.ones(3)}, ValueError, r"weights has shape \(3,\); .* so \(256,\)"),
        ({"frequencies": np.ones((3, 4))}, ValueError, "so 4 features, but x has 2"),
        ({"kernel": "polynomial"}, ValueError, "kernel is 'polynomial'; pass one of 'rbf'"),
        ({"bandwidth": -2.0}, ValueError, "bandwidth is -2.0; pass a number > 0"),
        ({"bandwidth": "scott"}, ValueError, "bandwidth is 'scott'; pass 'median'"),
        ({"shape": 1.0}, ValueError, "shape is 1.0, but kernel 'rbf' has no shape"),
        ({"n_frequencies": 10**13}, ValueError, "n_frequencies is 10+, which takes .* pass fewer"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.full((4, 2), np.nan)}, ValueError, "y holds 8 NaN"),
        ({"x": np.zeros((0, 2))}, ValueError, "holds no observation"),
        ({"chunk_size": -1}, ValueError, "chunk_size is -1"),
    ],
)
def test_bad_input_of_cf_distance_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        cf_distance(**{"x": X, "y": X, **arguments})


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.ones(2), "pass one for each frequency, so"), (-np.ones(3), "weights holds -1.0")],
)
def test_bad_weights_of_parts_are_named(weights, message):
    parts = CharacteristicParts(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match=message):
        cf_distance_parts(parts, parts, weights=weights)

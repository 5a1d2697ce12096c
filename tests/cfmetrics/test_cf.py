"""Laws and closed forms of the amplitude and phase parts and of the NCF distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import (
    CharacteristicParts,
    amplitude_phase,
    characteristic_function,
    characteristic_parts,
    ncf_distance,
    ncf_distance_parts,
    normal_frequencies,
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
        return np.exp(-((a[:, None] - b[None]) ** 2).sum(-1) / 2).mean()

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

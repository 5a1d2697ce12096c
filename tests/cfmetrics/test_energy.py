"""The energy distance: definition, laws, closed forms, and two other implementations."""

import tracemalloc

import dcor
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from cfmetrics import cf_distance, energy_distance, kernels

law = settings(deadline=None, max_examples=25, derandomize=True)

numbers = st.one_of(st.floats(-4, 4, allow_subnormal=False), st.integers(-2, 2).map(float))


@st.composite
def three_samples(draw, least=1, most=3):
    d = draw(st.integers(least, most))
    return tuple(
        draw(hnp.arrays(np.float64, (draw(st.integers(1, 7)), d), elements=numbers))
        for _ in range(3)
    )


@law
@given(three_samples())
def test_equals_its_definition(case):
    x, y, _ = case

    def mean(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=2).mean()

    expected = 2 * mean(x, y) - mean(x, x) - mean(y, y)
    np.testing.assert_allclose(energy_distance(x, y, squared=True), expected, atol=1e-6)


@law
@given(three_samples(most=1))
def test_one_dimension_equals_scipy(case):
    x, y = case[0][:, 0], case[1][:, 0]
    ours = energy_distance(x, y)
    np.testing.assert_allclose(ours, stats.energy_distance(x, y), rtol=1e-9, atol=1e-12)
    squared = energy_distance(x, y, squared=True)
    np.testing.assert_allclose(squared, dcor.energy_distance(x, y), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("d", [2, 50, 400])
def test_many_dimensions_equal_dcor(d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, d)), rng.standard_t(3, size=(45, d)) + 0.1
    ours = energy_distance(x, y, squared=True)
    np.testing.assert_allclose(ours, dcor.energy_distance(x, y), rtol=1e-10)
    np.testing.assert_allclose(energy_distance(x, y), np.sqrt(ours), rtol=1e-12)


def test_one_dimension_equals_the_way_of_many():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(50, 1)), rng.integers(-2, 3, size=(40, 1))
    padded = (np.concatenate([a, 0.0 * a], axis=1) for a in (x, y))
    np.testing.assert_allclose(energy_distance(x, y), energy_distance(*padded), rtol=1e-9)


@law
@given(three_samples(), numbers, st.sampled_from([1e-3, 7.0, 1e5]), st.randoms())
def test_laws_of_a_metric(case, shift, factor, random):
    x, y, z = case
    value = energy_distance(x, y)
    assert value >= 0
    np.testing.assert_allclose(energy_distance(y, x), value, atol=1e-6)
    assert energy_distance(x, x) <= 1e-7
    assert value <= energy_distance(x, z) + energy_distance(z, y) + 1e-3
    order = random.sample(range(len(x)), len(x))
    squared = energy_distance(x, y, squared=True)
    for moved in ((x[order], y), (x + 100 * shift, y + 100 * shift)):
        np.testing.assert_allclose(energy_distance(*moved, squared=True), squared, atol=1e-4)
    scaled = energy_distance(factor * x, factor * y, squared=True)
    np.testing.assert_allclose(scaled, factor * squared, atol=1e-6 * factor)


def test_square_does_not_obey_the_triangle_inequality():
    a, b, c = (np.array([value]) for value in (0.0, 1.0, 2.0))
    direct = energy_distance(np.array([0.0, 0.0]), np.array([1.0, 0.0]), squared=True)
    np.testing.assert_allclose(direct, 0.5)
    mixtures = [np.repeat([0.0, 1.0], [10 - k, k]) for k in (0, 5, 10)]
    values = [
        energy_distance(mixtures[i], mixtures[j], squared=True) for i, j in ((0, 1), (1, 2), (0, 2))
    ]
    assert values[2] > values[0] + values[1] + 0.5
    assert energy_distance(a, c, squared=True) == energy_distance(a, b, squared=True) * 2


def test_rotations_change_nothing():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(9, 3)), rng.normal(size=(8, 3)) * 2
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    np.testing.assert_allclose(energy_distance(x @ rotation, y @ rotation), energy_distance(x, y))


def test_diracs():
    x, y = np.array([[1.0, 2.0, 2.0]]), np.zeros((1, 3))
    np.testing.assert_allclose(energy_distance(x, y, squared=True), 6.0)


def test_is_the_cf_distance_with_the_energy_weight():
    # In one dimension D^2 = int |Phi_x - Phi_y|^2 / (pi t^2) dt.
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=6), rng.normal(size=5) + 1
    t = np.linspace(5e-4, 1000, 1_000_000, endpoint=False)  # Mid-points of cells of 1e-3.
    weights = 2 * 1e-3 / (np.pi * t**2)
    ours = cf_distance(x, y, frequencies=t, weights=weights, squared=True)
    np.testing.assert_allclose(ours, energy_distance(x, y, squared=True), rtol=2e-3)


def test_estimates_the_distance_of_gaussians():
    # E|U| of U ~ N(m, s^2) is s sqrt(2 / pi) exp(-m^2 / 2 s^2) + m erf(m / s sqrt(2)).
    from scipy.special import erf

    def mean(m, variance):
        s = np.sqrt(variance)
        return s * np.sqrt(2 / np.pi) * np.exp(-(m**2) / 2 / variance) + m * erf(m / s / np.sqrt(2))

    x, y = (np.random.default_rng(seed).normal(size=(200, 2000)) for seed in (4, 5))
    values = energy_distance(x[..., None], 2 * y[..., None] + 1, squared=True)
    expected = 2 * mean(1, 5) - mean(0, 2) - mean(0, 8)
    bias = (mean(0, 2) + mean(0, 8)) / 2000  # Of the V-statistic.
    assert abs(values.mean() - expected - bias) < 4 * values.std() / np.sqrt(200)


@pytest.mark.parametrize("d", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_and_batch_agree(dtype, d, monkeypatch):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(3, 21, d)).astype(dtype), rng.normal(size=(8, d)).astype(dtype)
    expected = energy_distance(x, y)
    assert expected.shape == (3,)
    assert expected.dtype == dtype
    results = [
        np.array([energy_distance(a, y) for a in x]),
        energy_distance(x, y, chunk_size=5),
        energy_distance(y, x),
    ]
    assert results[0].dtype == dtype
    monkeypatch.setattr(kernels, "_TILE_BYTES", 8 * 3 * 25)
    results.append(energy_distance(x, y))
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=2e-5 if dtype == "float32" else 1e-11)


def test_offsets_cost_few_digits():
    rng = np.random.default_rng(7)
    for d in (1, 3):
        x, y = rng.integers(-5, 5, size=(30, d)), rng.integers(-4, 6, size=(20, d))
        far = energy_distance(x + 10**9, y + 10**9)
        np.testing.assert_allclose(far, energy_distance(x, y), rtol=1e-6)


def test_no_matrix_of_all_pairs_is_made():
    x = np.random.default_rng(8).normal(size=(3000, 3))
    tracemalloc.start()
    energy_distance(x, x + 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 15e6  # The matrix would take 72 MB.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"chunk_size": 0}, ValueError, "chunk_size is 0; pass a whole number >= 1"),
        ({"x": [1.0], "y": [2.0], "chunk_size": 1.5}, TypeError, "chunk_size must be an integer"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.full((4, 2), np.nan)}, ValueError, "y holds 8 NaN"),
        ({"x": np.zeros((4, 0)), "y": np.zeros((4, 0))}, ValueError, "holds no observation"),
        ({"x": 1.0}, ValueError, "x is a single number"),
        ({"x": np.zeros((4, 2), dtype=complex)}, TypeError, "x has dtype complex128"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        energy_distance(**{"x": np.zeros((3, 2)), "y": np.zeros((4, 2)), **arguments})

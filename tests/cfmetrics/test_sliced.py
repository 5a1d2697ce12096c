"""The sliced Wasserstein distance: laws, closed forms, and two other implementations."""

import tracemalloc

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from cfmetrics import sliced, sliced_wasserstein

law = settings(deadline=None, max_examples=25, derandomize=True)

numbers = st.one_of(st.floats(-4, 4, allow_subnormal=False), st.integers(-2, 2).map(float))
orders = st.sampled_from([1, 1.5, 2, 3])


@st.composite
def three_samples(draw):
    """Three samples of any sizes, and projections, with the same d."""
    d = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 8)) for _ in range(4)]
    return tuple(draw(hnp.arrays(np.float64, (n, d), elements=numbers)) for n in sizes)


@law
@given(three_samples(), orders)
def test_equals_pot_with_the_same_projections(case, p):
    x, y, _, u = case
    ours = sliced_wasserstein(x, y, projections=u, p=p)
    expected = ot.sliced_wasserstein_distance(x, y, projections=u.T, p=p)
    np.testing.assert_allclose(ours**p, expected**p, atol=1e-9)


@law
@given(three_samples(), orders)
def test_one_dimension_equals_pot_and_scipy_for_any_sizes(case, p):
    x, y = case[0][:, 0], case[1][:, 0]
    ours = sliced_wasserstein(x, y, p=p)
    np.testing.assert_allclose(ours**p, ot.wasserstein_1d(x, y, p=p), atol=1e-9)
    one = sliced_wasserstein(x, y, p=1)
    np.testing.assert_allclose(one, stats.wasserstein_distance(x, y), atol=1e-12)


@law
@given(three_samples(), orders, numbers, st.sampled_from([1e-3, 7.0, 1e5]), st.randoms())
def test_laws_of_a_pseudometric(case, p, shift, factor, random):
    x, y, z, u = case
    options = {"projections": u, "p": p}
    value = sliced_wasserstein(x, y, **options)
    assert value >= 0
    np.testing.assert_allclose(sliced_wasserstein(y, x, **options), value, rtol=1e-12)
    assert sliced_wasserstein(x, x, **options) == 0
    detour = sliced_wasserstein(x, z, **options) + sliced_wasserstein(z, y, **options)
    assert value <= detour + 1e-9
    order = random.sample(range(len(x)), len(x))
    for moved in ((x[order], y), (x + shift, y + shift), (np.tile(x, (3, 1)), y)):
        np.testing.assert_allclose(
            sliced_wasserstein(*moved, **options), value, atol=1e-9, rtol=1e-6
        )
    scaled = sliced_wasserstein(factor * x, factor * y, **options)
    np.testing.assert_allclose(scaled, factor * value, rtol=1e-9)


@law
@given(three_samples(), orders, hnp.arrays(np.float64, 3, elements=numbers))
def test_shift_of_one_sample_is_its_mean_length_on_the_projections(case, p, shift):
    x, _, _, u = case
    shift = shift[: x.shape[1]]
    expected = (np.abs(u @ shift) ** p).mean() ** (1 / p)
    ours = sliced_wasserstein(x, x + shift, projections=u, p=p)
    np.testing.assert_allclose(ours, expected, atol=1e-9)


def test_drawn_projections_are_uniform_unit_vectors():
    # E <u, s>^2 = |s|^2 / d for a uniform unit vector u.
    x, shift = np.random.default_rng(0).normal(size=(5, 4)), np.array([1.0, -2.0, 3.0, 0.5])
    ours = sliced_wasserstein(x, x + shift, n_projections=40_000, rng=1)
    np.testing.assert_allclose(ours, np.sqrt(shift @ shift / 4), rtol=0.01)
    scaled = sliced_wasserstein(x, 3 * x - 2 * x.mean(axis=0), n_projections=40_000, rng=1)
    spread = (2 * (x - x.mean(axis=0))).reshape(-1)
    np.testing.assert_allclose(scaled, np.sqrt(spread @ spread / 5 / 4), rtol=0.02)


def test_projections_come_from_the_seed():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(6, 3))
    one, same, other = (sliced_wasserstein(x, y, n_projections=9, rng=seed) for seed in (1, 1, 2))
    assert one == same != other
    u = np.random.default_rng(1).normal(size=(9, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    np.testing.assert_allclose(sliced_wasserstein(x, y, projections=u), one, rtol=1e-12)


@pytest.mark.parametrize("m", [8, 21])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_chunks_and_batch_agree(dtype, m, monkeypatch):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(m, 4)).astype(dtype)
    options = {"n_projections": 10, "rng": 5, "p": 3}
    expected = sliced_wasserstein(x, y, **options)
    assert expected.shape == (3,)
    assert expected.dtype == dtype
    results = [
        np.array([sliced_wasserstein(a, y, **options) for a in x]),
        sliced_wasserstein(x, y, chunk_size=3, **options),
    ]
    assert results[0].dtype == dtype
    monkeypatch.setattr(sliced, "_CHUNK_BYTES", 1)
    results.append(sliced_wasserstein(x, y, **options))
    for result in results:
        np.testing.assert_allclose(result, expected, rtol=2e-5 if dtype == "float32" else 1e-12)


def test_integers_and_half_precision():
    x, y = np.arange(6).reshape(3, 2), np.arange(4).reshape(2, 2)
    assert sliced_wasserstein(x, y).dtype == np.float64
    assert sliced_wasserstein(x.astype(np.float16), y.astype(np.float16)).dtype == np.float32
    assert sliced_wasserstein(x.astype(np.float32), y).dtype == np.float64


def test_memory_does_not_grow_with_the_projections():
    x = np.random.default_rng(4).normal(size=(20_000, 2))
    tracemalloc.start()
    sliced_wasserstein(x, x + 1, n_projections=200)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # All projections of both samples take 64 MB, and as much again sorted.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"p": 0.5}, ValueError, "p is 0.5; pass a number >= 1"),
        ({"p": float("inf")}, ValueError, "p is inf; pass a finite number"),
        ({"p": "2"}, TypeError, "p is a str; pass a plain number"),
        ({"n_projections": 0}, ValueError, "n_projections is 0; pass a whole number >= 1"),
        ({"n_projections": 10**13}, ValueError, "n_projections is 10+, which takes .* pass fewer"),
        (
            {"projections": np.ones((5, 3))},
            ValueError,
            "projections has shape .* 3 features, but x",
        ),
        ({"projections": np.ones((0, 2))}, ValueError, r"projections has shape \(0, 2\)"),
        ({"projections": np.full((1, 2), np.nan)}, ValueError, "projections holds 2 NaN"),
        ({"chunk_size": 0}, ValueError, "chunk_size is 0"),
        ({"rng": "a"}, TypeError, "rng is a str"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.full((4, 2), np.nan)}, ValueError, "y holds 8 NaN"),
        ({"x": []}, ValueError, "holds no observation"),
        ({"x": np.zeros((4, 2), dtype=bool)}, TypeError, "x has dtype bool"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        sliced_wasserstein(**{"x": np.zeros((3, 2)), "y": np.zeros((4, 2)), **arguments})

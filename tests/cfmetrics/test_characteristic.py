"""Laws and closed forms of the empirical characteristic function."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cfmetrics import CharacteristicParts, characteristic, characteristic_function
from cfmetrics import characteristic_parts as parts_of

law = settings(deadline=None, max_examples=40, derandomize=True)

numbers = st.floats(-5, 5, allow_subnormal=False)


@st.composite
def samples_and_frequencies(draw):
    """A sample (n, d) and frequencies (F, d) of any small size."""
    n, d, f = draw(st.integers(1, 9)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    x = draw(hnp.arrays(np.float64, (n, d), elements=numbers))
    t = draw(hnp.arrays(np.float64, (f, d), elements=numbers))
    return x, t


def naive(x, t):
    """Sum complex exponentials, one observation and one frequency at a time."""
    return np.array([sum(np.exp(1j * sum(a * b for a, b in zip(r, s, strict=True)))
                         for r in x) / len(x) for s in t])  # fmt: skip


@law
@given(samples_and_frequencies())
def test_equals_the_mean_of_complex_exponentials(case):
    x, t = case
    np.testing.assert_allclose(characteristic_function(x, t), naive(x, t), atol=1e-12)


@law
@given(numbers, hnp.arrays(np.float64, 6, elements=numbers))
def test_one_observation_gives_a_point_on_the_unit_circle(x, t):
    phi = characteristic_function(np.array([x]), t)
    np.testing.assert_allclose(phi, np.exp(1j * t * x), atol=1e-14)


@law
@given(samples_and_frequencies())
def test_modulus_is_at_most_one_and_is_one_at_zero(case):
    x, t = case
    assert (np.abs(characteristic_function(x, t)) <= 1 + 1e-12).all()
    assert characteristic_function(x, 0 * t[:1]) == 1


@law
@given(samples_and_frequencies(), numbers)
def test_shift_multiplies_by_a_phase(case, shift):
    x, t = case
    phase = np.exp(1j * t.sum(axis=1) * shift)
    shifted = characteristic_function(x + shift, t)
    np.testing.assert_allclose(shifted, phase * characteristic_function(x, t), atol=1e-12)


@law
@given(samples_and_frequencies())
def test_negated_frequencies_conjugate(case):
    x, t = case
    conjugate = characteristic_function(x, t).conj()
    np.testing.assert_allclose(characteristic_function(x, -t), conjugate, atol=1e-14)


@law
@given(samples_and_frequencies(), st.randoms(use_true_random=False))
def test_order_of_observations_does_not_matter(case, random):
    x, t = case
    order = random.sample(range(len(x)), len(x))
    np.testing.assert_allclose(
        characteristic_function(x[order], t), characteristic_function(x, t), atol=1e-13
    )


@law
@given(samples_and_frequencies(), st.integers(1, 10))
def test_chunks_add_up(case, chunk_size):
    x, t = case
    whole, pieces = parts_of(x, t), parts_of(x, t, chunk_size=chunk_size)
    np.testing.assert_allclose(pieces, whole, atol=1e-13)


def test_automatic_chunks_add_up_and_stay_small(monkeypatch):
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 101, 3)), rng.normal(size=(7, 3))
    whole = parts_of(x, t)
    rows = []
    original = characteristic._sum_cos_sin

    def record(xp, sample, frequencies):
        rows.append(sample.shape[-2])
        return original(xp, sample, frequencies)

    monkeypatch.setattr(characteristic, "_sum_cos_sin", record)
    monkeypatch.setattr(characteristic, "_NUMPY_CHUNK_BYTES", 10 * 2 * 7 * 8)
    np.testing.assert_allclose(parts_of(x, t), whole, atol=1e-14)
    assert rows == [10] * 10 + [1]


def test_normal_sample_approaches_the_normal_characteristic_function():
    n, t = 20_000, np.linspace(0.25, 3.0, 12)
    phi = characteristic_function(np.random.default_rng(7).normal(size=n), t)
    limit = np.exp(-(t**2) / 2)
    # Exact variances of cos(tX) and sin(tX) for X ~ N(0, 1).
    cos_variance = (1 + np.exp(-2 * t**2)) / 2 - np.exp(-(t**2))
    sin_variance = (1 - np.exp(-2 * t**2)) / 2
    z = np.concatenate(
        [(phi.real - limit) / np.sqrt(cos_variance / n), phi.imag / np.sqrt(sin_variance / n)]
    )
    assert np.abs(z).max() < 4
    assert 0.3 < np.sqrt((z**2).mean()) < 2  # Correlated, but neither exact nor far off.


def test_batch_equals_loop():
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(2, 3, 11, 4)), rng.normal(size=(5, 4))
    batched = characteristic_function(x, t)
    assert batched.shape == (2, 3, 5)
    for i, j in np.ndindex(2, 3):
        np.testing.assert_allclose(batched[i, j], characteristic_function(x[i, j], t), atol=1e-14)


def test_one_feature_may_be_given_without_its_axis():
    rng = np.random.default_rng(2)
    x, t = rng.normal(size=9), rng.normal(size=4)
    expected = characteristic_function(x[:, None], t[:, None])
    for sample, frequencies in [(x, t), (x, t[:, None]), (x[:, None], t)]:
        np.testing.assert_array_equal(characteristic_function(sample, frequencies), expected)


@pytest.mark.parametrize(
    ("x_dtype", "t_dtype", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float16, np.float16, np.float32),
        (np.float32, np.float64, np.float64),
        (np.int64, np.float64, np.float64),
    ],
)
def test_result_dtype(x_dtype, t_dtype, expected):
    parts = parts_of(np.ones((4, 2), dtype=x_dtype), np.ones((3, 2), dtype=t_dtype))
    assert isinstance(parts, CharacteristicParts)
    assert parts.real.dtype == expected
    assert parts.imag.dtype == expected


def test_lists_are_read_as_numpy_arrays():
    assert characteristic_function([0.0, 2.0], [0.0]) == 1

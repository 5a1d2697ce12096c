"""Distributions with known answers: their own laws, and the package against them."""

import math

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import cfmetrics
from cfmetrics import characteristic_function, characteristic_parts, ncf_distance_parts
from cfmetrics import closed_forms as our
from cfmetrics.strategies import (
    characteristic_functions,
    frequency_matrices,
    normal_pairs,
    seeds,
)

law = settings(deadline=None, max_examples=40, derandomize=True)

T = np.linspace(-6, 6, 25)


@law
@given(characteristic_functions(), frequency_matrices(1))
def test_characteristic_functions_obey_their_laws(phi, t):
    np.testing.assert_allclose(phi(-t), phi(t).conj(), atol=1e-15)
    assert (abs(phi(t)) <= 1 + 1e-12).all()
    assert phi(np.zeros(1)) == 1
    np.testing.assert_array_equal(phi.parts(t).real + 1j * phi.parts(t).imag, phi(t))
    # Bochner: the matrix Phi(t_j - t_k) is positive semidefinite.
    values = np.linalg.eigvalsh(phi(T[:, None] - T[None, :]))
    assert values.min() > -1e-10


@settings(law, max_examples=100)
@given(characteristic_functions(), seeds())
def test_samples_have_the_characteristic_function(phi, seed):
    n = 4000
    x = phi.sample(n, rng=seed)
    ours = characteristic_function(x, T)
    # Hoeffding: each part is off by 6.4 / sqrt(n) with probability 2 exp(-6.4^2 / 2) < 3e-9.
    assert max(abs((ours - phi(T)).real).max(), abs((ours - phi(T)).imag).max()) < 6.4 / math.sqrt(
        n
    )
    near = ncf_distance_parts(characteristic_parts(x, T), phi.parts(T))
    assert near < 6.4 / math.sqrt(n)
    np.testing.assert_array_equal(x, phi.sample(n, rng=np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("phi", "text"),
    [
        (our.dirac(1.0), "dirac(at=1.0)"),
        (our.bernoulli(0.2), "bernoulli(p=0.2)"),
        (our.normal(), "normal(mean=0.0, std=1.0)"),
        (our.uniform(0.0, 2.0), "uniform(low=0.0, high=2.0)"),
        (our.exponential(2.0), "exponential(scale=2.0)"),
        (our.laplace(), "laplace(mean=0.0, scale=1.0)"),
        (our.cauchy(), "cauchy(location=0.0, scale=1.0)"),
    ],
)
def test_every_kind_is_named_and_drawn(phi, text):
    assert repr(phi) == text
    kind = text.partition("(")[0]
    assert repr(find(characteristic_functions(), lambda p: p.name.startswith(kind)))


@law
@given(normal_pairs(points=True), frequency_matrices(3), st.floats(0.2, 4))
def test_points_have_their_distances_exactly(pair, t, bandwidth):
    x, y = pair.samples(2, 3, rng=0)
    expected = pair.squared_mmd(bandwidth)
    options = {"bandwidth": bandwidth, "estimator": "biased"}
    np.testing.assert_allclose(cfmetrics.mmd(x, y, **options), expected, atol=1e-12)
    options = {"bandwidth": bandwidth, "method": "closed_form", "squared": True}
    np.testing.assert_allclose(cfmetrics.cf_distance(x, y, **options), expected, atol=1e-12)
    t = t[:, : pair.n_features]
    for parts, sample in zip(pair.parts(t), (x, y), strict=True):
        np.testing.assert_allclose(parts, characteristic_parts(sample, t), atol=1e-12)
    if pair.n_features == 1:
        energy = cfmetrics.energy_distance(x, y, squared=True)
        np.testing.assert_allclose(energy, pair.squared_energy(), atol=1e-12)
        sliced = cfmetrics.sliced_wasserstein(x, y, projections=np.ones((1, 1)))
        np.testing.assert_allclose(sliced, pair.wasserstein(), atol=1e-12)


@settings(law, max_examples=20)
@given(normal_pairs(1), seeds())
def test_samples_are_near_the_distances_of_normals(pair, seed):
    n = 1000
    x, y = pair.samples(n, n, rng=seed)
    spread = max(pair.std_x, pair.std_y)
    # Each root of a squared distance of a sample from its law is of the order 1 / sqrt(n).
    close = 6 / math.sqrt(n)
    root_mmd = math.sqrt(max(cfmetrics.mmd(x, y, bandwidth=1.0, estimator="biased"), 0))
    assert abs(root_mmd - math.sqrt(max(pair.squared_mmd(1.0), 0))) < close
    root_energy = cfmetrics.energy_distance(x, y)
    tolerance = 2 * close * math.sqrt(spread)
    assert abs(root_energy - math.sqrt(max(pair.squared_energy(), 0))) <= tolerance + 1e-6
    sliced = cfmetrics.sliced_wasserstein(x, y, projections=np.ones((1, 1)))
    assert abs(sliced - pair.wasserstein()) <= 2 * close * spread + 1e-12


def test_distances_of_normals_agree_with_the_integral_over_frequencies():
    pair = our.NormalPair((0.3, -1.0), (1.0, 0.2), 0.7, 1.4)
    t = cfmetrics.sample_frequencies(200_000, 2, bandwidth=1.3, rng=0)
    p, q = pair.parts(t)
    squares = (p.real - q.real) ** 2 + (p.imag - q.imag) ** 2
    error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - pair.squared_mmd(1.3)) < 4 * error < 0.02 * pair.squared_mmd(1.3)


def test_equal_normals_have_no_distance():
    pair = our.NormalPair((1.0,), (1.0,), 2.0, 2.0)
    assert pair.squared_mmd(1.0) == pair.squared_energy() == pair.wasserstein() == 0


def test_bad_arguments():
    with pytest.raises(ValueError, match="n is 0"):
        our.normal().sample(0)
    with pytest.raises(ValueError, match="one feature, not for 2"):
        our.NormalPair((0, 0), (1, 1), 1, 1).squared_energy()

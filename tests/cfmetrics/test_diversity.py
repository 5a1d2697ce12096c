"""Laws, closed forms and independent references of the diversity within a class."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import spatial, special, stats

import cfmetrics.diversity
from cfmetrics import bounded_intra_class_diversity, intra_class_diversity

law = settings(deadline=None, max_examples=25, derandomize=True)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(params=["whole", "chunks"])
def chunking(request, monkeypatch):
    """Run a test in one piece, and again a few rows at a time."""
    if request.param == "chunks":
        monkeypatch.setattr(cfmetrics.diversity, "_NUMPY_CHUNK_BYTES", 1000)


def naive_diversity(x, k):
    """Follow the definition with a k-d tree and SciPy's softmax and relative entropy."""
    _, nearest = spatial.cKDTree(x).query(x, k + 1)
    means = [x[[j for j in row if j != i][:k]].mean(axis=0) for i, row in enumerate(nearest)]
    return -np.mean(
        stats.entropy(special.softmax(x, axis=1), special.softmax(means, axis=1), axis=1)
    )


@pytest.mark.parametrize(("n", "d", "k"), [(2, 3, 1), (10, 6, 2), (30, 4, 29), (60, 2, 12)])
def test_diversity_equals_its_definition(n, d, k, chunking):
    x = 2 * normal(n, d) + 100
    expected = naive_diversity(x, k)
    np.testing.assert_allclose(intra_class_diversity(x, k), expected, rtol=1e-9)
    np.testing.assert_allclose(intra_class_diversity(x, k, reduction="sum"), n * expected)


@pytest.mark.parametrize(
    ("n", "k"), [(2, 1), (3, 1), (5, 1), (7, 1), (8, 2), (10, 2), (13, 3), (50, 10)]
)
def test_default_number_of_neighbours(n, k):
    x = normal(n, 5)
    assert intra_class_diversity(x) == intra_class_diversity(x, k)


@law
@given(st.integers(2, 8), st.integers(1, 4), st.integers(0, 1000), st.floats(-4, 4))
def test_laws_of_diversity(n, d, seed, shift):
    x = normal(n, d, seed=seed)
    value = intra_class_diversity(x)
    assert value <= 1e-15
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rng.permutation(x), axis=1)
    np.testing.assert_allclose(intra_class_diversity(shuffled + shift), value, atol=1e-12)


def test_diversity_of_equal_members_is_zero_and_unbounded_otherwise():
    x = normal(1, 4).repeat(6, axis=0)
    assert abs(intra_class_diversity(x)) < 1e-15
    x = normal(10, 8)
    values = [intra_class_diversity(scale * x) for scale in (1e2, 1e3, 1e4)]
    np.testing.assert_allclose(np.divide(values[1:], values[:-1]), 10, rtol=0.05)


def test_a_single_member_has_no_diversity():
    x, y = normal(3, 1, 4), normal(3, 7, 4)
    np.testing.assert_array_equal(intra_class_diversity(x), np.zeros(3))
    np.testing.assert_array_equal(intra_class_diversity(x, reduction="sum"), np.zeros(3))
    np.testing.assert_array_equal(bounded_intra_class_diversity(x, y), np.zeros(3))
    np.testing.assert_array_equal(bounded_intra_class_diversity(y, x), np.zeros(3))


def naive_bounded_diversity(x, y, rank):
    variances, directions = np.linalg.eigh(np.cov(y, rowvar=False))
    top = directions[:, np.argsort(variances)[::-1][:rank]]
    spread, target = np.std(x @ top, axis=0, ddof=1), np.std(y @ top, axis=0, ddof=1)
    return np.mean((spread - target) ** 2) / np.mean(target**2)


@pytest.mark.parametrize(
    ("n", "m", "d", "rank", "used"),
    [
        (9, 60, 5, 3, 3),
        (4, 60, 5, 16, 3),
        (30, 12, 20, 16, 11),
        (30, 40, 25, 16, 16),
        (9, 40, 3, 16, 3),
    ],
)
def test_bounded_diversity_equals_its_definition(n, m, d, rank, used, chunking):
    scale = 1.5 ** -np.arange(d)  # Distinct principal variances.
    x, y = normal(n, d) * scale + 5, 2 * normal(m, d, seed=1) * scale
    ours = bounded_intra_class_diversity(x, y, rank=rank)
    np.testing.assert_allclose(ours, naive_bounded_diversity(x, y, used), rtol=1e-8)


@pytest.mark.parametrize(("m", "d"), [(60, 6), (6, 60)])
def test_laws_of_bounded_diversity(m, d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, d)), rng.normal(size=(m, d)) * np.linspace(1, 3, d)
    value = bounded_intra_class_diversity(x, y)
    assert value > 0
    rotation = np.linalg.qr(rng.normal(size=(d, d)))[0]
    for a, b in [(x + 3, y - 2), (7 * x, 7 * y), (x @ rotation, y @ rotation), (x[::-1], y[::-1])]:
        np.testing.assert_allclose(bounded_intra_class_diversity(a, b), value, rtol=1e-8)
    for factor in (0.0, 1.0, 3.0):
        ours = bounded_intra_class_diversity(factor * y + 1, y)
        np.testing.assert_allclose(ours, (factor - 1) ** 2, rtol=1e-8, atol=1e-15)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x, _: intra_class_diversity(x),
        lambda x, _: intra_class_diversity(x, 3, reduction="sum"),
        bounded_intra_class_diversity,
    ],
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_classes_are_handled_apart(loss, dtype):
    x, y = (2 * normal(3, 9, 5)).astype(dtype), normal(3, 8, 5, seed=1).astype(dtype)
    result = loss(x, y)
    assert result.dtype == ("float64" if dtype == "float64" else "float32")
    expected = [loss(a, b) for a, b in zip(x, y, strict=True)]
    assert expected[0].shape == ()
    assert expected[0].dtype == result.dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(result, expected, rtol=tolerance)
    np.testing.assert_allclose(loss(x, y[0])[0], expected[0], rtol=tolerance)
    np.testing.assert_allclose(result, loss(x.astype(float), y.astype(float)), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: intra_class_diversity(np.ones((4, 2)), 4),
            ValueError,
            "k is 4, but .* k <= 3, or N",
        ),
        (lambda: intra_class_diversity(np.ones((4, 2)), 0), ValueError, "k is 0; pass a whole"),
        (lambda: intra_class_diversity(np.ones((4, 2)), 1.5), TypeError, "k must be an integer"),
        (
            lambda: intra_class_diversity(np.ones((4, 2)), reduction="none"),
            ValueError,
            "reduction is 'none'; pass one of 'mean', 'sum'",
        ),
        (lambda: intra_class_diversity(np.ones((0, 2))), ValueError, "which holds no observation"),
        (
            lambda: bounded_intra_class_diversity(np.ones((4, 2)), np.ones((4, 3))),
            ValueError,
            "x has 2 features but y has 3",
        ),
        (
            lambda: bounded_intra_class_diversity(np.ones((4, 2)), np.ones((4, 2)), rank=0),
            ValueError,
            "rank is 0; pass a whole number",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_inputs_are_not_changed():
    x = normal(4, 6)
    before = x.copy()
    intra_class_diversity(x)
    bounded_intra_class_diversity(x, x)
    np.testing.assert_array_equal(x, before)

"""Laws, closed forms and independent references of the style discrepancies."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cfmetrics.style
from cfmetrics import (
    channel_moments,
    channel_moments_distance,
    gram_distance,
    gram_matrix,
)

law = settings(deadline=None, max_examples=25, derandomize=True)
numbers = st.floats(-4, 4, allow_subnormal=False)


@st.composite
def two_maps(draw):
    """Feature maps of two samples with the same channels; sizes differ otherwise."""
    sizes, channels = st.integers(1, 4), draw(st.integers(1, 3))
    shapes = [(draw(sizes), channels, draw(st.integers(2, 4)), draw(sizes)) for _ in range(2)]
    return [draw(hnp.arrays(np.float64, shape, elements=numbers)) for shape in shapes]


def random_maps(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def instance_norm(maps):
    mean = maps.mean(axis=(-2, -1), keepdims=True)
    return (maps - mean) / maps.std(axis=(-2, -1), keepdims=True)


@pytest.fixture(params=["whole", "chunks"])
def chunking(request, monkeypatch):
    """Run a test in one piece, and again a few rows at a time."""
    if request.param == "chunks":
        monkeypatch.setattr(cfmetrics.style, "_NUMPY_CHUNK_BYTES", 1000)


def naive_moments_distance(x, y, statistics, relative, eps=1e-5):
    def moments(maps):
        if statistics == "batch":
            flat = maps.mean(axis=0).reshape(maps.shape[1], -1)
            return flat.mean(axis=1), np.sqrt(flat.var(axis=1, ddof=1) + eps)
        flat = maps.reshape(*maps.shape[:2], -1)
        return flat.mean(axis=2).mean(axis=0), np.sqrt(flat.var(axis=2) + eps).mean(axis=0)

    total = 0.0
    for a, b in zip(moments(x), moments(y), strict=True):
        term = np.mean((a - b) ** 2)
        total += term / max(np.mean(b**2), 1e-12) if relative else term
    return total / 2


@law
@given(two_maps(), st.sampled_from(["batch", "sample"]), st.booleans())
def test_moments_distance_equals_its_definition(maps, statistics, relative):
    options = {"statistics": statistics, "relative": relative}
    ours = channel_moments_distance(*maps, **options)
    np.testing.assert_allclose(ours, naive_moments_distance(*maps, **options), rtol=1e-7)


@law
@given(two_maps(), st.sampled_from(["batch", "sample"]), st.randoms(use_true_random=False))
def test_moments_distance_is_a_squared_metric_of_what_it_sees(maps, statistics, random):
    x, y = maps
    forward = channel_moments_distance(x, y, statistics=statistics)
    assert forward >= 0
    assert channel_moments_distance(y, x, statistics=statistics) == forward
    order = random.sample(range(len(x)), len(x))
    same = channel_moments_distance(x, x[order][..., ::-1, :], statistics=statistics)
    assert same < 1e-24


def test_moments_of_a_chunked_sample(chunking):
    maps = random_maps(50, 3, 4, 2)
    mean, std = channel_moments(maps, statistics="sample", eps=0.0)
    np.testing.assert_allclose(mean, maps.mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(std, maps.std(axis=(2, 3)).mean(axis=0))


@pytest.mark.parametrize("statistics", ["batch", "sample"])
def test_a_shift_by_c_is_half_a_square_away(statistics):
    x, shift = random_maps(6, 3, 4, 5), np.array([1.0, -2.0, 0.5])
    moved = x + shift[:, None, None]
    ours = channel_moments_distance(x, moved, statistics=statistics)
    np.testing.assert_allclose(ours, (shift**2).mean() / 2)


@pytest.mark.parametrize("statistics", ["batch", "sample"])
def test_relative_distance_has_no_unit(statistics):
    x, y = random_maps(6, 3, 4, 4), random_maps(5, 3, 4, 4, seed=1) + 1
    options = {"statistics": statistics, "relative": True, "eps": 0.0}
    expected = channel_moments_distance(x, y, **options)
    np.testing.assert_allclose(channel_moments_distance(100 * x, 100 * y, **options), expected)
    np.testing.assert_allclose(channel_moments_distance(3 * y, y, **options), 4.0)


def test_the_spread_of_an_average_map_falls_with_the_sample():
    small, large = random_maps(4, 2, 64, 64), random_maps(400, 2, 64, 64, seed=1)
    ratio = channel_moments(small).std / channel_moments(large).std
    np.testing.assert_allclose(ratio, 10, rtol=0.1)  # sqrt(400 / 4) for independent positions.
    ratio = channel_moments(small, statistics="sample").std
    ratio = ratio / channel_moments(large, statistics="sample").std
    np.testing.assert_allclose(ratio, 1, rtol=0.02)


def test_moments_of_every_sample_are_blind_after_an_instance_norm():
    x, y = (
        instance_norm(random_maps(5, 2, 4, 4, seed=seed) ** power)
        for seed, power in [(0, 1), (1, 3)]
    )
    assert channel_moments_distance(x, y, statistics="sample") < 1e-24
    assert channel_moments_distance(x, y, statistics="batch") > 1e-5
    assert gram_distance(x, y) > 1e-5


def test_moments_of_a_single_position():
    mean, std = channel_moments(np.array([1.0, 3.0]).reshape(2, 1, 1, 1), statistics="sample")
    np.testing.assert_allclose([mean[0], std[0]], [2, np.sqrt(1e-5)])


@law
@given(two_maps())
def test_gram_distance_equals_its_definition(maps):
    grams = [np.einsum("nchw,ndhw->cd", m, m) / m.size for m in maps]
    expected = np.sum((grams[0] - grams[1]) ** 2)
    np.testing.assert_allclose(gram_distance(*maps), expected, rtol=1e-9, atol=1e-12)
    assert gram_distance(maps[0], maps[0][::-1]) < 1e-20


def test_correlations_are_those_of_numpy(chunking):
    maps = random_maps(40, 4, 3, 5)
    expected = np.mean([np.corrcoef(m.reshape(4, -1)) for m in maps], axis=0)
    np.testing.assert_allclose(gram_matrix(maps, correlation=True, eps=0.0), expected)
    np.testing.assert_allclose(
        gram_matrix(maps), np.einsum("nchw,ndhw->cd", maps, maps) / maps.size
    )


def test_which_form_of_gram_sees_the_scale():
    x, y = random_maps(4, 3, 4, 4), random_maps(6, 3, 5, 5, seed=1)
    np.testing.assert_allclose(gram_distance(2 * x, 2 * y), 16 * gram_distance(x, y))
    scale, shift = np.array([[2.0, -1.0], [3.0, 0.0], [0.5, 4.0]]).T[..., None, None]
    options = {"correlation": True, "eps": 0.0}
    expected = gram_distance(x, y, **options)
    np.testing.assert_allclose(gram_distance(scale * x + shift, y, **options), expected)


def test_forms_of_gram_agree_after_an_instance_norm():
    maps = instance_norm(random_maps(4, 3, 4, 4))
    correlations = gram_matrix(maps, correlation=True, eps=0.0)
    np.testing.assert_allclose(3 * gram_matrix(maps), correlations, atol=1e-14)


def test_a_constant_channel_has_no_correlation():
    maps = random_maps(4, 2, 3, 3)
    maps[:, 1] = 7.0
    np.testing.assert_allclose(gram_matrix(maps, correlation=True), [[1, 0], [0, 0]], atol=1e-3)


MAPS = [
    channel_moments_distance,
    lambda x, y: channel_moments_distance(x, y, statistics="sample", relative=True),
    gram_distance,
    lambda x, y: gram_distance(x, y, correlation=True),
]


@pytest.mark.parametrize("distance", MAPS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_classes_are_handled_apart(distance, dtype):
    x = (2 * random_maps(3, 6, 2, 3, 4)).astype(dtype)
    y = random_maps(3, 5, 2, 3, 4, seed=1).astype(dtype)
    result = distance(x, y)
    assert result.dtype == ("float64" if dtype == "float64" else "float32")
    expected = [distance(a, b) for a, b in zip(x, y, strict=True)]
    assert expected[0].shape == ()
    assert expected[0].dtype == result.dtype
    tolerance = 1e-12 if dtype == "float64" else 1e-5
    np.testing.assert_allclose(result, expected, rtol=tolerance)
    np.testing.assert_allclose(distance(x, y[0])[0], expected[0], rtol=tolerance)
    double = [v.astype(np.float64) for v in (x, y)]
    np.testing.assert_allclose(result, distance(*double), rtol=1e-4)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: gram_matrix(np.ones((2, 3, 4))),
            ValueError,
            r"x has shape \(2, 3, 4\); pass feat",
        ),
        (lambda: gram_matrix(np.ones((2, 3, 0, 4))), ValueError, r"\(2, 3, 0, 4\); pass feature"),
        (
            lambda: gram_distance(np.ones((2, 3, 4, 4)), np.ones((2, 5, 4, 4))),
            ValueError,
            "x has 3 channels but y has 5",
        ),
        (
            lambda: channel_moments_distance(np.ones((2, 2, 3, 4, 4)), np.ones((3, 2, 3, 4, 4))),
            ValueError,
            r"batch shapes of x and y are \(2,\) and \(3,\)",
        ),
        (
            lambda: channel_moments(np.full((1, 1, 2, 2), np.nan)),
            ValueError,
            "x holds 4 NaN or infinite values",
        ),
        (lambda: channel_moments([[[["a"]]]]), TypeError, "x has dtype <U1"),
        (
            lambda: channel_moments(np.ones((2, 3, 1, 1))),
            ValueError,
            r"x has shape \(2, 3, 1, 1\), so one position, .* or statistics='sample'",
        ),
        (
            lambda: channel_moments(np.ones((1, 1, 2, 2)), statistics="both"),
            ValueError,
            "statistics is 'both'; pass one of 'batch', 'sample'",
        ),
        (
            lambda: gram_matrix(np.ones((1, 1, 2, 2)), eps=-1),
            ValueError,
            "eps is -1; pass a number >=",
        ),
        (lambda: gram_matrix(np.ones((1, 1, 2, 2)), eps="0"), TypeError, "eps is a str"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_inputs_are_not_changed():
    x = random_maps(4, 2, 3, 3)
    before = x.copy()
    channel_moments_distance(x, x)
    gram_distance(x, x, correlation=True)
    np.testing.assert_array_equal(x, before)

"""Two-sample tests of torch tensors: the same seed gives the test of NumPy."""

import numpy as np
import pytest

import cfmetrics
from cfmetrics import two_sample_test
from cfmetrics.two_sample.prepare import prepare

torch = pytest.importorskip("torch")

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 3)), rng.normal(loc=0.3, size=(45, 3))

TESTS = {
    "cf": {},
    "cf matern": {"kernel": "matern", "shape": 5.0},
    "cf asymptotic": {"method": "asymptotic"},
    "cf epps_singleton": {"method": "epps_singleton"},
    "cf_agg": {},
    "cf_learned": {},
    "scf": {},
    "scf permutation": {"method": "permutation"},
    "mmd": {},
    "mmd laplace": {"kernel": "laplace", "bandwidth": [0.5, 2.0]},
    "mmd cauchy": {"kernel": "cauchy"},
    "mmd linear": {"kernel": "linear"},
    "mmd polynomial": {"kernel": "polynomial"},
    "energy": {},
    "sliced_wasserstein": {},
}


def run(name, x, y, n_resamples=99, seed=1):
    options = TESTS[name]
    return two_sample_test(
        x, y, statistic=name.split()[0], n_resamples=n_resamples, rng=seed, **options
    )


def tensors(dtype=torch.float64):
    return torch.tensor(X, dtype=dtype), torch.tensor(Y, dtype=dtype)


def assert_same(ours, expected, rtol=1e-4):
    np.testing.assert_allclose(ours.statistic, expected.statistic, rtol=rtol)
    np.testing.assert_allclose(ours.pvalue, expected.pvalue, rtol=1e-3)
    assert type(ours.statistic) is type(ours.pvalue) is float
    assert (ours.n, ours.m, ours.n_features) == (expected.n, expected.m, 3)
    if expected.null_distribution is not None:
        assert isinstance(ours.null_distribution, np.ndarray)
        scale = np.abs(expected.null_distribution).max()
        np.testing.assert_allclose(
            ours.null_distribution, expected.null_distribution, atol=1e-4 * scale
        )


@pytest.mark.parametrize("name", TESTS)
def test_the_same_seed_gives_the_test_of_numpy(name):
    assert_same(run(name, *tensors()), run(name, X, Y))


@pytest.mark.parametrize("name", TESTS)
def test_float32_gives_the_test_of_numpy(name):
    narrow = [a.astype(np.float32) for a in (X, Y)]
    assert_same(run(name, *tensors(torch.float32)), run(name, *narrow), rtol=1e-3)


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("block_rows", [16, 32])
def test_blocks_change_nothing_but_the_draws(name, block_rows, monkeypatch):
    from cfmetrics.two_sample import relabel

    monkeypatch.setattr(relabel, "BLOCK_ROWS", block_rows)
    assert_same(run(name, *tensors()), run(name, X, Y))


@pytest.mark.parametrize("name", TESTS)
def test_half_precision_is_computed_in_float32(name):
    for dtype in (torch.bfloat16, torch.float16):
        halves = tensors(dtype)
        expected = run(name, *(a.float() for a in halves))
        assert run(name, *halves) == expected


@pytest.mark.parametrize("name", TESTS)
def test_gradients_are_neither_needed_nor_kept(name):
    x, y = (a.requires_grad_() for a in tensors())
    assert run(name, x, y) == run(name, *tensors())
    samples = prepare(x, y, "raise", test="test")
    assert not samples.x.requires_grad
    assert x.requires_grad
    assert x.grad is None


@pytest.mark.parametrize("name", [name for name in TESTS if name != "cf_learned"])
def test_an_enclosing_autocast_rounds_nothing(name):
    # (cf_learned chooses its frequencies with whatever precision; the test of them is exact.)
    samples = tensors(torch.float32)
    expected = run(name, *samples)
    with torch.autocast("cpu", torch.bfloat16):
        found = run(name, *samples)
    assert_same(found, expected)


def test_attribution_is_that_of_numpy():
    ours, expected = (cfmetrics.cf_attribution(*pair, rng=1) for pair in (tensors(), (X, Y)))
    np.testing.assert_allclose(ours.amplitude, expected.amplitude, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(ours.phase_pvalues, expected.phase_pvalues, atol=2e-3)
    assert ours.phase_pvalue == expected.phase_pvalue
    assert isinstance(ours.frequencies, np.ndarray)


def test_a_function_is_given_tensors():
    kinds = set()

    def gap(x, y):
        kinds.add((type(x), x.dtype, x.ndim))
        return (x.mean() - y.mean()).abs()

    for index in (slice(None), 0):
        x, y = (a[:, index] for a in tensors(torch.float32))
        ours = two_sample_test(x, y, statistic=gap, n_resamples=99, rng=1)
        numbers = [a[:, index].astype(np.float32) for a in (X, Y)]
        expected = two_sample_test(
            *numbers, statistic=lambda x, y: abs(x.mean() - y.mean()), n_resamples=99, rng=1
        )
        np.testing.assert_allclose(ours.statistic, expected.statistic, rtol=1e-4)
        assert ours.pvalue == expected.pvalue
    assert kinds == {(torch.Tensor, torch.float32, 2), (torch.Tensor, torch.float32, 1)}


def test_frequencies_may_be_of_either_library():
    t = rng.normal(size=(8, 3))
    expected = cfmetrics.cf_2samp(X, Y, frequencies=t, n_resamples=19, rng=1)
    for samples in ((X, Y), tensors()):
        for frequencies in (t, torch.tensor(t), t.tolist()):
            found = cfmetrics.cf_2samp(*samples, frequencies=frequencies, n_resamples=19, rng=1)
            assert found.pvalue == expected.pvalue


def test_integers():
    x, y = (torch.randint(0, 5, (n, 2), generator=torch.manual_seed(0)) for n in (40, 30))
    for name in ("cf", "mmd", "energy"):
        assert_same_p = run(name, x, y), run(name, x.numpy(), y.numpy())
        assert assert_same_p[0].pvalue == assert_same_p[1].pvalue


def with_value(value):
    x, _ = tensors()
    x[3, 1] = value
    return x


@pytest.mark.parametrize("name", ["cf", "cf_agg", "scf", "energy", "sliced_wasserstein"])
@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (tensors()[0], Y, TypeError, "y is a ndarray but x is a torch tensor; pass torch.as_ten"),
        (X, tensors()[1], TypeError, "x is a ndarray but y is a torch tensor; pass torch.as_ten"),
        (with_value(float("nan")), tensors()[1], ValueError, "x holds NaN in 1 of its 60"),
        (with_value(float("inf")), tensors()[1], ValueError, "x holds infinite values"),
        (tensors()[0] > 0, tensors()[1], TypeError, "x has dtype torch.bool; pass real numbers"),
        (tensors()[0] + 0j, tensors()[1], TypeError, "x has dtype torch.complex128"),
        (torch.zeros(0, 3), torch.zeros(5, 3), ValueError, r"x has shape \(0, 3\)"),
        (torch.zeros(1, 3), torch.zeros(5, 3), ValueError, "x has 1 observation"),
        (torch.zeros(2, 5, 3), torch.zeros(5, 3), ValueError, r"x has shape \(2, 5, 3\); a test"),
        (torch.zeros(5, 2), torch.zeros(5, 3), ValueError, "x has 2 features but y has 3"),
        (torch.full((5, 1), 2**60), torch.ones(5, 1), ValueError, r"integer 1\d+, beyond 2\*\*53"),
    ],
)
def test_bad_samples_are_named(name, x, y, error, message):
    with pytest.raises(error, match=message):
        run(name, x, y, n_resamples=9)


def test_missing_values():
    x, y = with_value(float("nan")), tensors()[1]
    omitted = cfmetrics.cf_2samp(x, y, nan_policy="omit", n_resamples=19, rng=1)
    expected = cfmetrics.cf_2samp(np.delete(X, 3, 0), Y, n_resamples=19, rng=1)
    assert omitted.n == 59
    assert omitted.pvalue == expected.pvalue
    with pytest.warns(RuntimeWarning, match="x or y holds NaN, so energy_2samp returns NaN"):
        result = cfmetrics.energy_2samp(x, y, nan_policy="propagate")
    assert np.isnan(result.pvalue)


def test_tensors_are_left_as_they_are():
    x, y = tensors()
    for name in TESTS:
        run(name, x, y, n_resamples=9)
    np.testing.assert_array_equal(x.numpy(), X)
    np.testing.assert_array_equal(y.numpy(), Y)

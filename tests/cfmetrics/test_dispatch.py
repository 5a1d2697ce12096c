"""What all two-sample tests share, called by name; and the test of any function."""

import functools
import warnings

import numpy as np
import pytest
from scipy import stats

import cfmetrics
from cfmetrics import two_sample_test
from cfmetrics.two_sample.dispatch import TESTS
from cfmetrics.two_sample.relabel import Relabelings

ALL = [*TESTS, "scf_permutation"]
# The others standardise by the relabelings or split at random: the order of rows has a part in it.
WITHOUT_CHANCE = ["cf", "scf", "mmd", "energy", "sliced_wasserstein"]


def run(name, x, y, *, n_resamples=99, rng=0, **options):
    if name == "scf_permutation":
        name, options = "scf", {"method": "permutation", **options}
    return two_sample_test(x, y, statistic=name, n_resamples=n_resamples, rng=rng, **options)


def samples(n=60, m=45, d=3, shift=0.3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) * 1.1 + shift


def assert_same(a, b, rtol=1e-4):
    np.testing.assert_allclose(a.statistic, b.statistic, rtol=rtol)
    np.testing.assert_allclose(a.pvalue, b.pvalue, rtol=0 if a.method != "asymptotic" else 1e-2)


def test_every_name_is_its_function():
    assert len(TESTS) == 7
    x, y = samples()
    for name, function in TESTS.items():
        assert function is getattr(cfmetrics, f"{name}_2samp")
        direct = function(x, y, n_resamples=99, rng=0)
        assert run(name, x, y) == direct
        assert direct.test == f"{name}_2samp"
        assert (direct.n_features, direct.method) == (
            3,
            "asymptotic" if name == "scf" else "permutation",
        )
    assert two_sample_test(x, y, n_resamples=99, rng=0).test == "cf_2samp"


@pytest.mark.parametrize("name", ALL)
def test_a_seed_decides_everything_and_a_generator_moves_on(name):
    x, y = samples()
    first, again, other = (run(name, x, y, rng=seed) for seed in (1, 1, 2))
    assert first == again
    generator = np.random.default_rng(1)
    assert run(name, x, y, rng=generator) == first
    assert run(name, x, y, rng=generator) != first
    if name in ("energy", "sliced_wasserstein"):  # Or in frequencies, or in the split.
        assert (first.null_distribution != other.null_distribution).any()
    else:
        assert first != other or (first.null_distribution != other.null_distribution).any()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("d", [1, 6])
def test_finds_a_shift_and_a_change_of_spread(name, d):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, d))
    assert run(name, x, rng.normal(0.9, size=(170, d))).pvalue <= 0.01
    assert run(name, x, rng.normal(scale=2.2, size=(170, d))).pvalue <= 0.01
    assert run(name, x, rng.normal(size=(170, d))).pvalue > 0.01


@pytest.mark.parametrize("name", WITHOUT_CHANCE)
def test_the_statistic_does_not_depend_on_the_order_of_rows(name):
    x, y = samples()
    rng = np.random.default_rng(4)
    mixed = run(name, rng.permutation(x), rng.permutation(y))
    np.testing.assert_allclose(mixed.statistic, run(name, x, y).statistic, rtol=1e-4)


@pytest.mark.parametrize("name", WITHOUT_CHANCE)
def test_the_statistic_does_not_depend_on_which_sample_is_first(name):
    x, y = samples()
    np.testing.assert_allclose(run(name, y, x).statistic, run(name, x, y).statistic, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in WITHOUT_CHANCE if name != "scf"])
def test_the_exact_p_does_not_depend_on_the_order(name):
    x, y = samples(4, 5, d=2, shift=1.0)
    first, second = run(name, x, y, n_resamples=999), run(name, y, x[::-1], n_resamples=999)
    assert first.method == second.method == "exact"
    assert first.pvalue == second.pvalue


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shift", [1.0, 1e6])
def test_a_common_shift_changes_nothing(name, shift):
    x, y = samples()
    expected = run(name, x, y)
    assert_same(run(name, x + shift, y + shift), expected, rtol=1e-3)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("factor", [1e-150, 1e-8, 1e8, 1e150])
def test_the_unit_changes_nothing(name, factor):
    x, y = samples()
    before, after = run(name, x, y), run(name, factor * x, factor * y)
    scale = factor if name in ("energy", "sliced_wasserstein") else 1.0
    np.testing.assert_allclose(after.statistic, scale * before.statistic, rtol=1e-4)
    np.testing.assert_allclose(after.pvalue, before.pvalue, rtol=1e-3)


@pytest.mark.parametrize("name", ALL)
def test_integers_are_their_values(name):
    rng = np.random.default_rng(5)
    x, y = rng.poisson(3, size=(50, 2)), rng.poisson(4, size=(40, 2))
    assert run(name, x, y) == run(name, x.astype(np.float64), y.astype(np.float64))


@pytest.mark.parametrize("name", ALL)
def test_float32_gives_the_result_of_float64(name):
    x, y = (a.astype(np.float32) for a in samples())
    narrow, wide = run(name, x, y), run(name, x.astype(np.float64), y.astype(np.float64))
    assert_same(narrow, wide, rtol=1e-3)


SHAPES = {
    "two and two": (2, 2, 1),
    "five and a hundred": (5, 100, 2),
    "one feature": (40, 30, 1),
    "more features than observations": (20, 25, 300),
    "a thousand and three": (1000, 3, 4),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_a_p(name, shape):
    n, m, d = SHAPES[shape]
    if name.startswith("scf") and n + m < 12:
        with pytest.raises(ValueError, match=r"10 features .* 2"):
            run(name, *samples(n, m, d))
        return
    if name == "scf" and min(n, m) <= 10:  # The asymptotic form, which is the default.
        with pytest.raises(ValueError, match=rf"10 features .* {n} and {m} "):
            run(name, *samples(n, m, d))
        return
    if name == "cf_learned" and min(n, m) < 4:
        with pytest.raises(ValueError, match="both parts need at least 2"):
            run(name, *samples(n, m, d))
        return
    result = run(name, *samples(n, m, d))
    assert np.isfinite(result.statistic)
    assert 0 < result.pvalue <= 1
    if result.method == "permutation":
        assert result.pvalue >= 1 / 100


@pytest.mark.parametrize("name", ALL)
def test_equal_observations_have_p_one(name):
    for value in (0.0, 3.0, -1e8):
        result = run(name, np.full((30, 2), value), np.full((20, 2), value))
        assert result.pvalue == 1
        assert np.isfinite(result.statistic)


@pytest.mark.parametrize("name", ALL)
def test_equal_samples_speak_for_equality(name):
    x, _ = samples(50)
    assert run(name, x, x, rng=1).pvalue > 0.5 or name == "cf_learned"


@pytest.mark.parametrize("name", ALL)
def test_constant_columns_do_no_harm(name):
    x, y = samples(150, 150, d=1, shift=1.5)
    x, y = (np.concatenate([np.full((150, 2), 7.0), a, np.zeros((150, 1))], axis=1) for a in (x, y))
    assert run(name, x, y).pvalue <= 0.02


@pytest.mark.parametrize("name", ALL)
def test_two_constants_that_differ(name):
    result = run(name, np.zeros(60), np.ones(60))
    # Features of the asymptotic test do not vary within the samples: it has nothing to go by.
    if name == "scf":
        assert result.statistic > 1e3 or result.pvalue == 1
    else:
        assert result.pvalue == 0.01


@pytest.mark.parametrize("name", ALL)
def test_ties_are_counted_against_a_difference(name):
    rng = np.random.default_rng(6)
    x, y = rng.integers(0, 2, size=60), rng.integers(0, 2, size=60)
    y[:] = rng.permutation(x)
    result = run(name, x, y)
    assert result.pvalue == 1 or name == "cf_learned"
    assert run(name, x, 1 - 0 * y).pvalue <= 0.01


def heavy(kind, n, rng):
    x = rng.normal(size=(n, 2))
    if kind == "cubed Cauchy":
        return rng.standard_cauchy((n, 2)) ** 3
    if kind == "one far outlier":
        x[n // 2] = 1e200
    if kind == "tens of powers":
        x *= 10.0 ** rng.uniform(-100, 100, size=(n, 1))
    if kind == "largest numbers":
        x[:2] = [[1e300, -1e300], [-1e300, 1e300]]
    return x


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "kind", ["cubed Cauchy", "one far outlier", "tens of powers", "largest numbers"]
)
def test_heavy_tails_never_give_nan_or_a_warning(name, kind):
    rng = np.random.default_rng(7)
    x, y = heavy(kind, 80, rng), heavy(kind, 70, rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = run(name, x, y)
    assert np.isfinite(result.statistic)
    assert 0 < result.pvalue <= 1


@pytest.mark.parametrize("name", ["cf", "cf_agg", "cf_learned", "scf", "scf_permutation", "mmd"])
def test_outliers_do_not_hide_a_difference(name):
    # Neither the centre nor the bandwidth may follow them, whatever the precision of the samples.
    rng = np.random.default_rng(8)
    for outliers in ([1e9, -1e10], [1e30, 1e30]):
        x, y = rng.normal(size=(150, 2)), rng.normal(1.0, size=(150, 2))
        x[:2, 0] = outliers
        for dtype in (np.float32, np.float64):
            assert run(name, x.astype(dtype), y.astype(dtype)).pvalue <= 0.01
    x[:2, 0] = 1e200
    assert run(name, x, y).pvalue <= 0.01


@pytest.mark.parametrize("name", ALL)
def test_many_observations_lie_in_several_blocks(name, monkeypatch):
    from cfmetrics.two_sample import relabel

    monkeypatch.setattr(relabel, "BLOCK_ROWS", 64)
    assert run(name, *samples(200, 150, shift=1.0)).pvalue <= 0.01


def mean_gap(x, y):
    return abs(x.mean() - y.mean())


def test_any_function_can_be_the_statistic():
    x, y = samples(n=12, m=9, d=2)
    result = two_sample_test(x, y, statistic=mean_gap, n_resamples=199, rng=3)
    pooled = np.concatenate([x, y])
    labels = Relabelings(12, 9, 199, np.random.default_rng(3)).all()
    values = np.array([mean_gap(pooled[label], pooled[~label]) for label in labels])
    np.testing.assert_array_equal(result.null_distribution, values[1:])
    assert result.pvalue == np.mean(values >= values[0])
    assert result.test == "two_sample_test(mean_gap)"
    assert (result.n, result.m, result.n_features, result.method) == (12, 9, 2, "permutation")


def test_a_function_is_given_what_the_caller_gave():
    seen = []

    def spy(x, y):
        seen.append((x.shape, y.shape, x.dtype))
        return 0.0

    for shapes in (((5,), (4,)), ((5, 1), (4, 1)), ((5, 2), (4, 2))):
        seen.clear()
        x, y = (np.zeros(shape, dtype=np.float32) for shape in shapes)
        two_sample_test(x, y, statistic=spy, n_resamples=9, rng=0)
        assert set(seen) == {(*shapes, np.dtype(np.float32))}
        assert len(seen) == 10


def test_a_small_exact_test_of_a_function_equals_scipy():
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=5), rng.normal(0.8, size=4)

    def statistic(a, b):
        return abs(np.median(a) - np.median(b))

    expected = stats.permutation_test(
        (x, y), statistic, n_resamples=np.inf, vectorized=False, alternative="greater"
    )
    result = two_sample_test(x, y, statistic=statistic)
    assert result.method == "exact"
    assert result.pvalue == pytest.approx(expected.pvalue, rel=1e-12)


@pytest.mark.parametrize(
    "distance",
    [
        functools.partial(cfmetrics.cf_distance, bandwidth=1.0, rng=0),
        functools.partial(cfmetrics.ncf_distance, rng=0),
        functools.partial(cfmetrics.spectral_distance, rng=0),
        functools.partial(cfmetrics.mmd, bandwidth=1.0, estimator="biased"),
        cfmetrics.energy_distance,
        functools.partial(cfmetrics.sliced_wasserstein, rng=0),
    ],
)
def test_every_distance_of_the_package_can_be_the_statistic(distance):
    x, y = samples(40, 30, d=2, shift=1.0)
    result = two_sample_test(x, y, statistic=distance, n_resamples=19, rng=0)
    assert result.pvalue == 0.05
    np.testing.assert_allclose(result.statistic, distance(x, y), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"statistic": "ks"}, ValueError, "statistic is 'ks'; pass one of 'cf', 'cf_agg'"),
        ({"statistic": 3}, TypeError, "statistic is a int; pass a name or a function"),
        ({"statistic": None}, TypeError, "statistic is a NoneType; pass a name or a function"),
        ({"statistic": mean_gap, "bandwidth": 2}, TypeError, "bandwidth: options are for a named"),
        ({"statistic": "energy", "bandwidth": 2}, TypeError, "energy_2samp.* 'bandwidth'"),
        ({"statistic": lambda x, y: np.nan}, ValueError, "statistic returned nan for the samples"),
        ({"statistic": lambda x, y: None}, ValueError, "statistic returned nan for the samples"),
        ({"statistic": lambda x, y: x - y}, TypeError, "statistic returned array.*one number"),
        ({"statistic": lambda x, y: "1.5 m"}, TypeError, "statistic returned '1.5 m'; it must"),
        ({"statistic": lambda x, y: (1, 2)}, TypeError, r"statistic returned \(1, 2\); it must"),
        ({"statistic": lambda x, y: 1j}, TypeError, "statistic returned 1j; it must return one"),
    ],
)
def test_bad_statistics_are_named(options, error, message):
    x = np.arange(8.0)
    with pytest.raises(error, match=message):
        two_sample_test(x, x + 1, n_resamples=9, **options)


def test_a_statistic_that_fails_later_says_where():
    calls = iter(range(100))
    with pytest.raises(ValueError, match="statistic returned inf for relabeling 7"):
        two_sample_test(
            *samples(), statistic=lambda x, y: np.inf if next(calls) == 7 else 0.0, n_resamples=9
        )


def test_errors_of_the_function_are_its_own():
    def broken(x, y):
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        two_sample_test(*samples(), statistic=broken, n_resamples=9)

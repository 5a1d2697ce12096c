"""What tests do with their arguments: shapes, dtypes, missing values, and the centre."""

import warnings

import numpy as np
import pytest

import cfmetrics
from cfmetrics import _validate, two_sample_test
from cfmetrics.two_sample.prepare import centre_step, middle, prepare

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(12, 3)), rng.normal(size=(10, 3))

TESTS = {
    "cf": cfmetrics.cf_2samp,
    "cf_agg": cfmetrics.cf_agg_2samp,
    "cf_learned": cfmetrics.cf_learned_2samp,
    "scf": cfmetrics.scf_2samp,
    "mmd": cfmetrics.mmd_2samp,
    "energy": cfmetrics.energy_2samp,
    "sliced_wasserstein": cfmetrics.sliced_wasserstein_2samp,
    "attribution": cfmetrics.cf_attribution,
    "callable": lambda x, y, **options: two_sample_test(x, y, statistic=gap, **options),
}
OPTIONS = {"scf": {"n_frequencies": 2}}  # Few observations.


def gap(x, y):
    return abs(x.mean() - y.mean())


def with_value(value, *place):
    changed = X.copy()
    changed[place] = value
    return changed


def run(name, x, y, **options):
    return TESTS[name](x, y, n_resamples=19, rng=0, **OPTIONS.get(name, {}), **options)


@pytest.mark.parametrize(
    ("x", "y", "error", "message"),
    [
        (with_value(np.nan, 2, 1), Y, ValueError, "x holds NaN in 1 of its 12 .*'omit'"),
        (X, with_value(np.nan, slice(4)), ValueError, "y holds NaN in 4 of its 12 observations"),
        (with_value(np.inf, 2, 1), Y, ValueError, "x holds infinite values.*remove or clip them"),
        (X, with_value(-np.inf, 0), ValueError, "y holds infinite values.*remove or clip them"),
        (X[:0], Y, ValueError, r"x has shape \(0, 3\), which holds no observation; pass"),
        (X, Y[:, :0], ValueError, r"y has shape \(10, 0\), which holds no observation; pass"),
        (X, [], ValueError, r"y has shape \(0,\), which holds no observation"),
        (X[:1], Y, ValueError, "x has 1 observation; a two-sample test needs at least 2"),
        (X, np.ones(1), ValueError, "y has 1 observation; a two-sample test needs at least 2"),
        (X, Y[:, :2], ValueError, "x has 3 features but y has 2"),
        (X, Y[:, 0], ValueError, "x has 3 features but y has 1"),
        (X[None], Y, ValueError, r"x has shape \(1, 12, 3\); a test takes one sample"),
        (np.float64(1.0), Y, ValueError, "x is a single number"),
        (X > 0, Y, TypeError, "x has dtype bool; pass real numbers"),
        (X, Y.astype(complex), TypeError, "y has dtype complex128; pass real numbers"),
        (X.astype(object), Y, TypeError, "x has dtype object; pass real numbers"),
        (None, Y, TypeError, "x has dtype object; pass real numbers"),
        (X, Y.astype(str), TypeError, "y has dtype <U32; pass real numbers"),
        (X.astype("M8[s]"), Y, TypeError, r"x has dtype datetime64\[s\]; pass real numbers"),
        ("x.npy", Y, TypeError, "x has dtype <U5; pass real numbers"),
        ([[1.0, 2.0], [3.0]], Y, ValueError, "x cannot be read as one array"),
        (np.ma.masked_array(X), Y, TypeError, r"x is a masked array.*pass x.filled\(\)"),
        ((X * 2**60).astype(np.int64), Y, ValueError, r"x holds the integer -?\d+, beyond 2\*\*53"),
        (
            X,
            np.full((5, 3), 2**63, np.uint64),
            ValueError,
            "y holds the integer 9223372036854775808",
        ),
        ([[10**30] * 3] * 4, Y, TypeError, "x has dtype object"),
    ],
)
@pytest.mark.parametrize("name", TESTS)
def test_bad_samples_are_named_by_every_test(name, x, y, error, message):
    with pytest.raises(error, match=message):
        run(name, x, y)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n_resamples": 0}, ValueError, "n_resamples is 0; pass a whole number >= 1"),
        ({"n_resamples": -5}, ValueError, "n_resamples is -5; pass a whole number >= 1"),
        ({"n_resamples": True}, TypeError, "n_resamples must be an integer, not True"),
        ({"n_resamples": 2.5}, TypeError, "n_resamples must be an integer, not 2.5"),
        ({"n_resamples": "99"}, TypeError, "n_resamples must be an integer, not '99'"),
        ({"rng": "seed"}, TypeError, "rng is a str; pass a numpy.random.Generator, a seed or None"),
        ({"rng": True}, TypeError, "rng is a bool"),
        ({"rng": 1.0}, TypeError, "rng is a float"),
        ({"rng": np.random.RandomState(0)}, TypeError, "rng is a RandomState"),
        ({"rng": -1}, ValueError, "rng is -1; pass a seed >= 0"),
        ({"nan_policy": "ignore"}, ValueError, "nan_policy is 'ignore'; pass one of 'raise'"),
        ({"nan_policy": None}, ValueError, "nan_policy is None; pass one of 'raise'"),
        ({"nan_policy": ["omit"]}, ValueError, r"nan_policy is \['omit'\]; pass one of 'raise'"),
    ],
)
@pytest.mark.parametrize("name", TESTS)
def test_bad_options_are_named_by_every_test(name, options, error, message):
    with pytest.raises(error, match=message):
        TESTS[name](X, Y, **{"n_resamples": 9, "rng": 0, **OPTIONS.get(name, {}), **options})


MANY = np.concatenate([X] * 5), np.concatenate([Y] * 5)  # Too many to visit every subset.


@pytest.mark.parametrize("name", [name for name in TESTS if name != "scf"])
def test_more_resamples_than_memory_holds(name):
    with pytest.raises(ValueError, match=r"n_resamples is 1000000000000, which .* pass fewer"):
        TESTS[name](*MANY, n_resamples=10**12)


def test_more_resamples_of_scf_than_memory_holds():
    with pytest.raises(ValueError, match=r"n_resamples is 1000000000000, which takes .* GiB"):
        cfmetrics.scf_2samp(*MANY, n_frequencies=2, method="permutation", n_resamples=10**12)


def test_what_is_large_is_blamed(monkeypatch):
    monkeypatch.setattr(_validate, "_memory", lambda: 2**30)
    with pytest.raises(ValueError, match="n_resamples is 150000, which"):
        cfmetrics.cf_2samp(*MANY, n_resamples=150_000)
    with pytest.raises(ValueError, match="n_frequencies is 9000, which"):
        cfmetrics.cf_2samp(*MANY, n_frequencies=9000, n_resamples=9)


@pytest.mark.parametrize("name", TESTS)
def test_missing_values_can_be_omitted(name):
    x = with_value(np.nan, [2, 5], [1, 0])
    omitted = run(name, x, Y, nan_policy="omit")
    complete = run(name, X[[0, 1, 3, 4, 6, 7, 8, 9, 10, 11]], Y)
    if name == "attribution":
        np.testing.assert_array_equal(omitted.phase_pvalues, complete.phase_pvalues)
        assert omitted.n == 10
    else:
        assert omitted == complete
        assert omitted.n + omitted.details.get("n_train", 0) == 10


@pytest.mark.parametrize("name", TESTS)
def test_too_few_may_remain(name):
    x = with_value(np.nan, slice(11))
    with pytest.raises(ValueError, match="x has 1 observation without NaN"):
        run(name, x, Y, nan_policy="omit")
    with pytest.raises(ValueError, match="y has 0 observations without NaN"):
        run(name, X, np.full_like(Y, np.nan), nan_policy="omit")


@pytest.mark.parametrize("name", [name for name in TESTS if name != "attribution"])
def test_missing_values_can_propagate_with_a_warning(name):
    with pytest.warns(RuntimeWarning, match=r"x or y holds NaN, so .* returns NaN.*'omit'"):
        result = run(name, X, with_value(np.nan, 3, 2), nan_policy="propagate")
    assert np.isnan(result.statistic)
    assert np.isnan(result.pvalue)
    assert result.null_distribution is None
    assert (result.n, result.m, result.n_features) == (12, 12, 3)
    assert all(np.isnan(bound) for bound in result.confidence_interval())
    complete = run(name, X, Y, nan_policy="propagate")
    assert complete == run(name, X, Y)


def test_attribution_has_nothing_to_propagate():
    with pytest.raises(ValueError, match="nan_policy is 'propagate'; cf_attribution takes"):
        cfmetrics.cf_attribution(X, Y, nan_policy="propagate")


def test_infinity_is_an_error_whatever_the_policy():
    for policy in ("raise", "omit", "propagate"):
        with pytest.raises(ValueError, match="y holds infinite values"):
            prepare(X, with_value(np.inf, 0, 0), policy, test="test")


@pytest.mark.parametrize("name", TESTS)
def test_samples_are_left_as_they_are(name):
    x, y = X.copy(), Y.copy()
    x.flags.writeable = y.flags.writeable = False
    run(name, x, y)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize(
    "convert",
    [
        lambda a: a.tolist(),
        lambda a: a.astype(np.float32).astype(np.float64),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a.astype(">f8"),
    ],
    ids=["lists", "rounded", "columns", "strides", "big-endian"],
)
def test_the_form_of_the_numbers_does_not_matter(name, convert):
    def outcome(x, y):
        result = run(name, x, y)
        if name == "attribution":
            return [result.amplitude.sum(), result.phase_pvalue]
        return list(result)

    np.testing.assert_allclose(outcome(convert(X), convert(Y)), outcome(X, Y), rtol=2e-3)


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        (np.float32, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float16, np.float16, np.float32),
        (np.float16, np.float32, np.float32),
        (np.int8, np.float32, np.float64),
        (np.int64, np.int32, np.float64),
    ],
)
def test_samples_get_the_wider_dtype(x, y, expected):
    samples = prepare(X.astype(x), Y.astype(y), "raise", test="test")
    assert samples.x.dtype == samples.y.dtype == expected
    assert (samples.n, samples.m, samples.n_features) == (12, 10, 3)


def test_integers_are_exact_to_the_limit():
    largest = np.array([2**53, -(2**53)])
    assert prepare(largest, largest, "raise", test="test").x[0, 0] == 2.0**53
    with pytest.raises(ValueError, match=r"x holds the integer -9007199254740993, .*subtract"):
        prepare(largest - [0, 1], largest, "raise", test="test")
    with pytest.raises(ValueError, match="y holds the integer"):  # In every function.
        cfmetrics.energy_distance(X[:, 0], largest + 1)


def test_one_feature_may_be_a_vector():
    samples = prepare(X[:, 0], Y[:, :1], "raise", test="test")
    assert samples.x.shape == (12, 1)


def test_rows_of_the_pooled_sample():
    samples = prepare(X, Y, "raise", test="test")
    np.testing.assert_array_equal(samples.rows(slice(3, 12)), X[3:])
    np.testing.assert_array_equal(samples.rows(slice(12, 15)), Y[:3])


@pytest.mark.parametrize("n", [1, 2, 5, 6, 101])
def test_the_middle_is_the_lower_median(n):
    rows = np.random.default_rng(n).normal(size=(n, 2))
    expected = np.sort(rows, axis=0)[(n - 1) // 2]
    np.testing.assert_array_equal(middle(rows), expected)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (300, 400), (5000, 20), (100_000, 300_000)])
def test_the_centre_needs_few_rows(n, m):
    rows = len(range(0, n, centre_step(n, m))) + len(range(0, m, centre_step(n, m)))
    assert min(n + m, 512) <= rows <= 1026


def test_outliers_do_not_move_the_centre():
    x = X + 100.0
    x[:3] = 1e200
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        centre = prepare(x, Y + 100.0, "raise", test="test").centre()
    assert (abs(centre - 100) < 2).all()

"""The permutation engine: sums and p-values against loops over the same labels, and SciPy's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import cfmetrics
from cfmetrics.two_sample import permutation, relabel
from cfmetrics.two_sample.permutation import (
    kernel_sums,
    mean_differences,
    permutation_result,
    pieces,
    share_reaching_first,
    standard_scores,
)
from cfmetrics.two_sample.prepare import prepare
from cfmetrics.two_sample.relabel import Relabelings

law = settings(deadline=None, max_examples=60, derandomize=True)


def drawn(n, m, n_resamples=50, seed=0):
    return Relabelings(n, m, n_resamples, np.random.default_rng(seed))


def two_samples(n=13, m=9, d=3, seed=1):
    rng = np.random.default_rng(seed)
    return prepare(rng.normal(size=(n, d)), rng.normal(size=(m, d)) + 0.3, "raise", test="test")


@pytest.mark.parametrize("block_rows", [4, 100])
@pytest.mark.parametrize("chunk_rows", [3, 4096])
def test_mean_differences_are_those_of_a_loop(monkeypatch, block_rows, chunk_rows):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(permutation, "_CHUNK_ROWS", chunk_rows)
    samples, relabelings = two_samples(), drawn(13, 9)

    def features(rows):
        return np.concatenate([rows, rows**2], axis=1).astype(np.float32)

    pooled = features(np.concatenate([samples.x, samples.y])).astype(np.float64)
    expected = [
        pooled[label].mean(axis=0) - pooled[~label].mean(axis=0) for label in relabelings.all()
    ]
    found = mean_differences(samples, relabelings, features)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("block_rows", [4, 100])
@pytest.mark.parametrize("tile_rows", [3, 2048])
def test_kernel_sums_are_those_of_a_loop(monkeypatch, block_rows, tile_rows):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", block_rows)
    monkeypatch.setattr(permutation, "_TILE_ROWS", tile_rows)
    samples, relabelings = two_samples(), drawn(13, 9)

    def kernel(a, b):
        return (1 + a @ b.T).astype(np.float32) ** 2

    pooled = np.concatenate([samples.x, samples.y])
    matrix = kernel(pooled, pooled).astype(np.float64)
    np.fill_diagonal(matrix, 0)
    expected = [
        (matrix[a][:, a].sum(), matrix[a][:, ~a].sum(), matrix[~a][:, ~a].sum())
        for a in relabelings.all()
    ]
    found = np.stack(kernel_sums(samples, relabelings, kernel)[:3], axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


values_with_ties = st.lists(st.integers(-5, 5).map(float), min_size=2, max_size=30)


@law
@given(values_with_ties)
def test_the_share_counts_all_that_reach_the_first(values):
    share = share_reaching_first(np.array(values))
    assert share == sum(value >= values[0] for value in values) / len(values)
    assert 1 / len(values) <= share <= 1


@pytest.mark.parametrize("factor", [1.0, 1e-30, 1e30, -1.0])
def test_ties_up_to_rounding_count_whatever_the_unit(factor):
    values = factor * np.array([3.0, 3.0 - 1e-6, 3.0 + 1e-6, 3.1, 2.9])
    assert share_reaching_first(values) == 4 / 5


def test_a_first_value_near_zero_is_compared_at_the_size_of_the_others():
    # The unbiased MMD cancels: its rounding has the size of its terms, not of the result.
    assert share_reaching_first(np.array([1e-9, 0.0, 0.5, -0.5, -1.0])) == 3 / 5


@law
@given(st.permutations(range(8)))
def test_p_is_superuniform_over_the_labelings_that_could_have_been_first(order):
    # Exactness in miniature: among exchangeable values, at most k of n have p <= k / n.
    values = np.array([1.0, 1.0, 2.0, 2.0 + 1e-7, 3.0, 5.0, 5.0, 0.0])[list(order)]
    shares = [share_reaching_first(np.roll(values, -first)) for first in range(8)]
    for k in range(1, 9):
        assert sum(share <= k / 8 for share in shares) <= k


def test_scores_have_mean_zero_and_deviation_one():
    rng = np.random.default_rng(2)
    values = rng.normal(size=(50, 3)) * [1e-12, 1.0, 1e9] + [0.0, 5.0, 1e9]
    scores = standard_scores(np.concatenate([values, np.full((50, 2), 7.0)], axis=1))
    np.testing.assert_allclose(scores.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(scores.std(axis=0), [1, 1, 1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(scores[:, 0], stats.zscore(values[:, 0]), rtol=1e-9)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 3])
def test_a_statistic_that_is_not_finite_is_an_error(bad, place):
    values = np.zeros(51)
    values[place] = bad
    with pytest.raises(ValueError, match="x and y give mine a statistic that is not finite"):
        permutation_result(values, two_samples(), drawn(13, 9), test="mine", details={})


def test_pieces_cover_a_block():
    assert pieces(slice(3, 10), 3) == [slice(3, 6), slice(6, 9), slice(9, 10)]
    assert pieces(slice(3, 10), 99) == [slice(3, 10)]


def discrepancies(d):
    """Options that leave nothing but the relabelings to chance, and what the test measures."""
    rng = np.random.default_rng(10)
    t = rng.normal(size=(20, d))
    found = {
        "cf": (
            {"frequencies": t},
            lambda x, y: cfmetrics.cf_distance(x, y, frequencies=t, squared=True),
        ),
        "mmd": ({"bandwidth": 1.5}, lambda x, y: cfmetrics.mmd(x, y, bandwidth=1.5)),
        "energy": ({}, lambda x, y: cfmetrics.energy_distance(x, y, squared=True)),
    }
    if d == 1:  # In more dimensions projections are drawn before the relabelings.
        found["sliced_wasserstein"] = ({}, lambda x, y: cfmetrics.sliced_wasserstein(x, y, p=1))
    return found


CASES = [(name, d) for d in (1, 3) for name in discrepancies(d)]


@pytest.mark.parametrize(("name", "d"), CASES)
def test_null_distribution_and_p_are_those_of_a_loop_over_the_same_labels(name, d):
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(25, d)), rng.normal(loc=0.3, size=(18, d))
    options, distance = discrepancies(d)[name]
    result = cfmetrics.two_sample_test(x, y, statistic=name, n_resamples=199, rng=4, **options)
    pooled = np.concatenate([x, y])
    labels = drawn(25, 18, 199, seed=4).all()
    values = np.array([distance(pooled[label], pooled[~label]) for label in labels])
    np.testing.assert_allclose(result.statistic, values[0], rtol=1e-4)
    np.testing.assert_allclose(result.null_distribution, values[1:], rtol=1e-3, atol=1e-6)
    assert result.pvalue == (1 + np.sum(values[1:] >= values[0])) / 200
    assert result.method == "permutation"


@pytest.mark.parametrize("sizes", [(4, 4), (3, 6), (5, 4)])
@pytest.mark.parametrize(("name", "d"), CASES)
def test_small_samples_give_the_exact_p_of_scipy(name, d, sizes):
    rng = np.random.default_rng(sizes)
    x, y = (rng.normal(size=(size, d)) for size in sizes)
    options, distance = discrepancies(d)[name]
    pooled = np.concatenate([x, y])
    expected = stats.permutation_test(
        (np.arange(len(x)), np.arange(len(x), len(pooled))),  # Rows, since SciPy splits columns.
        lambda a, b: float(distance(pooled[a], pooled[b])),
        n_resamples=np.inf,
        vectorized=False,
        alternative="greater",
    )
    result = cfmetrics.two_sample_test(x, y, statistic=name, rng=0, **options)
    assert result.method == "exact"
    assert result.pvalue == pytest.approx(expected.pvalue, rel=1e-12)
    np.testing.assert_allclose(
        np.sort(result.null_distribution), np.sort(expected.null_distribution), rtol=1e-3, atol=1e-6
    )


TESTS = ["cf", "cf_agg", "cf_learned", "mmd", "energy", "sliced_wasserstein"]


@pytest.mark.parametrize("name", TESTS)
@pytest.mark.parametrize("n_resamples", [1, 19, 250])
def test_p_is_never_below_one_in_all_relabelings(name, n_resamples):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(40, 2)), rng.normal(loc=5, size=(30, 2))
    result = cfmetrics.two_sample_test(x, y, statistic=name, n_resamples=n_resamples, rng=0)
    assert result.pvalue == 1 / (n_resamples + 1)
    assert len(result.null_distribution) == n_resamples


@pytest.mark.parametrize("name", [*TESTS, "scf"])
def test_p_of_one_distribution_is_spread_over_its_range(name):
    rng = np.random.default_rng(6)
    pvalues = [
        cfmetrics.two_sample_test(
            rng.normal(size=(30, 2)),
            rng.normal(size=(25, 2)),
            statistic=name,
            n_resamples=39,
            rng=s,
        ).pvalue
        for s in range(60)
    ]
    assert 0.3 < np.mean(pvalues) < 0.7
    assert min(pvalues) < 0.2
    assert max(pvalues) > 0.8


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cf", {"bandwidth": 1e3}),
        ("cf", {"bandwidth": 1e7}),
        ("mmd", {"bandwidth": 1e3}),
        ("mmd", {"bandwidth": 1e5}),
        ("mmd", {"bandwidth": 1e5, "kernel": "laplace"}),
        ("scf", {"bandwidth": 1e6, "method": "permutation"}),
    ],
)
def test_features_that_hardly_vary_do_not_reject_by_rounding(name, options):
    # Sums over x, then y, round otherwise than sums over random rows: p would always be small.
    rng = np.random.default_rng(7)
    rejections = 0
    for seed in range(60):
        x, y = rng.normal(size=(50, 2)), rng.normal(size=(70, 2))
        result = cfmetrics.two_sample_test(
            x, y, statistic=name, n_resamples=19, rng=seed, **options
        )
        rejections += result.pvalue <= 0.05
    assert rejections <= stats.binom.ppf(0.999, 60, 0.05)

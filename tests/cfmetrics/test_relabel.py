"""Random relabelings: uniform, of exact size, and the same however their blocks are visited."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cfmetrics.two_sample import relabel
from cfmetrics.two_sample.relabel import Relabelings, draw_subsets

law = settings(deadline=None, max_examples=60, derandomize=True)


def relabelings(n, m, n_resamples, seed=0):
    return Relabelings(n, m, n_resamples, np.random.default_rng(seed))


def frequencies_of_subsets(labels):
    """How often every subset occurs among the rows, in the order of their binary codes."""
    codes = labels @ (1 << np.arange(labels.shape[1]))
    return np.unique(codes, return_counts=True)


@law
@given(st.integers(2, 40), st.integers(2, 40), st.integers(1, 60), st.integers(0, 2**32))
def test_every_relabeling_calls_n_rows_x(n, m, n_resamples, seed):
    drawn = relabelings(n, m, n_resamples, seed)
    labels = drawn.all()
    assert labels.shape == (len(drawn), n + m)
    np.testing.assert_array_equal(labels.sum(axis=1), n)
    np.testing.assert_array_equal(labels[0], np.arange(n + m) < n)
    assert len(drawn) == (math.comb(n + m, n) if drawn.exhaustive else n_resamples + 1)


@law
@given(st.integers(1, 300), st.data())
def test_subsets_have_the_wanted_sizes(columns, data):
    sizes = data.draw(st.lists(st.integers(0, columns), min_size=1, max_size=20))
    out = np.empty((len(sizes), columns), dtype=np.bool_)
    draw_subsets(np.random.default_rng(0), np.array(sizes), out=out)
    np.testing.assert_array_equal(out.sum(axis=1), sizes)


@pytest.mark.parametrize(("columns", "size"), [(8, 4), (10, 3), (12, 1), (7, 6), (9, 5)])
def test_subsets_are_uniform(columns, size):
    repetitions = 40 * math.comb(columns, size) + 4000
    out = np.empty((repetitions, columns), dtype=np.bool_)
    draw_subsets(np.random.default_rng(1), np.full(repetitions, size), out=out)
    codes, counts = frequencies_of_subsets(out)
    assert len(codes) == math.comb(columns, size)
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("size", [1, 50, 128, 200, 299])
def test_members_of_large_subsets_are_uniform_and_hardly_correlated(size):
    # Sizes whose share is no multiple of 1/256 need corrections; they must not prefer a place.
    repetitions, columns = 3000, 300
    out = np.empty((repetitions, columns), dtype=np.bool_)
    draw_subsets(np.random.default_rng(2), np.full(repetitions, size), out=out)
    share = size / columns
    variance = repetitions * share * (1 - share)
    # Counts of a fixed total: chi-square with one degree of freedom fewer than columns.
    spread = ((out.sum(axis=0) - repetitions * share) ** 2).sum() / variance * (1 - 1 / columns)
    assert stats.chi2.sf(spread, columns - 1) > 1e-3
    assert stats.chi2.cdf(spread, columns - 1) > 1e-3
    neighbours = (out[:, 1:] & out[:, :-1]).mean()
    pair = share * (size - 1) / (columns - 1)
    assert abs(neighbours - pair) < 5 * math.sqrt(pair / (repetitions * columns)) + 1e-9


@pytest.mark.parametrize("block_rows", [2, 3, 100])
def test_relabelings_are_uniform_for_one_block_and_for_several(monkeypatch, block_rows):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", block_rows)
    # Otherwise all 126 subsets would be visited instead of drawn.
    monkeypatch.setattr(relabel, "math", SimpleNamespace(comb=lambda n, k: 10**9))
    labels = relabelings(4, 5, 126 * 60, seed=3)
    assert not labels.exhaustive
    codes, counts = frequencies_of_subsets(labels.all()[1:])
    assert len(codes) == math.comb(9, 4)
    assert stats.chisquare(counts).pvalue > 1e-3


def test_blocks_never_mix_the_samples_and_cover_all_rows(monkeypatch):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", 4)
    blocks = relabelings(10, 7, 5).blocks()
    assert [(block.start, block.stop) for block in blocks] == [
        (0, 4),
        (4, 8),
        (8, 10),
        (10, 14),
        (14, 17),
    ]


def test_totals_of_blocks_are_hypergeometric(monkeypatch):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", 8)
    drawn = relabelings(12, 13, 6000, seed=4)
    for index, block in enumerate(drawn.blocks()):
        rows = block.stop - block.start
        totals = drawn.block(index)[1:].sum(axis=1)
        values = np.arange(rows + 1)
        expected = 6000 * stats.hypergeom(25, 12, rows).pmf(values)
        counts = np.bincount(totals, minlength=rows + 1)
        rare = expected < 10
        counts, expected = (np.append(a[~rare], a[rare].sum()) for a in (counts, expected))
        kept = expected > 0
        assert stats.chisquare(counts[kept], expected[kept]).pvalue > 1e-3


def test_blocks_do_not_depend_on_the_order_of_visits(monkeypatch):
    monkeypatch.setattr(relabel, "BLOCK_ROWS", 5)
    first, second = relabelings(17, 9, 40, seed=5), relabelings(17, 9, 40, seed=5)
    order = range(len(first.blocks()))
    forwards = [first.block(index) for index in order]
    backwards = [second.block(index) for index in reversed(order)]
    for a, b in zip(forwards, reversed(backwards), strict=True):
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(np.concatenate(forwards, axis=1), second.all())
    np.testing.assert_array_equal(second.block(2), forwards[2])


def test_seeds_and_generators():
    first, again, other = (relabelings(30, 20, 9, seed).all() for seed in (6, 6, 7))
    np.testing.assert_array_equal(first, again)
    assert (first[1:] != other[1:]).any()
    generator = np.random.default_rng(6)
    one, two = (Relabelings(30, 20, 9, generator).all() for _ in range(2))
    np.testing.assert_array_equal(one, first)
    assert (one[1:] != two[1:]).any()


def test_resamples_are_independent_of_one_another():
    labels = relabelings(50, 50, 400, seed=8).all()[1:]
    assert len(np.unique(labels, axis=0)) == 400
    overlaps = (labels[1:] & labels[:-1]).sum(axis=1)
    expected = stats.hypergeom(100, 50, 50)
    assert abs(overlaps.mean() - expected.mean()) < 4 * expected.std() / math.sqrt(399)


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 5), (4, 4), (6, 2)])
def test_few_subsets_are_all_visited_once(n, m):
    total = math.comb(n + m, n)
    drawn = relabelings(n, m, total - 1)
    assert drawn.exhaustive
    labels = drawn.all()
    expected = {c for c in itertools.combinations(range(n + m), n)}
    visited = [tuple(np.flatnonzero(row)) for row in labels]
    assert len(visited) == total
    assert set(visited) == expected
    assert visited[0] == tuple(range(n))
    assert not relabelings(n, m, total - 2).exhaustive


def test_all_subsets_are_visited_block_by_block_too(monkeypatch):
    whole = relabelings(4, 3, 99).all()
    monkeypatch.setattr(relabel, "BLOCK_ROWS", 2)
    drawn = relabelings(4, 3, 99)
    parts = [drawn.block(index) for index in range(len(drawn.blocks()))]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)


def test_one_sample_far_smaller_than_the_other():
    labels = relabelings(2, 30_000, 300, seed=9).all()
    np.testing.assert_array_equal(labels.sum(axis=1), 2)
    places = np.flatnonzero(labels[1:]) % 30_002
    assert stats.kstest(places / 30_002, "uniform").pvalue > 1e-3


def test_labels_that_do_not_fit_into_memory():
    with pytest.raises(ValueError, match=r"n_resamples is 1000000000000, which takes .* GiB"):
        relabelings(50, 50, 10**12)
    with pytest.raises(ValueError, match="n_resamples is 1000000000000"):
        relabelings(20, 20, 10**12)  # All 1.4e11 subsets would be visited.

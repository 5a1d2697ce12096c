"""Attribution: parts that add up, p-values against a loop, and what they find."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from cfmetrics import amplitude_phase, cf_attribution, characteristic_parts
from cfmetrics.two_sample.attribution import _max_t
from cfmetrics.two_sample.permutation import share_reaching_first
from cfmetrics.two_sample.relabel import Relabelings

law = settings(deadline=None, max_examples=40, derandomize=True)

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(80, 2)), rng.normal(loc=0.3, size=(60, 2))
T = rng.normal(size=(6, 2))


def parts(x, y, frequencies=T):
    return amplitude_phase(*(characteristic_parts(sample, frequencies) for sample in (x, y)))


def test_parts_are_those_of_the_discrepancy_and_add_up():
    found = cf_attribution(X, Y, frequencies=T, n_resamples=9, rng=1)
    expected = parts(X, Y)
    np.testing.assert_allclose(found.amplitude, expected.amplitude, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(found.phase, expected.phase, rtol=1e-3, atol=1e-7)
    p, q = (np.exp(1j * sample @ T.T).mean(axis=0) for sample in (X, Y))
    np.testing.assert_allclose(found.amplitude + found.phase, abs(p - q) ** 2, rtol=1e-4)
    np.testing.assert_array_equal(found.frequencies, T)
    assert (found.n, found.m, found.level) == (80, 60, 0.05)


def test_parts_of_every_relabeling_and_their_p_values_are_those_of_a_loop():
    found = cf_attribution(X, Y, frequencies=T, n_resamples=99, rng=2)
    pooled = np.concatenate([X, Y])
    labels = Relabelings(80, 60, 99, np.random.default_rng(2)).all()
    values = np.array([np.concatenate(parts(pooled[a], pooled[~a])) for a in labels])
    scores = (values - values.mean(axis=0)) / values.std(axis=0)
    largest = scores.max(axis=1)
    adjusted = np.mean(largest[:, None] >= scores[0] - 1e-4, axis=0)
    np.testing.assert_allclose(found.amplitude_pvalues, adjusted[:6], atol=1e-12)
    np.testing.assert_allclose(found.phase_pvalues, adjusted[6:], atol=1e-12)
    for mean, p in (
        (values[:, :6].mean(axis=1), found.amplitude_pvalue),
        (values[:, 6:].mean(axis=1), found.phase_pvalue),
    ):
        assert p == np.mean(mean >= mean[0])


@law
@given(st.integers(0, 2**32), st.integers(2, 30), st.integers(1, 8))
def test_adjusted_p_values_are_never_below_the_unadjusted(seed, rows, columns):
    values = np.random.default_rng(seed).normal(size=(rows, columns)) ** 2
    adjusted = _max_t(values)
    single = [share_reaching_first(values[:, k]) for k in range(columns)]
    assert (adjusted >= np.array(single) - 1e-12).all()
    assert (adjusted >= 1 / rows).all()
    assert (adjusted <= 1).all()
    if columns == 1:
        assert adjusted[0] == single[0]


def test_adjusted_p_values_fall_as_the_scores_rise():
    found = cf_attribution(X, Y, n_resamples=199, rng=3)
    together = np.concatenate([found.amplitude_pvalues, found.phase_pvalues])
    assert len(np.unique(together)) > 10
    assert together.min() >= 1 / 200


def test_a_shift_is_phase():
    found = cf_attribution(X[:60], X[:60] + 0.6, rng=4)
    assert found.amplitude_share < 1e-4
    assert found.phase_pvalue <= 0.005
    assert found.amplitude_pvalue == 1
    assert (found.amplitude_pvalues == 1).all()
    assert len(found.significant()) > 10


def test_a_change_of_spread_is_amplitude():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 1))
    x = np.concatenate([x, -x])  # Symmetric, so that phases are exactly those of the centre.
    found = cf_attribution(x, 1.7 * x, rng=6)
    assert found.amplitude_share > 0.999
    assert found.amplitude_pvalue == 0.001
    assert (found.phase_pvalues > 0.05).all()


def test_finds_the_frequency_that_differs():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(600, 3)), rng.normal(size=(600, 3))
    y[:, 1] = np.where(rng.random(600) < 0.5, -1, 1)
    grid = np.concatenate([np.eye(3), 3 * np.eye(3)])
    found = cf_attribution(x, y, frequencies=grid, n_resamples=199, rng=8)
    np.testing.assert_array_equal(found.significant(), [1, 4])
    # |Phi| of the sample at t = 3 is near cos 3 and near exp(-9/2), up to 1 / sqrt(600).
    expected = (abs(np.cos(3)) - np.exp(-4.5)) ** 2
    np.testing.assert_allclose(found.amplitude[4], expected, atol=0.12)


def test_the_level_decides_what_is_significant():
    strict, loose = (
        cf_attribution(X, Y, level=level, n_resamples=199, rng=9) for level in (0.005, 0.5)
    )
    np.testing.assert_array_equal(strict.phase_pvalues, loose.phase_pvalues)
    least = np.minimum(strict.amplitude_pvalues, strict.phase_pvalues)
    for found in (strict, loose):
        np.testing.assert_array_equal(found.significant(), np.flatnonzero(least <= found.level))
    assert len(loose.significant()) > len(strict.significant())


def test_the_family_wise_error_is_the_level():
    rng = np.random.default_rng(10)
    rejections, repetitions = 0, 150
    for seed in range(repetitions):
        x, y = rng.standard_t(2, size=(2, 40, 2))
        found = cf_attribution(x, y, n_frequencies=32, n_resamples=19, rng=seed)
        rejections += len(found.significant()) > 0
    low, high = stats.binom.ppf([0.0005, 0.9995], repetitions, 0.05)
    assert low <= rejections <= high


def test_equal_observations_have_no_parts():
    found = cf_attribution(np.ones((9, 2)), np.ones((8, 2)), n_resamples=9, rng=0)
    assert np.isnan(found.amplitude_share)
    np.testing.assert_allclose(found.amplitude + found.phase, 0, atol=1e-12)
    assert found.amplitude_pvalue == found.phase_pvalue == 1
    assert len(found.significant()) == 0


def test_says_what_it_found_and_can_be_stored():
    found = cf_attribution(X[:60], X[:60] + 0.6, n_resamples=99, rng=4)
    count = len(found.significant())
    assert repr(found) == (
        f"Attribution(64 frequencies, {count} significant at 0.05, amplitude 0% (p = 1), "
        f"phase 100% (p = 0.01), n=60, m=60)"
    )
    again = pickle.loads(pickle.dumps(found))
    np.testing.assert_array_equal(again.phase_pvalues, found.phase_pvalues)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"level": 0}, ValueError, "level is 0; pass a number > 0"),
        ({"level": 1.0}, ValueError, "level is 1.0; pass a number between 0 and 1"),
        ({"level": 5}, ValueError, "level is 5; pass a number between 0 and 1"),
        ({"level": "5%"}, TypeError, "level is a str; pass a plain number"),
        ({"n_frequencies": 0}, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        ({"n_frequencies": 10**12}, ValueError, "n_frequencies is 1000000000000, which takes"),
        ({"bandwidth": -2.0}, ValueError, "bandwidth is -2.0; pass a number > 0"),
        ({"kernel": "linear"}, ValueError, "kernel is 'linear'; pass one of 'rbf'"),
        ({"frequencies": np.ones((2, 3))}, ValueError, "frequencies has shape .* but x has 2"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        cf_attribution(X, Y, **options)

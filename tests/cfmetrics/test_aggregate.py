"""The test at many scales: what it reports, and that it finds differences at any of them."""

import numpy as np
import pytest
from scipy.special import logsumexp

from cfmetrics import cf_2samp, cf_agg_2samp, datasets

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(80, 3)), rng.normal(loc=0.3, size=(60, 3))


def test_the_statistic_is_the_soft_maximum_of_its_components():
    result = cf_agg_2samp(X, Y, n_resamples=99, rng=1)
    components = result.details["components"]
    assert components.shape == (18,)
    np.testing.assert_allclose(result.statistic, logsumexp(2 * components) / 2, rtol=1e-9)
    assert components.max() <= result.statistic <= components.max() + np.log(18) / 2


def test_components_are_standardised_with_the_observed_labeling():
    # The largest standard score among 100 values is 99 / sqrt(99): no data can exceed it.
    result = cf_agg_2samp(X, Y + 50, n_resamples=99, rng=1)
    components = result.details["components"]
    assert components.max() <= 99 / np.sqrt(99) + 1e-6
    assert components.max() > 5


def test_one_feature_has_the_components_of_its_axis():
    result = cf_agg_2samp(X[:, 0], Y[:, 0], n_resamples=19, rng=1)
    assert result.details["components"].shape == (6,)
    assert result.details["selected"]["family"] == "marginal"


@pytest.mark.parametrize("n_frequencies", [2, 3, 200])
def test_any_number_of_frequencies(n_frequencies):
    result = cf_agg_2samp(X, Y + 1, n_frequencies=n_frequencies, n_resamples=19, rng=1)
    assert result.pvalue == 0.05


def test_the_selected_component_says_what_differs():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(300, 8)), rng.normal(size=(300, 8))
    narrow = y.copy()
    narrow[:, 3] = rng.choice([-1.0, 1.0], size=300)  # Same mean and variance.
    found = cf_agg_2samp(x, narrow, n_resamples=99, rng=3)
    assert found.pvalue == 0.01
    assert found.details["selected"]["family"] == "marginal"
    assert found.details["selected"]["kind"] == "largest"
    wide = cf_agg_2samp(x, 1.5 * y, n_resamples=99, rng=3)
    assert wide.details["selected"]["family"] == "isotropic"
    assert wide.details["selected"]["bandwidth"] > 0.2 * wide.details["bandwidth"]


def test_finds_what_a_median_bandwidth_cannot_see():
    # A grid of blobs: the difference is in the shape of a blob, twenty times finer than the whole.
    x, y = datasets.blobs(1000, rng=4)
    assert cf_agg_2samp(x, y, n_resamples=199, rng=5).pvalue <= 0.02
    assert cf_2samp(x, y, n_resamples=199, rng=5).pvalue > 0.05


def test_finds_a_difference_in_a_feature_of_a_small_unit():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(200, 4)), rng.normal(size=(200, 4))
    x[:, 0] *= 1e-6
    y[:, 0] *= 2e-6
    assert cf_agg_2samp(x, y, n_resamples=99, rng=7).pvalue == 0.01

"""Frequencies at several scales: how many, how large, and that they do not know the labels."""

import numpy as np
import pytest

from cfmetrics import cf_agg_2samp, cf_learned_2samp
from cfmetrics.two_sample.candidates import (
    ISOTROPIC_SCALES,
    MARGINAL_SCALES,
    check_count,
    draw_candidates,
)
from cfmetrics.two_sample.prepare import prepare

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(300, 3)), rng.normal(size=(200, 3))


def candidates(x=X, y=Y, per_isotropic=400, per_marginal=300, seed=1):
    samples = prepare(x, y, "raise", test="test")
    return draw_candidates(samples, per_isotropic, per_marginal, np.random.default_rng(seed))


def test_every_scale_of_both_families_gets_its_share():
    found = candidates()
    assert found.points.shape == (6 * 400 + 6 * 300, 3)
    assert [group.stop - group.start for group in found.groups] == [400] * 6 + [300] * 6
    assert found.families == ["isotropic"] * 6 + ["marginal"] * 6
    assert found.scales == [*ISOTROPIC_SCALES, *MARGINAL_SCALES]
    isotropic, marginal = found.family_masks()
    np.testing.assert_array_equal(isotropic, np.arange(4200) < 2400)
    np.testing.assert_array_equal(marginal, ~isotropic)


def test_isotropic_frequencies_have_their_bandwidths():
    found = candidates(x=100 * X, y=100 * Y)
    for index in range(6):
        part = found.frequencies[found.groups[index]]
        said = found.describe(index)
        assert said["family"] == "isotropic"
        np.testing.assert_allclose(part.std() * said["bandwidth"], 1, rtol=0.1)


def test_marginal_frequencies_look_at_one_feature_each_in_its_own_spread():
    stretched = np.array([1.0, 1000.0, 0.01])
    found = candidates(X * stretched, Y * stretched)
    for index in range(6, 12):
        part = found.frequencies[found.groups[index]]
        np.testing.assert_array_equal((part != 0).sum(axis=1), 1)
        np.testing.assert_array_equal((part != 0).sum(axis=0), 100)  # Features take turns.
        said = found.describe(index)
        spreads = [part[part[:, k] != 0, k].std() * stretched[k] for k in range(3)]
        np.testing.assert_allclose(np.array(spreads) * said["bandwidth_in_spreads"], 1, rtol=0.3)


def test_features_take_turns_where_there_are_more_than_frequencies():
    found = candidates(*(np.tile(a, 20) for a in (X, Y)), per_isotropic=5, per_marginal=50)
    counts = np.array([(found.points[group] != 0).sum(axis=0) for group in found.groups[6:]])
    assert set(counts.ravel()) == {0, 1}
    assert (counts.sum(axis=0) > 0).sum() > 60 * 0.9


def test_one_feature_has_no_other_directions():
    found = candidates(X[:, 0], Y[:, 0])
    assert found.families == ["marginal"] * 6
    assert found.points.shape == (6 * 700, 1)
    assert len(found.family_masks()) == 1


def test_the_spread_is_robust_and_falls_back():
    x = np.concatenate([X, np.zeros((300, 1)), np.full((300, 1), 5.0)], axis=1)
    y = np.concatenate([Y, np.zeros((200, 1)), np.full((200, 1), 5.0)], axis=1)
    x[0, 0], x[:10, 3] = 1e12, 2.0  # One outlier; mostly equal; constant.
    found = candidates(x, y, per_marginal=500)
    first = found.frequencies[found.groups[8]]  # A bandwidth of one spread.
    assert np.isfinite(first).all()
    np.testing.assert_allclose(first[first[:, 0] != 0, 0].std(), 1, rtol=0.3)
    deviation = np.concatenate([x, y])[:, 3].std()
    np.testing.assert_allclose(first[first[:, 3] != 0, 3].std() * deviation, 1, rtol=0.3)


def test_nothing_depends_on_which_observation_is_in_which_sample():
    pooled = np.concatenate([X, Y])
    mixed = pooled[np.random.default_rng(2).permutation(500)]
    first, second = candidates(), candidates(mixed[:300], mixed[300:])
    np.testing.assert_allclose(second.unit, first.unit, rtol=1e-12)
    np.testing.assert_allclose(second.points, first.points, rtol=1e-9)


def test_a_count_holds_both_families():
    assert check_count("n_frequencies", 2) == 2
    with pytest.raises(ValueError, match="n_frequencies is 1; pass at least 2"):
        check_count("n_frequencies", 1)


@pytest.mark.parametrize("test", [cf_agg_2samp, cf_learned_2samp])
@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (10**12, ValueError, "n_frequencies is 1000000000000, which takes .* pass fewer"),
        (1, ValueError, "n_frequencies is 1; pass at least 2"),
        (0, ValueError, "n_frequencies is 0; pass a whole number >= 1"),
        (9.5, TypeError, "n_frequencies must be an integer, not 9.5"),
    ],
)
def test_bad_counts_are_named(test, count, error, message):
    with pytest.raises(error, match=message):
        test(X, Y, n_frequencies=count)

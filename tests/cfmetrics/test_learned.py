"""The test with learned frequencies: its split, its weights, and what it finds."""

import numpy as np
import pytest

from cfmetrics import cf_learned_2samp, datasets
from cfmetrics.two_sample import learned
from cfmetrics.two_sample.prepare import Samples, prepare

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(81, 3)), rng.normal(loc=0.3, size=(60, 3))


@pytest.mark.parametrize("fraction", [0.2, 0.5, 0.8])
def test_the_split_has_the_wanted_sizes_and_loses_nothing(fraction):
    samples = prepare(X, Y, "raise", test="test")
    train, test = learned._split(samples, fraction, np.random.default_rng(1))
    assert (train.n, train.m) == (round(81 * fraction), round(60 * fraction))
    for whole, a, b in ((X, train.x, test.x), (Y, train.y, test.y)):
        np.testing.assert_array_equal(
            np.sort(np.concatenate([a, b]), axis=0), np.sort(whole, axis=0)
        )
    result = cf_learned_2samp(X, Y, train_fraction=fraction, n_resamples=9, rng=1)
    assert (result.n, result.m) == (test.n, test.m)
    assert (result.details["n_train"], result.details["m_train"]) == (train.n, train.m)


def test_the_split_is_random():
    samples = prepare(np.arange(400.0), np.arange(400.0), "raise", test="test")
    halves = [learned._split(samples, 0.5, np.random.default_rng(s))[0].x for s in range(200)]
    shares = np.mean([np.isin(np.arange(400), half) for half in halves], axis=0)
    assert abs(shares - 0.5).max() < 5 * 0.5 / np.sqrt(200)


def test_few_frequencies_get_weight_heaviest_first():
    result = cf_learned_2samp(X, Y, n_frequencies=100, n_resamples=9, rng=1)
    frequencies, weights = result.details["frequencies"], result.details["weights"]
    assert frequencies.shape == (len(weights), 3)
    # 2% of the 2 x 6 x 50 features of either family.
    assert 1 <= len(weights) <= 24
    assert (weights > 0).all()
    np.testing.assert_array_equal(np.sort(weights)[::-1], weights)
    np.testing.assert_allclose(weights.sum(), 1)


def test_the_test_part_has_no_say_in_the_frequencies(monkeypatch):
    split = learned._split
    parts = []

    def spoil(*arguments):
        train, test = split(*arguments)
        parts.append(test)
        return train, Samples(test.x[::-1] ** 3, 9 * test.y, xp=test.xp)

    first = cf_learned_2samp(X, Y, n_resamples=9, rng=2)
    monkeypatch.setattr(learned, "_split", spoil)
    second = cf_learned_2samp(X, Y, n_resamples=9, rng=2)
    assert parts
    np.testing.assert_array_equal(first.details["frequencies"], second.details["frequencies"])
    assert first.statistic != second.statistic


def test_learns_where_the_difference_is():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(400, 6)), rng.normal(size=(400, 6))
    y[:, 2] = rng.choice([-1.0, 1.0], size=400)
    result = cf_learned_2samp(x, y, n_resamples=99, rng=5)
    assert result.pvalue == 0.01
    best = np.abs(result.details["frequencies"][0])
    assert best.argmax() == 2
    assert (np.delete(best, 2) == 0).all()


def test_the_direction_counts(monkeypatch):
    # A shift whose sign the training part saw, and the same with x and y swapped.
    rng = np.random.default_rng(6)
    parts = [prepare(*rng.normal(size=(2, 150, 3)), "raise", test="test") for _ in range(2)]
    train, test = (Samples(s.x + np.array([0.4, 0, 0]), s.y, xp=s.xp) for s in parts)
    results = []
    for seen in (test, Samples(test.y, test.x, xp=test.xp)):
        monkeypatch.setattr(learned, "_split", lambda *a, parts=(train, seen): parts)
        results.append(cf_learned_2samp(X, Y, n_resamples=199, rng=7))
    # The squared distance is the same; the witness adds its score, or takes it away.
    assert results[0].statistic > results[1].statistic + 4
    assert results[0].pvalue < results[1].pvalue


def test_finds_the_shape_of_blobs():
    x, y = datasets.blobs(1000, rng=8)
    assert cf_learned_2samp(x, y, n_resamples=199, rng=9).pvalue <= 0.05


def test_constant_training_parts_still_give_a_test():
    result = cf_learned_2samp(np.ones((9, 2)), np.ones((8, 2)), n_resamples=9, rng=0)
    assert result.pvalue == 1
    np.testing.assert_allclose(result.details["weights"].sum(), 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"train_fraction": 0}, ValueError, "train_fraction is 0; pass a number > 0"),
        ({"train_fraction": 1.0}, ValueError, "train_fraction is 1.0; pass a number between"),
        ({"train_fraction": np.nan}, ValueError, "train_fraction is nan"),
        ({"train_fraction": "half"}, TypeError, "train_fraction is a str"),
        ({"train_fraction": 0.01}, ValueError, "81 observations of x into 1 and 80; both parts"),
        ({"train_fraction": 0.99}, ValueError, "of x into 80 and 1; both parts need at least 2"),
    ],
)
def test_bad_options_are_named(options, error, message):
    with pytest.raises(error, match=message):
        cf_learned_2samp(X, Y, **options)

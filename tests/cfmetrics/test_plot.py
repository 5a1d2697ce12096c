"""Figures: what they show, where they draw, and what they need."""

import builtins

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

from matplotlib import pyplot

from cfmetrics import cf_attribution, energy_2samp, scf_2samp
from cfmetrics.two_sample import plot

rng = np.random.default_rng(0)
X, Y = rng.normal(size=(60, 2)), rng.normal(loc=0.5, size=(50, 2))


@pytest.fixture
def ax():
    figure, axes = pyplot.subplots()
    yield axes
    pyplot.close(figure)


def test_the_null_distribution_is_a_histogram_with_a_line_at_the_statistic(ax):
    result = energy_2samp(X, Y, n_resamples=199, rng=1)
    assert result.plot(ax) is ax
    heights = np.array([bar.get_height() * bar.get_width() for bar in ax.patches])
    assert len(heights) == 14
    np.testing.assert_allclose(heights.sum(), 1)
    (line,) = ax.lines
    assert set(line.get_xdata()) == {result.statistic}
    assert ax.texts[0].get_text() == f"observed\np = {result.pvalue:.3g}"
    assert ax.get_title() == "energy_2samp: n = 60, m = 50, d = 2"
    low, high = ax.get_xlim()
    assert low < min(result.null_distribution) <= result.statistic < high


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_words_stay_inside(ax, shift):
    energy_2samp(X, Y + shift, n_resamples=99, rng=1).plot(ax)
    ax.figure.canvas.draw()
    words, frame = ax.texts[0].get_window_extent(), ax.get_window_extent()
    assert frame.x0 <= words.x0 < words.x1 <= frame.x1
    assert frame.y0 <= words.y0 < words.y1 <= frame.y1


@pytest.mark.parametrize(
    ("x", "y"),
    [(X, Y), (np.ones(9), np.ones(8)), (np.arange(4.0), np.arange(3.0)), (1e150 * X, 1e150 * Y)],
    ids=["usual", "equal observations", "exact", "large"],
)
def test_every_null_distribution_can_be_drawn(ax, tmp_path, x, y):
    energy_2samp(x, y, n_resamples=99, rng=1).plot(ax)
    ax.figure.savefig(tmp_path / "null.png")
    assert (tmp_path / "null.png").stat().st_size > 5000


def test_without_axes_the_current_ones_are_used(ax):
    pyplot.sca(ax)
    assert energy_2samp(X, Y, n_resamples=9, rng=1).plot() is ax
    assert cf_attribution(X, Y, n_resamples=9, rng=1).plot() is ax


def test_an_asymptotic_test_has_nothing_to_draw(ax):
    with pytest.raises(ValueError, match="scf_2samp with method 'asymptotic' has no null"):
        scf_2samp(X, Y, rng=1).plot(ax)


@pytest.mark.parametrize("n_frequencies", [3, 40])
def test_an_attribution_shows_the_strongest_frequencies(ax, tmp_path, n_frequencies):
    found = cf_attribution(X, Y + 1, n_frequencies=n_frequencies, n_resamples=99, rng=1)
    assert found.plot(ax) is ax
    strength = found.amplitude + found.phase
    shown = [int(tick.get_text()) for tick in ax.get_xticklabels()]
    assert len(shown) == min(12, n_frequencies)
    np.testing.assert_array_equal(shown, np.argsort(-strength)[:12])
    heights = [bar.get_height() for bar in ax.patches]
    np.testing.assert_allclose(heights, [*found.amplitude[shown], *found.phase[shown]])
    stars = sum(text.get_text() == "*" for text in ax.texts)
    significant = [found.amplitude_pvalues[shown] <= 0.05, found.phase_pvalues[shown] <= 0.05]
    assert stars == np.sum(significant) > 0
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["amplitude", "phase"]
    ax.figure.savefig(tmp_path / "attribution.png")


def test_without_matplotlib_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **keywords):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"plot\(\) needs matplotlib.*cfmetrics\[plot\]"):
        plot._axes(None)

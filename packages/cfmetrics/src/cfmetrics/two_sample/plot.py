"""Figures of test results; needs matplotlib, which the extra `cfmetrics[plot]` brings."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from cfmetrics.two_sample.attribution import Attribution
    from cfmetrics.two_sample.result import TestResult

_SHOWN = 12
"""Number of frequencies that an attribution's figure shows."""


def plot_null_distribution(result: "TestResult", ax: "Axes | None") -> "Axes":
    """Draw a histogram of the null distribution and a line at the observed statistic."""
    null = result.null_distribution
    if null is None:
        raise ValueError(
            f"the result of {result.test} with method {result.method!r} has no null distribution "
            f"to draw; use method='permutation'"
        )
    ax = _axes(ax)
    ax.hist(null, bins=min(50, max(10, round(np.sqrt(len(null))))), color="#9fb8d3", density=True)
    ax.axvline(result.statistic, color="#b3372f", linewidth=2)
    ax.margins(x=0.15)
    right = result.statistic > sum(ax.get_xlim()) / 2  # Then the words go to the left of the line.
    ax.annotate(
        f"observed\np = {result.pvalue:.3g}",
        (result.statistic, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if right else 4, -4),
        textcoords="offset points",
        ha="right" if right else "left",
        va="top",
        color="#b3372f",
    )
    ax.set_xlabel("statistic")
    ax.set_ylabel("density over relabelings")
    ax.set_title(f"{result.test}: n = {result.n}, m = {result.m}, d = {result.n_features}")
    return ax


def plot_attribution(attribution: "Attribution", ax: "Axes | None") -> "Axes":
    """Draw the strongest frequencies: amplitude and phase part side by side."""
    ax = _axes(ax)
    strength = attribution.amplitude + attribution.phase
    order = np.argsort(-strength, kind="stable")[:_SHOWN]
    place = np.arange(len(order))
    for offset, part, color in ((-0.2, "amplitude", "#4c72b0"), (0.2, "phase", "#dd8452")):
        heights = getattr(attribution, part)[order]
        bars = ax.bar(place + offset, heights, width=0.4, color=color, label=part)
        marks = getattr(attribution, f"{part}_pvalues")[order] <= attribution.level
        for bar, significant in zip(bars, marks, strict=True):
            if significant:
                middle = bar.get_x() + bar.get_width() / 2
                ax.annotate("*", (middle, bar.get_height()), ha="center", va="bottom")
    ax.margins(y=0.1)
    ax.set_xticks(place, [str(index) for index in order])
    ax.set_xlabel("frequency (row), strongest first")
    ax.set_ylabel("part of $|\\Phi_x - \\Phi_y|^2$")
    ax.set_title(f"* adjusted p <= {attribution.level:g}")
    ax.legend()
    return ax


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot() needs matplotlib; install it, or cfmetrics with its extra: cfmetrics[plot]"
        ) from error
    return pyplot.gca()

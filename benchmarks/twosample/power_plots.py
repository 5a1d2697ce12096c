"""The plots of ``two_sample_power.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from twosample.catalogue import ENTRIES
from twosample.power import LEVEL, SETTINGS, Tally
from twosample.report import interval
from twosample.style import QUICK, look, settings

_PANELS = (
    ("shift", "variance", "blobs", "hdgm"),
    ("shift-rotated", "variance-rotated", "blobs-rotated", "one-feature"),
)
_TIMED_N = 500
_FEWEST = 100
_SIZES = (100, 200, 500, 1000)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Draw power against n and against time, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    tallies = [Tally.from_record(each) for each in record["tallies"]]
    with plt.rc_context(settings()):
        figures = {
            "two-sample-power.png": _against_size(tallies),
            "two-sample-power-time.png": _against_time(tallies),
        }
        for name, figure in figures.items():
            if record["quick"] or record["repetitions"] < _FEWEST:
                figure.text(0.5, 0.6, QUICK, color="red", ha="center", fontsize=14, alpha=0.7)
            figure.savefig(folder / name, bbox_inches="tight")
            plt.close(figure)
    return [folder / name for name in figures]


def _against_size(tallies: Sequence[Tally]) -> Any:
    figure, grid = plt.subplots(2, 4, figsize=(15, 8), sharex=True, sharey=True)
    for axes, key in zip(grid.flat, [key for row in _PANELS for key in row], strict=True):
        axes.set_title(SETTINGS[key].title, fontsize=10)
        axes.axhline(LEVEL, color="#999999", linewidth=0.8, linestyle=":")
        for test in _tests(tallies):
            points = sorted((t.n, t.rate) for t in tallies if (t.setting, t.test) == (key, test))
            if points:
                axes.plot(*zip(*points, strict=True), **look(test))
    repetitions = min(t.repetitions for t in tallies)
    _show_interval(grid[0, 0], repetitions)
    first = grid[0, 0]
    first.set(xscale="log", ylim=(-0.02, 1.02))
    first.set_xticks(_SIZES, [str(n) for n in _SIZES])
    first.minorticks_off()
    for axes in grid[1]:
        axes.set_xlabel("observations in each sample")
    for axes in grid[:, 0]:
        axes.set_ylabel(f"power at level {LEVEL}")
    return _with_legend(figure, grid.flat)


def _show_interval(axes: Axes, repetitions: int) -> None:
    """Show once how far chance alone may move a point."""
    low, high = interval(repetitions // 2, repetitions)
    axes.errorbar([115], [0.85], yerr=(high - low) / 2, color="black", capsize=3, linewidth=1)
    text = f"95% interval of a power\nof 0.5, {repetitions} repetitions"
    axes.text(128, 0.85, text, va="center", fontsize=8)


def _against_time(tallies: Sequence[Tally]) -> Any:
    figure, grid = plt.subplots(1, 4, figsize=(15, 4.2), sharex=True, sharey=True)
    for axes, key in zip(grid.flat, _PANELS[0], strict=True):
        axes.set_title(SETTINGS[key].title, fontsize=10)
        axes.axhline(LEVEL, color="#999999", linewidth=0.8, linestyle=":")
        for tally in tallies:
            if (tally.setting, tally.n) == (key, _TIMED_N):
                _point(axes, tally)
    grid[0].set(xscale="log", ylim=(-0.02, 1.02), ylabel=f"power at n = m = {_TIMED_N}")
    grid[0].xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    for axes in grid:
        axes.set_xlabel("ms for one test, median, one thread")
    return _with_legend(figure, grid)


def _point(axes: Axes, tally: Tally) -> None:
    low, high = interval(tally.rejections, tally.repetitions)
    style = look(tally.test) | {"linestyle": "none", "markersize": 8}
    error = [[tally.rate - low], [high - tally.rate]]
    axes.errorbar(tally.median_seconds * 1e3, tally.rate, yerr=error, elinewidth=1, **style)


def _tests(tallies: Sequence[Tally]) -> list[str]:
    found = {tally.test for tally in tallies}
    return [key for key in ENTRIES if key in found]


def _with_legend(figure: Any, panels: Any) -> Any:
    """Put one legend under all panels, where it covers nothing."""
    labels: dict[str, Any] = {}
    for axes in panels:
        handles, names = axes.get_legend_handles_labels()
        labels |= dict(zip(names, handles, strict=True))
    order = [entry.title for entry in ENTRIES.values() if entry.title in labels]
    figure.tight_layout()
    figure.legend([labels[name] for name in order], order, ncols=5, frameon=False,
        loc="upper center", bbox_to_anchor=(0.5, 0.0), handlelength=3)  # fmt: skip
    return figure

"""The plots of ``two_sample_speed.py``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from twosample.measure import Series
from twosample.report import seconds_text
from twosample.speed_tables import curve, slope
from twosample.style import BLUE, GREY, QUICK, look, settings

_AXES = (
    ("n", "observations in each sample", "n"),
    ("frequencies", "frequencies", "F"),
    ("resamples", "relabelings", "B"),
)


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Draw what the record holds into a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with plt.rc_context(settings()):
        if "peers" in record:
            figure = _bars([Series.from_record(each) for each in record["peers"]])
            written.append(_save(figure, record, folder / "two-sample-speed.png"))
        if "scaling" in record:
            figure = _scaling(record["scaling"])
            written.append(_save(figure, record, folder / "two-sample-scaling.png"))
    return written


def _save(figure: Any, record: dict[str, Any], path: Path) -> Path:
    if record["quick"]:
        figure.text(0.5, 0.5, QUICK, color="red", ha="center", fontsize=13, alpha=0.7)
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)
    return path


def _bars(series: Sequence[Series]) -> Any:
    """Draw seconds and extra memory as bars, for the smallest number of threads."""
    threads = min(each.job.threads for each in series)
    chosen = [each for each in series if each.job.threads == threads]
    chosen.sort(key=lambda each: each.seconds or float("inf"), reverse=True)
    job = chosen[0].job
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 0.36 * len(chosen) + 1.4), sharey=True, width_ratios=(3, 2)
    )
    known = [each.seconds for each in chosen if each.seconds is not None]
    low, high = min(known) / 3, 6 * max([*known, job.limit])
    for place, each in enumerate(chosen):
        _bar_of_seconds(left, place, each, low)
        if each.seconds is not None:
            size = max(each.extra_mb, 1.0)
            right.barh(place, size - 0.5, left=0.5, color=BLUE if each.entry.ours else GREY)
            right.text(size * 1.15, place, f"{each.extra_mb:.0f}", va="center", fontsize=9)
    left.set(xscale="log", xlim=(low, high), xlabel="seconds, median")
    left.set_ylim(-0.7, len(chosen) - 0.3)
    left.set_yticks(range(len(chosen)), [each.entry.title for each in chosen])
    right.set(xscale="log", xlim=(0.5, 3 * max(each.extra_mb for each in chosen) + 1))
    right.set_xlabel("peak memory above the data, MB")
    for axes in (left, right):
        axes.grid(axis="y", visible=False)
    plural = "s" * (threads > 1)
    figure.suptitle(
        f"n = m = {job.n}, d = {job.d}, {job.resamples} relabelings, {threads} thread{plural} "
        f"(blue: cfmetrics)"
    )
    figure.tight_layout()
    return figure


def _bar_of_seconds(axes: Axes, place: int, series: Series, low: float) -> None:
    colour = BLUE if series.entry.ours else GREY
    if series.seconds is not None:
        axes.barh(place, series.seconds - low, left=low, color=colour)
        text, end = seconds_text(series.seconds), series.seconds
    elif series.status == "over":
        end = series.job.limit
        axes.barh(place, end - low, left=low, color="white", edgecolor=colour, hatch="///")
        text = f"> {end:g} s, given up"
    else:
        text, end = series.message.partition(":")[0], low
    axes.text(end * 1.1, place, text, va="center", fontsize=9)


def _scaling(scaling: dict[str, list[dict[str, Any]]]) -> Any:
    figure, panels = plt.subplots(1, 3, figsize=(13, 5), sharey=True)
    base = Series.from_record(scaling["frequencies"][0]).job
    fixed = {"n": base.n, "F": 128, "B": base.resamples}
    for axes, (name, label, symbol) in zip(panels, _AXES, strict=True):
        series = [Series.from_record(each) for each in scaling[name]]
        for key in dict.fromkeys(each.job.key for each in series):
            points = curve(series, key, name)
            if not points:
                continue
            style = look(key)
            if len(points) > 1:
                style["label"] += f", slope {slope(points):.2f}"
            axes.plot(*zip(*points, strict=True), **style)
        others = ", ".join(f"{k} = {v}" for k, v in fixed.items() if k != symbol)
        axes.set(xscale="log", yscale="log", xlabel=f"{label} {symbol}")
        axes.set_title(others, fontsize=10)
        if name != "n":
            sizes = sorted({size for size, _ in points})
            axes.set_xticks(sizes, [f"{size:g}" for size in sizes])
            axes.minorticks_off()
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=9)
    panels[0].set_ylabel("seconds")
    panels[0].yaxis.set_major_formatter(lambda value, _: _plain(value))
    figure.suptitle(f"Cost on one thread, d = {base.d}")
    figure.tight_layout()
    return figure


def _plain(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{seconds * 1e3:g} ms"

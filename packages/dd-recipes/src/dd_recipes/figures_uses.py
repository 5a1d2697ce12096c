"""Pictures of what a small set is used for: continual learning and architecture search."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dd_recipes.drawing import COLOURS, STYLE, colours, legend_below, save_figure

__all__ = ["continual_chart", "search_chart"]

_MARKERS = ("o", "s", "^", "D", "v")


def continual_chart(records: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Accuracy after each step over the classes seen: a line a set, with its average.

    Args:
        records: What `Continual.as_record` says, by the name of the set.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for (name, record), colour in zip(records.items(), colours(len(records)), strict=True):
            steps = record["steps"]
            xs = [step["classes"] for step in steps]
            axes.plot(xs, [step["mean"] for step in steps], marker="o", markersize=4, color=colour,
                      label=f"{name} (average {record['mean']:.1f})")  # fmt: skip
            axes.fill_between(xs, [min(step["last"]) for step in steps],
                              [max(step["last"]) for step in steps], color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.set(xlabel="classes seen", ylabel="test accuracy, %")
        legend_below(figure)
        save_figure(figure, path)


def search_chart(record: Mapping[str, Any], path: Path) -> None:
    """Each network of a search: accuracy trained on the small set against that on real images.

    Args:
        record: What `ArchitectureSearch.as_record` says. Without training on real images, the
            accuracies on the small set are ranked.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        if record["spearman"] is None:
            _ranked(record, path)
        else:
            _scatter(record, path)


def _scatter(record: Mapping[str, Any], path: Path) -> None:
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.subplots()
    candidates = record["candidates"]
    depths = sorted({each["network"]["depth"] for each in candidates})
    norms = list(dict.fromkeys(each["network"]["norm"] for each in candidates))
    widths = sorted({each["network"]["width"] for each in candidates})
    shades = colours(len(depths))
    for each in candidates:
        shape = each["network"]
        axes.errorbar(
            each["on_set"]["mean"], each["on_all"]["mean"], xerr=each["on_set"]["std"],
            yerr=each["on_all"]["std"], color=shades[depths.index(shape["depth"])],
            marker=_MARKERS[norms.index(shape["norm"])], elinewidth=0.7, alpha=0.85,
            markersize=5 + 2.5 * widths.index(shape["width"]), markeredgecolor="white",
        )  # fmt: skip
    for depth, shade in zip(depths, shades, strict=True):
        axes.plot([], [], "o", color=shade, label=f"depth {depth}")
    for i, norm in enumerate(norms):
        axes.plot([], [], _MARKERS[i], color="#444444", label=f"norm {norm}")
    for i, width in enumerate(widths):
        axes.plot([], [], "o", color="#bbbbbb", markersize=5 + 2.5 * i, label=f"width {width}")
    _ring_choices(axes, record)
    axes.margins(0.12)
    rho = record["spearman"]["value"]
    shown = "" if rho is None else f"Spearman's rho {rho:.2f}"
    axes.set(xlabel="trained on the small set: accuracy on validation images, %",
             ylabel="trained on real images, %")  # fmt: skip
    axes.set_title(shown, loc="left", fontsize=10)
    figure.legend(frameon=False, fontsize=8, loc="outside right upper")
    save_figure(figure, path)


def _ring_choices(axes: Axes, record: Mapping[str, Any]) -> None:
    """Rings around the networks that were chosen; what they mean is for the legend."""
    places = {
        each["name"]: (each["on_set"]["mean"], each["on_all"]["mean"])
        for each in record["candidates"]
    }
    ways = (("pick", "o", "choice of the small set"), ("best", "D", "choice of real images"))
    for way, marker, words in ways:
        x, y = places[record[way]]
        axes.plot([x], [y], marker, markersize=17, markerfacecolor="none", linestyle="none",
                  markeredgecolor="#111111", label=words)  # fmt: skip


def _ranked(record: Mapping[str, Any], path: Path) -> None:
    candidates = sorted(record["candidates"], key=lambda each: each["on_set"]["mean"])
    figure = Figure(figsize=(7.2, 0.8 + 0.24 * len(candidates)), layout="constrained")
    axes = figure.subplots()
    for place, each in enumerate(candidates):
        found = each["on_set"]
        axes.errorbar(found["mean"], place, xerr=found["std"], fmt="o", markersize=4, capsize=2,
                      color=COLOURS[0])  # fmt: skip
    axes.set(yticks=range(len(candidates)), yticklabels=[each["name"] for each in candidates],
             xlabel="trained on the small set: accuracy on validation images, %")  # fmt: skip
    axes.tick_params(axis="y", labelsize=8)
    save_figure(figure, path)

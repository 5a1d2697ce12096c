"""The pictures of an evaluation, as PNG files: curves, confusions, budgets, nearest images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from numpy.typing import NDArray

from dd_recipes.drawing import COLOURS, STYLE, as_pixels, colours, legend_below, save_figure

__all__ = ["Neighbourhood", "budget_chart", "confusion_chart", "nearest_chart", "training_chart"]

_LONGEST = 20  # characters of a name of a class
_NUMBERED, _NAMED = 20, 40  # classes of a confusion matrix up to which it has numbers, and names


def training_chart(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Test accuracy while students train, a line an architecture, with the range over students.

    Args:
        rows: Each with ``network`` in words and ``curves``: for each student pairs of epoch and
            accuracy, at the same epochs.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for row, colour in zip(rows, colours(len(rows)), strict=True):
            points = np.asarray(row["curves"], dtype=float)
            epochs, values = points[0, :, 0], points[:, :, 1]
            axes.plot(epochs, values.mean(0), marker="o", markersize=3, color=colour,
                      label=row["network"])  # fmt: skip
            axes.fill_between(epochs, values.min(0), values.max(0), color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.set(xlabel="epochs", ylabel="test accuracy, %")
        axes.set_xlim(left=0)
        legend_below(figure)
        save_figure(figure, path)


def budget_chart(points: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Accuracy over the length of the training; each point is students trained anew.

    Args:
        points: Each with ``epochs``, ``mean``, ``std`` (None for one student) and ``last``.
        path: PNG file to write.
    """
    points = sorted(points, key=lambda point: float(point["epochs"]))
    epochs = [point["epochs"] for point in points]
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for point in points:
            axes.plot([point["epochs"]] * len(point["last"]), point["last"], "o", markersize=3.5,
                      color="#222222", markerfacecolor="white", markeredgewidth=0.8)  # fmt: skip
        axes.errorbar(epochs, [point["mean"] for point in points],
                      yerr=[point["std"] or 0.0 for point in points], marker="o", markersize=4,
                      capsize=3, color=COLOURS[0])  # fmt: skip
        if len(epochs) > 1:
            axes.set_xscale("log")
        axes.xaxis.set_major_locator(FixedLocator(epochs))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
        axes.set(xlabel="epochs of the whole training", ylabel="test accuracy, %")
        save_figure(figure, path)


def confusion_chart(
    confusion: Sequence[Sequence[int]], class_names: Sequence[str], path: Path
) -> None:
    """How test images of each class were classified, in percent of the class.

    Args:
        confusion: Counts; rows are true classes, columns predicted ones.
        class_names: Their names.
        path: PNG file to write.
    """
    counts = np.asarray(confusion, dtype=float)
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    n, names = len(class_names), [_short(name) for name in class_names]
    side = min(max(0.42 * n, 2.2), 7.0)
    with rc_context(STYLE):
        figure = Figure(figsize=(side + 1.9, side + 1.2), layout="constrained")
        axes = figure.subplots()
        picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, interpolation="nearest")
        if n <= _NUMBERED:
            _write_shares(axes, shares)
        else:
            bar = figure.colorbar(picture, ax=axes, shrink=0.7)
            bar.set_label("% of the true class")
        if n <= _NAMED:
            axes.set_xticks(range(n), labels=names, rotation=90, fontsize=9)
            axes.set_yticks(range(n), labels=names, fontsize=9)
        axes.tick_params(length=0)
        axes.set(xlabel="predicted", ylabel="true")
        for spine in axes.spines.values():
            spine.set_visible(False)
        save_figure(figure, path)


def _short(name: str, most: int = _LONGEST) -> str:
    """A name that is cut where it is too long for a picture."""
    return name if len(name) <= most else f"{name[: most - 1].rstrip(' ,_-')}…"


def _write_shares(axes: Axes, shares: NDArray[np.float64]) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if share >= 0.5:
            axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=8,
                      color="white" if share > 55 else "#1c2330")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Views of one class and the real images that they are nearest to.

    Attributes:
        name: The class.
        views: Values in [0, 1], shape (n, channels, size, size).
        real: The nearest real images, uint8 of the same shape.
        distances: Root mean square differences of their pixels.
        copies: Which views are their real image.
    """

    name: str
    views: NDArray[np.float32]
    real: NDArray[np.uint8]
    distances: Sequence[float]
    copies: Sequence[bool]


def nearest_chart(classes: Sequence[Neighbourhood], path: Path) -> None:
    """Views, and below each the nearest real image with the difference of their pixels.

    Unchanged real images have a frame.

    Args:
        classes: Two stand side by side.
        path: PNG file to write.
    """
    widest = max(2, *(len(each.views) for each in classes))  # room for a name
    across = min(2, len(classes))
    lines = -(-len(classes) // across)
    inch = 6.6 / max(across * widest + (across - 1) * 0.6, 6)
    with rc_context(STYLE):
        width = across * widest + (across - 1) * 0.6
        figure = Figure(figsize=(inch * width, inch * _LINE * lines))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(_LINE * lines, 0))
        axes.set_axis_off()
        for place, each in enumerate(classes):
            left, top = (place % across) * (widest + 0.6), (place // across) * _LINE
            name = _short(each.name, min(_LONGEST, int(widest / _LETTER)))
            _neighbours(axes, each, name, left, top, inch)
        save_figure(figure, path)


_LINE = 2.95  # of one class, in images: its name, views, real images, distances
_LETTER = 0.14  # width of a letter of the name


def _neighbours(
    axes: Axes, each: Neighbourhood, name: str, left: float, top: float, inch: float
) -> None:
    points = 72 * inch
    axes.text(left, top + 0.22, name, fontsize=0.2 * points, va="center", weight="bold")
    columns = zip(each.views, each.real, each.distances, each.copies, strict=True)
    for column, (view, real, distance, copied) in enumerate(columns):
        x = left + column
        for y, image in ((top + 0.42, view), (top + 1.42, real / 255.0)):
            axes.imshow(
                as_pixels(np.clip(image, 0, 1)), cmap="gray", vmin=0, vmax=1, aspect="auto",
                interpolation="nearest", extent=(x, x + 0.94, y + 0.94, y),
            )  # fmt: skip
        axes.text(x + 0.47, top + 2.5, f"{distance:.2f}", fontsize=0.17 * points, ha="center",
                  va="center", color="#5b6575")  # fmt: skip
        if copied:
            axes.add_patch(Rectangle((x, top + 0.42), 0.94, 1.94, fill=False, color="#d1632a",
                                     linewidth=2))  # fmt: skip

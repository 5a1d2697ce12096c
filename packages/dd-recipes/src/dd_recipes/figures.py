"""The pictures of a run, as PNG files: accuracies, curves and grids of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_recipes.results import Row

__all__ = ["accuracy_chart", "image_grid", "loss_curves", "student_curves"]

_REAL = ("#8a8f98", "#b9bec6")
_DISTILLED = ("#1f6fb4", "#d1632a", "#2f8f5b", "#7a4fa3")
_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_DPI = 160


def accuracy_chart(rows: Sequence[Row], path: Path) -> None:
    """Mean accuracies as bars with standard deviations; every student is a point.

    Args:
        rows: The methods, from top to bottom.
        path: PNG file to write.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.5 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(rows))
        for place, row, colour in zip(places, rows, _colours(rows), strict=True):
            spread = row.std if row.n > 1 else None
            axes.barh(place, row.mean, height=0.62, color=colour, alpha=0.85)
            axes.errorbar(row.mean, place, xerr=spread, color="#222222", capsize=4, linewidth=1.2)
            jitter = np.linspace(-0.16, 0.16, row.n) if row.n > 1 else np.zeros(1)
            axes.plot(row.last, place + jitter, "o", markersize=3.5, color="#222222",
                      markerfacecolor="white", markeredgewidth=0.8)  # fmt: skip
            published = row.published
            if published is not None:
                axes.plot([published.mean] * 2, [place - 0.4, place + 0.4], "--", color="#111111",
                          linewidth=1.2)  # fmt: skip
                axes.annotate("paper", (published.mean, place - 0.4), ha="center", va="bottom",
                              fontsize=8)  # fmt: skip
        furthest = max([*(max(row.last) for row in rows), *_published(rows)])
        for place, row in zip(places, rows, strict=True):
            axes.annotate(f"{row.mean:.1f}", (furthest + 1.5, place), va="center", weight="bold")
        axes.set(yticks=places, yticklabels=[row.label for row in rows], xlim=(0, furthest + 8),
                 xlabel="test accuracy after the last epoch, %")  # fmt: skip
        axes.invert_yaxis()
        _save(figure, path)


def loss_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Losses over the iterations of distillation: one row a method, one column a loss.

    Args:
        histories: For each method its losses by name, one value an iteration.
        path: PNG file to write.
    """
    kept = {
        label: {name: values for name, values in losses.items() if len(values) and any(values)}
        for label, losses in histories.items()
    }
    columns = max(len(losses) for losses in kept.values())
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.3 * len(kept)), layout="constrained")
        grid = figure.subplots(len(kept), columns, squeeze=False)
        for line, (label, losses) in zip(grid, kept.items(), strict=True):
            for axes in line[len(losses) :]:
                axes.set_axis_off()
            for axes, (name, values) in zip(line, losses.items(), strict=False):
                _curve_with_mean(axes, np.asarray(values, dtype=float))
                axes.set_title(f"{label}: {_LOSSES.get(name, name)}", fontsize=10, loc="left")
                axes.set_xlabel("iteration")
        _save(figure, path)


_LOSSES = {"match": "matching loss", "calibration": "calibration (cross-entropy)"}


def student_curves(
    rows: Sequence[Row],
    curves: Mapping[str, Sequence[Sequence[Sequence[float]]]],
    path: Path,
) -> None:
    """Test accuracy while students train: mean line, and the range over students.

    Args:
        rows: The methods.
        curves: For each method's label and each student, pairs of epoch and accuracy; the
            students of a method share the epochs.
        path: PNG file to write.
    """
    with rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for row, colour in zip(rows, _colours(rows), strict=True):
            points = np.asarray(curves[row.label], dtype=float)
            shares, values = 100 * points[0, :, 0] / points[0, -1, 0], points[:, :, 1]
            style = "-" if row.kind == "distill" else "--"
            axes.plot(shares, values.mean(0), style, marker="o", markersize=3, color=colour,
                      label=row.label)  # fmt: skip
            axes.fill_between(shares, values.min(0), values.max(0), color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.set(xlabel="share of the training, %", ylabel="test accuracy, %")
        axes.legend(frameon=False, loc="lower right")
        _save(figure, path)


def image_grid(
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    class_names: Sequence[str],
    path: Path,
    *,
    most: int = 5,
) -> None:
    """Images of a small set: one row a class, or one image a class side by side.

    Args:
        images: Values in [0, 1], shape (n, channels, height, width).
        labels: Class of each image.
        class_names: Names of the classes.
        path: PNG file to write.
        most: Images shown of each class.
    """
    by_class = [images[labels == label][:most] for label in range(len(class_names))]
    columns = max(len(of_class) for of_class in by_class)
    with rc_context(_STYLE):
        if columns == 1:
            _captioned(by_class, class_names, path)
        else:
            _rows(by_class, class_names, columns, path)


def _rows(
    by_class: Sequence[NDArray[np.float32]], names: Sequence[str], columns: int, path: Path
) -> None:
    mosaic, pitch = _mosaic(by_class, columns)
    inch = 0.7
    figure = Figure(figsize=(1.1 + inch * columns, inch * len(names)), layout="constrained")
    axes = figure.subplots()
    _draw(axes, mosaic)
    axes.set_yticks([pitch * row + pitch / 2 for row in range(len(names))], labels=names)
    axes.tick_params(length=0)
    _save(figure, path)


def _captioned(by_class: Sequence[NDArray[np.float32]], names: Sequence[str], path: Path) -> None:
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.78 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, of_class, name in zip(grid.flat, by_class, names, strict=False):
        if len(of_class):
            _draw(axes, _pixels(of_class[0]))
        axes.set_title(name, fontsize=15)
    _save(figure, path)


def _mosaic(
    by_class: Sequence[NDArray[np.float32]], columns: int, gap: int = 2
) -> tuple[NDArray[np.float32], int]:
    """All images in one white picture, and the distance of two rows in pixels."""
    sample = _pixels(next(of_class for of_class in by_class if len(of_class))[0])
    pitch = sample.shape[0] + gap
    shape = (pitch * len(by_class), pitch * columns, *sample.shape[2:])
    mosaic = np.ones(shape, dtype=np.float32)
    for row, of_class in enumerate(by_class):
        for column, image in enumerate(of_class):
            top, left = row * pitch + gap // 2, column * pitch + gap // 2
            mosaic[top : top + sample.shape[0], left : left + sample.shape[1]] = _pixels(image)
    return mosaic, pitch


def _pixels(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """(channels, h, w) as matplotlib wants it: (h, w) for one channel, else (h, w, channels)."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def _draw(axes: Axes, pixels: NDArray[np.float32]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=(
        0, pixels.shape[1], pixels.shape[0], 0))  # fmt: skip
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _curve_with_mean(axes: Axes, values: NDArray[np.float64]) -> None:
    """Each value, thin, and a moving mean over a twentieth of the iterations."""
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=_DISTILLED[0], alpha=0.25, linewidth=0.7)
    width = max(1, len(values) // 20)
    smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
    axes.plot(steps[width - 1 :], smooth, color=_DISTILLED[0], linewidth=1.5)


def _colours(rows: Sequence[Row]) -> list[str]:
    pools = {"random": iter(_REAL * len(rows)), "distill": iter(_DISTILLED * len(rows))}
    return [next(pools[row.kind]) for row in rows]


def _published(rows: Sequence[Row]) -> list[float]:
    return [row.published.mean for row in rows if row.published is not None]


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})

"""The pictures of a run, as PNG files: accuracies, curves and grids of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_recipes.drawing import COLOURS, STYLE, as_pixels, colours, save_figure
from dd_recipes.rows import Row

__all__ = [
    "accuracy_chart",
    "axis_chart",
    "image_grid",
    "label",
    "loss_curves",
    "progress_chart",
    "student_curves",
]

_REAL = ("#8a8f98", "#b9bec6")


def label(row: Row, rows: Sequence[Row]) -> str:
    """A cell in words: its row of the table, and its column where there are several.

    Example:
        >>> ours, theirs = (Row("a", "NCFM", c, "distill") for c in ("IPC 1", "IPC 10"))
        >>> label(ours, [ours]), label(ours, [ours, theirs])
        ('NCFM', 'NCFM, IPC 1')
    """
    several = len({other.column for other in rows}) > 1
    return f"{row.row}, {row.column}" if several else row.row


def accuracy_chart(rows: Sequence[Row], path: Path) -> None:
    """Mean accuracies as bars with standard deviations; every student is a point.

    Args:
        rows: Measured cells, from top to bottom.
        path: PNG file to write.
    """
    with rc_context(STYLE):
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
        axes.set(yticks=places, yticklabels=[label(row, rows) for row in rows],
                 xlim=(0, furthest + 8),
                 xlabel="test accuracy after the last epoch, %")  # fmt: skip
        axes.invert_yaxis()
        save_figure(figure, path)


def axis_chart(rows: Sequence[Row], path: Path, x_label: str = "") -> None:
    """Accuracy over the axis of a figure: one line a row, with the paper's values beside.

    Args:
        rows: Measured cells that have an x.
        path: PNG file to write.
        x_label: What the x is.
    """
    lines: dict[str, list[Row]] = {}
    for row in rows:
        lines.setdefault(label_of_line(row, rows), []).append(row)
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.4), layout="constrained")
        axes = figure.subplots()
        for (name, points), colour in zip(lines.items(), colours(len(lines)), strict=True):
            points.sort(key=_x)
            xs = [_x(row) for row in points]
            axes.errorbar(xs, [row.mean for row in points], yerr=[row.std for row in points],
                          marker="o", markersize=4, capsize=3, color=colour,
                          label=name)  # fmt: skip
            known = [(_x(r), r.published.mean) for r in points if r.published is not None]
            if known:
                axes.plot(*zip(*known, strict=True), "--s", markersize=4, color=colour,
                          markerfacecolor="white", label=f"{name}, paper")  # fmt: skip
        xs = [_x(row) for row in rows]
        if min(xs) >= 1 and max(xs) / min(xs) > 8:
            axes.set_xscale("log")
        axes.set(xlabel=x_label or "x", ylabel="test accuracy after the last epoch, %")
        axes.legend(frameon=False, fontsize=9)
        save_figure(figure, path)


def label_of_line(row: Row, rows: Sequence[Row]) -> str:
    """The name of a line: the row of the table, and what else its points have in common."""
    columns = {other.column for other in rows if other.row == row.row}
    one_a_point = len(columns) == sum(other.row == row.row for other in rows)
    return row.row if one_a_point or len(columns) == 1 else f"{row.row}, {row.column}"


def progress_chart(rows: Sequence[Row], path: Path) -> None:
    """Accuracy on the way: over the iterations of a distillation, or the classes seen.

    Args:
        rows: Measured cells that have a curve.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for row, colour in zip(rows, colours(len(rows)), strict=True):
            xs = [x for x, _ in row.curve]
            means = [float(np.mean(values)) for _, values in row.curve]
            axes.plot(xs, means, marker="o", markersize=4, color=colour, label=label(row, rows))
            axes.fill_between(xs, [min(v) for _, v in row.curve], [max(v) for _, v in row.curve],
                              color=colour, alpha=0.15, linewidth=0)  # fmt: skip
        classes = any(row.measure == "continual" for row in rows)
        axes.set(xlabel="classes seen" if classes else "iterations of distillation",
                 ylabel="test accuracy, %")  # fmt: skip
        axes.legend(frameon=False, fontsize=9)
        save_figure(figure, path)


def loss_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Losses over the iterations of distillation: one row a method, one column a loss.

    Args:
        histories: For each method its losses by name, one value an iteration.
        path: PNG file to write.
    """
    kept = {
        title: {name: values for name, values in losses.items() if len(values) and any(values)}
        for title, losses in histories.items()
    }
    columns = max(len(losses) for losses in kept.values())
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.3 * len(kept)), layout="constrained")
        grid = figure.subplots(len(kept), columns, squeeze=False)
        for line, (title, losses) in zip(grid, kept.items(), strict=True):
            for axes in line[len(losses) :]:
                axes.set_axis_off()
            for axes, (name, values) in zip(line, losses.items(), strict=False):
                _curve_with_mean(axes, np.asarray(values, dtype=float))
                axes.set_title(f"{title}: {_LOSSES.get(name, name)}", fontsize=10, loc="left")
                axes.set_xlabel("iteration")
        save_figure(figure, path)


_LOSSES = {"match": "matching loss", "calibration": "calibration (cross-entropy)"}


def student_curves(
    rows: Sequence[Row],
    curves: Mapping[str, Sequence[Sequence[Sequence[float]]]],
    path: Path,
) -> None:
    """Test accuracy while students train: mean line, and the range over students.

    Args:
        rows: Measured cells.
        curves: For each cell's name and each student, pairs of epoch and accuracy; the students
            of a cell share the epochs.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        axes = figure.subplots()
        for row, colour in zip(rows, _colours(rows), strict=True):
            points = np.asarray(curves[row.name], dtype=float)
            shares, values = 100 * points[0, :, 0] / points[0, -1, 0], points[:, :, 1]
            style = "-" if row.kind == "distill" else "--"
            axes.plot(shares, values.mean(0), style, marker="o", markersize=3, color=colour,
                      label=label(row, rows))  # fmt: skip
            axes.fill_between(shares, values.min(0), values.max(0), color=colour, alpha=0.15,
                              linewidth=0)  # fmt: skip
        axes.set(xlabel="share of the training, %", ylabel="test accuracy, %")
        axes.legend(frameon=False, loc="lower right")
        save_figure(figure, path)


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
    by_class = [images[labels == number][:most] for number in range(len(class_names))]
    columns = max(len(of_class) for of_class in by_class)
    with rc_context(STYLE):
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
    save_figure(figure, path)


def _captioned(by_class: Sequence[NDArray[np.float32]], names: Sequence[str], path: Path) -> None:
    columns = min(5, len(names))
    lines = -(-len(names) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.78 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, of_class, name in zip(grid.flat, by_class, names, strict=False):
        if len(of_class):
            _draw(axes, as_pixels(of_class[0]))
        axes.set_title(name, fontsize=15)
    save_figure(figure, path)


def _mosaic(
    by_class: Sequence[NDArray[np.float32]], columns: int, gap: int = 2
) -> tuple[NDArray[np.float32], int]:
    """All images in one white picture, and the distance of two rows in pixels."""
    sample = as_pixels(next(of_class for of_class in by_class if len(of_class))[0])
    pitch = sample.shape[0] + gap
    shape = (pitch * len(by_class), pitch * columns, *sample.shape[2:])
    mosaic = np.ones(shape, dtype=np.float32)
    for row, of_class in enumerate(by_class):
        for column, image in enumerate(of_class):
            top, left = row * pitch + gap // 2, column * pitch + gap // 2
            mosaic[top : top + sample.shape[0], left : left + sample.shape[1]] = as_pixels(image)
    return mosaic, pitch


def _draw(axes: Axes, pixels: NDArray[np.float32]) -> None:
    axes.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest", extent=(
        0, pixels.shape[1], pixels.shape[0], 0))  # fmt: skip
    axes.set_xticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _curve_with_mean(axes: Axes, values: NDArray[np.float64]) -> None:
    """Each value, thin, and a moving mean over a twentieth of the iterations."""
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=COLOURS[0], alpha=0.25, linewidth=0.7)
    width = max(1, len(values) // 20)
    smooth = np.convolve(values, np.full(width, 1 / width), mode="valid")
    axes.plot(steps[width - 1 :], smooth, color=COLOURS[0], linewidth=1.5)


def _colours(rows: Sequence[Row]) -> list[str]:
    real, distilled = iter(_REAL * len(rows)), iter(COLOURS * len(rows))
    return [next(distilled if row.kind == "distill" else real) for row in rows]


def _x(row: Row) -> float:
    assert row.x is not None
    return row.x


def _published(rows: Sequence[Row]) -> list[float]:
    return [row.published.mean for row in rows if row.published is not None]

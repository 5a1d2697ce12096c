"""The pictures of a run, as PNG files: accuracies, curves and grids of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dd_recipes.drawing import COLOURS, STYLE, as_pixels, colours, legend_below, save_figure
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

    The bars of one method have one colour. The means stand beside the axes as numbers.

    Args:
        rows: Measured cells, from top to bottom.
        path: PNG file to write.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.5 * len(rows)), layout="constrained")
        axes = figure.subplots()
        places = np.arange(len(rows))
        for place, row, colour in zip(places, rows, _colours_of_methods(rows), strict=True):
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
            axes.annotate(f"{row.mean:.1f}", (1.01, place), xycoords=("axes fraction", "data"),
                          va="center", weight="bold", annotation_clip=False)  # fmt: skip
        axes.set(yticks=places, yticklabels=[label(row, rows) for row in rows],
                 xlim=(0, 1.06 * furthest or 1.0),
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
        legend_below(figure)
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
        legend_below(figure)
        save_figure(figure, path)


def loss_curves(histories: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Losses over the iterations of distillation: one row a method, one column a loss.

    The last loss of a method has what is left of its row.

    Args:
        histories: For each method its losses by name, one value an iteration; one loss at least
            is not zero throughout.
        path: PNG file to write.
    """
    kept = {
        title: {name: values for name, values in losses.items() if len(values) and any(values)}
        for title, losses in histories.items()
    }
    columns = max(len(losses) for losses in kept.values())
    with rc_context(STYLE):
        figure = Figure(figsize=(7.2, 2.3 * len(kept)), layout="constrained")
        grid = figure.add_gridspec(len(kept), columns)
        for line, (title, losses) in enumerate(kept.items()):
            for place, (name, values) in enumerate(losses.items()):
                end = place + 1 if place + 1 < len(losses) else columns
                axes = figure.add_subplot(grid[line, place:end])
                _curve_with_mean(axes, np.asarray(values, dtype=float))
                words = f"{title}: {_LOSSES.get(name, name)}"
                room = _TITLE * (end - place) // columns
                axes.set_title(fill(words, room, break_on_hyphens=False), fontsize=10, loc="left")
                axes.set_xlabel("iteration")
        save_figure(figure, path)


_TITLE = 80  # letters that fit over the width of a figure
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
        legend_below(figure)
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
    """One row a class; where there are few images a class, in blocks side by side."""
    inch = 0.7
    width = 1.1 + inch * columns
    blocks = min(max(1, int(_WIDEST / width)), len(names))
    lines = -(-len(names) // blocks)
    blocks = -(-len(names) // lines)
    mosaic, pitch = _mosaic(by_class, columns, lines * blocks)
    figure = Figure(figsize=(width * blocks, inch * lines), layout="constrained")
    grid = figure.subplots(1, blocks, squeeze=False)[0]
    for first, axes in zip(range(0, lines * blocks, lines), grid, strict=True):
        _draw(axes, mosaic[pitch * first : pitch * (first + lines)])
        shown = names[first : first + lines]
        axes.set_yticks([pitch * row + pitch / 2 for row in range(len(shown))], labels=shown)
        axes.tick_params(length=0)
    save_figure(figure, path)


_WIDEST = 6.5  # inches of a grid of images that is made of blocks


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
    by_class: Sequence[NDArray[np.float32]], columns: int, rows: int, gap: int = 2
) -> tuple[NDArray[np.float32], int]:
    """All images in one white picture, and the distance of two rows in pixels."""
    sample = as_pixels(next(of_class for of_class in by_class if len(of_class))[0])
    pitch = sample.shape[0] + gap
    shape = (pitch * rows, pitch * columns, *sample.shape[2:])
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


def _colours_of_methods(rows: Sequence[Row]) -> list[str]:
    """The same colour for all cells of a method."""
    first = list({row.row: row for row in rows}.values())
    by_method = dict(zip((row.row for row in first), _colours(first), strict=True))
    return [by_method[row.row] for row in rows]


def _x(row: Row) -> float:
    assert row.x is not None
    return row.x


def _published(rows: Sequence[Row]) -> list[float]:
    return [row.published.mean for row in rows if row.published is not None]

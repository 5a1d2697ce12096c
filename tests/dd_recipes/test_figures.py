from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from dd_recipes import evaluation_figures, figures, figures_uses
from dd_recipes.figures import (
    accuracy_chart,
    axis_chart,
    image_grid,
    label,
    loss_curves,
    progress_chart,
    student_curves,
)
from dd_recipes.paper import PublishedValue
from dd_recipes.rows import Row

PUBLISHED = PublishedValue(49.5, "Table 1", 0.3, 10)


def measured(name: str, *last: float, kind: str = "distill", **rest: Any) -> Row:
    place = {"row": rest.pop("row", name), "column": rest.pop("column", "IPC 1")}
    return Row(name, kind=kind, status="done", last=last, best=last, **place, **rest)


ROWS = (
    measured("random", 30.0, 31.0, kind="random"),
    measured("NCFM", 49.0, 50.0, published=PUBLISHED),
    measured("alone", 40.0),
)


def drawn(path: Path) -> None:
    """The file is a picture of some size with more than one colour."""
    pixels = imread(path)
    assert min(pixels.shape[:2]) > 150
    assert pixels.std() > 0.02


def test_accuracy_chart(tmp_path: Path) -> None:
    accuracy_chart(ROWS, tmp_path / "a.png")
    drawn(tmp_path / "a.png")


def test_loss_curves_of_any_length_and_number(tmp_path: Path) -> None:
    histories = {
        "DM": {"match": [3.0, 2.0, 1.0], "calibration": [0.0, 0.0, 0.0]},
        "NCFM": {"match": list(np.linspace(9, 1, 200)), "calibration": [1.0] * 200},
    }
    loss_curves(histories, tmp_path / "l.png")
    drawn(tmp_path / "l.png")
    loss_curves({"DM": {"match": [3.0]}}, tmp_path / "one.png")
    drawn(tmp_path / "one.png")


def test_student_curves(tmp_path: Path) -> None:
    curves = {
        "random": [[[1, 20.0], [2, 30.0]], [[1, 22.0], [2, 31.0]]],
        "NCFM": [[[2, 49.0]], [[2, 50.0]]],
        "alone": [[[1, 30.0], [2, 40.0]]],
    }
    student_curves(ROWS, curves, tmp_path / "s.png")
    drawn(tmp_path / "s.png")


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("ipc", [1, 7])
def test_image_grid_puts_each_class_in_its_place(tmp_path: Path, channels: int, ipc: int) -> None:
    # Class 0 is black, class 1 grey; the grid must hold pixels of both levels.
    levels = np.repeat(np.array([0.0, 0.5], np.float32), ipc)
    images = np.broadcast_to(levels[:, None, None, None], (2 * ipc, channels, 8, 8)).copy()
    image_grid(images, np.repeat(np.arange(2), ipc), ("first", "second"), tmp_path / "g.png")
    pixels = imread(tmp_path / "g.png")[..., :3]
    black = (pixels < 0.02).all(-1)
    grey = (abs(pixels - 0.5) < 0.02).all(-1)
    assert min(black.sum(), grey.sum()) > 1000
    if ipc > 1:  # one row a class, first class on top
        assert np.nonzero(black)[0].mean() < np.nonzero(grey)[0].mean()


def test_image_grid_stands_a_class_without_images(tmp_path: Path) -> None:
    images = np.zeros((3, 1, 8, 8), np.float32)
    image_grid(images, np.array([0, 0, 2]), ("a", "b", "c"), tmp_path / "g.png")
    drawn(tmp_path / "g.png")


def test_a_cell_is_named_by_its_column_where_there_are_several() -> None:
    other = measured("other", 1.0, row="NCFM", column="IPC 10")
    assert [label(row, ROWS) for row in ROWS] == ["random", "NCFM", "alone"]
    assert label(ROWS[1], [*ROWS, other]) == "NCFM, IPC 1"


@pytest.mark.parametrize("xs", [(0.1, 0.5, 0.9), (16.0, 256.0, 4096.0), (0.0, 1.0, 2.0)])
def test_axis_chart(tmp_path: Path, xs: tuple[float, ...]) -> None:
    rows = [
        measured(f"{line}-{i}", 40.0 + i, 42.0 + i, row=line, column=f"at {x}", x=x,
                 published=PUBLISHED if line == "a" else None)
        for line in "ab" for i, x in enumerate(xs)
    ]  # fmt: skip
    axis_chart(rows, tmp_path / "x.png")
    drawn(tmp_path / "x.png")


@pytest.mark.parametrize("measure", ["dynamics", "continual"])
def test_progress_chart(tmp_path: Path, measure: str) -> None:
    curve = ((10.0, (20.0, 21.0)), (20.0, (30.0, 33.0)))
    rows = [measured(n, 30.0, 33.0, measure=measure, curve=curve) for n in ("DM", "NCFM")]
    progress_chart(rows, tmp_path / "p.png")
    drawn(tmp_path / "p.png")


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are made, laid out instead of written."""
    made: list[Figure] = []

    def keep(figure: Figure, path: Path) -> None:
        FigureCanvasAgg(figure).draw()
        made.append(figure)

    for module in (figures, figures_uses, evaluation_figures):
        monkeypatch.setattr(module, "save_figure", keep)
    return made


def named_rows(n: int, **rest: Any) -> list[Row]:
    return [measured(f"a method with a long name {i}", 30.0, 33.0, **rest) for i in range(n)]


def draw_axis(n: int) -> None:
    rows = [row for x in (1.0, 2.0) for row in named_rows(n, x=x, published=PUBLISHED)]
    axis_chart(rows, Path("x.png"))


def draw_progress(n: int) -> None:
    progress_chart(named_rows(n, curve=((1.0, (2.0, 3.0)), (2.0, (3.0, 5.0)))), Path("p.png"))


def draw_students(n: int) -> None:
    rows = named_rows(n)
    student_curves(rows, {row.name: [[[1, 2.0], [2, 3.0]]] for row in rows}, Path("s.png"))


def draw_continual(n: int) -> None:
    record = {"mean": 2.0, "steps": [{"classes": c, "mean": 2, "last": [1, 3]} for c in (1, 2)]}
    records = {row.name: record for row in named_rows(n)}
    figures_uses.continual_chart(records, Path("c.png"))


def draw_training(n: int) -> None:
    rows = [{"network": row.name, "curves": [[[1, 2.0], [2, 3.0]]]} for row in named_rows(n)]
    evaluation_figures.training_chart(rows, Path("t.png"))


DRAW = (draw_axis, draw_progress, draw_students, draw_continual, draw_training)


@pytest.mark.parametrize("n", [1, 8])
@pytest.mark.parametrize("draw", DRAW)
def test_a_legend_hides_nothing_and_is_not_cut(
    kept: list[Figure], draw: Callable[[int], None], n: int
) -> None:
    draw(n)
    (figure,) = kept
    (axes,) = figure.axes
    (legend,) = figure.legends
    assert axes.get_legend() is None
    box = legend.get_window_extent()
    assert not box.overlaps(axes.get_tightbbox())
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= figure.bbox.x1
    assert axes.bbox.height > 200  # points of the picture are left for the data


def test_bars_of_one_method_have_one_colour(kept: list[Figure]) -> None:
    rows = [measured(f"{row}-{column}", 40.0, 42.0, row=row, column=column, kind=kind)
            for row, kind in (("a", "distill"), ("b", "distill"), ("c", "random"))
            for column in ("IPC 1", "IPC 10")]  # fmt: skip
    accuracy_chart(rows, Path("a.png"))
    shades = [to_rgb(bar.get_facecolor()) for bar in kept[0].axes[0].patches]
    assert shades[::2] == shades[1::2]
    assert len(set(shades)) == 3


@pytest.mark.parametrize("paper", [5.0, 49.5, 99.9])
def test_the_mark_of_the_paper_stays_clear_of_the_numbers(kept: list[Figure], paper: float) -> None:
    value = PublishedValue(paper, "Table 1", 0.3, 10)
    accuracy_chart([measured(n, 3.0, 4.0, published=value) for n in "ab"], Path("a.png"))
    words = {True: [], False: []}
    for text in kept[0].axes[0].texts:
        words[text.get_text() == "paper"].append(text.get_window_extent())
    assert len(words[True]) == len(words[False]) == 2
    assert max(box.x1 for box in words[True]) < min(box.x0 for box in words[False])
    assert max(box.x1 for box in words[False]) <= kept[0].bbox.x1


def test_losses_have_whole_titles_and_no_empty_place(kept: list[Figure]) -> None:
    long = "NCFM without the sampling network, tinyimagenet-ipc50"
    histories = {
        "DM": {"match": [3.0, 2.0], "calibration": [0.0, 0.0]},
        long: {"match": [3.0, 2.0], "calibration": [1.0, 1.0]},
    }
    loss_curves(histories, Path("l.png"))
    dm, match, calibration = kept[0].axes
    right = kept[0].bbox.x1
    assert dm.get_window_extent().width > 1.5 * match.get_window_extent().width
    for axes in (dm, match, calibration):
        assert axes.get_title("left") and axes._left_title.get_window_extent().x1 < right
    first, second = (axes._left_title.get_window_extent() for axes in (match, calibration))
    assert not first.overlaps(second)


@pytest.mark.parametrize("ipc", [1, 2, 3, 5])
def test_grids_of_any_number_of_images_have_like_shapes(kept: list[Figure], ipc: int) -> None:
    images = np.linspace(0, 1, 10 * ipc, dtype=np.float32)[:, None, None, None]
    pixels = np.broadcast_to(images, (10 * ipc, 1, 8, 8)).copy()
    names = [f"class {i}" for i in range(10)]
    image_grid(pixels, np.repeat(np.arange(10), ipc), names, Path("g.png"))
    width, height = kept[0].get_size_inches()
    assert height < 1.6 * width
    if ipc > 1:
        shown = [label.get_text() for axes in kept[0].axes for label in axes.get_yticklabels()]
        assert shown == names

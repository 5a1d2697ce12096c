from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

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

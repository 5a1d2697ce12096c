from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from dd_recipes.figures import accuracy_chart, image_grid, loss_curves, student_curves
from dd_recipes.paper import PublishedValue
from dd_recipes.results import Row

PUBLISHED = PublishedValue(49.5, 0.3, 10, "Table 1")
ROWS = (
    Row("random", "random", "random", "", 1, 1, 1, (30.0, 31.0), (30.0, 31.0), None, 5.0),
    Row("NCFM", "ncfm", "distill", "", 1, 2, 4, (49.0, 50.0), (50.0, 51.0), 9.0, 5.0, PUBLISHED),
    Row("alone", "alone", "distill", "", 1, 2, 4, (40.0,), (41.0,), 9.0, 5.0),
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

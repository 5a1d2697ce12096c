"""Charts of continual learning and of architecture search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dd_core.evaluation.search import architecture_grid
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate
from dd_core.evaluation.students import Evaluation
from dd_recipes.figures_uses import continual_chart, search_chart


def students(*last: float) -> Evaluation:
    return Evaluation(last, last, tuple(((1.0, value),) for value in last), 1.0)


def record(*, real: bool) -> dict[str, Any]:
    grid = architecture_grid([1, 2], [4, 8], ["instance", "none"], size=16)
    found = tuple(
        Candidate(name, network, 9, students(40.0 + i, 42.0 + i),
                  students(70.0 + (3 * i) % 8) if real else None)
        for i, (name, network) in enumerate(grid.items())
    )  # fmt: skip
    best = students(70.0) if real else None
    return ArchitectureSearch(found, 10, 90, students(69.0), best).as_record()


def pixels(path: Path) -> np.ndarray[Any, Any]:
    image = np.asarray(Image.open(path).convert("RGB"))
    assert image.shape[1] > 800 and 0.001 < (image < 128).any(2).mean() < 0.6
    return image


@pytest.mark.parametrize("real", [True, False])
def test_search_chart(tmp_path: Path, real: bool) -> None:
    search_chart(record(real=real), tmp_path / "a.png")
    first = pixels(tmp_path / "a.png")
    moved = record(real=real)
    moved["candidates"][0]["on_set"]["mean"] += 3.0
    search_chart(moved, tmp_path / "b.png")
    assert (
        first.shape != pixels(tmp_path / "b.png").shape
        or (first != pixels(tmp_path / "b.png")).any()
    )


def test_an_undefined_correlation_is_left_out(tmp_path: Path) -> None:
    equal = record(real=True)
    equal["spearman"] = {"value": None, "pvalue": None}
    search_chart(equal, tmp_path / "a.png")
    pixels(tmp_path / "a.png")


def test_continual_chart(tmp_path: Path) -> None:
    steps = [{"classes": c, "mean": 90.0 - c, "last": [89.0 - c, 91.0 - c]} for c in (2, 4, 6)]
    continual_chart({"NCFM": {"mean": 86.0, "steps": steps}}, tmp_path / "one.png")
    one = pixels(tmp_path / "one.png")
    lower = {"mean": 50.0, "steps": [{**step, "mean": 50.0, "last": [49, 51]} for step in steps]}
    continual_chart({"NCFM": {"mean": 86.0, "steps": steps}, "DM": lower}, tmp_path / "two.png")
    orange = (np.abs(pixels(tmp_path / "two.png").astype(int) - (209, 99, 42)).max(2) < 8).sum()
    assert orange > 200 > (np.abs(one.astype(int) - (209, 99, 42)).max(2) < 8).sum()

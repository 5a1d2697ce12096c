"""What else than accuracy is measured: dynamics, continual learning and speed."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dd_core.artifact import DistilledSet
from dd_core.images import LabeledImages
from dd_recipes.continual import classes_seen, of_classes, real_of_classes
from dd_recipes.dynamics import moments
from dd_recipes.paper import PublishedValue
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.results import Results, Row
from dd_recipes.runner import Hardware, reproduce

PLAIN = Hardware(device="cpu", precision="float32", compile="off")


def measured(tiny: Recipe, cell: Cell, folder: Path) -> Row:
    students = replace(cell.students, students=2, steps=6)
    results = reproduce(
        replace(tiny, cells=(replace(cell, students=students),)), folder, hardware=PLAIN
    )  # fmt: skip
    stored = json.loads((folder / "results.json").read_text())
    assert Results.from_json(stored) == results
    (row,) = results.rows
    assert row.status == "done", row.note
    return row


@given(st.integers(1, 100_000))
def test_moments_rise_evenly_to_the_end(iterations: int) -> None:
    found = moments(iterations)
    assert found[-1] == iterations
    assert len(found) == min(5, iterations)
    steps = [b - a for a, b in zip((0, *found), found, strict=False)]
    assert max(steps) - min(steps) <= 1


@given(st.integers(5, 300), st.integers(0, 9))
def test_classes_come_in_five_even_steps(n: int, seed: int) -> None:
    steps = classes_seen(n, seed)
    assert sorted(steps[-1]) == list(range(n))
    sizes = [len(b) - len(a) for a, b in zip(([], *steps), steps, strict=False)]
    assert len(steps) == 5 and max(sizes) - min(sizes) <= 1
    assert all(after[: len(before)] == before for before, after in pairwise(steps))
    assert classes_seen(n, seed) == steps


def test_parts_of_sets_are_numbered_in_the_order_given() -> None:
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 8, 8) / 8
    labels, names = torch.arange(4).repeat(2), ("a", "b", "c", "d")
    part = of_classes(DistilledSet(images, labels, 1, (0.5,), (0.2,), names), [2, 0])
    assert part.class_names == ("c", "a")
    assert part.labels.tolist() == [1, 0, 1, 0]
    assert (8 * part.images[:, 0, 0, 0]).tolist() == [0, 2, 4, 6]
    real = LabeledImages((8 * images).to(torch.uint8), labels, (0.5,), (0.2,), names)
    chosen = real_of_classes(real, [2, 0])
    assert chosen.class_names == ("c", "a") and chosen.labels.tolist() == [1, 0, 1, 0]
    assert chosen.pixels[:, 0, 0, 0].tolist() == [0, 2, 4, 6]


def test_dynamics_end_with_the_set_itself(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    row = measured(tiny, replace(tiny.cells[2], measure="dynamics"), tmp_path / "run")
    assert [x for x, _ in row.curve] == [1, 2, 3, 4]
    assert row.curve[-1][1] == row.last
    assert len({values for _, values in row.curve}) > 1
    folder = tmp_path / "run" / "sets" / str(row.set)
    stages = sorted((folder / "distillation" / "snapshots").iterdir())
    assert [stage.name for stage in stages] == ["000001", "000002", "000003", "000004"]
    final = DistilledSet.load(folder / "distilled").images
    assert torch.equal(DistilledSet.load(stages[-1]).images, final)
    plain = finished[0] / "sets" / str(finished[1].rows[2].set) / "distilled"
    assert torch.equal(DistilledSet.load(plain).images, final)


def test_continual_learning_ends_with_all_classes(tiny: Recipe, tmp_path: Path) -> None:
    row = measured(tiny, replace(tiny.cells[1], measure="continual"), tmp_path / "run")
    assert [x for x, _ in row.curve] == [2, 4, 6, 8, 10]
    assert row.curve[-1][1] == row.last
    assert row.curve[0][1] > row.last  # two classes are told apart more often than ten
    students = tmp_path / "run" / "cells" / row.name / "students"
    assert sorted(path.name for path in students.iterdir()) == [f"step-{i}" for i in range(1, 6)]


@pytest.mark.parametrize("unit", ["s", "GB"])
def test_speed_needs_no_training(tiny: Recipe, tmp_path: Path, unit: str) -> None:
    published = PublishedValue(0.5, "Table 5", unit=unit)  # type: ignore[arg-type]
    cell = replace(tiny.cells[3], measure="speed", published=published)
    row = measured(replace(tiny, budget="full"), cell, tmp_path / "run")
    assert row.unit == unit and row.n == 1
    assert row.iteration_seconds is not None and row.gigabytes is not None
    assert 0 < row.iteration_seconds < 10
    assert 0 <= row.gigabytes < 4
    assert row.mean == (row.iteration_seconds if unit == "s" else row.gigabytes)
    assert row.value.endswith(f" {unit}") and "s an iteration" in row.speed
    assert row.verdict is not None
    assert row.verdict.label == "not comparable (measured on the CPU)"
    curves = json.loads((tmp_path / "run" / "cells" / row.name / "curves.json").read_text())
    assert len(curves["times"]) >= 5
    assert not (tmp_path / "run" / "pools").exists()


def test_speed_is_measured_when_no_other_process_of_the_command_computes(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(tiny, cells=(replace(tiny.cells[2], measure="speed"),))
    with monkeypatch.context() as patch:
        patch.setenv("DD_RECIPES_BEGAN", "1.0")
        (row,) = reproduce(recipe, tmp_path / "run", hardware=PLAIN).rows
    assert row.status == "missing"
    (row,) = reproduce(recipe, tmp_path / "run", hardware=PLAIN).rows
    assert row.status == "done" and row.unit == "s"

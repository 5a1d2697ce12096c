"""What else than accuracy is measured: dynamics, continual learning, search and speed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dd_core.artifact import DistilledSet
from dd_core.datasets import split_per_class
from dd_core.errors import SettingsError
from dd_core.evaluation.classes import classes_seen
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate
from dd_core.evaluation.students import Evaluation
from dd_recipes.catalog import find
from dd_recipes.dynamics import moments
from dd_recipes.measure_settings import ContinualSettings, SearchSettings
from dd_recipes.paper import PublishedValue
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Cell, DataSource, Recipe
from dd_recipes.results import Results, Row
from dd_recipes.runner import Hardware, reproduce
from dd_recipes.sources import load_data
from dd_recipes.work import Keys

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


@pytest.mark.parametrize("steps", [5, 10])
def test_continual_learning_ends_with_all_classes(tiny: Recipe, tmp_path: Path, steps: int) -> None:
    cell = replace(tiny.cells[1], measure="continual", continual=ContinualSettings(steps))
    row = measured(tiny, cell, tmp_path / "run")
    assert [x for x, _ in row.curve] == [len(c) for c in classes_seen(10, steps, seed=tiny.seed)]
    assert row.curve[-1][1] == row.last
    assert row.curve[0][1] > row.last  # few classes are told apart more often than ten
    folder = tmp_path / "run" / "cells" / row.name
    assert len(list((folder / "students").iterdir())) == steps
    record = json.loads((folder / "curves.json").read_text())["continual"]
    average = sum(sum(values) / 2 for _, values in row.curve) / steps
    assert record["mean"] == pytest.approx(average)
    assert row.also.startswith(f"{average:.1f} ± ") and f"over the {steps} steps" in row.also


def test_steps_are_a_setting_of_the_cell_with_its_source() -> None:
    cells = {cell.name: cell for cell in load_recipe(find("continual")).cells}
    for name, cell in cells.items():
        assert cell.continual.steps == cell.settings()["continual"]["steps"] == int(
            name.split("-")[1]
        )  # fmt: skip
        assert cell.origins["continual.steps"].source == "own choice"
    changed = load_recipe(find("ddm-fig3b"), overrides=["continual.steps=10"])
    assert {cell.continual.steps for cell in changed.cells} == {10}
    with pytest.raises(SettingsError, match=r"continual\.steps: steps is 0; it must be at least 1"):
        load_recipe(find("ddm-fig3b"), overrides=["continual.steps=0"])


def test_a_section_of_another_measure_does_not_count(tiny: Recipe) -> None:
    assert "continual" not in tiny.cells[0].settings() and "search" not in tiny.cells[0].settings()
    with pytest.raises(SettingsError, match=r"no cell has 'continual'"):
        load_recipe(find("quickstart"), overrides=["continual.steps=2"])


SEARCH = SearchSettings((1, 2), (4, 8), ("instance",), held_out=0.25, students=1, steps=6)


def test_a_search_ranks_networks_on_images_that_its_set_has_not_seen(
    tiny: Recipe, tmp_path: Path
) -> None:
    cells = tuple(
        replace(
            cell, measure="search", search=SEARCH, students=replace(cell.students, students=2,
                                                                    steps=6),
        )
        for cell in (tiny.cells[0], tiny.cells[3])
    )  # fmt: skip
    results = reproduce(replace(tiny, cells=cells), tmp_path / "run", hardware=PLAIN)
    assert Results.from_json(results.as_json()) == results
    real, ncfm = results.rows
    records = []
    for row in (real, ncfm):
        assert row.status == "done" and row.unit == "rho" and row.n == 1, row.note
        curves = tmp_path / "run" / "cells" / row.name / "curves.json"
        records.append(json.loads(curves.read_text())["search"])
        assert row.mean == records[-1]["spearman"]["value"]
        assert -1 <= row.mean <= 1 and row.value.endswith(" rho")
        assert "Over 4 networks, Spearman's rho is" in row.also and records[-1]["pick"] in row.also
    # What was trained on the real images is shared.
    on_all = [[each["on_all"] for each in record["candidates"]] for record in records]
    assert on_all[0] == on_all[1]
    assert len(list((tmp_path / "run" / "whole").iterdir())) == 1
    assert real.whole_seconds == ncfm.whole_seconds == records[0]["seconds_on_all"]
    parts = [row.student_seconds or 0.0 for row in (real, ncfm)]
    assert results.seconds == pytest.approx(
        sum(parts) + (ncfm.distill_seconds or 0) + (results.pool_seconds or 0)
        + (real.whole_seconds or 0)
    )  # fmt: skip
    # The small set is of the rest: none of its images is among those that judge.
    train = load_data(DataSource("embedded"), None).train
    rest, judges = split_per_class(train, round(0.25 * train.smallest_class), tiny.seed)
    assert (records[0]["validation_images"], records[0]["training_images"]) == (
        len(judges), len(rest),
    )  # fmt: skip
    assert real.train_images == len(rest)
    stored = DistilledSet.load(tmp_path / "run" / "sets" / str(real.set) / "distilled")
    assert stored.provenance["data"]["fingerprint"] == rest.fingerprint()
    packed = (255 * stored.images).round().to(torch.uint8)
    seen = {pixels.numpy().tobytes() for pixels in rest.pixels}
    assert all(pixels.numpy().tobytes() in seen for pixels in packed)


def test_the_set_of_a_search_is_another_than_that_of_an_accuracy(tiny: Recipe) -> None:
    ncfm = tiny.cells[3]
    search = replace(ncfm, measure="search", search=SEARCH)
    accuracy, ranked = (Keys(cell, "images", 0) for cell in (ncfm, search))
    assert accuracy.pool_key != ranked.pool_key and accuracy.set_key != ranked.set_key
    longer = Keys(replace(search, search=replace(SEARCH, epochs=9)), "images", 0)
    assert longer.set_key == ranked.set_key
    wider = Keys(replace(search, search=replace(SEARCH, held_out=0.3)), "images", 0)
    assert wider.set_key != ranked.set_key


def test_equal_accuracies_fail_the_cell_with_a_way_out(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = Evaluation((10.0,), (10.0,), (((1.0, 10.0),),), 1.0)
    alike = tuple(Candidate(name, tiny.cells[0].network, 1, same, same) for name in "abc")
    found = ArchitectureSearch(alike, 1, 1, same, same)
    monkeypatch.setattr("dd_recipes.search.search_architectures", lambda *_, **__: found)
    cell = replace(tiny.cells[0], measure="search", search=SEARCH)
    (row,) = reproduce(replace(tiny, cells=(cell,)), tmp_path / "run", hardware=PLAIN).rows
    assert row.status == "failed" and "they have no ranking; train them for longer" in row.note


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depths": ()}, r"depths are \[\]; give different ones"),
        ({"widths": (8, 8)}, r"widths are \[8, 8\]; give different ones"),
        ({"depths": (0, 1)}, r"depths are \[0, 1\]; give 1 or more"),
        ({"held_out": 0.0}, "held_out is 0.0; give a share between 0 and 1"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"epochs": 0}, "epochs is 0; it must be at least 1"),
        ({"students": 0}, "students is 0"),
        ({"steps": -1}, "steps is -1; it must be at least 0"),
    ],
)
def test_impossible_searches_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SEARCH, **change)


def test_the_recipe_searches_among_twelve_networks_at_least() -> None:
    for budget, least in (("full", 36), ("cpu", 12), ("smoke", 4)):
        for cell in load_recipe(find("search"), budget=budget).cells:  # type: ignore[arg-type]
            networks = cell.search.networks(32)
            assert len(networks) == least
            assert len({tuple(asdict(n).values()) for n in networks.values()}) == least
            assert cell.origins["search.epochs"].source == "own choice"
    assert {cell.row for cell in load_recipe(find("search")).cells} == {
        "NCFM", "DM", "random", "herding",
    }  # fmt: skip


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

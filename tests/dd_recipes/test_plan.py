from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dd_core.runtime import choose_runtime
from dd_core.settings import DistillSettings
from dd_core.training import total_steps
from dd_recipes import pace, plan
from dd_recipes.catalog import find
from dd_recipes.cli import main
from dd_recipes.find_data import Found
from dd_recipes.measure_settings import ContinualSettings, SearchSettings
from dd_recipes.pace import Shape, blank_images, iteration_seconds, training_seconds
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Recipe

PLAIN = choose_runtime("cpu", "float32", "off", 1)


@pytest.fixture
def paces(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Trials that take one second an image and two an iteration, and how often each is made."""
    made = {"training": 0, "iteration": 0}

    def training(*_: object) -> float:
        made["training"] += 1
        return 1.0

    def iteration(*_: object, warm: bool) -> float:
        made["iteration"] += 1
        return 2.0

    monkeypatch.setattr(plan, "training_seconds", training)
    monkeypatch.setattr(plan, "iteration_seconds", iteration)
    return made


def quickstart(*overrides: str) -> Recipe:
    return load_recipe(find("quickstart"), overrides=overrides)


def test_phases_are_counted_from_the_settings(paces: dict[str, int]) -> None:
    recipe = quickstart()
    made = plan.make_plan(recipe, recipe.cells, None, PLAIN)
    real, packed, dm, ncfm = made.cells
    assert (real.pool_seconds, real.set_seconds, real.memory) == (0, 0, None)
    # 3 students, 200 steps of 64 images; 10 or 40 views of 10 classes are more than a batch. Tests
    # on 2,500 images are forward passes, each a third of a step.
    students = 3 * (200 * 64 + recipe.cells[0].students.evaluations * 2500 / 3)
    assert real.student_seconds == packed.student_seconds == pytest.approx(students)
    assert (dm.pool_seconds, dm.set_seconds) == (0, 100 * 2)
    # 3 networks, 4 epochs of 6000 images.
    assert (ncfm.pool_seconds, ncfm.set_seconds) == (3 * 4 * 6000, 160 * 2)
    assert made.seconds == sum(cell.seconds for cell in made.cells)
    assert all(cell.found and cell.measured for cell in made.cells)
    assert ncfm.memory is not None and 1e7 < ncfm.memory < 1e9
    assert paces["iteration"] == 2


def test_what_cells_share_is_counted_once(paces: dict[str, int]) -> None:
    recipe = quickstart()
    twin = replace(recipe.cells[3], name="twin", students=replace(
        recipe.cells[3].students, students=1))  # fmt: skip
    made = plan.make_plan(recipe, (*recipe.cells, twin), None, PLAIN)
    assert (made.cells[-1].pool_seconds, made.cells[-1].set_seconds) == (0, 0)
    tests = twin.students.evaluations
    assert made.cells[-1].student_seconds == pytest.approx(200 * 64 + tests * 2500 / 3)


def test_without_patience_a_pace_is_scaled_from_one_that_is_alike(
    paces: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plan, "_PATIENCE", -1.0)
    recipe = quickstart()
    ncfm = recipe.cells[3]
    assert ncfm.distill is not None
    larger = replace(ncfm, name="larger", distill=replace(ncfm.distill, batch_real=600, hold=1))
    made = plan.make_plan(recipe, (ncfm, larger), None, PLAIN)
    # Per class 64 / 5 / 3 + 2 * 40 images, and 600 / 3 + 2 * 40 images.
    scale = (600 / 3 + 80) / (64 / 15 + 80)
    assert made.cells[1].set_seconds == pytest.approx(160 * 2 * scale)
    assert made.cells[0].measured and not made.cells[1].measured
    assert paces["iteration"] == 1


def test_a_long_tail_has_fewer_images(
    paces: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found("cifar10", "found", train=50_000, test=10_000)
    monkeypatch.setattr(plan, "find_data", lambda *_: found)
    recipe = load_recipe(find("csdm-fig3"))
    made = plan.make_plan(recipe, recipe.cells[:1], None, PLAIN)
    cell = recipe.cells[0]
    assert cell.data.imbalance_factor == 10
    images = 5000 + 3871 + 2997 + 2320 + 1796 + 1391 + 1077 + 834 + 645 + 500
    epochs = cell.pretrain.epochs * cell.pretrain.networks
    assert made.cells[0].pool_seconds == images * epochs


def test_nothing_is_tried_where_data_are_missing(paces: dict[str, int]) -> None:
    recipe = load_recipe(find("csdm-fig3"))
    made = plan.make_plan(recipe, recipe.cells[:2], Path("/nowhere"), PLAIN)
    assert not made.cells[0].found and "CIFAR-10 was not found" in made.cells[0].problem
    assert made.seconds == 0 and paces == {"training": 0, "iteration": 0}


def test_other_measures_take_other_phases(paces: dict[str, int]) -> None:
    recipe = quickstart()
    ncfm = recipe.cells[3]

    def seconds(measure: str, **rest: Any) -> tuple[float, float, float]:
        cell = replace(ncfm, measure=measure, **rest)
        (made,) = plan.make_plan(recipe, (cell,), None, PLAIN).cells
        return made.pool_seconds, made.set_seconds, made.student_seconds

    pool, distill, students = seconds("accuracy")
    assert seconds("speed") == (0, 11 * 2, 0)
    assert seconds("dynamics") == (pool, distill, 5 * students)
    assert ncfm.students.steps  # as many steps whatever the classes seen
    assert seconds("continual") == (pool, distill, 5 * students)
    by_epochs = {"students": replace(ncfm.students, steps=0, epochs=64)}
    few = seconds("accuracy", **by_epochs)[2]
    ten = seconds("continual", continual=ContinualSettings(10), **by_epochs)
    assert ten[2] == pytest.approx(5.5 * few)


def test_a_search_costs_as_many_products_as_its_networks(paces: dict[str, int]) -> None:
    """The cell's own network, one of half its cost and one of a third, on the set and on all."""
    recipe = quickstart("network.depth=1", "network.width=60")
    search = SearchSettings((1,), (60, 30, 20), ("none",), held_out=0.5, students=2, epochs=3)
    first = replace(recipe.cells[0], measure="search", search=search)
    second = replace(recipe.cells[1], measure="search", search=search)
    alone, _ = plan.make_plan(recipe, (recipe.cells[0], recipe.cells[1]), None, PLAIN).cells
    costs = 1 + 1 / 2 + 1 / 3
    one, two = plan.make_plan(recipe, (first, second), None, PLAIN).cells
    each = total_steps(3000, search.whole(first.students)) * first.students.batch_size * 2
    assert two.student_seconds == pytest.approx(costs * alone.student_seconds)  # shares the rest
    real = one.student_seconds - two.student_seconds
    assert real == pytest.approx(each * (costs + 2))  # two more for the test


def test_trials_measure_something() -> None:
    recipe = quickstart("network.width=16", "distill.batch_real=16", "synthetic.ipc=2")
    ncfm = recipe.cells[3]
    assert ncfm.distill is not None
    shape = Shape(ncfm.network, 1, 28, 10)
    assert 1e-7 < training_seconds(shape, 8, "flip", 0.0, PLAIN) < 1
    cold = iteration_seconds(shape, ncfm.distill, PLAIN)
    warm = iteration_seconds(shape, ncfm.distill, PLAIN, warm=True)
    assert 1e-5 < cold < 60 and 1e-5 < warm < 60
    images = blank_images(shape, 3)
    assert images.pixels.shape == (30, 1, 28, 28) and images.class_sizes == (3,) * 10


def test_the_command_prints_a_line_a_cell_and_json(paces: dict[str, int]) -> None:
    result = CliRunner().invoke(main, ["plan", "quickstart", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert any(line.startswith("ncfm ") and line.endswith(" GB") for line in lines)
    assert any(line.startswith("in all, for cells whose data are here: about") for line in lines)
    result = CliRunner().invoke(main, ["plan", "quickstart", "--cells", "dm", "--json"])
    tables = json.loads(result.output)
    assert [cell["name"] for cell in tables["cells"]] == ["dm"]
    assert tables["cells"][0]["seconds"] == tables["seconds"]


def test_missing_data_are_said_with_the_way_to_get_them(paces: dict[str, int]) -> None:
    result = CliRunner().invoke(main, ["plan", "ncfm-fig5", "--data", "/nowhere"])
    assert result.exit_code == 0, result.output
    assert "missing" in result.output and "CIFAR-10 was not found" in result.output


def test_what_classes_share_is_not_multiplied_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    # A machine on which psi takes 3 s an iteration, a class 0.5 s, and an image 0.01 s.
    def takes(shape: Shape, settings: DistillSettings, *_: object, warm: bool = False) -> float:
        images = settings.batch_real + settings.synthetic.ipc
        own = shape.n_classes * (0.5 + 0.01 * images)
        draws = any("n_frequencies" in term.options for term in settings.objectives)
        return own + (3.0 if draws else 0.0)

    monkeypatch.setattr(pace, "_pace", takes)
    for recipe, cell in (("ncfm-fig6", "frequencies-1024"), ("ddm-cifar10", "cifar10-ipc10-dm")):
        cells = load_recipe(find(recipe), budget="full").cells
        settings = next(each.distill for each in cells if each.name == cell)
        assert settings is not None
        shape = Shape(cells[0].network, channels=3, size=32, n_classes=10)
        assert iteration_seconds(shape, settings, PLAIN) == pytest.approx(
            takes(shape, settings, PLAIN)
        )

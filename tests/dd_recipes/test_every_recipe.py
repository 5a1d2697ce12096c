"""Every recipe file is loaded, resolved, and takes a step of each of its ways to distil."""

from __future__ import annotations

import json
import tomllib

import pytest
import torch

from dd_core.extractors import ExtractorPool
from dd_core.minmax import Distiller
from dd_core.runtime import choose_runtime
from dd_recipes.catalog import entries, find
from dd_recipes.pace import Shape, blank_images, iteration_seconds
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Cell
from dd_recipes.source_table import SOURCES

RECIPES = 25
PLAIN = choose_runtime("cpu", "float32", "off", 1)


def ways(name: str) -> list[Cell]:
    """One cell of the smoke budget for each way to distil, over all variants of a recipe."""
    found: dict[str, Cell] = {}
    for variant in tomllib.loads(find(name).text)["variants"]:
        for cell in load_recipe(find(name), variant=variant, budget="smoke").cells:
            if cell.distill is not None:
                settings = cell.settings()
                terms = {n: t["options"] for n, t in settings["distill"]["objectives"].items()}
                for options in terms.values():
                    options.pop("alpha", None)
                size = cell.data.size or SOURCES[cell.data.source].px
                rest = (size, cell.distill.step, cell.distill.extractor,
                        cell.distill.optimizer, cell.synthetic.init)  # fmt: skip
                found.setdefault(json.dumps([rest, terms], default=str), cell)
    return list(found.values())


def take_a_step(cell: Cell) -> None:
    assert cell.distill is not None
    source = SOURCES[cell.data.source]
    size = cell.data.size or source.px
    channels = 1 if cell.data.source == "embedded" else 3
    classes = source.classes or 10
    if all(term.name != "csdm" for term in cell.distill.objectives):  # csdm counts head classes
        classes = min(classes, 10)
    shape = Shape(cell.network, channels, size, classes)
    images = blank_images(shape, 8, random=True)
    pool = (
        ExtractorPool.random(
            cell.network, channels=channels, size=size, n_classes=shape.n_classes, count=1, seed=0
        )
        if cell.distill.extractor == "blend"
        else None
    )
    distiller = Distiller(images, cell.distill, cell.network, pool, seed=0, runtime=PLAIN)
    before = distiller.all_pixels().clone()
    assert torch.isfinite(distiller.step(0)).all()
    assert iteration_seconds(shape, cell.distill, PLAIN) > 0  # as plan tries it
    after = distiller.all_pixels()
    assert torch.isfinite(after).all() and not torch.equal(before, after)


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_a_recipe_takes_a_step_of_each_of_its_ways(name: str) -> None:
    cells = ways(name)
    assert cells
    for cell in cells:
        take_a_step(cell)


def test_the_number_of_recipes_that_take_a_step() -> None:
    """The names above come from the catalogue; this says how many there must be."""
    assert len(entries()) == RECIPES
    assert sum(len(ways(entry.name)) for entry in entries()) >= 3 * RECIPES

from __future__ import annotations

import json
from dataclasses import replace

from dd_core.settings import DistillSettings, SyntheticSettings
from dd_recipes.catalog import find
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Method


def test_a_method_knows_its_kind_and_its_set() -> None:
    chosen = Method("Random real", "", SyntheticSettings(ipc=3, factor=1))
    distilled = Method("NCFM", "", DistillSettings(synthetic=SyntheticSettings(ipc=4)))
    assert (chosen.kind, chosen.slug, chosen.synthetic.ipc) == ("random", "random-real", 3)
    assert (distilled.kind, distilled.slug, distilled.synthetic.ipc) == ("distill", "ncfm", 4)


def test_a_method_counts_its_training_images() -> None:
    packed = SyntheticSettings(ipc=3, factor=2, decode="multi")
    assert Method("packed", "", packed).views == 3 * (4 + 1)
    assert Method("packed", "", replace(packed, decode="bound", bound=7)).views == 4 + 1 + 1
    whole = Method("whole", "", replace(packed, init="real"))
    assert (whole.factor, whole.views) == (1, 3)
    assert Method("distilled", "", DistillSettings(synthetic=packed)).views == 15


def test_tables_are_json_and_name_the_kinds() -> None:
    recipe = load_recipe(find("quickstart"))
    tables = recipe.tables()
    assert json.loads(json.dumps(tables)) == tables
    assert [table["kind"] for table in tables["methods"]] == [m.kind for m in recipe.methods]


def test_quickstart_has_its_two_controls_before_the_methods() -> None:
    recipe = load_recipe(find("quickstart"))
    assert [m.label for m in recipe.methods] == ["random real", "random packed", "DM", "NCFM"]
    assert [m.synthetic.factor for m in recipe.methods] == [1, 2, 2, 2]
    assert {m.synthetic.ipc for m in recipe.methods} == {10}


def test_cifar10_compares_with_the_published_value() -> None:
    recipe = load_recipe(find("ncfm-cifar10-ipc1"))
    published = [m.published for m in recipe.methods if m.published]
    assert [(p.mean, p.std, p.n) for p in published] == [(49.5, 0.3, 10)]
    assert "best" in published[0].note

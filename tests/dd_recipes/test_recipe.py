from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dd_core.settings import SyntheticSettings
from dd_recipes.catalog import find
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Cell, DataSource

QUICKSTART = load_recipe(find("quickstart"))
REAL, PACKED, DM, NCFM = QUICKSTART.cells


def with_set(cell: Cell, synthetic: SyntheticSettings) -> Cell:
    return replace(cell, synthetic=synthetic)


def test_a_cell_counts_its_training_images() -> None:
    packed = SyntheticSettings(ipc=3, factor=2, decode="multi")
    assert with_set(PACKED, packed).views == 3 * (4 + 1)
    assert with_set(PACKED, replace(packed, decode="bound", bound=7)).views == 4 + 1 + 1
    whole = with_set(REAL, replace(packed, init="real"))
    assert (whole.factor, whole.views) == (1, 3)
    assert with_set(NCFM, packed).views == 15


def test_a_cell_knows_whether_it_needs_a_pool() -> None:
    assert [cell.needs_pool for cell in QUICKSTART.cells] == [False, False, False, True]
    assert replace(REAL, kind="herding").needs_pool
    assert replace(REAL, soft_labels="paper").needs_pool


def test_the_settings_of_a_cell_are_json_and_name_the_terms() -> None:
    settings = NCFM.settings()
    assert json.loads(json.dumps(settings)) == settings
    assert list(settings["distill"]["objectives"]) == ["ncfm"]
    assert "synthetic" not in settings["distill"] and "distill" not in REAL.settings()


def test_the_tables_of_a_recipe_hold_no_layers() -> None:
    tables = QUICKSTART.tables()
    assert json.loads(json.dumps(tables)) == tables
    assert "base" not in tables and tables["variants"] == ["best"]
    assert [cell["set"]["kind"] for cell in tables["cells"]] == [c.kind for c in QUICKSTART.cells]


def test_quickstart_has_its_two_controls_before_the_methods() -> None:
    assert QUICKSTART.rows == ("random real", "random packed", "DM", "NCFM")
    assert [cell.factor for cell in QUICKSTART.cells] == [1, 2, 2, 2]
    assert {cell.synthetic.ipc for cell in QUICKSTART.cells} == {10}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "cifar10", "size": -1}, "size is -1"),
        ({"source": "cifar10", "imbalance_factor": 0.5}, "imbalance_factor is 0.5"),
        ({"source": "cifar10", "imbalance_seed": -1}, "imbalance_seed is -1"),
        ({"source": "folder", "path": "x", "held_out": 1.0}, "held_out is 1.0"),
        ({"source": "folder"}, "path is ''"),
        ({"source": "cifar10", "path": "x"}, "only there"),
    ],
)
def test_a_data_source_is_checked(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DataSource(**settings)  # type: ignore[arg-type]

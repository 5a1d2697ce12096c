from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import dd_recipes
from dd_core.errors import UserError
from dd_recipes.catalog import entries, find, find_shared
from dd_recipes.missing import columns_by_source
from dd_recipes.reader import load_recipe

RECIPES = Path(dd_recipes.__file__).parent / "recipes"


def test_every_toml_file_is_found() -> None:
    names = sorted(path.stem for path in RECIPES.rglob("*.toml")
                   if not path.name.startswith("_"))  # fmt: skip
    assert len(names) >= 25
    assert [entry.name for entry in entries()] == names
    assert len(set(names)) == len(names)


def test_every_recipe_has_a_title() -> None:
    assert all(entry.title for entry in entries())


def test_a_recipe_says_its_data_and_its_cost_without_being_resolved() -> None:
    for entry in entries():
        cells = load_recipe(entry).cells
        data = list(columns_by_source(tomllib.loads(entry.text)))
        assert data == list(dict.fromkeys(cell.data.source for cell in cells)), entry.name
        assert len(entry.cost) > 40 and "\n" not in entry.cost, entry.name
    assert list(columns_by_source(tomllib.loads(find("quickstart").text))) == ["embedded"]


def test_find_reads_a_file_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(find("quickstart").text)
    assert find(str(path)).name == "mine"


def test_unknown_name_names_close_ones() -> None:
    with pytest.raises(UserError, match=r"'quikstart'.*mean quickstart"):
        find("quikstart")


def test_part_of_a_name_is_close() -> None:
    with pytest.raises(UserError, match=r"mean .*ncfm-table1"):
        find("table1")


def test_far_name_lists_all() -> None:
    with pytest.raises(UserError, match=r"ncfm-table1.*quickstart"):
        find("zzzzzz")


def test_missing_file_and_binary_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no recipe file"):
        find(str(tmp_path / "none.toml"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8"):
        find(str(tmp_path / "binary.toml"))


def test_listing_does_not_import_torch() -> None:
    code = (
        "import sys; from dd_recipes.catalog import entries; assert entries(); "
        "assert not {'torch', 'pydantic', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_recipes_share_is_no_recipe() -> None:
    assert all(not entry.name.startswith("_") for entry in entries())
    shared = find_shared("ncfm")
    assert shared is not None and "[base" in shared.text
    assert find_shared("nothing") is None and find_shared("../ncfm") is None

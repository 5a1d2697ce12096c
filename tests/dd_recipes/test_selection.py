from __future__ import annotations

import pytest

from dd_core.errors import UserError
from dd_recipes.catalog import find
from dd_recipes.reader import load_recipe
from dd_recipes.selection import select_cells

QUICKSTART = load_recipe(find("quickstart"))


def names(*globs: str) -> list[str]:
    return [cell.name for cell in select_cells(QUICKSTART, globs)]


def test_none_means_all() -> None:
    assert names() == names("*") == [cell.name for cell in QUICKSTART.cells]


def test_wildcards_and_commas_in_the_order_of_the_recipe() -> None:
    assert names("ncfm,random-*") == ["random-real", "random-packed", "ncfm"]
    assert names("ncfm", "dm", "dm") == ["dm", "ncfm"]


def test_every_pattern_must_match_something() -> None:
    with pytest.raises(UserError, match=r"--cells x\* matches no cell of quickstart; there are"):
        names("ncfm", "x*")


@pytest.mark.parametrize("given", [[""], [","], [" , "], ["ncfm", ""]])
def test_what_is_given_but_names_nothing_is_refused(given: list[str]) -> None:
    with pytest.raises(UserError, match=r"--rerun '.*' names no cell; there are random-real"):
        select_cells(QUICKSTART, given, "--rerun")

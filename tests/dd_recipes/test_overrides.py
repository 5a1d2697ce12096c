from __future__ import annotations

import pytest

from dd_core.errors import SettingsError
from dd_recipes.layers import merge
from dd_recipes.overrides import nested, parse_overrides, slug, smoke_layer


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("1e-3", 1e-3), ("true", True), ("[0.2, 0.5]", [0.2, 0.5]), ('"a b"', "a b"),
     ("blend", "blend"), ("a=b", "a=b"), ("", ""), ("1\nepochs = 9", "1\nepochs = 9")],
)  # fmt: skip
def test_values_are_toml_or_else_strings(text: str, value: object) -> None:
    (override,) = parse_overrides([f"students.x={text}"])
    assert override.value == value
    assert merge([override.layer]).table == {"students": {"x": value}}


def test_a_cell_or_all_cells() -> None:
    one, every = parse_overrides(["cells.dm.students.epochs=1", "students.epochs=2"])
    assert (one.cell, one.path) == ("dm", ("students", "epochs"))
    assert (every.cell, every.path) == ("", ("students", "epochs"))


def test_an_override_fits_where_there_is_a_place_for_it() -> None:
    table = {"distill": {"objectives": {"dm": {"weight": 1.0}}}, "kind": "distill"}

    def fits(key: str) -> bool:
        return parse_overrides([f"{key}=1"])[0].fits(table)

    assert fits("kind") and fits("distill.hold") and fits("distill.objectives.dm.weight")
    assert fits("distill.objectives.dm.options.n_frequencies")
    assert not fits("distill.objectives.ncfm.weight") and not fits("students.epochs")
    assert not fits("kind.x")


@pytest.mark.parametrize("pair", ["seed", "=3", " =3", "", "a..b=3", "students.=3"])
def test_not_a_pair(pair: str) -> None:
    with pytest.raises(SettingsError, match="not key=value"):
        parse_overrides([pair])


@pytest.mark.parametrize("pair", ["cells=3", "cells.dm=3"])
def test_a_cell_without_a_setting(pair: str) -> None:
    with pytest.raises(SettingsError, match="names no setting"):
        parse_overrides([pair])


def test_all_wrong_pairs_are_named() -> None:
    with pytest.raises(SettingsError) as caught:
        parse_overrides(["students.epochs", "students.epochs=3", "cells.a=1", "=3"])
    lines = str(caught.value).splitlines()
    assert [line.split()[1] for line in lines] == ["'students.epochs'", "'cells.a=1'", "'=3'"]


def test_smoke_shrinks_and_never_enlarges() -> None:
    options = {"n_frequencies": 16, "n_components": 64}
    table = {
        "synthetic": {"ipc": 50, "factor": 2},
        "student_network": {"architecture": "vgg11"},
        "distill": {"iterations": 20000, "objectives": {"ncfm": {"options": options}, "dm": {}}},
    }
    made = merge([smoke_layer(table)]).table
    assert made["synthetic"] == {"ipc": 2} and made["student_network"] == {"width": 16}
    assert made["distill"]["iterations"] < 20
    assert made["distill"]["objectives"] == {"ncfm": {"options": {"n_components": 2}}}
    small = merge([smoke_layer({"synthetic": {"ipc": 1}})]).table
    assert "synthetic" not in small and "student_network" not in small


def test_tables_in_tables() -> None:
    assert nested(("a", "b", "c"), [1]) == {"a": {"b": {"c": [1]}}}


def test_slug() -> None:
    assert slug("  Random real, rho = 1! ") == "random-real-rho-1"

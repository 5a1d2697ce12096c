from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dd_recipes.layers import Layer, layers_for, merge

leaves = st.sampled_from([0, 1, -2.5, "", "x", True, None])
keys = st.sampled_from("abc")
tables = st.recursive(
    st.dictionaries(keys, leaves, max_size=3),
    lambda t: st.dictionaries(keys, leaves | t, max_size=3),
    max_leaves=6,
)


def paths(table: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        found += paths(value, here) if isinstance(value, dict) else [here]
    return found


@given(tables)
def test_one_layer_is_itself(table: dict[str, Any]) -> None:
    assert merge([Layer("x", table)]).table == table


@given(tables, tables)
def test_the_later_layer_wins_and_nothing_else_is_lost(
    below: dict[str, Any], above: dict[str, Any]
) -> None:
    merged = merge([Layer("below", below), Layer("above", above)])
    found = paths(merged.table)
    assert set(paths(above)) <= set(found)
    assert all(merged.origins[p].layer == "above" for p in paths(above))
    for path in set(found) - set(paths(above)):
        assert merged.origins[path].layer == "below" and path in paths(below)


@given(tables, tables, tables)
def test_layers_are_laid_one_after_the_other(
    one: dict[str, Any], two: dict[str, Any], three: dict[str, Any]
) -> None:
    first = merge([Layer("1", one), Layer("2", two)]).table
    assert (
        merge([Layer("12", first), Layer("3", three)]).table
        == merge([Layer("1", one), Layer("2", two), Layer("3", three)]).table
    )


def test_the_layers_of_a_cell_are_not_changed() -> None:
    below = {"a": {"x": [1]}}
    merge([Layer("below", below), Layer("above", {"a": {"y": 2}})]).table["a"]["x"].append(2)
    assert below == {"a": {"x": [1]}}


def test_false_takes_a_table_away_but_is_a_value_elsewhere() -> None:
    terms = Layer("base", {"terms": {"a": {"weight": 1}, "b": {"weight": 2}}, "flag": True})
    merged = merge([terms, Layer("cell", {"terms": {"a": False}, "flag": False})])
    assert merged.table == {"terms": {"b": {"weight": 2}}, "flag": False}
    assert "terms.a.weight" not in merged.origins


def test_a_source_holds_for_the_tables_within_until_one_has_its_own() -> None:
    layer = Layer("base", {
        "_source": "text", "a": 1,
        "inner": {"b": 2, "_sources": {"c": "code"}, "c": 3, "own": {"_source": "own", "d": 4}},
    })  # fmt: skip
    origins = merge([layer]).origins
    found = {path: origin.source for path, origin in origins.items()}
    assert found == {"a": "text", "inner.b": "text", "inner.c": "code", "inner.own.d": "own"}


def test_variants_and_budgets_come_after_all_layers_in_order() -> None:
    base = {"x": 1, "_source": "text", "variants": {"code": {
        "x": 2, "_source": "code", "budgets": {"cpu": {"x": 5}},
    }}, "budgets": {"cpu": {"x": 4}}}  # fmt: skip
    cell = {"x": 3}
    layers = [Layer("base", base), Layer("cell", cell)]

    def value(variant: str, budget: str) -> tuple[int, str, str]:
        merged = merge(layers_for(layers, variant, budget))
        origin = merged.origins["x"]
        return merged.table["x"], origin.layer, origin.source

    assert value("paper", "full") == (3, "cell", "")
    assert value("code", "full") == (2, "base, code", "code")
    assert value("paper", "cpu") == (4, "base, cpu budget", "text")
    assert value("code", "cpu") == (5, "base, code, cpu budget", "code")


@pytest.mark.parametrize("name", ["variants", "budgets"])
def test_variants_and_budgets_are_no_settings(name: str) -> None:
    merged = merge(layers_for([Layer("base", {name: {"z": {"x": 1}}})], "a", "full"))
    assert merged.table == {}

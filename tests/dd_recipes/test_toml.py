from __future__ import annotations

import string
import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dd_recipes.toml import dump

text = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)
scalars = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    text,
)
values = st.one_of(scalars, st.lists(scalars, max_size=4))
keys = st.one_of(text, st.text(string.ascii_letters, min_size=1))
tables: st.SearchStrategy[dict[str, Any]] = st.recursive(
    st.dictionaries(keys, values, max_size=4),
    lambda inner: st.dictionaries(
        keys, st.one_of(values, inner, st.lists(inner, min_size=1, max_size=3)), max_size=4
    ),
    max_leaves=12,
)


@given(tables)
def test_what_is_written_reads_back(table: dict[str, Any]) -> None:
    assert tomllib.loads(dump(table)) == table


def test_none_is_left_out() -> None:
    assert tomllib.loads(dump({"a": None, "b": {"c": None}})) == {"b": {}}


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="set"):
        dump({"a": {1, 2}})

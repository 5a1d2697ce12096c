"""Which cells lack their data, and how to get them; without loading PyTorch."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dd_recipes.catalog import Entry, find_shared
from dd_recipes.find_data import DEFAULT_ROOT, find_data
from dd_recipes.layers import Layer, merge
from dd_recipes.source_table import SOURCES

__all__ = ["columns_by_source", "nothing_to_run", "quick_refusal"]

_MOST_NAMED = 4
_NO_PROBLEMS: Mapping[str, Sequence[str]] = MappingProxyType({})


def quick_refusal(entry: Entry, root: Path | None) -> str:
    """Why nothing of a recipe can run, where no cell has its data; else nothing.

    Looks at the recipe, and at names and sizes of the data's files, only. Where the recipe is not
    as expected, the reader will say so.

    Args:
        entry: The recipe.
        root: Folder given by ``--data``.
    """
    try:
        raw = tomllib.loads(entry.text)
        needed = columns_by_source(raw)
    except (tomllib.TOMLDecodeError, AttributeError, KeyError, TypeError):
        return ""
    if not needed or not needed.keys() <= SOURCES.keys():
        return ""
    found = [find_data(name, root) for name in needed]
    if any(each.state == "found" for each in found):
        return ""
    problems = {each.name: [each.problem] for each in found if each.state == "incomplete"}
    return nothing_to_run(entry.name, needed, root, problems)


def columns_by_source(raw: Mapping[str, Any]) -> dict[str, list[str]]:
    """The columns of a recipe's table by the data set that their cells need, from its file."""
    shared_entry = find_shared(str(raw.get("shared", "")))
    shared = tomllib.loads(shared_entry.text) if shared_entry else {}
    presets = {**shared.get("presets", {}), **raw.get("presets", {})}
    needed: dict[str, list[str]] = {}
    for cell in raw["cells"]:
        tables = [shared.get("base", {}), raw.get("base", {})]
        tables += [presets[name] for name in cell.get("use", ())]
        tables.append(cell.get("set", {}))
        data = [Layer("", {"data": table["data"]}) for table in tables if "data" in table]
        columns = needed.setdefault(merge(data).table["data"]["source"], [])
        if cell["column"] not in columns:
            columns.append(cell["column"])
    return needed


def nothing_to_run(
    recipe: str,
    needed: Mapping[str, Sequence[str]],
    root: Path | None,
    problems: Mapping[str, Sequence[str]] = _NO_PROBLEMS,
) -> str:
    """The message that no data can be used: what needs which data, and how to get them.

    Args:
        recipe: Name of the recipe.
        needed: Columns of its table by the name of their data set.
        root: Folder given by ``--data``.
        problems: What is wrong with data that are there in part or damaged, and with folders, by
            the name of the data set.
    """
    where = root or DEFAULT_ROOT
    usable = "usable data" if problems else "data"
    lines = [f"No {usable} of {recipe} are in {where}, so nothing can run."]
    for name, columns in needed.items():
        if name in SOURCES:
            state = f"{'unusable' if name in problems else 'missing':<10}" if problems else ""
            lines.append(f"  {name:<13} {state}{_some(columns)}")
    if problems:
        lines.append("What is wrong:")
    lines += [f"  {name}: {text}" for name, texts in problems.items() for text in texts]
    ways: dict[str, list[str]] = {}
    for name in needed:
        if name in SOURCES and name not in problems:
            ways.setdefault(SOURCES[name].how(where).replace(name, "NAME"), []).append(name)
    if ways:
        lines.append("How to get the others:" if problems else "How to get them:")
    for way, names in ways.items():
        said = way if len(names) > 1 else way.replace("NAME", names[0])
        lines.append(f"  {', '.join(names)}: {said}")
    told = ", by names and sizes of files" if problems else ""
    lines.append(f"'dd-recipes data --data {where}' says what is there{told}.")
    return "\n".join(lines)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{', '.join(names[:_MOST_NAMED])}{more}"

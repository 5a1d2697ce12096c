"""``dd-recipes show``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from dd_recipes.commands._recipe import cell_option, load, recipe_options

if TYPE_CHECKING:
    from dd_recipes.recipe import Cell, Recipe

__all__ = ["show"]


@click.command()
@recipe_options
@cell_option
@click.option("--file", "as_file", is_flag=True, help="Print the recipe's file as it is.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_file: bool, as_json: bool, cells: tuple[str, ...], **options: Any) -> None:
    """Print the settings of a recipe's cells, each with where it comes from.

    RECIPE is a name from 'list', or a .toml file. What all shown cells have in common is printed
    once.
    """
    if as_file:
        from dd_recipes.catalog import find

        click.echo(find(options["recipe"]).text, nl=False)
        return
    from dd_recipes.selection import select_cells

    recipe = load(**options)
    chosen = select_cells(recipe, cells)
    if as_json:
        shown: dict[str, Any] = {
            "recipe": recipe.name,
            "variant": recipe.variant,
            "budget": recipe.budget,
        }
        shown |= {"seed": recipe.seed, "cells": [_record(cell) for cell in chosen]}
        click.echo(json.dumps(shown, indent=2, ensure_ascii=False))
        return
    for line in _lines(recipe, chosen):
        click.echo(line)


def _record(cell: Cell) -> dict[str, Any]:
    origins = {path: asdict(origin) for path, origin in cell.origins.items()}
    published = asdict(cell.published) if cell.published else None
    names = {"name": cell.name, "row": cell.row, "column": cell.column}
    return {**names, "published": published, "settings": cell.settings(), "origins": origins}


def _lines(recipe: Recipe, cells: tuple[Cell, ...]) -> Iterator[str]:
    yield f"# {recipe.title}"
    yield f"# recipe {recipe.name}, variant {recipe.variant}, {recipe.budget} budget"
    if len(recipe.variants) > 1:
        yield f"# variants: {', '.join(recipe.variants)}"
    yield f"seed = {recipe.seed}"
    notes: dict[str, int] = {}
    tables = [dict(_flat(cell.settings(), "")) for cell in cells]
    common = {
        path: value
        for path, value in tables[0].items()
        if all(path in t and t[path] == value for t in tables)
        and len({cell.origins.get(path) for cell in cells}) == 1
    }
    if len(cells) > 1:
        yield f"\n[all {len(cells)} cells]"
        yield from _values(common, cells[0], notes)
    for cell, table in zip(cells, tables, strict=True):
        yield f"\n[{cell.name}]  # {cell.row}, {cell.column}"
        if cell.published:
            yield f"# published: {cell.published.text} ({cell.published.source})"
        own = {p: v for p, v in table.items() if len(cells) == 1 or p not in common}
        yield from _values(own, cell, notes)
    if notes:
        yield "\n# Where the values come from:"
        yield from (f"#  ({number}) {source}" for source, number in notes.items())


def _values(values: Mapping[str, object], cell: Cell, notes: dict[str, int]) -> Iterator[str]:
    """One line a value, with its layer and the number of its source."""
    for path, value in values.items():
        text, origin = f"{path} = {json.dumps(value)}", cell.origins.get(path)
        if origin is None:
            yield text
            continue
        number = notes.setdefault(origin.source, len(notes) + 1) if origin.source else None
        yield f"{text:<52}  # {origin.layer}{f' ({number})' if number else ''}"


def _flat(table: Mapping[str, Any], path: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from _flat(value, here)
        else:
            yield here, value

"""A recipe for one variant and budget as a file that runs again."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dd_recipes.recipe import Cell, Recipe
from dd_recipes.toml import dump

__all__ = ["as_tables", "as_toml"]


def as_tables(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a recipe file has it: every setting of every cell is written out."""
    references: dict[str, dict[str, list[float]]] = {}
    for each in recipe.references:
        values = [each.mean] if each.std is None else [each.mean, each.std]
        references.setdefault(each.row, {})[each.column] = values
    tables: dict[str, Any] = {
        "format": 2,
        "name": recipe.name,
        "title": recipe.title,
        "summary": recipe.summary,
        "variants": [recipe.variant],
        "columns": list(recipe.columns),
        "seed": recipe.seed,
        "paper": None if recipe.paper is None else asdict(recipe.paper),
        "cells": [_cell(cell) for cell in recipe.cells],
        "references": references,
        "claims": [asdict(claim) for claim in recipe.claims],
    }
    return {key: value for key, value in tables.items() if value not in (None, {}, [])}


def as_toml(recipe: Recipe) -> str:
    """The recipe as TOML, with the command in the first line that computes the same again."""
    budget = "" if recipe.budget == "full" else f" --budget {recipe.budget}"
    return f"# dd-recipes reproduce config.toml{budget}\n{dump(as_tables(recipe))}\n"


def _cell(cell: Cell) -> dict[str, Any]:
    plain = {name: getattr(cell, name) for name in ("name", "row", "column", "about", "x")}
    published = None
    if cell.published is not None:
        published = {k: v for k, v in asdict(cell.published).items() if v is not None}
    tables = {**plain, "published": published, "set": cell.settings()}
    return {key: value for key, value in tables.items() if value is not None}

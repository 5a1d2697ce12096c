"""Cells by their names, with wildcards."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dd_core.errors import UserError

if TYPE_CHECKING:
    from dd_recipes.recipe import Cell, Recipe

__all__ = ["select_cells"]


def select_cells(recipe: Recipe, globs: Sequence[str]) -> tuple[Cell, ...]:
    """The cells of a recipe whose names match, in the recipe's order.

    Args:
        recipe: The recipe.
        globs: Patterns such as ``cifar10-*``; commas separate several. None means all cells.

    Raises:
        UserError: A pattern matches no cell; the message names the cells.
    """
    patterns = [part.strip() for each in globs for part in each.split(",") if part.strip()]
    if not patterns:
        return recipe.cells
    names = [cell.name for cell in recipe.cells]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise UserError(
                f"--cells {pattern} matches no cell of {recipe.name}; there are {shown}."
            )
    return tuple(c for c in recipe.cells if any(fnmatchcase(c.name, p) for p in patterns))

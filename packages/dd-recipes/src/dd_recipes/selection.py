"""Cells by their names, with wildcards."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from dd_core.errors import UserError

if TYPE_CHECKING:
    from dd_recipes.recipe import Cell, Recipe

__all__ = ["cells_again", "chosen_cells", "select_cells"]


def select_cells(recipe: Recipe, globs: Sequence[str], option: str = "--cells") -> tuple[Cell, ...]:
    """The cells of a recipe whose names match, in the recipe's order.

    Args:
        recipe: The recipe.
        globs: Patterns such as ``cifar10-*``; commas separate several. None means all cells.
        option: The option that gave them, for the messages.

    Raises:
        UserError: A pattern matches no cell, or is empty; the message names the cells.
    """
    if not globs:
        return recipe.cells
    names = [cell.name for cell in recipe.cells]
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    patterns: list[str] = []
    for each in globs:
        parts = [part.strip() for part in each.split(",") if part.strip()]
        if not parts:  # such as an empty variable of a shell
            raise UserError(f"{option} {each!r} names no cell; there are {shown}, or leave it out.")
        patterns += parts
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UserError(
                f"{option} {pattern} matches no cell of {recipe.name}; there are {shown}."
            )
    return tuple(c for c in recipe.cells if any(fnmatchcase(c.name, p) for p in patterns))


def cells_again(recipe: Recipe, rerun: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that --rerun names; none without it."""
    return select_cells(recipe, rerun, "--rerun") if rerun else ()


def chosen_cells(recipe: Recipe, cells: Sequence[str], rerun: Sequence[str]) -> tuple[Cell, ...]:
    """The cells that a command is for: those of --cells, and those of --rerun."""
    chosen = (*select_cells(recipe, cells), *cells_again(recipe, rerun))
    return tuple(cell for cell in recipe.cells if cell in chosen)

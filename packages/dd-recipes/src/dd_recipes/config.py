"""A recipe for one variant and budget as a file that runs again."""

from __future__ import annotations

from dd_recipes.recipe import Recipe
from dd_recipes.toml import dump

__all__ = ["as_toml"]


def as_toml(recipe: Recipe) -> str:
    """The recipe as TOML, with the command in the first line that computes the same again."""
    return f"# dd-recipes reproduce config.toml\n{dump(recipe.tables())}\n"

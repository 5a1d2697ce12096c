"""Options of the commands that take a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from dd_recipes.recipe import Recipe

__all__ = ["cell_option", "load", "recipe_options"]


def _complete(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    from dd_recipes.catalog import entries

    known = entries()
    if parameter.name == "recipe":
        names = [entry.name for entry in known]
    else:  # of the recipe that stands before; an option without its value leaves it in args
        words = [context.params.get("recipe"), *context.args]
        chosen = [entry for entry in known if entry.name in words]
        of_cells = parameter.name != "variant"
        names = [n for entry in chosen for n in (entry.cells if of_cells else entry.variants)]
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


_OPTIONS = (
    click.argument("recipe", shell_complete=_complete),
    click.option("--variant", metavar="NAME", shell_complete=_complete,
                 help="paper, code or best, where a recipe has them.  [default: its first]"),
    click.option("--budget", type=click.Choice(["full", "cpu", "smoke"]), default="full",
                 show_default=True,
                 help="cpu: about an hour a cell on two cores with AMX, not comparable with the "
                 "paper; smoke: seconds, to see that all works; its numbers mean nothing."),
    click.option("--students", type=click.IntRange(min=1), metavar="N",
                 help="Students of each cell, in place of the recipe's number."),
    click.option("--seed", type=click.IntRange(min=0), help="Another seed than the recipe's."),
    click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
                 help="Change a setting, as in students.epochs=100 or "
                 "cells.NAME.distill.iterations=500 (repeatable)."),
)  # fmt: skip


def recipe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds RECIPE, --variant, --budget, --students, --seed and --set; `load` takes them."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


cell_option = click.option(
    "--cells", multiple=True, metavar="GLOB", shell_complete=_complete,
    help="Only these cells, as in 'cifar10-*' (repeatable).  [default: all]",
)  # fmt: skip


def load(
    recipe: str,
    variant: str | None,
    budget: Literal["full", "cpu", "smoke"],
    students: int | None,
    seed: int | None,
    overrides: tuple[str, ...],
) -> Recipe:
    """The recipe that the options describe.

    Raises:
        UserError: There is no such recipe, or it or an option is wrong.
    """
    from dd_recipes.catalog import find
    from dd_recipes.reader import load_recipe

    extra = (f"students.students={students}",) if students is not None else ()
    return load_recipe(
        find(recipe), variant=variant, budget=budget, overrides=(*overrides, *extra), seed=seed
    )

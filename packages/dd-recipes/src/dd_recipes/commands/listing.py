"""``dd-recipes list``."""

from __future__ import annotations

import json
import shutil
import textwrap
import tomllib
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dd_recipes.catalog import Entry

__all__ = ["list_recipes"]

_LEAST = 60  # columns of a terminal


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_recipes(as_json: bool) -> None:
    """List the recipes: cells, title, data, variants, and what is known of the time they take."""
    from dd_recipes.catalog import entries

    found = [_facts(entry) for entry in entries()]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    width = max(len(facts["name"]) for facts in found)
    for facts in found:
        n = facts["cells"]
        cells = f"{n} cell{'s' if n != 1 else ' '}"
        click.echo(f"{facts['name']:<{width}}  {cells:>9}  {facts['title']}")
        variants = f"variants: {', '.join(facts['variants'])}"
        click.echo(_indented(f"data: {', '.join(facts['data'])}; {variants}", width))
        click.echo(_indented(f"cost: {facts['cost']}", width))
    click.echo(
        "\n'dd-recipes data' says which data are here and how to get the others, "
        "'dd-recipes show NAME' prints settings, 'plan NAME' what would run here and how long, "
        "'reproduce NAME' runs it."
    )


def _indented(text: str, width: int) -> str:
    margin = " " * (width + 13)  # under the title
    room = max(_LEAST, shutil.get_terminal_size((100, 24)).columns)
    return textwrap.fill(text, room, initial_indent=margin, subsequent_indent=margin)


def _facts(entry: Entry) -> dict[str, Any]:
    """What the recipe's file says of itself; nothing is resolved."""
    from dd_recipes.missing import columns_by_source

    raw = tomllib.loads(entry.text)
    return {
        "name": str(raw.get("name", "")),
        "title": str(raw.get("title", "")),
        "cells": len(raw.get("cells", ())),
        "variants": list(raw.get("variants", ("best",))),
        "data": list(columns_by_source(raw)),
        "cost": entry.cost,
    }

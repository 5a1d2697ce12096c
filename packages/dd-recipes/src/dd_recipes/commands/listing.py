"""``dd-recipes list``."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

import click

__all__ = ["list_recipes"]


@click.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_recipes(as_json: bool) -> None:
    """List the recipes: cells, variants, data and title."""
    from dd_recipes.catalog import entries

    found = [_facts(tomllib.loads(entry.text)) for entry in entries()]
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    width = max(len(facts["name"]) for facts in found)
    for facts in found:
        n = facts["cells"]
        cells = f"{n} cell{'s' if n != 1 else ' '}"
        click.echo(f"{facts['name']:<{width}}  {cells:>9}  {facts['title']}")
    click.echo(
        "\n'dd-recipes show NAME' prints settings, 'plan NAME' what would run here and how long, "
        "'reproduce NAME' runs it."
    )


def _facts(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Name, title, number of cells and variants, straight from the file."""
    return {
        "name": str(raw.get("name", "")),
        "title": str(raw.get("title", "")),
        "cells": len(raw.get("cells", ())),
        "variants": list(raw.get("variants", ("best",))),
    }

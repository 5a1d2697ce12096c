"""``dd-recipes data``: which data sets are there, and how the others are had."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import click

from dd_recipes.find_data import DEFAULT_ROOT, Found, find_data
from dd_recipes.source_table import SOURCES, Source

__all__ = ["data"]


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", type=click.Choice(list(SOURCES)))
@click.option("--data", "root", type=click.Path(path_type=Path), metavar="ROOT",
              default=DEFAULT_ROOT, show_default=True, help="Folder of the data sets.")  # fmt: skip
@click.option("--download", is_flag=True,
              help="Fetch the named data sets that torchvision can fetch.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def data(names: tuple[str, ...], root: Path, download: bool, as_json: bool) -> None:
    """Show which data sets are in a folder, and how to get the others.

    Looks at names and sizes of files alone; a run checks contents. Without NAME all data sets are
    shown.
    """
    chosen = [SOURCES[name] for name in dict.fromkeys(names or SOURCES)]
    if download:
        _download(chosen, root, named=bool(names))
    found = [(source, find_data(source.name, root)) for source in chosen]
    if as_json:
        click.echo(
            json.dumps([_record(*pair, root) for pair in found], indent=2, ensure_ascii=False)
        )
        return
    for line in _table(found):
        click.echo(line)
    for source, where in found:
        if names or where.state == "incomplete":
            _explain(source, where, root)
    if not names and any(where.state == "missing" for _, where in found):
        click.echo("\n'dd-recipes data NAME' says how to get a data set.")


def _record(source: Source, found: Found, root: Path) -> dict[str, Any]:
    facts = {
        "title": source.title, "classes": source.classes, "px": source.px or None,
        "layouts": list(source.layouts), "licence": source.licence, "obtain": source.how(root),
        "download": source.download,
    }  # fmt: skip
    return {**found.as_json(), **facts}


def _table(found: list[tuple[Source, Found]]) -> list[str]:
    rows = [("name", "state", "classes", "images", "px", "where")]
    for source, where in found:
        path = "in the package" if source.kind == "embedded" else str(where.path or "")
        images = f"{where.train:,} + {where.test:,}" if where.train or where.test else ""
        px = str(source.px) if source.px else "any"
        rows.append((source.name, where.state, str(source.classes), images, px, path))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if 1 < i < 5 else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _explain(source: Source, found: Found, root: Path) -> None:
    click.echo("")
    click.echo(found.problem or f"{source.title}: to get it again: {source.how(root)}.")
    click.echo(f"Licence: {source.licence}.")


def _download(sources: list[Source], root: Path, *, named: bool) -> None:
    """Fetches what is missing and can be fetched.

    Raises:
        UserError: No data set is named, one cannot be fetched, or fetching it fails.
    """
    from dd_core.errors import UserError

    known = [source.name for source in SOURCES.values() if source.download]
    if not named:
        raise UserError(
            "--download needs the names of data sets, as in 'dd-recipes data cifar10 --download'; "
            f"it can fetch {', '.join(known)}."
        )
    for source in sources:
        if source.download is None:
            raise UserError(
                f"{source.name} cannot be downloaded from here (--download can fetch "
                f"{', '.join(known)}). To get it: {source.how(root)}."
            )
    for source in sources:
        if find_data(source.name, root).state == "found":
            click.echo(f"{source.title} is there already.", err=True)
        else:
            _fetch(source, root)


def _fetch(source: Source, root: Path) -> None:
    """Downloads with torchvision, which compares checksums."""
    from dd_core.errors import UserError

    try:
        datasets = importlib.import_module("torchvision").datasets
    except ImportError:
        raise UserError(
            "--download needs torchvision, which is not installed; run 'pip install torchvision'. "
            f"Or: {source.how(root)}."
        ) from None
    click.echo(f"Downloading {source.title} to {root} ({source.licence}) ...", err=True)
    root.mkdir(parents=True, exist_ok=True)
    try:
        getattr(datasets, str(source.download))(root=str(root), download=True)
    except (OSError, RuntimeError) as error:  # no network; a checksum that is not the official one
        reason = getattr(error, "reason", error)
        raise UserError(
            f"{source.title} could not be downloaded ({reason}). Try again where there is a "
            f"network, then copy it to {root}: {', '.join(source.layouts)}."
        ) from None

"""The folder of one command's work: what was asked is written first, so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["claim", "finish", "found_before"]

_FORMAT = 1


def claim(folder: Path, kind: str, asked: Mapping[str, Any]) -> None:
    """Takes a new or empty folder for this work, or one that holds the same work.

    Args:
        folder: The folder; made where there is none.
        kind: The command, whose name the file has that says what was asked.
        asked: What the result depends on; JSON can say it.

    Raises:
        UserError: The folder holds something else; nothing is changed in it.
    """
    from dd_core.errors import UserError
    from dd_recipes.runfiles import read_json, write_json
    from dd_recipes.runfolder import differences

    path = folder / f"{kind}.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder with --out.")
    if path.is_file():
        stored = read_json(path)
        there = stored.get("asked", {}) if isinstance(stored, dict) else {}
        if found := list(differences(there, _plain(asked))):
            lines = "".join(f"\n  {line}" for line in found[:8])
            raise UserError(
                f"{folder} holds another {kind}:{lines}\nNothing was changed in it. Give another "
                "folder with --out, or the same options to go on."
            )
        return
    others = sorted(item.name for item in folder.iterdir()) if folder.is_dir() else []
    if others := [name for name in others if not name.startswith(".")]:
        raise UserError(
            f"{folder} is not empty and holds no {path.name} (but {', '.join(others[:3])}). "
            "Nothing was changed in it. Give another folder with --out."
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, {"format": _FORMAT, "asked": asked})


def found_before(folder: Path, kind: str) -> dict[str, Any]:
    """What the file says that `finish` wrote; that of `claim` alone has no results."""
    from dd_recipes.runfiles import read_json

    return dict(read_json(folder / f"{kind}.json"))


def finish(folder: Path, kind: str, found: Mapping[str, Any]) -> None:
    """Adds the results to what was asked."""
    from dd_recipes.runfiles import read_json, write_json

    path = folder / f"{kind}.json"
    write_json(path, {**read_json(path), **found})


def _plain(content: object) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(content))

"""The folder of one command's work: what was asked is written first, so that it can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["claim", "finish"]

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

    path = folder / f"{kind}.json"
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder with --out.")
    if path.is_file():
        differences = list(_differences(_read(path).get("asked", {}), _plain(asked), ""))
        if differences:
            lines = "".join(f"\n  {line}" for line in differences[:8])
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
    _write(path, {"format": _FORMAT, "asked": asked})


def finish(folder: Path, kind: str, found: Mapping[str, Any]) -> None:
    """Adds the results to what was asked."""
    path = folder / f"{kind}.json"
    _write(path, {**_read(path), **found})


def _read(path: Path) -> dict[str, Any]:
    from dd_core.errors import UserError

    try:
        content = json.loads(path.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it and give the command again, or give another "
            "folder with --out."
        ) from None
    return content if isinstance(content, dict) else {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    from dd_core.checkpoint import write_atomically

    write_atomically(path, f"{json.dumps(content, indent=2, ensure_ascii=False)}\n".encode())


def _plain(content: object) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(content))


def _differences(there: Any, now: Any, path: str) -> Iterator[str]:
    if isinstance(there, dict) and isinstance(now, dict):
        for key in [*there, *(key for key in now if key not in there)]:
            here = f"{path}.{key}" if path else str(key)
            yield from _differences(there.get(key), now.get(key), here)
    elif there != now:
        yield f"{path}: {there} there, {now} now"

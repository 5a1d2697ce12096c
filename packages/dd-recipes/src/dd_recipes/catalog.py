"""The recipes that the package carries: every .toml file under ``recipes/``.

Nothing is registered: a file put there is found. Its name (without .toml) is the recipe's. What the
recipes of a paper have in common stands in ``_shared.toml`` of their folder.
"""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

__all__ = ["Entry", "entries", "find", "find_shared"]

_SHARED = "_shared.toml"


@dataclass(frozen=True, slots=True)
class Entry:
    """A recipe file: its name and its text."""

    name: str
    text: str

    @property
    def title(self) -> str:
        """The recipe's title, or an empty string where the file has none."""
        return str(tomllib.loads(self.text).get("title", ""))

    @property
    def variants(self) -> list[str]:
        """The names of the recipe's variants, as they stand in the file."""
        return [str(name) for name in tomllib.loads(self.text).get("variants", [])]

    @property
    def cells(self) -> list[str]:
        """The names of the recipe's cells, as they stand in the file."""
        return [str(cell.get("name")) for cell in tomllib.loads(self.text).get("cells", [])]

    @property
    def cost(self) -> str:
        """What the header says of the cost: the paragraph that begins with ``Cost:``."""
        lines = [line.removeprefix("#").strip() for line in self.text.splitlines()]
        start = next((i for i, line in enumerate(lines) if line.startswith("Cost:")), len(lines))
        paragraph = itertools.takewhile(bool, lines[start:])
        return " ".join(paragraph).removeprefix("Cost:").strip()


def entries() -> tuple[Entry, ...]:
    """All recipes of the package, sorted by name.

    Example:
        >>> "quickstart" in [entry.name for entry in entries()]
        True
    """
    found = _toml_files(files("dd_recipes") / "recipes")
    return tuple(sorted((_read(path) for path in found), key=lambda entry: entry.name))


def find(name: str) -> Entry:
    """The recipe of that name, or of that path to a .toml file.

    Raises:
        UserError: There is none; the message names those that are like it.

    Example:
        >>> find("quickstart").name
        'quickstart'
    """
    if name.endswith(".toml"):
        return _read_path(Path(name))
    known = entries()
    for entry in known:
        if entry.name == name:
            return entry
    raise _user_error(f"There is no recipe {name!r}. {_advice(name, [e.name for e in known])}")


def find_shared(name: str) -> Entry | None:
    """What the recipes in a folder of the package have in common; None where there is no such.

    Example:
        >>> find_shared("ncfm").name
        'ncfm'
    """
    if not name.isidentifier():
        return None
    path = files("dd_recipes") / "recipes" / name / _SHARED
    return Entry(name, path.read_text("utf-8")) if path.is_file() else None


def _user_error(message: str) -> Exception:
    """The error, imported only now: dd_core brings torch, which listing recipes does not need."""
    from dd_core.errors import UserError

    return UserError(message)


def _advice(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    close += [k for k in known if name and name in k and k not in close]
    if close:
        return f"Did you mean {' or '.join(close)}?"
    return f"There are {', '.join(known)}; a path to a .toml file of your own does too."


def _toml_files(folder: Traversable) -> Iterator[Traversable]:
    for item in folder.iterdir():
        if item.is_dir():
            yield from _toml_files(item)
        elif item.name.endswith(".toml") and item.name != _SHARED:
            yield item


def _read(path: Traversable) -> Entry:
    return Entry(path.name.removesuffix(".toml"), path.read_text("utf-8"))


def _read_path(path: Path) -> Entry:
    if not path.is_file():
        raise _user_error(f"There is no recipe file {path}. 'dd-recipes list' names the recipes.")
    try:
        return _read(path)
    except UnicodeDecodeError as error:
        raise _user_error(f"{path} is not UTF-8 text ({error}); a recipe is a TOML file.") from None

"""The last layers of a cell: ``--set key=value`` and the smoke budget."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dd_core.errors import SettingsError
from dd_recipes.layers import Layer

__all__ = ["Override", "nested", "parse_overrides", "slug", "smoke_layer", "toml_value"]

# A run of seconds that goes through every phase; its accuracies mean nothing.
_SMOKE: Mapping[str, Mapping[str, object]] = {
    "network": {"width": 16},
    "pretrain": {"networks": 1, "epochs": 1},
    "students": {"students": 2, "epochs": 1, "steps": 20, "evaluations": 2},
}
_SMOKE_DISTILL: Mapping[str, object] = {"iterations": 12, "batch_real": 16}
_SMOKE_SEARCH: Mapping[str, object] = {
    "depths": [1, 2], "widths": [8, 16], "norms": ["instance"], "students": 1, "steps": 20,
}  # fmt: skip
_SMOKE_IPC = 2
# Options of objectives, wherever a term sets them to more.
_SMOKE_OPTIONS: Mapping[str, int] = {"n_frequencies": 32, "n_components": 2}


@dataclass(frozen=True, slots=True)
class Override:
    """One ``--set``.

    Attributes:
        text: As it was given.
        cell: The cell that it is for; empty for all.
        path: The setting's path within a cell.
        value: Its value.
    """

    text: str
    cell: str
    path: tuple[str, ...]
    value: object

    def fits(self, table: Mapping[str, Any]) -> bool:
        """Whether a cell's settings have the place that the path leads to."""
        here: Any = table
        for name in self.path[:-1]:
            if name == "options":  # a term may leave them out
                return isinstance(here, Mapping)
            here = here.get(name) if isinstance(here, Mapping) else None
        return isinstance(here, Mapping)

    @property
    def layer(self) -> Layer:
        """The layer that sets it."""
        return Layer("--set", {"_source": "command line", **nested(self.path, self.value)})


def slug(label: str) -> str:
    """A label as a folder name and as a name for ``--cells``.

    Example:
        >>> slug("Random real, rho = 1")
        'random-real-rho-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def parse_overrides(pairs: Iterable[str]) -> list[Override]:
    """Reads ``--set`` pairs.

    Args:
        pairs: ``key=value``, where key is a dotted path such as ``students.epochs`` (all cells),
            ``cells.NAME.distill.iterations`` (one cell) or ``distill.objectives.ncfm.weight``,
            and value is TOML; what is not TOML is taken as a string.

    Raises:
        SettingsError: A pair has no ``=``, or its path no section; the message lists them all.

    Example:
        >>> parse_overrides(["cells.ncfm.students.epochs=10"])[0].path
        ('students', 'epochs')
    """
    found: list[Override] = []
    wrong: list[str] = []
    for pair in pairs:
        key, equals, value = pair.partition("=")
        parts = tuple(part.strip() for part in key.split("."))
        if not equals or not all(parts):
            wrong.append(f"--set {pair!r} is not key=value, as in students.epochs=100.")
        elif parts[0] != "cells":
            found.append(Override(pair, "", parts, toml_value(value.strip())))
        elif len(parts) < 3:
            wrong.append(f"--set {pair!r} names no setting; write cells.NAME.students.epochs=100.")
        else:
            found.append(Override(pair, parts[1], parts[2:], toml_value(value.strip())))
    if wrong:
        raise SettingsError("\n".join(wrong))
    return found


def nested(path: Iterable[str], value: object) -> dict[str, Any]:
    """A value as tables in tables.

    Example:
        >>> nested(("a", "b"), 1)
        {'a': {'b': 1}}
    """
    first, *rest = path
    return {first: nested(rest, value) if rest else value}


def smoke_layer(table: Mapping[str, Any]) -> Layer:
    """The smallest budget that still goes through every phase, for a cell's merged settings."""
    made: dict[str, Any] = {name: dict(values) for name, values in _SMOKE.items()}
    if isinstance(table.get("student_network"), Mapping):
        made["student_network"] = {"width": 16}
    synthetic = table.get("synthetic")
    ipc = synthetic.get("ipc") if isinstance(synthetic, Mapping) else None
    if isinstance(ipc, int) and ipc > _SMOKE_IPC:
        made["synthetic"] = {"ipc": _SMOKE_IPC}
    if isinstance(table.get("search"), Mapping):
        made["search"] = dict(_SMOKE_SEARCH)
    distill = table.get("distill")
    if isinstance(distill, Mapping):
        made["distill"] = {**_SMOKE_DISTILL, "objectives": dict(_fewer(distill.get("objectives")))}
    return Layer("smoke budget", {"_source": "smallest run", **made})


def _fewer(objectives: object) -> Iterable[tuple[str, dict[str, Any]]]:
    for name, term in objectives.items() if isinstance(objectives, Mapping) else ():
        options = term.get("options") if isinstance(term, Mapping) else None
        given = options if isinstance(options, Mapping) else {}
        fewer = {
            option: most
            for option, most in _SMOKE_OPTIONS.items()
            if isinstance(given.get(option), int) and given[option] > most
        }
        if fewer:
            yield name, {"options": fewer}


def toml_value(text: str) -> Any:
    """A value as TOML has it; what is not TOML is the text itself.

    Example:
        >>> toml_value("[1, 2.5]"), toml_value("sgd")
        ([1, 2.5], 'sgd')
    """
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text

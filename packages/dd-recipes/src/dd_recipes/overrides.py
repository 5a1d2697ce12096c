"""Changes to a recipe before it is checked: ``--set key=value`` and ``--budget smoke``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

from dd_core.errors import SettingsError

__all__ = ["SMOKE", "apply_overrides", "slug", "smoke"]

# A run of seconds that goes through every phase; its accuracies mean nothing.
SMOKE: Mapping[str, Mapping[str, object]] = {
    "network": {"width": 16},
    "pretrain": {"networks": 1, "epochs": 1},
    "students": {"students": 2, "epochs": 6, "steps": 0, "evaluations": 2},
}
SMOKE_DISTILL: Mapping[str, object] = {"iterations": 12, "batch_real": 16}
# Options of objectives, wherever a term sets them to more.
SMOKE_OPTIONS: Mapping[str, int] = {"n_frequencies": 32, "n_components": 2}


def slug(label: str) -> str:
    """A method's label as a folder name and as a key for ``--set``.

    Example:
        >>> slug("Random real, rho = 1")
        'random-real-rho-1'
    """
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-")


def apply_overrides(raw: Mapping[str, Any], pairs: Iterable[str]) -> dict[str, Any]:
    """A recipe's raw tables with some values replaced.

    Args:
        raw: Tables as read from TOML.
        pairs: ``key=value``, where key is a dotted path such as ``students.epochs`` or
            ``methods.ncfm.settings.iterations`` (a method by its label in lower case) or
            ``methods.ncfm.settings.objectives.ncfm.weight`` (a term by its name) and value is
            TOML; what is not TOML is taken as a string.

    Raises:
        SettingsError: No ``=``, or the path leads nowhere.

    Example:
        >>> apply_overrides({"students": {"epochs": 3}}, ["students.epochs=10"])
        {'students': {'epochs': 10}}
    """
    result = deepcopy(dict(raw))
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise SettingsError(f"--set {pair!r} is not key=value, as in students.epochs=100.")
        *parents, last = key.strip().split(".")
        _descend(result, parents, key.strip())[last] = _parse(value.strip())
    return result


def smoke(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe's raw tables with the smallest budget that still goes through every phase."""
    result = deepcopy(dict(raw))
    for section, values in SMOKE.items():
        _update(result, section, values)
    methods = result.get("methods")
    # What is of a wrong type is left as it is: the reader names it.
    for method in methods if isinstance(methods, list) else []:
        if isinstance(method, dict) and method.get("kind") == "distill":
            _update(method, "settings", SMOKE_DISTILL)
            _shrink_options(method)
        if isinstance(method, dict) and "published" in method:
            note = "the smoke budget measures nothing"
            _update(method, "published", {"comparable": False, "note": note})
    return result


def _update(tables: dict[str, Any], name: str, values: Mapping[str, Any]) -> None:
    table = tables.setdefault(name, {})
    if isinstance(table, dict):
        table.update(values)


def _shrink_options(method: Mapping[str, Any]) -> None:
    settings = method.get("settings")
    terms = settings.get("objectives") if isinstance(settings, dict) else None
    for term in terms if isinstance(terms, list) else []:
        options = term.get("options") if isinstance(term, dict) else None
        for name, most in SMOKE_OPTIONS.items():
            value = options.get(name) if isinstance(options, dict) else None
            if isinstance(options, dict) and isinstance(value, int) and value > most:
                options[name] = most


def _descend(table: dict[str, Any], parents: list[str], key: str) -> dict[str, Any]:
    here: Any = table
    for name in parents:
        if name == "options" and isinstance(here, dict):
            here.setdefault("options", {})  # a term may leave them out
        children = _children(here)
        if name not in children:
            known = ", ".join(children) or "nothing"
            raise SettingsError(f"--set {key}: there is no {name!r} here; there is {known}.")
        here = children[name]
    if not isinstance(here, dict):
        raise SettingsError(f"--set {key}: {'.'.join(parents)} is not a table of settings.")
    return here


def _children(here: object) -> dict[str, Any]:
    """Tables by name; of a list, the methods by the slugs of their labels, the terms by name."""
    if isinstance(here, dict):
        return {k: v for k, v in here.items() if isinstance(v, dict | list)}
    if isinstance(here, list):
        return {_name(item): item for item in here if isinstance(item, dict)}
    return {}


def _name(item: Mapping[str, Any]) -> str:
    return slug(str(item["label"])) if "label" in item else str(item.get("name", ""))


def _parse(text: str) -> object:
    try:
        parsed = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text

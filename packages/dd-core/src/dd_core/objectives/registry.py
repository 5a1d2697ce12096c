"""Objectives by name: dd-core's own, and those of other packages through entry points."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from importlib.metadata import entry_points
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from dd_core.errors import SettingsError
from dd_core.objectives.base import Objective
from dd_core.objectives.csdm import CSDM
from dd_core.objectives.diversity import IntraClassDiversity
from dd_core.objectives.mean_matching import MeanMatching
from dd_core.objectives.mmd import MMD
from dd_core.objectives.ncfm import NCFM
from dd_core.objectives.style import StyleGram, StyleMoments

__all__ = ["ENTRY_POINT_GROUP", "build_objective", "objective_names"]

ENTRY_POINT_GROUP = "dd_core.objectives"

_OWN: Mapping[str, type[Objective]] = {
    "ncfm": NCFM,
    "csdm": CSDM,
    "dm": MeanMatching,
    "mmd": MMD,
    "style_moments": StyleMoments,
    "style_gram": StyleGram,
    "diversity": IntraClassDiversity,
}


def objective_names() -> tuple[str, ...]:
    """Names that `build_objective` knows: dd-core's own, then those of entry points.

    Example:
        >>> "ncfm" in objective_names()
        True
    """
    return (*_OWN, *(name for name in _foreign() if name not in _OWN))


def build_objective(name: str, options: Mapping[str, Any]) -> Objective:
    """Makes an objective from its name and options.

    Args:
        name: One of `objective_names`.
        options: Values of the fields of the objective's dataclass; the others keep their defaults.

    Raises:
        SettingsError: The name or an option is unknown, or a value of the wrong type or impossible.

    Example:
        >>> build_objective("ncfm", {"n_frequencies": 64}).n_frequencies
        64
    """
    kind = _find(name)
    try:
        hints = get_type_hints(kind)
    except NameError as error:
        raise SettingsError(
            f"objective {name!r} has an annotation that cannot be read: {error}."
        ) from None
    known = {name: hints[name] for name in _option_names(kind)}
    for option, value in options.items():
        if option not in known:
            close = difflib.get_close_matches(option, known, n=1)
            all_of_them = f"known are {', '.join(known)}." if known else "it takes none."
            hint = f"did you mean {close[0]}?" if close else all_of_them
            raise SettingsError(f"objective {name!r} has no option {option!r}; {hint}")
        if not _fits(value, known[option]):
            raise SettingsError(
                f"option {option} of objective {name!r} is {value!r}; give {_words(known[option])}."
            )
    try:
        return kind(**options)
    except (ValueError, TypeError) as error:
        raise SettingsError(f"objective {name!r}: {error}") from None


def _find(name: str) -> type[Objective]:
    if name in _OWN:
        return _OWN[name]
    if name not in _foreign():
        raise SettingsError(
            f"there is no objective {name!r}; choose one of {', '.join(objective_names())}, or "
            f"install a package with an entry point of this name in the group {ENTRY_POINT_GROUP}."
        )
    try:
        kind = _foreign()[name].load()
    except Exception as error:  # whatever another package raises, this names its objective
        raise SettingsError(f"objective {name!r} cannot be loaded: {error!r}.") from error
    if not (isinstance(kind, type) and issubclass(kind, Objective)):
        raise SettingsError(
            f"objective {name!r} is {kind!r}; its entry point must name a subclass of "
            "dd_core.objectives.Objective."
        )
    return kind


def _option_names(kind: Any) -> list[str]:
    return [field.name for field in fields(kind)] if is_dataclass(kind) else []


@cache
def _foreign() -> Mapping[str, Any]:
    return {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}


def _fits(value: object, hint: Any) -> bool:
    """Whether a plain value is of the annotated type; a whole number is a float too."""
    if get_origin(hint) is Literal:
        return value in get_args(hint)
    if get_origin(hint) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(hint))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return hint is Any or (isinstance(hint, type) and isinstance(value, hint))


def _words(hint: Any) -> str:
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(repr, get_args(hint)))
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_words(part) for part in get_args(hint) if part is not type(None))
    names = {float: "a number", int: "a whole number", str: "a string", bool: "true or false"}
    return names.get(hint, str(hint))

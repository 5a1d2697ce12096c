"""Plain tables into dataclasses, strictly, with every mistake in words and with its path."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

__all__ = ["Place", "check", "count", "mend", "unknown"]

T = TypeVar("T")
Place = tuple[str | int, ...]  # the keys and indices that lead to an entry
_WORDS = {"an object": "a table", "a valid integer": "a whole number"}  # as TOML and users say
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def check(type_: type[T], data: object, path: str, mistakes: list[str]) -> T | None:
    """Builds a dataclass from plain data, or adds all that is wrong with them to the mistakes.

    Through JSON, pydantic's strict mode takes a list for a tuple and a table for a dataclass,
    yet neither "3" nor 3.0 nor true for an integer.

    Args:
        type_: The dataclass.
        data: What a file says.
        path: Dotted path of the data, for the messages.
        mistakes: Receives ``PATH: what is wrong``.
    """
    value, wrong = mend(type_, data, path, mistakes)
    return None if wrong else value


def mend(
    type_: type[T], data: object, path: str, mistakes: list[str]
) -> tuple[T | None, set[Place]]:
    """As `check`, but builds the dataclass of what is right in the data.

    A dataclass judges its values one after the other, and only where all are of the right type. So
    a wrong entry gives way to its default, or to a stand-in where it has none, and the rest is
    judged anew. A mistake that comes of this, for it names such an entry, is left out.

    Returns:
        The dataclass, or None where it cannot be had; and the places of the wrong entries.
    """
    left, wrong = deepcopy(data), set[Place]()
    while True:
        value, errors = _built(type_, left)
        found = [_placed(type_, left, error) for error in errors]
        if not found:
            return value, wrong
        before = frozenset(wrong)
        for place, table, words in found:
            gone = [str(other[-1]) for other in before if other[:-1] == table]
            if not any(_speaks_of(name, words) for name in gone):
                mistakes.append(f"{_shown(path, place)}: {words}")
            wrong.add(_give_way(type_, left, place))
        if () in wrong or wrong == before:
            return None, wrong


def unknown(name: str, known: Sequence[str], what: str = "setting") -> str:
    """That a name is unknown, with the one that was perhaps meant.

    Example:
        >>> unknown("epoch", ["epochs", "steps"])
        'unknown setting; did you mean epochs?'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.65)
    hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known) or 'none'}"
    return f"unknown {what}; {hint}"


def count(n: int, noun: str = "mistake") -> str:
    """A number of things in words.

    Example:
        >>> count(1), count(3)
        ('a mistake', '3 mistakes')
    """
    return f"a {noun}" if n == 1 else f"{n} {noun}s"


@cache
def _model(type_: type[Any]) -> Any:
    return create_model("Section", __config__=_STRICT, value=(type_, ...))


def _speaks_of(name: str, words: str) -> bool:
    """Whether the words of a mistake name an entry: ``ipc is 3``, ``ipc = 3``, ``in note``."""
    return (
        re.search(rf"\b{re.escape(name)} (is|are|=) |\bin {re.escape(name)}\b", words) is not None
    )


def _shown(path: str, place: Place) -> str:
    """A place as users count: the first item of a list is 1."""
    parts = [str(part + 1 if isinstance(part, int) else part) for part in place]
    return ".".join([path, *parts] if path else parts) or "recipe"


def _built(type_: type[T], data: object) -> tuple[T | None, list[dict[str, Any]]]:
    """The dataclass, or what pydantic has against the data."""
    text = json.dumps({"value": data}, default=str)
    try:
        return _model(cast(Any, type_)).model_validate_json(text).value, []
    except ValidationError as error:
        return None, [dict(item) for item in error.errors()]


def _placed(type_: type[Any], data: object, error: Mapping[str, Any]) -> tuple[Place, Place, str]:
    """The place of a mistake, that of the table that it is in, and the mistake in words.

    What a dataclass has against its values is put down to the entry that the words begin with, if
    they do, and if a default there would mend it; else to the one entry whose default would.
    """
    place: Place = tuple(error["loc"][1:])
    words = _explain(type_, data, place, error)
    if error["type"] != "value_error":
        return place, place[:-1], words
    owner, table, _ = _steps(type_, data, (*place, ""))[-1]
    named = [key for key in table if words.startswith((f"{key} is ", f"{key} are "))]
    to_blame = [key for key in named or table if words not in _without(owner, table, key)]
    return (*place, *to_blame) if len(to_blame) == 1 else place, place, words


def _without(owner: type[Any], table: dict[str, Any], key: str) -> list[str]:
    """What is wrong with a table where one entry gives way."""
    trial = deepcopy(table)
    _give_way(owner, trial, (key,))
    errors = _built(owner, trial)[1]
    return [_explain(owner, trial, tuple(error["loc"][1:]), error) for error in errors]


def _give_way(type_: type[Any], data: object, place: Place) -> Place:
    """Puts the default, or a stand-in, in the place of a wrong entry.

    Returns:
        The place of the dataclass's field that the entry is or is in; empty where there is none.
    """
    steps = _steps(type_, data, place)
    if not steps:
        return ()
    owner, table, depth = steps[-1]
    key = str(place[depth])
    table.pop(key, None)
    if any(f.name == key and f.default is f.default_factory is MISSING for f in fields(owner)):
        table[key] = _stand_in(get_type_hints(owner)[key])
    return place[: depth + 1]


def _stand_in(hint: Any) -> object:
    """Any value of a type."""
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    return {str: "x", int: 1, float: 1.0}.get(hint, [{}])


def _steps(type_: Any, data: Any, place: Place) -> list[tuple[Any, dict[str, Any], int]]:
    """The dataclasses on the way to a place: each with its table and the index of the next part."""
    found: list[tuple[Any, dict[str, Any], int]] = []
    for depth, part in enumerate(place):
        if isinstance(part, int) and isinstance(data, list) and part < len(data):
            data = data[part]
        elif isinstance(part, str) and isinstance(data, dict) and is_dataclass(type_):
            found.append((type_, data, depth))
            hint = get_type_hints(type_).get(part)
            types = [t for t in (hint, *get_args(hint)) if is_dataclass(t)]
            type_, data = types[0] if types else None, data.get(part)
        else:
            break
    return found


def _explain(type_: type[Any], data: object, place: Place, error: Mapping[str, Any]) -> str:
    """One mistake in words, with the value found and what would be right."""
    kind = error["type"]
    if kind == "unexpected_keyword_argument":
        owner, _, _ = _steps(type_, data, place)[-1]
        return unknown(str(place[-1]), [f.name for f in fields(owner)])
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        return str(error["ctx"]["error"])
    message = str(error["msg"]).replace("Input should be", "it must be")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return f"{error['input']!r} was given; {message}"

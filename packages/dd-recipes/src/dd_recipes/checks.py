"""Plain tables into dataclasses, strictly, with every mistake in words and with its path."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, TypeVar, cast, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from dd_core.errors import SettingsError

__all__ = ["check", "count", "unknown"]

T = TypeVar("T")
_WORDS = {"an object": "a table", "a valid integer": "a whole number"}  # as TOML and users say
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def check(type_: type[T], data: object, path: str, mistakes: list[str]) -> T | None:
    """Builds a dataclass from plain data, or adds to the mistakes.

    Through JSON, pydantic's strict mode takes a list for a tuple and a table for a dataclass,
    yet neither "3" nor 3.0 nor true for an integer.

    Args:
        type_: The dataclass.
        data: What a file says.
        path: Dotted path of the data, for the messages.
        mistakes: Receives ``PATH: what is wrong``.
    """
    try:
        checked = _model(cast(Any, type_)).model_validate_json(
            json.dumps({"value": data}, default=str)
        )
    except ValidationError as error:
        for item in error.errors():
            inner = [str(part) for part in item["loc"][1:]]
            where = ".".join([*([path] if path else []), *inner])
            mistakes.append(f"{where or 'recipe'}: {_explain(type_, inner, dict(item))}")
        wrong = {item["loc"][1] for item in error.errors() if len(item["loc"]) > 1}
        if isinstance(data, dict) and wrong and wrong <= data.keys() - _required(type_):
            # Without the wrong entries, the dataclass itself can judge the others' values.
            check(type_, {k: v for k, v in data.items() if k not in wrong}, path, mistakes)
    except SettingsError as error:
        mistakes.append(f"{path}: {error}")
    else:
        value: T = checked.value
        return value
    return None


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


def _required(type_: Any) -> set[str]:
    return {f.name for f in fields(type_) if f.default is f.default_factory is MISSING}


def _explain(type_: type[Any], inner: list[str], item: Mapping[str, Any]) -> str:
    """One mistake in words, with the value found and what would be right."""
    kind = item["type"]
    if kind == "unexpected_keyword_argument":
        return unknown(inner[-1], _names_at(type_, inner[:-1]))
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    message = str(item["msg"]).replace("Input should be", "it must be")
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    return f"{item['input']!r} was given; {message}"


def _names_at(type_: type[Any], inner: Sequence[str]) -> list[str]:
    """Names of the settings of the dataclass that a path leads to."""
    for name in inner:
        hint = get_type_hints(type_).get(name)
        options = [t for t in (hint, *getattr(hint, "__args__", ())) if is_dataclass(t)]
        if not options or not isinstance(options[0], type):
            return []
        type_ = options[0]
    return [f.name for f in fields(type_)]

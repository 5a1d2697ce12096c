"""Checks of arguments and of the fields of settings; each error names it, its value, the way out.

Every function takes a value of any type and gives it back as the type that it should have, or
raises `SettingsError`. Nothing is guessed: "3" is no number, true is no whole number, and 3.0 is
one only where bytes are counted.
"""

from __future__ import annotations

import math
import operator
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from dd_core.errors import SettingsError

__all__ = [
    "as_bytes",
    "as_choice",
    "as_count",
    "as_flag",
    "as_instance",
    "as_names",
    "as_number",
    "as_numbers",
    "as_path",
    "as_seed",
    "as_text",
    "as_whole",
    "check_fields",
]

T = TypeVar("T")
_LONGEST = 80  # characters of a value in a message


def check_fields(settings: Any, **examples: str) -> None:
    """Checks the fields of a frozen dataclass against their annotations, and converts them.

    Whole numbers become floats where these are annotated, so that 1 and 1.0 are the same settings;
    numbers must be finite; a list becomes a tuple; options are copied. Call it first in
    ``__post_init__``; ranges are checked after it.

    Args:
        settings: The dataclass, with annotations int, float, bool, str, Literal of strings,
            another dataclass, ``tuple[one of these, ...]``, or ``Mapping`` with strings as keys.
        **examples: For a field's name, what a message tells to give, such as ``(Term("ncfm"),)``.

    Raises:
        SettingsError: A field is of the wrong type.

    Example:
        >>> from dd_core.settings import AscentSettings
        >>> AscentSettings(momentum=0) == AscentSettings(momentum=0.0)
        True
        >>> AscentSettings(momentum="0")
        Traceback (most recent call last):
        dd_core.errors.SettingsError: momentum is '0'; give a number.
    """
    for name, hint in _hints(settings.__class__).items():
        value = _checked(name, getattr(settings, name), hint, examples.get(name, ""))
        object.__setattr__(settings, name, value)


def as_whole(name: str, value: object) -> int:
    """A whole number of any kind, such as NumPy's; no bool, float or string.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    raise SettingsError(f"{name} is {_shown(value)}; give a whole number.")


def as_number(name: str, value: object) -> float:
    """A finite number, whole or not, as a float; no bool or string.

    Raises:
        SettingsError: It is something else, NaN or infinite.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise SettingsError(f"{name} is {_shown(value)}; give a number.")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingsError(f"{name} is {_shown(value)}; give a finite number.")
    return number


def as_numbers(name: str, value: object) -> tuple[float, ...]:
    """A tuple of finite numbers; a list is taken for one.

    Raises:
        SettingsError: It is something else, or holds something else.
    """
    return tuple(as_number(f"{name}[{i}]", v) for i, v in enumerate(_entries(name, value, "")))


def as_text(name: str, value: object) -> str:
    """A string.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, str):
        raise SettingsError(f"{name} is {_shown(value)}; give a string.")
    return str.__str__(value)  # NumPy's strings as Python's


def as_names(name: str, value: object) -> tuple[str, ...]:
    """A tuple of different strings, such as names of classes; a list is taken for one.

    Raises:
        SettingsError: It is something else, or holds a string twice.
    """
    entries = _entries(name, value, '("shirt", "bag")')
    names = tuple(as_text(f"{name}[{i}]", entry) for i, entry in enumerate(entries))
    if len(set(names)) < len(names):
        twice, _ = Counter(names).most_common(1)[0]
        raise SettingsError(f"{name} has {twice!r} twice; let all differ.")
    return names


def as_flag(name: str, value: object) -> bool:
    """True or False; no number.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, bool):
        raise SettingsError(f"{name} is {_shown(value)}; give True or False.")
    return value


def as_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """One of several strings.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, str) or value not in choices:
        raise SettingsError(f"{name} is {_shown(value)}; choose one of {', '.join(choices)}.")
    return str.__str__(value)


def as_instance(name: str, value: object, kind: type[T]) -> T:
    """An object of one class, such as `LabeledImages`.

    Raises:
        SettingsError: It is something else.
    """
    if not isinstance(value, kind):
        what = f"the class {value.__name__}" if isinstance(value, type) else _shown(value)
        raise SettingsError(f"{name} is {what}; give a {kind.__name__}.")
    return value


def as_path(name: str, value: object) -> Path:
    """A path from a string or a path.

    Raises:
        SettingsError: It is something else, or empty.

    Example:
        >>> as_path("folder", "runs/first").name
        'first'
    """
    path = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    if not isinstance(path, str) or not path or "\0" in path:
        raise SettingsError(f"{name} is {_shown(value)}; give a path, as a string or a Path.")
    return Path(path)


def as_seed(value: object, name: str = "seed") -> int:
    """A seed: a whole number, not negative.

    Raises:
        SettingsError: It is something else.
    """
    return as_count(name, value, least=0)


def as_count(name: str, value: object, *, least: int = 1) -> int:
    """A whole number of at least ``least``.

    Raises:
        SettingsError: It is something else, or less.
    """
    number = as_whole(name, value)
    if number < least:
        raise SettingsError(f"{name} is {number}; it must be at least {least}.")
    return number


def as_bytes(name: str, value: object) -> int:
    """A number of bytes, at least 1; 8e9 counts as whole here.

    Raises:
        SettingsError: It is something else.

    Example:
        >>> as_bytes("memory_budget", 8e9)
        8000000000
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    try:
        return as_count(name, value)
    except SettingsError:
        raise SettingsError(
            f"{name} is {_shown(value)}; give a number of bytes, such as 8 * 2**30 for 8 GiB."
        ) from None


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _checked(name: str, value: object, hint: Any, example: str) -> object:
    if hint in _PLAIN:
        return _PLAIN[hint](name, value)
    origin = get_origin(hint)
    if origin is Literal:
        return as_choice(name, value, get_args(hint))
    if origin is tuple:
        entries = _entries(name, value, example)
        kind = get_args(hint)[0]
        return tuple(_checked(f"{name}[{i}]", v, kind, "") for i, v in enumerate(entries))
    if origin is Mapping:
        return _options(name, value)
    if is_dataclass(hint) and isinstance(hint, type):
        return as_instance(name, value, hint)
    raise TypeError(f"{name} has an annotation that cannot be checked: {hint}")


_PLAIN = {int: as_whole, float: as_number, str: as_text, bool: as_flag}


def _entries(name: str, value: object, example: str) -> tuple[object, ...]:
    if not isinstance(value, tuple | list):
        way = f"a tuple, such as {example}" if example else "a tuple"
        raise SettingsError(f"{name} is {_shown(value)}; give {way}.")
    return tuple(value)


def _options(name: str, value: object) -> dict[str, object]:
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise SettingsError(f"{name} is {_shown(value)}; give a dict with strings as keys.")
    return {str.__str__(key): _plain(entry) for key, entry in value.items()}


def _plain(value: object) -> object:
    """Numbers and strings of other kinds, such as NumPy's, as Python's; all else as it is."""
    if isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value)
    return str.__str__(value) if isinstance(value, str) else value


def _shown(value: object) -> str:
    """A value for a message: on one line, and not too long of it."""
    text = " ".join(repr(value).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

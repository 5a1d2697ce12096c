"""Writes TOML (the standard library only reads it): strings, numbers, lists and tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

__all__ = ["dump"]


def dump(table: Mapping[str, object]) -> str:
    """A mapping as TOML text that ``tomllib.loads`` turns into the same mapping.

    Entries that are None are left out (TOML has no null); a non-empty list of mappings becomes
    an array of tables.

    Raises:
        TypeError: A value is of another kind.

    Example:
        >>> print(dump({"name": "x", "rate": 0.1, "net": {"width": 8}}))
        name = "x"
        rate = 0.1
        <BLANKLINE>
        [net]
        width = 8
    """
    return "\n".join(_table(table, ())).strip()


def _table(table: Mapping[str, object], path: tuple[str, ...]) -> Iterator[str]:
    nested: list[tuple[str, object]] = []
    for key, value in table.items():
        if isinstance(value, Mapping) or _is_tables(value):
            nested.append((key, value))
        elif value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in nested:
        name = ".".join(_key(part) for part in (*path, key))
        if isinstance(value, Mapping):
            yield f"\n[{name}]"
            yield from _table(value, (*path, key))
        elif isinstance(value, list | tuple):
            for item in value:
                yield f"\n[[{name}]]"
                yield from _table(item, (*path, key))


def _is_tables(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, Mapping) for item in value)
    )


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _string(key)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    raise TypeError(f"TOML cannot hold a {type(value).__name__}: {value!r}")


def _string(text: str) -> str:
    """JSON's escapes are TOML's, except that TOML wants the delete character escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

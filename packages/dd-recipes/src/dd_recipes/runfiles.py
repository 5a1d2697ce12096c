"""Files of a run folder: JSON that is written whole, and the log of events."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dd_core.checkpoint import write_atomically
from dd_core.errors import UserError
from dd_core.events import Event, PhaseAdvanced, as_record

__all__ = [
    "EventLog",
    "digest_of",
    "key_of",
    "now",
    "read_json",
    "read_text",
    "readable",
    "write_json",
]

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def key_of(content: Mapping[str, Any]) -> str:
    """The key of what follows from some settings: 16 hex digits.

    Example:
        >>> key_of({"a": 1, "b": [2]}) == key_of({"b": [2], "a": 1}) != key_of({"a": 1})
        True
    """
    canonical = json.dumps(content, sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def digest_of(content: object) -> str:
    """SHA-256 of what `write_json` writes, whatever the order and the spaces of the file.

    Example:
        >>> digest_of({"a": (1, float("nan"))}) == digest_of({"a": [1, None]})
        True
    """
    canonical = json.dumps(_finite(content), sort_keys=True, allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file whole or not at all; what is not finite becomes null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run folder.

    Raises:
        UserError: It is missing or damaged.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged ({error}); {_way_out(path)}") from None


def read_text(path: Path) -> str:
    """Reads a text file of a run folder.

    Raises:
        UserError: It is missing, a folder, or not UTF-8.
    """
    try:
        return path.read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        there = path.name != "run.json" and (path.parent / "run.json").exists()
        way_out = "give the run's command again, which writes it" if there else "is it a run folder"
        raise UserError(
            f"{path.parent} has no {path.name}; {way_out}{'.' if there else '?'}"
        ) from None
    except IsADirectoryError:
        raise UserError(
            f"{path} is a folder, and a file belongs there; remove it, and give the run's command "
            "again."
        ) from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is damaged ({error}); {_way_out(path)}") from None


def _way_out(path: Path) -> str:
    """What to do about a damaged file; without its ``run.json`` a folder would be refused."""
    if path.name == "run.json":
        return "give another folder with --out, or give this one another name and start anew."
    return "delete it and give the run's command again, or start anew in another folder with --out."


def readable(path: Path) -> dict[str, Any]:
    """The tables of a JSON file that can be written anew; empty where it is absent or damaged."""
    try:
        content = read_json(path)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


class EventLog:
    """Appends events to a JSONL file, each with its UTC time; advances at most once a second."""

    def __init__(self, path: Path) -> None:
        _drop_torn_line(path)
        self._file = path.open("a", encoding="utf-8")
        self._last: dict[str, float] = {}

    @classmethod
    def of_process(cls, folder: Path) -> EventLog:
        """The log of this process in a run folder, ``events-HOST-PID.jsonl``.

        The host is in its name because machines may share the folder, and a number of a process.
        """
        return cls(folder / f"events-{_HOST}-{os.getpid()}.jsonl")

    def __call__(self, event: Event) -> None:
        """Writes the event down."""
        if isinstance(event, PhaseAdvanced) and event.done < event.total:
            here = time.monotonic()
            if here - self._last.get(event.phase, -1.0) < 1.0:
                return
            self._last[event.phase] = here
        record = {"time": now(), **as_record(event)}
        self._file.write(json.dumps(_finite(record), ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def now() -> str:
    """The time as text, UTC."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _drop_torn_line(path: Path) -> None:
    """Removes the part of a line that a killed process left at the end."""
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.truncate(path, whole)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value

"""One run's folder: who may write in it, what it belongs to, and its log.

``run.json`` is written first and whole; it says which computation the folder holds. A folder
that holds another computation, another seed or another format is refused and left as it is.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from dd_core.checkpoint import take_lock, write_atomically
from dd_core.errors import RunError, UserError
from dd_core.events import Event, PhaseAdvanced, as_record

__all__ = [
    "FORMAT",
    "EventLog",
    "RunFolder",
    "open_folder",
    "read_json",
    "write_json",
]

FORMAT = 2
_NEEDED_BYTES = 200_000_000
_LOCK = ".lock"
_LEFTOVERS = (_LOCK, ".run.json.", ".write-test")  # beginnings of what a killed process leaves


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder that this process holds; made by `open_folder`."""

    path: Path

    @property
    def is_new(self) -> bool:
        """Whether no computation has been started in it."""
        return not (self.path / "run.json").exists()

    def method(self, slug: str) -> Path:
        """The folder of one method."""
        return self.path / "methods" / slug

    def stored_runtime(self, identity: Mapping[str, Any]) -> dict[str, Any] | None:
        """The runtime that the folder's run began with; None in a new folder.

        Args:
            identity: What the caller is about to compute; see `create`.

        Raises:
            UserError: The folder holds something else; the message says what differs.
        """
        if self.is_new:
            return None
        stored = read_json(self.path / "run.json")
        differences = list(_differences(stored.get("identity", {}), identity))
        if stored.get("format") != FORMAT:
            differences = [f"format version: {stored.get('format')} there, {FORMAT} now"]
        if differences:
            shown = "".join(f"\n  {line}" for line in differences[:8])
            more = f"\n  and {len(differences) - 8} more" if len(differences) > 8 else ""
            raise UserError(
                f"{self.path} holds another run:{shown}{more}\nNothing was changed in it. Give "
                "another folder with --out, or the same recipe, seed and settings to go on."
            )
        runtime: dict[str, Any] = stored["runtime"]
        return runtime

    def create(self, identity: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
        """Makes the folder belong to one computation.

        Args:
            identity: JSON-able tables on which the numbers depend: recipe, seed, data.
            runtime: Record of device, precision and so on, for the runs that go on.
        """
        canonical = json.dumps(identity, sort_keys=True).encode()
        write_json(
            self.path / "run.json",
            {
                "format": FORMAT,
                "sha256": hashlib.sha256(canonical).hexdigest(),
                "created": _now(),
                "identity": identity,
                "runtime": runtime,
            },
        )


@contextmanager
def open_folder(path: Path) -> Iterator[RunFolder]:
    """Takes a run folder for this process; it is made where there is none.

    Raises:
        UserError: It is not a run folder, cannot be written, or another process has it.
        RunError: The disk is full.
    """
    existed = path.exists()
    _check_is_ours(path)
    _check_writable(path)
    if not (path / "run.json").exists():
        _check_space(path)
    with (path / _LOCK).open("a") as lock:
        _take(lock, path)
        folder = RunFolder(path)
        try:
            yield folder
        finally:
            if folder.is_new:
                # Nothing was computed: leave no empty folder behind.
                (path / _LOCK).unlink(missing_ok=True)
                if not existed:
                    with suppress(OSError):
                        path.rmdir()


class EventLog:
    """Appends events to a JSONL file, each with its UTC time; advances at most once a second."""

    def __init__(self, path: Path) -> None:
        _drop_torn_line(path)
        self._file = path.open("a", encoding="utf-8")
        self._last: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Writes the event down."""
        if isinstance(event, PhaseAdvanced) and event.done < event.total:
            now = time.monotonic()
            if now - self._last.get(event.phase, -1.0) < 1.0:
                return
            self._last[event.phase] = now
        record = {"time": _now(), **as_record(event)}
        self._file.write(json.dumps(_finite(record), ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def write_json(path: Path, content: object) -> None:
    """Writes a JSON file whole or not at all; what is not finite becomes null."""
    text = json.dumps(_finite(content), indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, f"{text}\n".encode())


def read_json(path: Path) -> Any:
    """Reads a JSON file of a run folder.

    Raises:
        UserError: It is missing or damaged.
    """
    try:
        return json.loads(path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.parent} has no {path.name}; is it a run folder?") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} is damaged ({error}); delete it and give the run's command again, or start "
            "anew in another folder with --out."
        ) from None


def _check_is_ours(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give a folder with --out.")
    if not path.is_dir() or (path / "run.json").exists():
        return
    foreign = sorted(item.name for item in path.iterdir() if not item.name.startswith(_LEFTOVERS))
    if foreign:
        raise UserError(
            f"{path} is not empty and not a run folder (it holds {', '.join(foreign[:3])}"
            f"{', ...' if len(foreign) > 3 else ''}). Nothing was changed in it. "
            "Give another folder with --out."
        )


def _check_writable(path: Path) -> None:
    probe = path / ".write-test"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 4096)
        probe.unlink()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _full(path) from None
        raise UserError(
            f"Cannot write in {path}: {error.strerror}. Give another folder with --out."
        ) from None


def _check_space(path: Path) -> None:
    free = shutil.disk_usage(path).free
    if free < _NEEDED_BYTES:
        raise RunError(
            f"The disk of {path} has {free / 1e6:.0f} MB free, and a run needs about "
            f"{_NEEDED_BYTES / 1e6:.0f} MB. Free some, or give another folder with --out."
        )


def _full(path: Path) -> RunError:
    return RunError(f"The disk of {path} is full. Free some space and run the command again.")


def _take(lock: IO[str], path: Path) -> None:
    if not take_lock(lock):
        raise UserError(
            f"Another process is running in {path}. Wait until it ends, or give another folder "
            "with --out."
        )


def _differences(stored: Any, now: Any, path: str = "") -> Iterator[str]:
    """Lines such as 'students.epochs: 120 there, 10 now' for what differs in two tables.

    Lists of the same named tables, as the terms of a sum, are compared table by table.
    """
    names = _names(stored)
    if names and names == _names(now):
        stored, now = (dict(zip(names, tables, strict=True)) for tables in (stored, now))
    if isinstance(stored, Mapping) and isinstance(now, Mapping):
        for key in [*stored, *(k for k in now if k not in stored)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from _differences(stored.get(key, "nothing"), now.get(key, "nothing"), inner)
    elif stored != now:
        yield f"{path}: {_short(stored)} there, {_short(now)} now"


def _names(value: Any) -> list[str]:
    """The names of a list's tables; empty where it is no such list."""
    tables = value if isinstance(value, list) else []
    named = all(isinstance(table, Mapping) and "name" in table for table in tables)
    return [str(table["name"]) for table in tables] if named else []


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

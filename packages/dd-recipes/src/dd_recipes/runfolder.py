"""One run's folder: what it belongs to, who works in which part of it, and what lies where.

``run.json`` is written first and whole; it says which recipe the folder holds. Each cell's folder
says in ``cell.json`` what it computes. A folder that holds something else is refused and left as
it is. Several processes may share a folder: each part is locked by the one that works in it, and
a lock ends with its process, however that ends.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_core.checkpoint import take_lock
from dd_core.errors import RunError, UserError
from dd_recipes.runfiles import EventLog, now, read_json, readable, write_json

__all__ = [
    "FORMAT",
    "EventLog",
    "RunFolder",
    "differences",
    "held",
    "read_json",
    "readable",
    "run_folder",
    "waiting",
    "write_json",
]

FORMAT = 3
_NEEDED_BYTES = 200_000_000
_LOCK = ".lock"
_LEFTOVERS = (_LOCK, ".run.json.", ".write-test")  # beginnings of what a killed process leaves
_MOST_SHOWN = 8
_POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class RunFolder:
    """A run folder, or what is to become one; made by `run_folder`."""

    path: Path

    @property
    def is_new(self) -> bool:
        """Whether no computation has been started in it."""
        return not (self.path / "run.json").exists()

    def cell(self, name: str) -> Path:
        """The folder of one cell."""
        return self.path / "cells" / name

    def pool(self, key: str) -> Path:
        """The folder of one pool of extractors, with ``pool.json`` when it is complete."""
        return self.path / "pools" / key

    def set(self, key: str) -> Path:
        """The folder of one small set, with ``set.json`` when it is complete."""
        return self.path / "sets" / key

    @property
    def pool_seconds(self) -> float | None:
        """Time to train all pools that are complete; None where there is none."""
        records = [readable(path) for path in sorted(self.path.glob("pools/*/pool.json"))]
        seconds = [float(record["seconds"]) for record in records if "seconds" in record]
        return sum(seconds) if seconds else None

    def require_same(
        self, identity: Mapping[str, Any], cells: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Checks that the folder is of this run; writes nothing.

        Args:
            identity: Recipe, variant, budget and seed.
            cells: What each cell computes, by name; what is not known of one is left out.

        Raises:
            UserError: The folder holds something else; the message says what differs.
        """
        if self.is_new:
            return
        stored = self._record()
        found, rerun = stored.get("format"), ""
        if found != FORMAT:
            lines = [f"format version: {found} there, {FORMAT} now"]
        else:
            lines = list(differences({key: stored.get(key) for key in identity}, identity))
            rerun = "" if lines else "; --rerun CELL computes a cell anew"
            for name, computation in cells.items():
                there = readable(self.cell(name) / "cell.json")
                known = {key: there[key] for key in computation if key in there}
                asked = {key: computation[key] for key in known}
                lines += differences(known, asked, f"cells.{name}")
        if lines:
            shown = "".join(f"\n  {line}" for line in lines[:_MOST_SHOWN])
            more = len(lines) - _MOST_SHOWN
            tail = f"\n  and {more} more" if more > 0 else ""
            raise UserError(
                f"{self.path} holds another run:{shown}{tail}\nNothing was changed in it. Give "
                "another folder with --out, or the same recipe, seed and settings to go "
                f"on{rerun}."
            )

    def require_readable(self) -> None:
        """Checks that the folder is of a run, and that this version can read it; writes nothing.

        Raises:
            UserError: ``run.json`` is missing, damaged or of another version.
        """
        if self.is_new:
            raise UserError(
                f"{self.path} has no run.json, so it is no run folder or not a whole one. Give the "
                "folder that 'dd-recipes reproduce' named; nothing was changed in this one."
            )
        found = self._record()["format"]
        if found != FORMAT:
            raise UserError(
                f"{self.path} was written by another version of dd-recipes: its format is {found}, "
                f"this version reads {FORMAT}. Use that version; nothing was changed in the folder."
            )

    def _record(self) -> dict[str, Any]:
        stored = read_json(self.path / "run.json")
        record: dict[str, Any] = stored if isinstance(stored, dict) else {}
        found = record.get("format")
        if "format" not in record or (
            found == FORMAT and not isinstance(record.get("runtime"), dict)
        ):
            raise UserError(
                f"{self.path / 'run.json'} is damaged: it is no record of a run. Give another "
                "folder with --out, or rename this one; nothing was changed in it."
            )
        return record

    def create(self, identity: Mapping[str, Any], runtime: Mapping[str, Any]) -> None:
        """Makes the folder belong to one run; the caller guards it.

        Args:
            identity: Recipe, variant, budget and seed.
            runtime: Record of device, precision and so on, for the runs that go on.
        """
        record = {"format": FORMAT, "created": now(), **identity, "runtime": dict(runtime)}
        write_json(self.path / "run.json", record)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Holds what is common to all cells for a moment, waiting for others that do.

        A folder in which nothing was started stays as it was.

        Raises:
            UserError: The folder cannot be written.
            RunError: The disk is full.
        """
        existed = self.path.exists()
        _check_writable(self.path)
        if self.is_new:
            _check_space(self.path)
        with waiting(self.path, lambda: None):
            try:
                yield
            finally:
                if self.is_new:
                    (self.path / _LOCK).unlink(missing_ok=True)
                    if not existed:
                        with suppress(OSError):
                            self.path.rmdir()


def run_folder(path: Path) -> RunFolder:
    """A run folder, or the place of a new one; nothing is written.

    Raises:
        UserError: It is a file, or a folder with other things.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file; give a folder with --out.")
    if path.is_dir() and not (path / "run.json").exists():
        names = sorted(item.name for item in path.iterdir())
        foreign = [name for name in names if not name.startswith(_LEFTOVERS)]
        if foreign:
            raise UserError(
                f"{path} is not empty and not a run folder (it holds {', '.join(foreign[:3])}"
                f"{', ...' if len(foreign) > 3 else ''}). Nothing was changed in it. "
                "Give another folder with --out."
            )
    return RunFolder(path)


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Takes a part of a run folder, which is made where there is none.

    Yields:
        Whether it could be taken; False where another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as lock:
        yield take_lock(lock)


@contextmanager
def waiting(folder: Path, say: Callable[[], None]) -> Iterator[None]:
    """Takes a part of a run folder, after waiting for the process that works in it.

    Args:
        folder: The part; it is made where there is none.
        say: Called once, if there is something to wait for.
    """
    told = False
    while True:
        with held(folder) as ours:
            if ours:
                yield
                return
        if not told:
            say()
            told = True
        time.sleep(_POLL_SECONDS)


def differences(stored: Any, asked: Any, path: str = "") -> Iterator[str]:
    """What differs in two tables, a line each.

    Example:
        >>> list(differences({"a": {"x": 1, "y": 2}}, {"a": {"x": 1, "y": 3}}))
        ['a.y: 2 there, 3 now']
    """
    if isinstance(stored, Mapping) and isinstance(asked, Mapping):
        for key in [*stored, *(k for k in asked if k not in stored)]:
            inner = f"{path}.{key}" if path else str(key)
            yield from differences(stored.get(key, "nothing"), asked.get(key, "nothing"), inner)
    elif stored != asked:
        yield f"{path}: {_short(stored)} there, {_short(asked)} now"


def _short(value: object) -> str:
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _check_writable(path: Path) -> None:
    probe = path / ".write-test"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x" * 4096)
        probe.unlink(missing_ok=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                f"The disk of {path} is full. Free some space and run the command again."
            ) from None
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

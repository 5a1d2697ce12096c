"""Files whose content is known by its checksum."""

from __future__ import annotations

import hashlib
from pathlib import Path

from dd_core.errors import DataError

__all__ = ["read_bytes", "read_verified"]


def read_bytes(path: Path, way_out: str) -> bytes:
    """The file's content.

    Raises:
        DataError: There is no such file, or a folder in its place.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder, not a file. {way_out}")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {way_out}") from None


def read_verified(path: Path, algorithm: str, expected: str, way_out: str) -> bytes:
    """The content of a file of an official release.

    Raises:
        DataError: There is no such file, or its checksum is not the expected one.
    """
    content = read_bytes(path, way_out)
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != expected:
        raise DataError(
            f"{path} is damaged or not the official file: its {algorithm} is {found}, not "
            f"{expected} ({len(content)} bytes). {way_out}"
        )
    return content

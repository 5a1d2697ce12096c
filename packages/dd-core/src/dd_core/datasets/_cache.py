"""Decoded images in a folder: one ``.npy`` of pixels a part, mapped into memory when used.

The folder holds ``train.npy``, ``test.npy`` and ``manifest.json``. Each file is written aside and
moved into place, the manifest last; so a killed process leaves the earlier state or none.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from dd_core.checkpoint import write_atomically
from dd_core.datasets._decode import Array, Decoded, Store
from dd_core.errors import DataError
from dd_core.events import Listener, Message

__all__ = ["load", "map_pixels", "save", "writer"]

_FORMAT = "dd-core images 1"
_MANIFEST = "manifest.json"
_LEFT_SECONDS = 3600.0  # without a write: its process is gone


def writer(folder: Path) -> Store:
    """The store that writes pixels into a folder, and gives them mapped with their SHA-256.

    Raises:
        DataError: The folder holds something else.
    """
    folder = Path(folder)
    _require_ours(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*.part"):  # by a killed process; others may be writing now
        if time.time() - left.stat().st_mtime > _LEFT_SECONDS:
            left.unlink(missing_ok=True)

    def store(title: str, shape: tuple[int, ...], blocks: Iterator[Array]) -> tuple[Array, str]:
        handle, scratch = tempfile.mkstemp(dir=folder, prefix=f".{title}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as file:
                digest = _write(file, shape, blocks)
            os.chmod(scratch, 0o644)
            (folder / _MANIFEST).unlink(missing_ok=True)  # it speaks of the file before
            os.replace(scratch, folder / f"{title}.npy")
        except BaseException:
            Path(scratch).unlink(missing_ok=True)
            raise
        return _mapped(folder / f"{title}.npy"), digest

    return store


def _write(file: BinaryIO, shape: tuple[int, ...], blocks: Iterator[Array]) -> str:
    digest = hashlib.sha256()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in blocks:
        digest.update(block.data)
        file.write(block.data)
    file.flush()
    os.fsync(file.fileno())
    return digest.hexdigest()


def save(folder: Path, key: str, parts: dict[str, Decoded]) -> None:
    """Writes the manifest of parts whose pixels a `writer` has written."""
    record = {
        "format": _FORMAT,
        "key": key,
        "parts": {
            title: {
                "shape": part.pixels.shape,
                "sha256": part.stored,
                "labels": part.labels.tolist(),
                "measured": part.measured,
            }
            for title, part in parts.items()
        },
    }
    record["check"] = _check(record)
    write_atomically(Path(folder) / _MANIFEST, json.dumps(record).encode())


def load(folder: Path, key: str, listen: Listener) -> dict[str, Decoded] | None:
    """The parts as `save` left them, or None where they must be made (anew).

    They are made anew where the folder holds another source, or a file is missing, damaged in its
    header or of the wrong length; pixels are not read.

    Raises:
        DataError: The folder holds something else.
    """
    folder = Path(folder)
    _require_ours(folder)
    path = folder / _MANIFEST
    if not path.exists():
        return None
    try:
        record = json.loads(path.read_bytes())
        if record.pop("check") != _check(record) or record["format"] != _FORMAT:
            raise ValueError("its manifest does not agree with itself")
        if record["key"] != key:
            listen(Message(f"{folder} is made anew: source, size or channels have changed"))
            return None
        return {title: _part(folder, title, part) for title, part in record["parts"].items()}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        listen(Message(f"{folder} is damaged and made anew ({error})", "warning"))
        return None


def map_pixels(pixels: Array) -> torch.Tensor:
    """A tensor of the same memory, which must not be written to."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(pixels)


def _part(folder: Path, title: str, record: Any) -> Decoded:
    path = folder / f"{title}.npy"
    pixels = _mapped(path)
    if pixels.dtype != np.uint8 or pixels.shape != tuple(record["shape"]):
        raise ValueError(f"{path.name} holds {pixels.dtype} of shape {pixels.shape}")
    if path.stat().st_size != pixels.offset + pixels.nbytes:
        raise ValueError(f"{path.name} has the wrong length")
    mean, std = (tuple(values) for values in record["measured"])
    return Decoded(pixels, np.array(record["labels"], np.int64), record["sha256"], (mean, std))


def _mapped(path: Path) -> Any:
    return np.load(path, mmap_mode="r", allow_pickle=False)


def _check(record: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _require_ours(folder: Path) -> None:
    """A folder that holds anything else is left alone."""
    if folder.exists() and not folder.is_dir():
        raise DataError(f"cache is {folder}, which is a file; give a folder.")
    known = {_MANIFEST, "train.npy", "test.npy"}
    if folder.is_dir() and (
        other := sorted(
            path.name
            for path in folder.iterdir()
            if path.name not in known and not path.name.startswith(".")
        )
    ):
        raise DataError(
            f"cache is {folder}, which holds {other[0]} and so is not a cache of images; give an "
            "empty or new folder."
        )

"""The two files of a `DistilledSet`: whole, of a known format, and belonging together."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dd_core.checkpoint import write_atomically
from dd_core.errors import ArtifactError

__all__ = ["FORMAT", "PIXELS", "digest_of", "read_files", "write_files"]

FORMAT = 2
_READABLE = (1, 2)  # 1: no form of decoding, no range, no soft labels, manifest without checksum
PIXELS, _MANIFEST = "distilled.safetensors", "manifest.json"


def write_files(folder: Path, content: bytes, facts: Mapping[str, Any]) -> None:
    """Writes tensors and manifest, atomically each, with the checksums of both.

    Args:
        folder: Made where there is none.
        content: What ``distilled.safetensors`` holds.
        facts: JSON-able; what the manifest says beside format and checksums.

    Raises:
        ArtifactError: The folder is a file, or lies in one.
        OSError: The folder cannot be written.
    """
    manifest = {"format": FORMAT, **facts, "sha256": hashlib.sha256(content).hexdigest()}
    manifest["manifest_sha256"] = digest_of(manifest)
    try:
        write_atomically(folder / PIXELS, content)
        write_atomically(folder / _MANIFEST, json.dumps(manifest, indent=2).encode())
    except (FileExistsError, NotADirectoryError):
        raise ArtifactError(
            f"{folder} is a file, or lies in one; give the name of a folder, such as 'distilled'."
        ) from None


def read_files(folder: Path) -> tuple[dict[str, Any], bytes]:
    """The manifest and the bytes of the tensors, when both are whole and belong together.

    Raises:
        ArtifactError: A file is missing or damaged, of another format, or not the other's.
    """
    name = folder / _MANIFEST
    try:
        manifest = json.loads(name.read_bytes())
        content = (folder / PIXELS).read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{error.filename} is missing; is {folder} a distilled set?{_hint(folder)}"
        ) from None
    except NotADirectoryError:
        raise ArtifactError(
            f"{folder} is a file; give the folder of a distilled set. For a .pt file of an earlier "
            "paper use import_legacy."
        ) from None
    except OSError as error:
        raise ArtifactError(f"{error.filename} cannot be read ({error.strerror}).") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name} is damaged ({error}).") from None
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if type(found) is not int or found not in _READABLE:
        readable = " and ".join(map(str, _READABLE))
        raise ArtifactError(f"{name} has format {found}, this version reads {readable}.")
    if found == FORMAT and manifest.get("manifest_sha256") != digest_of(
        manifest, "manifest_sha256"
    ):
        raise ArtifactError(
            f"{name} is damaged or was changed: its SHA-256 is not the one it holds. Copy it "
            "again, or make a changed set with DistilledSet and save it."
        )
    if hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
        raise ArtifactError(
            f"{folder / PIXELS} is damaged: its SHA-256 is not that of the manifest. "
            "Copy it again, or distil again."
        )
    return manifest, content


def _hint(folder: Path) -> str:
    """Where in a run's folder its sets lie; empty for other folders."""
    inner = [f.parent for f in sorted(folder.glob(f"distilled/{_MANIFEST}"))]
    inner += [f.parent for f in sorted(folder.glob(f"methods/*/distilled/{_MANIFEST}"))]
    return f" It holds one: load {' or '.join(map(str, inner[:3]))}." if inner else ""


def digest_of(said: Mapping[str, Any], without: str | None = None) -> str:
    """SHA-256 of what a JSON file says, whatever its line breaks.

    Args:
        said: What JSON can say, as it gives it back.
        without: The field that holds the digest.

    Example:
        >>> said = {"factor": 2, "decode": "single"}
        >>> digest_of({**said, "sha256": digest_of(said)}, "sha256") == digest_of(said)
        True
    """
    facts = {name: value for name, value in said.items() if name != without}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

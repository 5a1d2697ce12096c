"""State of a long phase in one file that is always whole: written aside, then moved into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import IO, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dd_core.errors import CheckpointError

__all__ = [
    "FORMAT",
    "fingerprint",
    "load_record",
    "load_state",
    "locked",
    "optimizer_tensors",
    "restore_optimizer",
    "save_record",
    "save_state",
    "take_lock",
    "write_atomically",
]

FORMAT = 2  # 1: without a checksum
_LOCK = ".lock"
_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:8]


def write_atomically(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a crash, sees the old content or the new, never a part.

    The scratch file's name holds host and process, so that what a killed process left is removed
    here, and what a living one is writing is not.

    Raises:
        OSError: The folder cannot be written, or the disk is full; the old file is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    ours = f".{path.name}.{_HOST}."
    for left in path.parent.glob(f"{escape(ours)}*"):
        pid = left.name.removeprefix(ours).partition(".")[0]
        if pid.isdecimal() and not _lives(int(pid)):
            left.unlink(missing_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f"{ours}{os.getpid()}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except BaseException as error:
        Path(scratch).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # so that a message can name it
        raise


def _lives(pid: int) -> bool:
    """Whether a process of this host may still be there."""
    if os.name != "posix":
        return True  # signal 0 would not merely ask
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder, so that two computations do not write the same files at the same time.

    The lock is on the hidden file ``.lock`` in the folder, which is made where there is none. It
    ends with the block or the process, however that ends; the file stays. It does not nest, in
    one process neither. Nothing is locked where the system, the file system or a folder that
    cannot be written has no locks. Of several ranks that share a folder, let the first one lock.

    Args:
        folder: The folder that the computation writes in.

    Raises:
        CheckpointError: Another process works in the folder, or it is a file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as name, locked(Path(name)):
        ...     pass  # compute and write
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CheckpointError(
            f"{folder} is a file, or lies in one; give the name of a folder."
        ) from None
    try:
        lock = (folder / _LOCK).open("a")
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        yield
        return
    with lock:
        if not take_lock(lock):
            raise CheckpointError(
                f"Another process works in {folder}. Wait until it ends, or give another folder."
            )
        yield


def take_lock(file: IO[Any]) -> bool:
    """Whether an open file could be locked for this process, until it is closed.

    True also where there are no locks: a system without ``fcntl``, or a file system without.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN)
    return True


def save_record(path: Path, facts: Mapping[str, Any], *, key: str) -> None:
    """Stores the result of a finished phase as JSON, with a checksum; whole or not at all.

    Args:
        path: The file; an old one is replaced.
        facts: JSON-able values; keys become texts and tuples lists.
        key: What the record belongs to, such as a hash of settings; checked on loading.

    Raises:
        OSError: The folder cannot be written, or the disk is full; the old file is untouched.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "record.json"
        >>> save_record(path, {"steps": 3}, key="run 1")
        >>> load_record(path, key="run 1")
        {'steps': 3}
    """
    plain = json.loads(json.dumps(dict(facts)))
    record = {"key": key, "facts": plain, "sha256": _record_digest(key, plain)}
    write_atomically(path, json.dumps(record).encode())


def load_record(path: Path, *, key: str | None) -> dict[str, Any] | None:
    """The facts that `save_record` stored, or None where there is no file.

    Args:
        path: The file.
        key: What it must belong to; None takes any.

    Raises:
        CheckpointError: The file is damaged or was changed, or belongs to another key.
    """
    again = "Delete it to repeat this phase."
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except IsADirectoryError:
        raise CheckpointError(f"{path} is a folder, not a record. {again}") from None
    try:
        record = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged ({error}). {again}") from None
    facts = record.get("facts") if isinstance(record, dict) else None
    if not isinstance(facts, dict) or not isinstance(record.get("key"), str):
        raise CheckpointError(
            f"{path} is damaged, or of another version (it has no key and facts). {again}"
        )
    if _record_digest(record["key"], facts) != record.get("sha256"):
        raise CheckpointError(
            f"{path} is damaged or was changed: its SHA-256 is not the one it holds. {again}"
        )
    if key not in (None, record["key"]):
        raise CheckpointError(
            f"{path} belongs to a run with other settings, data or seed. Use another folder, or "
            "delete it to begin anew."
        )
    return facts


def _record_digest(key: str, facts: object) -> str:
    """SHA-256 of what a record says, whatever the order and the spaces of its JSON."""
    return hashlib.sha256(json.dumps([key, facts], sort_keys=True).encode()).hexdigest()


def save_state(
    path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any], *, key: str
) -> None:
    """Stores tensors and JSON-able facts.

    Args:
        path: The file; an old one is replaced.
        tensors: Any names and shapes.
        facts: JSON-able values.
        key: What the state belongs to, such as a hash of settings; checked on loading.
    """
    flat = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    written = json.dumps(facts)
    metadata = {
        "format": str(FORMAT), "key": key, "facts": written, "sha256": _digest(flat, key, written),
    }  # fmt: skip
    write_atomically(path, save(flat, metadata))


def _digest(tensors: Mapping[str, Tensor], key: str, facts: str) -> str:
    """SHA-256 of all that a state holds: names, types, shapes and bytes of its tensors, and facts.

    A few milliseconds for a few megabytes, so that a state may be stored every five seconds.
    """
    digest = hashlib.sha256()
    for part in (key, facts):
        digest.update(repr(part).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_state(path: Path, *, key: str | None) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Reads what `save_state` stored, or returns None where there is no file.

    Args:
        path: The file.
        key: What it must belong to; None takes any.

    Raises:
        CheckpointError: The file is damaged, of another format, or belongs to another key.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            found = metadata.get("format")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        facts = json.loads(metadata.get("facts", "null"))
    except PermissionError:
        raise
    except (SafetensorError, ValueError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged ({error}). Delete it to repeat this phase from its beginning."
        ) from None
    if found != str(FORMAT):
        raise CheckpointError(
            f"{path} has format {found}, this version reads {FORMAT}. Use the version that wrote "
            "it, or another folder."
        )
    if _digest(tensors, metadata.get("key", ""), metadata.get("facts", "")) != metadata.get(
        "sha256"
    ):
        raise CheckpointError(
            f"{path} is damaged (its SHA-256 is not the one it holds). Delete it to repeat this "
            "phase from its beginning."
        )
    if key not in (None, metadata["key"]) or not isinstance(facts, dict):
        raise CheckpointError(
            f"{path} belongs to a run with other settings, data or seed. Use another folder, or "
            "delete it to begin anew."
        )
    return {name: t.to(torch.device("cpu")) for name, t in tensors.items()}, facts


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state as named tensors, for `save_state`."""
    state = optimizer.state_dict()["state"]
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, entry in state.items()
        for name, value in entry.items()
        if value is not None
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Puts back what `optimizer_tensors` gave; settings of the groups stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for full_name, tensor in tensors.items():
        if full_name.startswith("optimizer."):
            _, index, name = full_name.split(".", 2)
            state.setdefault(int(index), {})[name] = tensor
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    # Fused optimisers walk raw memory, so moments must lie as their parameters do (channels-last).
    for parameter, entry in optimizer.state.items():
        for name, value in entry.items():
            if value.shape == parameter.shape:
                entry[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def fingerprint(*parts: object) -> str:
    """A short hash of settings, seeds and other fingerprints, for the key of a state.

    Example:
        >>> fingerprint({"lr": 1}) == fingerprint({"lr": 1}) != fingerprint({"lr": 2})
        True
    """
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]

"""Compiles the C++ source with the machine's own compiler and keeps the library in a cache."""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path

__all__ = ["load_library"]

_FLAGS = ("-O3", "-march=native", "-ffp-contract=fast", "-std=c++17", "-shared", "-fPIC")


def load_library(*source_names: str) -> ctypes.CDLL:
    """Compiles source files of this package as one, or takes them from the cache, and loads them.

    Args:
        source_names: Names of C++ files beside this module, in the order in which they follow.

    Returns:
        The loaded library.

    Raises:
        OSError: There is no compiler, or it failed; the message says which.
    """
    compiler = shutil.which(os.environ.get("CXX", "c++")) or shutil.which("g++")
    if compiler is None:
        raise OSError("no C++ compiler was found (looked for $CXX, c++ and g++)")
    folder_of_sources = files("dd_core.kernels")
    source = "\n".join(folder_of_sources.joinpath(name).read_text() for name in source_names)
    # The target is this very processor, so its description is a part of the name.
    text = "\n".join((source, " ".join(_FLAGS), compiler, _processor()))
    key = hashlib.sha256(text.encode()).hexdigest()[:20]
    for folder in (_cache_folder(), Path(tempfile.gettempdir()) / f"dd-core-{_user()}"):
        if not _usable(folder):
            continue
        library = folder / f"{Path(source_names[-1]).stem}-{key}.so"
        if not library.exists():
            _compile(compiler, source, library)
        return ctypes.CDLL(str(library))
    raise OSError("no folder for the compiled library can be written by this user alone")


def _usable(folder: Path) -> bool:
    """Whether the folder is, or can be made, this user's own and nobody else can write in it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError:
        return False
    foreign = hasattr(os, "getuid") and status.st_uid != os.getuid()
    return not foreign and not status.st_mode & 0o022 and os.access(folder, os.W_OK)


def _compile(compiler: str, source: str, library: Path) -> None:
    with tempfile.TemporaryDirectory(dir=library.parent) as scratch:
        path, built = Path(scratch, "kernel.cpp"), Path(scratch, "kernel.so")
        path.write_text(source)
        command = [compiler, *_FLAGS, "-fopenmp", str(path), "-o", str(built)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if result.returncode:
            last = result.stderr.strip().splitlines()[-1:] or ["no message"]
            raise OSError(f"{compiler} failed: {last[0]}")
        os.replace(built, library)  # atomic: another process never loads half a file


def _cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dd-core"


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else "user"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() + platform.machine()
    keys = ("model name", "flags", "Features", "CPU part")
    return "\n".join(dict.fromkeys(line for line in lines if line.startswith(keys)))

"""What the hardware does fast: device, precision and memory format; seeds; environment."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse
from urllib.request import url2pathname

import torch

from dd_core._arguments import as_choice, as_count, as_text, check_fields
from dd_core.errors import SettingsError
from dd_core.kernels import amx_in_use, kernel_status

__all__ = ["Runtime", "choose_runtime", "environment", "generator"]

_BFLOAT16_FLAGS = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "bf16": "Arm BF16"}
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_DEVICES = r"cpu|cuda(:[0-9]+)?"


@dataclass(frozen=True, slots=True)
class Runtime:
    """How tensors are computed. It changes numbers only by rounding.

    Attributes:
        device_name: ``cpu``, ``cuda`` or ``cuda:N``.
        precision: Type of images and activations inside networks: ``float32`` or ``bfloat16``.
            Parameters, pixels, losses and sums are float32 always.
        compile: Whether networks go through ``torch.compile``.
        threads: CPU threads.
        reason: Why precision and compile are as they are, in words.

    Raises:
        SettingsError: A value is none of these.
    """

    device_name: str
    precision: Literal["float32", "bfloat16"]
    compile: bool
    threads: int
    reason: str = ""

    def __post_init__(self) -> None:
        check_fields(self)
        as_count("threads", self.threads)
        if not re.fullmatch(_DEVICES, self.device_name):
            raise SettingsError(f"device_name is {self.device_name!r}; give cpu, cuda or cuda:N.")

    @property
    def device(self) -> torch.device:
        """The device."""
        return torch.device(self.device_name)

    @property
    def dtype(self) -> torch.dtype:
        """The type of activations."""
        return _DTYPES[self.precision]

    @property
    def summary(self) -> str:
        """One line for the log."""
        compiled = "torch.compile" if self.compile else "eager"
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        head = f"{self.device_name}, {threads}, {self.precision}, channels-last"
        return f"{head}, {compiled}: {self.reason}" if self.reason else f"{head}, {compiled}"

    @property
    def chunk_images(self) -> int:
        """Real images of one forward pass: enough to fill the device, few enough for its cache."""
        if self.device.type != "cpu":
            return 8192
        return 512 if self.precision == "bfloat16" and amx_in_use() else 128

    def as_record(self) -> dict[str, Any]:
        """JSON-able form, for `from_record`."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Runtime:
        """The runtime that was written down, so that a resumed run computes alike."""
        return cls(**record)

    def optimize(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself, or compiled where this runtime compiles."""
        return torch.compile(function) if self.compile else function


def choose_runtime(
    device: str = "auto",
    precision: str = "auto",
    compile: str = "auto",
    threads: int | None = None,
) -> Runtime:
    """Chooses what the hardware does fast and applies the number of threads.

    On the CPU, bfloat16 is taken where the processor has instructions for it (AMX, AVX-512 BF16,
    Arm BF16). The networks run eagerly there, because the fused
    kernel of `dd_core.kernels` does what the compiler would do, and better. On CUDA, bfloat16
    is taken from compute capability 8 on, and ``torch.compile`` where it works.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        compile: ``auto``, ``on`` or ``off``. With ``on``, a compiler that does not work is
            answered by the eager mode, and the reason says so.
        threads: CPU threads, by default as many as PyTorch takes.

    Raises:
        SettingsError: A value is not among those above, or the device is not there.
    """
    precision = as_choice("precision", precision, ("auto", *_DTYPES))
    compile = as_choice("compile", compile, ("auto", "on", "off"))
    threads = None if threads is None else as_count("threads", threads)
    name = _device_name(as_text("device", device))
    if threads is not None:
        torch.set_num_threads(threads)
    cpu = name == "cpu"
    if cpu:
        _keep_freed_memory()
    reasons = []
    if precision == "auto":
        precision, why = _fast_precision(name)
        reasons.append(why)
    wanted = compile == "on" or (compile == "auto" and not cpu)
    compiled = wanted and _compiler_works(name)
    if wanted and not compiled:
        reasons.append("torch.compile does not work here")
    if cpu and not compiled:
        reasons.append(f"convolution blocks: {kernel_status()}")
    chosen: Literal["float32", "bfloat16"] = "bfloat16" if precision == "bfloat16" else "float32"
    return Runtime(name, chosen, compiled, torch.get_num_threads(), "; ".join(reasons))


def generator(seed: int, *stream: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator for one purpose and one iteration.

    Its state follows from the names alone, so a resumed run draws what an uninterrupted one does
    and nothing about randomness needs to be stored.

    Example:
        >>> a, b = (torch.rand(2, generator=generator(0, "real", 7)) for _ in range(2))
        >>> bool((a == b).all())
        True
    """
    text = "/".join(map(str, (seed, *stream)))
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
    return torch.Generator(device=device).manual_seed(number)


def environment() -> dict[str, Any]:
    """Versions and hardware, JSON-able, to store beside results."""
    packages = (
        "cfmetrics",
        "dd-core",
        "dd-recipes",
        "torch",
        "torchvision",
        "numpy",
        "safetensors",
    )
    record: dict[str, Any] = {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor_name(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in packages if (found := _version(name))}
        | {"torch": str(torch.__version__)},
        "commit": _commit(),
    }
    if torch.cuda.is_available():
        record["gpu"] = torch.cuda.get_device_name()
    return record


def _device_name(device: str) -> str:
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if not re.fullmatch(_DEVICES, device):
        raise SettingsError(f"device is {device!r}; choose auto, cpu, cuda or cuda:N.")
    if device.startswith("cuda"):
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        index = device.partition(":")[2] or "0"
        if int(index) >= count:
            raise SettingsError(f"device is {device!r}, but there are {count} CUDA devices here.")
    return device


def _fast_precision(name: str) -> tuple[str, str]:
    if name != "cpu":
        major, minor = torch.cuda.get_device_capability(name)
        return ("bfloat16" if major >= 8 else "float32"), f"compute capability {major}.{minor}"
    found = _BFLOAT16_FLAGS.keys() & _processor_flags()
    if found:
        names = ", ".join(sorted(_BFLOAT16_FLAGS[flag] for flag in found))
        return "bfloat16", f"the processor multiplies bfloat16 matrices ({names})"
    return "float32", "the processor has no instructions for bfloat16 matrices"


def _processor_flags() -> set[str]:
    """Instruction sets as Linux names them; empty elsewhere.

    They are read, not measured: a measurement on a busy machine could choose otherwise the next
    time, and the same seed would give other numbers.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    found = [line for line in lines if line.startswith(("flags", "Features"))]
    return set(found[0].partition(":")[2].split()) if found else set()


def _compiler_works(name: str) -> bool:
    try:
        x = torch.zeros(8, device=name)
        torch.compile(lambda t: torch.cos(t) + 1)(x)
    except Exception:  # whatever the toolchain raises, the answer is the same: run eagerly
        return False
    return True


def _keep_freed_memory() -> None:
    """Tells glibc to keep large freed blocks, so that each step does not fault its pages anew."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(-4, 0)  # M_MMAP_MAX: no private mappings for large blocks
            libc.mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD: do not give the heap's end back


def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """The commit of the checkout that this package was installed from or is run from."""
    folder = Path(__file__).parent
    try:
        origin = json.loads(distribution("dd-core").read_text("direct_url.json") or "{}")
        if origin.get("url", "").startswith("file://"):
            folder = Path(url2pathname(urlparse(origin["url"]).path))
    except (PackageNotFoundError, ValueError):
        pass
    if not folder.is_dir():
        return None
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None

"""Files of the .pt layouts of earlier papers, read without running code that is in them."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import warnings
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dd_core.errors import ArtifactError

__all__ = ["LAYOUTS", "LegacyFile", "place_of", "read_legacy", "sha256_of"]

LAYOUTS = {
    "dc": "DC, DSA or DM: a dictionary with 'data'",
    "idc": "IDC, DANCE or NCFM: [images, labels]",
    "mtt": "MTT, FTD or DATM: images and labels in two files",
}


@dataclass(frozen=True)
class LegacyFile:
    """What a file says."""

    layout: Literal["dc", "idc", "mtt"]
    images: Tensor
    labels: Tensor  # (n,) integers, or (n, n_classes) logits with two classes or more
    files: tuple[Path, ...]


def read_legacy(path: Path, experiment: int | None) -> LegacyFile:
    """Finds the layout of a file or folder, and reads it.

    Args:
        path: The file; for MTT's layout also the folder of ``images_best.pt``.
        experiment: Which entry of ``data`` in DC's layout.

    Raises:
        ArtifactError: It is missing, damaged, of no known layout, or holds other pickled objects;
            or ``experiment`` does not fit it.
    """
    if path.is_dir():
        path = path / "images_best.pt"
    content = _load(path)
    several = isinstance(content, dict) and isinstance(content.get("data"), (list, tuple))
    if experiment is not None and not several:
        raise ArtifactError(
            f"experiment is {experiment}, but {path} is of a layout without experiments; leave it "
            "out."
        )
    if isinstance(content, Tensor):
        if not path.name.startswith("images"):
            raise ArtifactError(
                f"{path} holds one tensor; for MTT's layout give images_*.pt beside labels_*.pt."
            )
        beside = path.with_name("labels" + path.name.removeprefix("images"))
        return _checked(LegacyFile("mtt", content, _load(beside), (path, beside)))
    if several:
        runs = content["data"]
        if experiment is None and len(runs) > 1:
            raise ArtifactError(
                f"{path} holds {len(runs)} experiments; give experiment=0 to {len(runs) - 1}."
            )
        if not runs:
            raise ArtifactError(f"{path} holds no set: its 'data' is empty.")
        number = experiment or 0
        if not 0 <= number < len(runs):
            there = "one, experiment=0" if len(runs) == 1 else f"experiment=0 to {len(runs) - 1}"
            raise ArtifactError(f"experiment is {number}, but {path} holds {there}.")
        content, layout = runs[number], "dc"
    else:
        layout = "idc"
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        known = "; ".join(LAYOUTS.values())
        raise ArtifactError(
            f"{path} has no layout that is known here ({known}); save [images, labels]."
        )
    return _checked(LegacyFile("dc" if layout == "dc" else "idc", content[0], content[1], (path,)))


def _checked(legacy: LegacyFile) -> LegacyFile:
    """The same with float32 images and without a column of labels, or an error."""
    images = _checked_images(legacy.images, legacy.files[0])
    labels, file = legacy.labels, legacy.files[-1]
    if not _is_plain(labels) or labels.is_complex():
        raise ArtifactError(
            f"{file} does not hold images and labels: labels are {_kind(labels)}, not a tensor of "
            "real numbers."
        )
    if labels.ndim not in (1, 2) or len(labels) != len(images):
        raise ArtifactError(
            f"{file} holds labels of shape {tuple(labels.shape)} for {len(images)} images."
        )
    if labels.ndim == 2 and labels.shape[1] == 1:  # no numbers a class: there is no one class
        labels = labels[:, 0]
    return replace(legacy, images=images, labels=labels.detach())


def _checked_images(images: Tensor, file: Path) -> Tensor:
    """As float32, or an error."""
    if not (_is_plain(images) and images.is_floating_point() and images.ndim == 4):
        raise ArtifactError(
            f"{file} does not hold images and labels: images are {_kind(images)}, not a "
            f"floating-point tensor of shape (n, channels, height, width).{_of_bytes(images)}"
        )
    second, third, last = images.shape[1:]
    if second not in (1, 3) and last in (1, 3) and second == third:
        raise ArtifactError(
            f"{file}: images of shape {tuple(images.shape)} have their channels last; save "
            "images.permute(0, 3, 1, 2)."
        )
    pixels = images.detach().float().contiguous()
    finite = torch.isfinite(pixels)
    if not bool(finite.all()):
        place = place_of(~finite)
        raise ArtifactError(
            f"{file} holds a pixel that is no finite float32: images{list(place)} is "
            f"{float(images[place]):.3g}."
        )
    return pixels


def _of_bytes(images: object) -> str:
    """The way out for images of whole numbers."""
    if isinstance(images, Tensor) and images.dtype == torch.uint8:
        return " Convert them to float and divide by 255."
    return ""


def place_of(bad: Tensor) -> tuple[int, ...]:
    """The first place where it is true."""
    return tuple(bad.nonzero()[0].tolist())


def _is_plain(value: object) -> bool:
    """Whether it is a tensor that holds its numbers one by one, and some."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and not value.is_quantized
        and not value.is_meta
        and value.numel() > 0
    )


def _kind(value: object) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} ({value.dtype}, {value.layout}, {value.device})"


def _load(path: Path) -> Any:
    """Tensors and plain containers of a file; numbers of NumPy are let through, nothing else."""
    try:
        if (damaged := _damaged_member(path)) is not None:
            raise ArtifactError(
                f"{path} is damaged: the checksum of {damaged} in it is another. Copy it again."
            )
        with torch.serialization.safe_globals(_numpy_numbers()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch, where the file is another kind of pickle
            return torch.load(path, map_location="cpu", weights_only=True)
    except ArtifactError:
        raise
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; give the file that the distillation wrote.") from (
            None
        )
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror or error}).") from None
    except Exception as error:  # torch raises many kinds for damaged files
        raise ArtifactError(f"{path} {_trouble(path, error)}") from None


def _trouble(path: Path, error: Exception) -> str:
    """What is the matter with a file that torch.load refuses."""
    unpickling = isinstance(error, pickle.UnpicklingError)
    if _names_code(path, unpickling and "GLOBAL" in str(error)):
        return (
            "holds pickled objects other than tensors, numbers and lists. They could run code, so "
            "it is not loaded; save images and labels as tensors where the file was made."
        )
    first = (str(error).splitlines() or [""])[0][:100]
    detail = "" if unpickling or " " not in first else f" ({first})"
    return f"is damaged, or no file of torch.save{detail}."


def _names_code(path: Path, refused: bool) -> bool:
    """Whether a pickle in it names a class or a function that torch does not allow.

    Args:
        path: The file; nothing of it is run.
        refused: What torch says; it takes a text that begins with "c" for such a name too.
    """
    try:
        with path.open("rb") as file:  # the first pickle; a file of torch.save has more
            names = {operation.name for operation, _, _ in pickletools.genops(file)}
    except Exception:  # no pickle, or a damaged one
        return refused and zipfile.is_zipfile(path)
    return refused or bool(names & {"GLOBAL", "STACK_GLOBAL", "INST"})


def _damaged_member(path: Path) -> str | None:
    """The first member of a zip whose CRC-32 is not its own; torch.load does not compare them."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return None  # the form without a zip has no checksums
        with zipfile.ZipFile(file) as members:
            return members.testzip()


def _numpy_numbers() -> list[Any]:
    """What a pickled NumPy number is made of, under the names of NumPy 1 and 2."""
    make: Any = np.float64(1).__reduce__()[0]
    allowed: list[Any] = [np.dtype]
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):

        def scalar(*parts: Any) -> Any:
            return make(*parts)

        scalar.__module__, scalar.__qualname__ = module, "scalar"
        allowed.append(scalar)
    kinds = ("float64", "float32", "float16", "int64", "int32", "bool")
    return allowed + [type(np.dtype(kind)) for kind in kinds]


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()

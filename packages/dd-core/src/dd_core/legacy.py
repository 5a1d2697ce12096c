"""Distilled sets in the .pt layouts of earlier papers, as a `DistilledSet`.

Files are read with ``weights_only=True`` always, so that no code in them runs. What a file does
not say (normalisation, factor, class names, whitening) is asked for, and what it contradicts is
refused.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dd_core.artifact import DistilledSet
from dd_core.datasets._normalization import KNOWN
from dd_core.decoding import Form
from dd_core.errors import ArtifactError
from dd_core.synthetic import to_unit

__all__ = ["NORMALIZATIONS", "import_legacy"]

Normalization = tuple[Sequence[float], Sequence[float]]

NORMALIZATIONS: dict[str, Normalization] = {
    **{name.lower(): known for name, known in KNOWN.items()},
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Channel means and deviations as DC, DSA, DM and MTT set them; also for Tiny-ImageNet and the
ImageNet subsets (``imagenet``). NCFM uses those of ``cifar10`` for CIFAR-100 too."""

_TOLERANCE = 1e-3
_NAMES = {
    "dc": "DC, DSA or DM: a dictionary with 'data'",
    "idc": "IDC, DANCE or NCFM: [images, labels]",
    "mtt": "MTT, FTD or DATM: images and labels in two files",
}


@dataclass(frozen=True)
class _Legacy:
    """What a file says."""

    layout: Literal["dc", "idc", "mtt"]
    images: Tensor
    labels: Tensor  # (n,) integers, or (n, n_classes) logits
    files: tuple[Path, ...]


def import_legacy(
    path: Path | str,
    *,
    normalization: str | Normalization | None = None,
    class_names: Sequence[str] | None = None,
    factor: int | None = None,
    zca: bool | None = None,
    space: Literal["unit", "normalized"] | None = None,
    experiment: int | None = None,
    decode: Form = "single",
    bound: int = 128,
) -> DistilledSet:
    """Reads a distilled set that the code of an earlier paper wrote; its layout is recognised.

    | layout | found as | pixels | asked for, always `normalization` and `class_names` |
    |---|---|---|---|
    | DC, DSA, DM | a dictionary with ``data`` | normalised | `experiment`, where it holds several |
    | IDC, DANCE, NCFM | a list ``[images, labels]`` | 0 to 1 | `factor` |
    | MTT, FTD, DATM | ``images_best.pt`` and ``labels_best.pt`` | normalised | `zca` |

    Labels of MTT's layout that are numbers a class (DATM, TESLA) are taken as soft labels: as
    they are, where every row is a probability, else through a softmax, as in DATM's loss.
    The labels are then class by class, as these codes begin, where most rows agree with that;
    otherwise each row's largest entry.

    Args:
        path: The file; for MTT's layout the folder of ``images_best.pt``, or one ``images_*.pt``.
        normalization: A name of `NORMALIZATIONS`, or (mean, std) with one number a channel.
        class_names: Names in the order of the labels.
        factor: Multi-formation rho. Only IDC's layout has one; elsewhere it is 1.
        zca: Whether the pixels were ZCA-whitened. A file does not hold the transform, so whitened
            pixels stay as they are, with mean 0 and std 1: test images need the same whitening.
        space: Overrides the layout's pixels: ``unit`` (0 to 1) or ``normalized``.
        experiment: Which entry of ``data`` in DC's layout.
        decode: Form of decoding of IDC's layout; see `dd_core.decoding`.
        bound: Most views of a class, for ``bound``.

    Returns:
        The set. Pixels that were free keep their values, and ``value_range`` says which; the
        provenance holds layout, file names, SHA-256 and preprocessing.

    Raises:
        ArtifactError: The file is missing, damaged, of no known layout, or holds other pickled
            objects; something must be asked for; or an answer contradicts the file.
    """
    legacy = _read(Path(path), experiment)
    labels, soft = _labels(legacy.labels, legacy.files[-1])
    _ask(legacy, labels, normalization, class_names, factor, zca)
    names = tuple(class_names or ())
    if len(names) != int(labels.max()) + 1 or (soft is not None and soft.shape[1] != len(names)):
        found = int(labels.max()) + 1 if soft is None else soft.shape[1]
        raise ArtifactError(
            f"class_names holds {len(names)} names, but {legacy.files[0]} has {found} "
            "classes; give one name a class."
        )
    mean, std = ((0.0,) * legacy.images.shape[1], (1.0,) * legacy.images.shape[1])
    if not zca:
        mean, std = _statistics(normalization, legacy.images.shape[1])
    pixels, taken = _pixels(legacy, mean, std, space, bool(zca))
    provenance = {
        "imported": {
            "layout": legacy.layout,
            "files": {file.name: _sha256(file) for file in legacy.files},
        },
        "preprocessing": {"zca": bool(zca), "pixels_in_file": taken},
    }
    try:
        return DistilledSet(
            pixels, labels, 1 if factor is None else factor, mean, std, names, provenance,
            decode=decode, bound=bound, value_range=DistilledSet.range_of(pixels),
            soft_labels=soft,
        )  # fmt: skip
    except ArtifactError as error:
        raise ArtifactError(f"{legacy.files[0]} cannot be taken: {error}") from None


def _read(path: Path, experiment: int | None) -> _Legacy:
    """Finds the layout of a file or folder."""
    if path.is_dir():
        path = path / "images_best.pt"
    content = _load(path)
    if isinstance(content, Tensor):
        if not path.name.startswith("images"):
            raise ArtifactError(
                f"{path} holds one tensor; for MTT's layout give images_*.pt beside labels_*.pt."
            )
        beside = path.with_name("labels" + path.name.removeprefix("images"))
        return _checked(_Legacy("mtt", content, _load(beside), (path, beside)))
    if isinstance(content, dict) and isinstance(content.get("data"), (list, tuple)):
        runs = content["data"]
        if experiment is None and len(runs) > 1:
            raise ArtifactError(
                f"{path} holds {len(runs)} experiments; give experiment=0 to {len(runs) - 1}."
            )
        number = experiment or 0
        if not 0 <= number < len(runs):
            raise ArtifactError(f"experiment is {number}, but {path} holds {len(runs)} of them.")
        content, layout = runs[number], "dc"
    else:
        layout = "idc"
    if not isinstance(content, (list, tuple)) or len(content) != 2:
        known = "; ".join(_NAMES.values())
        raise ArtifactError(f"{path} has no layout that is known here ({known}).")
    return _checked(_Legacy("dc" if layout == "dc" else "idc", content[0], content[1], (path,)))


def _checked(legacy: _Legacy) -> _Legacy:
    """The same with float32 images, or an error."""
    images, labels = legacy.images, legacy.labels
    fits = all(isinstance(t, Tensor) and t.layout == torch.strided for t in (images, labels))
    if not fits or images.ndim != 4 or not images.is_floating_point() or not images.numel():
        found = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        kind = images.dtype if isinstance(images, Tensor) else "no tensor"
        raise ArtifactError(
            f"{legacy.files[0]} does not hold images and labels: images are {found} ({kind}), not "
            "floating-point (n, channels, height, width)."
        )
    if labels.ndim not in (1, 2) or len(labels) != len(images):
        raise ArtifactError(
            f"{legacy.files[-1]} holds labels of shape {tuple(labels.shape)} for {len(images)} "
            "images."
        )
    if not bool(torch.isfinite(images).all()):
        raise ArtifactError(f"{legacy.files[0]} holds NaN or infinite pixels.")
    return replace(legacy, images=images.detach().float().contiguous(), labels=labels.detach())


def _load(path: Path) -> Any:
    """Tensors and plain containers of a file; numbers of NumPy are let through, nothing else."""
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; give the file that the distillation wrote.") from (
            None
        )
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror or error}).") from None
    except pickle.UnpicklingError as error:
        if "GLOBAL" not in str(error):  # how a pickle names a class or a function
            raise ArtifactError(f"{path} is damaged, or no file of torch.save.") from None
        raise ArtifactError(
            f"{path} holds pickled objects other than tensors, numbers and lists. Reading them "
            "could run code, so they are refused; save images and labels as tensors where the "
            "file was made."
        ) from None
    except Exception as error:  # torch raises many kinds for damaged files
        first = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise ArtifactError(f"{path} is damaged, or no file of torch.save ({first}).") from None


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


def _labels(labels: Tensor, file: Path) -> tuple[Tensor, Tensor | None]:
    """Labels as int64, and probabilities where the file has numbers a class."""
    if labels.ndim == 1:
        whole = labels.long()
        if not bool((whole == labels).all()) or int(whole.min()) < 0:
            raise ArtifactError(f"{file} holds labels that are not whole numbers from 0.")
        return whole, None
    soft = labels.float()
    if not bool(torch.isfinite(soft).all()):
        raise ArtifactError(f"{file} holds soft labels that are not finite.")
    sums = bool(((soft.sum(1) - 1).abs() < _TOLERANCE).all())
    if not (sums and float(soft.min()) >= 0):
        soft = soft.softmax(1)
    n, classes = soft.shape
    largest = soft.argmax(1)
    if n % classes == 0:
        in_order = torch.arange(classes).repeat_interleave(n // classes)
        if float((in_order == largest).float().mean()) > 0.5:
            return in_order, soft
    return largest, soft


def _ask(
    legacy: _Legacy,
    labels: Tensor,
    normalization: str | Normalization | None,
    class_names: Sequence[str] | None,
    factor: int | None,
    zca: bool | None,
) -> None:
    """One message that names every argument that is missing, with an example of each."""
    missing = []
    if normalization is None and not zca:
        missing.append("normalization (such as 'cifar10', or ((0.49, ...), (0.20, ...)))")
    if class_names is None:
        missing.append(f"class_names (such as ('cat', 'dog'); here {int(labels.max()) + 1})")
    if legacy.layout == "idc" and factor is None:
        missing.append("factor (such as factor=2; 1 where an image is one view)")
    if legacy.layout == "mtt" and zca is None:
        missing.append("zca (zca=True where the images were whitened, else zca=False)")
    if missing:
        raise ArtifactError(
            f"{legacy.files[0]} ({_NAMES[legacy.layout]}) does not say all that is needed; give "
            f"{'; '.join(missing)}."
        )
    if zca and normalization is not None:
        raise ArtifactError(
            "zca=True and normalization were both given; whitened pixels are used as they are, so "
            "leave normalization out."
        )
    if legacy.layout != "idc" and factor not in (None, 1):
        raise ArtifactError(
            f"factor is {factor}, but {legacy.files[0]} is of a layout without one "
            f"({_NAMES[legacy.layout]}); leave factor out."
        )


def _statistics(
    normalization: str | Normalization | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    if isinstance(normalization, str):
        if normalization not in NORMALIZATIONS:
            raise ArtifactError(
                f"normalization is {normalization!r}; choose one of {', '.join(NORMALIZATIONS)}, "
                "or give (mean, std)."
            )
        normalization = NORMALIZATIONS[normalization]
    if normalization is None or len(normalization) != 2:
        raise ArtifactError(f"normalization is {normalization}; give (mean, std).")
    mean, std = (tuple(map(float, part)) for part in normalization)
    if not len(mean) == len(std) == channels:
        raise ArtifactError(
            f"normalization has {len(mean)} and {len(std)} entries, but the images have {channels} "
            "channels; give one a channel."
        )
    return mean, std


def _pixels(
    legacy: _Legacy,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    space: Literal["unit", "normalized"] | None,
    zca: bool,
) -> tuple[Tensor, str]:
    """Pixels that are not normalised, and the space that they were in; or a contradiction."""
    if space not in (None, "unit", "normalized"):
        raise ArtifactError(f"space is {space!r}; choose unit or normalized.")
    if zca:
        return legacy.images, "whitened"
    expected = space or ("unit" if legacy.layout == "idc" else "normalized")
    low, high = float(legacy.images.min()), float(legacy.images.max())
    inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    if expected == "unit" and not inside:
        raise ArtifactError(
            f"{legacy.files[0]}: pixels run from {low:.3g} to {high:.3g}, but "
            f"{'space is unit' if space else 'its layout has'} 0 to 1. If they are normalised, "
            "give space='normalized'."
        )
    if expected == "normalized" and space is None and inside:
        raise ArtifactError(
            f"{legacy.files[0]}: pixels run from {low:.3g} to {high:.3g}, but normalised images "
            "have negative ones. Give space='unit' if they are not normalised, or "
            "space='normalized' if they are."
        )
    if expected == "unit":
        return legacy.images, expected
    return to_unit(legacy.images, mean, std, "normalized"), expected


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()

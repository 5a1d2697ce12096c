"""What a `DistilledSet` must be; one message for each fault."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dd_core.errors import ArtifactError

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet

__all__ = ["check_set", "plain_provenance"]

_TOLERANCE = 1e-3  # of pixel ranges and of sums of probabilities


def check_set(data: DistilledSet) -> None:
    """Refuses a set whose parts do not fit.

    Raises:
        ArtifactError: A part is of the wrong shape or type, not finite, or out of range.
    """
    _check_types(data)
    _check_shapes(data)
    _check_values(data)
    _check_decoding(data)
    if data.soft_labels is not None:
        _check_soft_labels(data.soft_labels, data)


def plain_provenance(provenance: object) -> dict[str, Any]:
    """A copy that is as JSON gives it back: texts for paths and keys, lists for tuples.

    Raises:
        ArtifactError: It is no mapping, or holds what JSON cannot say.

    Example:
        >>> plain_provenance({"folder": PurePath("runs"), "sizes": (1, 2)})
        {'folder': 'runs', 'sizes': [1, 2]}
    """
    if not isinstance(provenance, Mapping):
        raise ArtifactError(f"provenance is {provenance!r:.80}; give a dictionary.")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(provenance, default=_plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArtifactError(
            f"provenance cannot be written as JSON ({error}); give texts, numbers, lists and "
            "dictionaries."
        ) from None
    return plain


def _plain(value: object) -> object:
    """What JSON writes for an object that it does not know."""
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"it holds a {type(value).__name__}")


def _check_types(data: DistilledSet) -> None:
    optional = {} if data.soft_labels is None else {"soft_labels": data.soft_labels}
    tensors = {"images": data.images, "labels": data.labels, **optional}
    for name, value in tensors.items():
        if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_meta:
            raise ArtifactError(
                f"{name} are of type {type(value).__name__}; give a dense torch.Tensor, such as "
                "torch.as_tensor(...)."
            )
    for name in ("mean", "std"):
        if not isinstance(getattr(data, name), tuple):
            raise ArtifactError(
                f"{name} is {getattr(data, name)!r:.80}; give a tuple with one number a channel."
            )
    names: object = data.class_names
    if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
        raise ArtifactError(
            f"class_names are {names!r:.80}; give a tuple of texts, such as ('cat', 'dog')."
        )
    again = [name for name, count in Counter(names).items() if count > 1]
    if again:
        raise ArtifactError(
            f"class_names hold {again[0]!r} {names.count(again[0])} times; give each class a name "
            "of its own."
        )


def _check_shapes(data: DistilledSet) -> None:
    images, labels = data.images, data.labels
    if images.ndim != 4 or labels.shape != images.shape[:1] or not images.numel():
        raise ArtifactError(
            f"images have shape {tuple(images.shape)} and labels {tuple(labels.shape)}; give "
            "(n, channels, height, width) and (n,), not empty."
        )
    if images.shape[2] != images.shape[3]:
        raise ArtifactError(f"images are {tuple(images.shape[2:])}; they must be square.")
    if images.dtype != torch.float32 or labels.dtype != torch.int64:
        raise ArtifactError(
            f"images are {images.dtype} and labels {labels.dtype}; give float32 and int64."
        )
    if not len(data.mean) == len(data.std) == images.shape[1]:
        raise ArtifactError(
            f"mean and std have {len(data.mean)} and {len(data.std)} entries for "
            f"{images.shape[1]} channels; give one a channel."
        )


def _check_values(data: DistilledSet) -> None:
    low, high = int(data.labels.min()), int(data.labels.max())
    if low < 0 or high >= data.n_classes:
        raise ArtifactError(
            f"labels run from {low} to {high}, but there are {data.n_classes} class_names."
        )
    empty = (data.class_counts == 0).nonzero()[:, 0].tolist()
    if empty:
        raise ArtifactError(
            f"class {data.class_names[empty[0]]!r} (label {empty[0]}) has no image; every class "
            "needs one."
        )
    if not _all_finite(data.mean) or not _all_finite(data.std) or min(data.std) <= 0:
        raise ArtifactError(
            f"mean is {data.mean} and std {data.std}; give finite numbers, and positive std."
        )
    if not bool(torch.isfinite(data.images).all()):
        raise ArtifactError("images hold NaN or infinity; every pixel must be finite.")
    _check_range(data)


def _check_range(data: DistilledSet) -> None:
    allowed: object = data.value_range
    if not isinstance(allowed, tuple) or len(allowed) != 2 or not _all_finite(allowed):
        raise ArtifactError(f"value_range is {allowed!r:.80}; give two finite numbers.")
    low, high = data.value_range
    pixels = data.images.detach()
    least, most = float(pixels.min()), float(pixels.max())
    if least < low - _TOLERANCE or most > high + _TOLERANCE:
        raise ArtifactError(
            f"images run from {least:.4g} to {most:.4g}, outside value_range {data.value_range}; "
            "give images that are not normalised, or value_range=DistilledSet.range_of(images) "
            "for free pixels."
        )


def _all_finite(values: Sequence[object]) -> bool:
    try:
        return all(
            not isinstance(v, bool) and isinstance(v, Real) and math.isfinite(v) for v in values
        )
    except OverflowError:  # a whole number beyond all floats
        return False


def _check_decoding(data: DistilledSet) -> None:
    if data.decode not in ("single", "multi", "bound"):
        raise ArtifactError(f"decode is {data.decode!r}; choose one of single, multi, bound.")
    if type(data.factor) is not int or data.factor < 1 or data.images.shape[-1] % data.factor:
        raise ArtifactError(
            f"factor is {data.factor!r}; give a whole number that divides the images' "
            f"{data.images.shape[-1]} px (1: each image is one view)."
        )
    if type(data.bound) is not int or data.bound < 1:
        raise ArtifactError(f"bound is {data.bound!r}; give a whole number of at least 1.")
    if data.decode == "bound" and data.bound < data.ipc:
        raise ArtifactError(
            f"bound is {data.bound}, fewer than the {data.ipc} images of a class; each gives a "
            "view at least."
        )


def _check_soft_labels(soft: Tensor, data: DistilledSet) -> None:
    rows = (len(data.images), int(data.view_counts.sum()))
    if soft.ndim != 2 or len(soft) not in rows or soft.shape[1] != data.n_classes:
        raise ArtifactError(
            f"soft_labels have shape {tuple(soft.shape)}; give ({rows[0]}, {data.n_classes}), one "
            f"row an image, or ({rows[1]}, {data.n_classes}), one row a view."
        )
    if soft.dtype != torch.float32 or not bool(torch.isfinite(soft).all()):
        raise ArtifactError(f"soft_labels are {soft.dtype} or not finite; give finite float32.")
    off = float((soft.sum(1) - 1).abs().max())
    if float(soft.min()) < 0 or off > _TOLERANCE:
        raise ArtifactError(
            "soft_labels are not probabilities: a row has a negative entry, or its sum is not 1. "
            "Give softmax(logits)."
        )

"""Data sets from arrays in one ``.npz`` file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_core.datasets._files import read_bytes
from dd_core.datasets._normalization import Moments
from dd_core.errors import DataError
from dd_core.images import ImageData, LabeledImages

__all__ = ["read_npz"]

_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)


def read_npz(path: Path, *, name: str, sha256: str | None = None) -> ImageData:
    """Reads a data set from one ``.npz`` file.

    The file holds ``train_images`` and ``test_images``, uint8 of shape (n, h, w) or
    (n, h, w, channels); ``train_labels`` and ``test_labels``, integers of shape (n,); and
    ``class_names``. ``mean`` and ``std`` of the channels of images scaled to [0, 1] are optional
    and else computed from the training images.

    Args:
        path: The file.
        name: Name of the data set.
        sha256: The file's expected SHA-256.

    Raises:
        DataError: The file is missing, damaged, or lacks an array.
    """
    content = read_bytes(path, "Install or copy it again.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{path} is damaged: its SHA-256 is not {sha256[:12]}... ({len(content)} bytes). "
            "Install or copy it again."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, *_ZIP_ERRORS) as error:
        raise DataError(f"{path} is not a readable .npz file ({error}).") from None
    names = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
    if missing := [key for key in names if key not in arrays]:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}.")
    for key in ("train_labels", "test_labels"):
        if not np.issubdtype(arrays[key].dtype, np.integer) or arrays[key].ndim != 1:
            raise DataError(
                f"{path}: {key} is {arrays[key].dtype} of shape {arrays[key].shape}; it must hold "
                "integers, one for each image."
            )
    train = _channels_first(arrays["train_images"], path)
    moments = Moments(train.shape[1])
    moments.add(train)
    mean, std = moments.result() if len(train) else ((), ())

    def images(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> LabeledImages:
        return LabeledImages(
            torch.from_numpy(pixels),
            torch.from_numpy(labels.astype(np.int64)),
            tuple(float(v) for v in arrays.get("mean", mean)),
            tuple(float(v) for v in arrays.get("std", std)),
            tuple(str(v) for v in arrays["class_names"]),
        )

    test = _channels_first(arrays["test_images"], path)
    return ImageData(
        name, images(train, arrays["train_labels"]), images(test, arrays["test_labels"])
    )


def _channels_first(images: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{path}: images are {images.dtype} of shape {images.shape}; they must be uint8 of "
            "shape (n, h, w) or (n, h, w, channels)."
        )
    stacked = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked)

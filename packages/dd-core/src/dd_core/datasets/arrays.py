"""Data sets from arrays in one ``.npz`` file."""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_core._arguments import as_numbers, as_path, as_text
from dd_core.datasets._files import read_bytes
from dd_core.datasets._normalization import Moments, Normalization
from dd_core.errors import DataError, SettingsError
from dd_core.images import ImageData, LabeledImages

__all__ = ["read_npz"]

Array = np.ndarray[Any, Any]
_NAMES = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)


def read_npz(path: Path | str, *, name: str, sha256: str | None = None) -> ImageData:
    """Reads a data set from one ``.npz`` file.

    The file holds ``train_images`` and ``test_images``, uint8 of shape (n, h, w) or
    (n, h, w, channels); ``train_labels`` and ``test_labels``, integers of shape (n,); and
    ``class_names``. ``mean`` and ``std`` of the channels of images scaled to [0, 1] are optional,
    both or neither, and else computed from the training images.

    Args:
        path: The file.
        name: Name of the data set.
        sha256: The file's expected SHA-256.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: The file is missing or damaged, lacks an array, or its arrays do not fit.
    """
    path, name = as_path("path", path), as_text("name", name)
    content = read_bytes(path, "Give the .npz file; install or copy it again.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != as_text("sha256", sha256):
        raise DataError(
            f"{path} is damaged: its SHA-256 is not {sha256[:12]}... ({len(content)} bytes). "
            "Install or copy it again."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, *_ZIP_ERRORS) as error:
        raise DataError(f"{path} is not a readable .npz file ({error}).") from None
    if missing := [key for key in _NAMES if key not in arrays]:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}.")
    try:
        return _image_data(name, arrays)
    except (DataError, SettingsError) as error:
        raise DataError(f"{path}: {error}") from None


def _image_data(name: str, arrays: Mapping[str, Array]) -> ImageData:
    """The data set; messages name the array, and `read_npz` the file."""
    pixels = {part: _channels_first(f"{part}_images", arrays) for part in ("train", "test")}
    (mean, std), names = _normalization(arrays, pixels["train"]), _class_names(arrays)

    def images(part: str) -> LabeledImages:
        labels = _labels(f"{part}_labels", arrays)
        try:
            return LabeledImages(torch.from_numpy(pixels[part]), labels, mean, std, names)
        except DataError as error:
            raise DataError(f"{part}_images and {part}_labels: {error}") from None

    return ImageData(name, images("train"), images("test"))


def _channels_first(key: str, arrays: Mapping[str, Array]) -> Array:
    images = arrays[key]
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{key} is {images.dtype} of shape {images.shape}; it must be uint8 of shape (n, h, w) "
            "or (n, h, w, channels)."
        )
    if 0 in images.shape:
        raise DataError(f"{key} is of shape {images.shape}; it must hold at least one image.")
    stacked = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked)


def _labels(key: str, arrays: Mapping[str, Array]) -> torch.Tensor:
    labels = arrays[key]
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise DataError(
            f"{key} is {labels.dtype} of shape {labels.shape}; it must hold integers, one for each "
            "image."
        )
    return torch.from_numpy(labels.astype(np.int64))


def _class_names(arrays: Mapping[str, Array]) -> tuple[str, ...]:
    names = arrays["class_names"]
    if names.dtype.kind not in "Uiu" or names.ndim != 1:
        raise DataError(
            f"class_names is {names.dtype} of shape {names.shape}; it must hold strings, one for "
            "each class."
        )
    return tuple(str(name) for name in names)


def _normalization(arrays: Mapping[str, Array], train: Array) -> Normalization:
    given = [key for key in ("mean", "std") if key in arrays]
    if not given:
        moments = Moments(train.shape[1])
        moments.add(train)
        return moments.result()
    if len(given) == 1:
        raise DataError(f"of mean and std it has only {given[0]}; store both, or neither.")
    return as_numbers("mean", arrays["mean"].tolist()), as_numbers("std", arrays["std"].tolist())

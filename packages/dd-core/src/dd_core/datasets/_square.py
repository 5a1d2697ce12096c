"""One image of any kind as a uint8 array of shape (channels, height, width)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import torch

from dd_core.errors import DataError

__all__ = ["FoundColour", "as_array", "pillow"]

_GRAY, _COLOUR = ("1", "L", "LA", "La"), ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "CMYK", "YCbCr")


class FoundColour(Exception):
    """An image has colours where only gray ones were expected."""


def pillow() -> Any:
    """The module ``PIL.Image``.

    Raises:
        DataError: Pillow is not installed.
    """
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise DataError(
            "Reading or resizing images needs Pillow, which is not installed; run "
            "'pip install pillow' (torchvision brings it)."
        ) from None


def as_array(image: Any, where: str, *, size: int | None, gray: bool, strict: bool) -> Any:
    """The image's bytes, resized and cut where a size is asked for.

    With a size, the shorter side is scaled to it (bilinear with antialiasing) and the centre is
    cut out, as torchvision's ``Resize(size)`` and ``CenterCrop(size)`` do.

    Args:
        image: A PIL image, or uint8 of shape (height, width), (channels, height, width) or, for
            NumPy arrays, (height, width, channels).
        where: What a message calls it.
        size: Height and width, or None to leave the image as it is.
        gray: One channel is wanted (by ITU-R 601 luma), else three.
        strict: With ``gray``, colours are not made gray but reported.

    Raises:
        DataError: It is none of these.
        FoundColour: It has colours and ``gray`` and ``strict`` are set.
    """
    if isinstance(image, torch.Tensor | np.ndarray):
        array = _channels_last(image, where)
        colour = array.ndim == 3
        if size is None or array.shape[:2] == (size, size):
            if gray and colour and not strict:
                array = np.asarray(pillow().fromarray(array).convert("L"))
            return _channels_first(array, gray=gray, colour=colour and strict)
        image = pillow().fromarray(array)
    mode = getattr(image, "mode", None)
    if mode not in (*_GRAY, *_COLOUR):
        what = f"{type(image).__name__}" if mode is None else f"an image of mode {mode}"
        raise DataError(
            f"{where} is {what}; give PIL images or arrays of 8 bits, gray or RGB (leave ToTensor "
            "and normalisation away)."
        )
    colour = mode in _COLOUR
    if gray and strict and colour:
        raise FoundColour
    image = image.convert("L" if gray or not colour else "RGB")
    if size is not None:
        image = _resized(image, size)
    return _channels_first(np.asarray(image), gray=gray, colour=False)


def _resized(image: Any, size: int) -> Any:
    width, height = image.size
    short = min(width, height)
    wide, high = (int(size * side / short) if side > short else size for side in (width, height))
    if (wide, high) != (width, height):
        image = image.resize((wide, high), pillow().Resampling.BILINEAR)
    left, top = round((wide - size) / 2), round((high - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _channels_last(image: Any, where: str) -> Any:
    """As uint8 of shape (height, width) or (height, width, 3)."""
    array = image.cpu().numpy() if isinstance(image, torch.Tensor) else image
    if array.dtype == np.uint8:
        if array.ndim == 3:
            first = array.shape[0] in (1, 3)
            if first and (isinstance(image, torch.Tensor) or array.shape[2] not in (1, 3)):
                array = array.transpose(1, 2, 0)
            if array.shape[2] == 1:
                array = array[:, :, 0]
        if array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3):
            return np.ascontiguousarray(array)
    raise DataError(
        f"{where} is {array.dtype} of shape {tuple(image.shape)}; give PIL images, or uint8 with 1 "
        "or 3 channels (leave ToTensor and normalisation away)."
    )


def _channels_first(array: Any, *, gray: bool, colour: bool) -> Any:
    if gray and colour:
        raise FoundColour
    if array.ndim == 2:
        return np.repeat(array[None], 1 if gray else 3, axis=0)
    return np.ascontiguousarray(array.transpose(2, 0, 1))

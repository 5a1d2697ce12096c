"""Mean and standard deviation of the channels: the field's for known sets, else measured."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from dd_core._arguments import as_numbers
from dd_core.errors import SettingsError

__all__ = ["KNOWN", "Moments", "as_normalization"]

Normalization = tuple[tuple[float, ...], tuple[float, ...]]

# The constants that the code of the field uses. The deviations of CIFAR-10 are smaller than what is
# measured over all pixels (0.2470, 0.2435, 0.2616); they are kept, because networks and distilled
# sets of the literature were made with them.
KNOWN: dict[str, Normalization] = {
    "CIFAR10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "CIFAR100": ((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "FashionMNIST": ((0.2861,), (0.3530,)),
    "MNIST": ((0.1307,), (0.3081,)),
    "SVHN": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
}


def as_normalization(value: object) -> Normalization | None:
    """The argument ``normalization``: mean and deviation of each channel, or None.

    Raises:
        SettingsError: It is something else.
    """
    if value is None:
        return None
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise SettingsError(
            f"normalization is {value!r}; give a pair, mean and standard deviation of each "
            "channel, such as ((0.5,), (0.25,)), or None."
        )
    mean, std = (as_numbers(f"normalization[{i}]", part) for i, part in enumerate(value))
    if len(mean) != len(std) or not all(deviation > 0 for deviation in std):
        raise SettingsError(
            f"normalization is {value!r}; give as many deviations as means, all positive."
        )
    return mean, std


class Moments:
    """Mean and deviation of each channel, of images that come in blocks.

    The sums are integers, so that the result does not depend on how the images are cut in blocks,
    and no image is made a float.

    Example:
        >>> moments = Moments(1)
        >>> for value in (0, 255):
        ...     moments.add(np.full((3, 1, 2, 2), value, np.uint8))
        >>> moments.result()
        ((0.5,), (0.5,))
    """

    def __init__(self, channels: int) -> None:
        self._values = 0
        self._sums, self._squares = [0] * channels, [0] * channels

    def add(self, pixels: np.ndarray[Any, Any]) -> None:
        """Takes uint8 images of shape (n, channels, height, width) in."""
        self._values += pixels.size // pixels.shape[1]
        for start in range(0, len(pixels), 256):
            block = pixels[start : start + 256]
            for c in range(block.shape[1]):
                values = block[:, c].astype(np.uint16)
                self._sums[c] += int(values.sum(dtype=np.uint64))
                self._squares[c] += int((values * values).sum(dtype=np.uint64))

    def result(self) -> Normalization:
        """Mean and standard deviation of pixels scaled to [0, 1]."""
        n = self._values
        mean = tuple(total / (n * 255) for total in self._sums)
        std = tuple(
            math.sqrt((n * square - total**2) / (n * 255) ** 2)
            for total, square in zip(self._sums, self._squares, strict=True)
        )
        return mean, std

"""Labelled images as bytes on one device, with fast draws of whole classes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from dd_core.errors import DataError

__all__ = ["ImageData", "LabeledImages"]


@dataclass(frozen=True)
class LabeledImages:
    """Images of one size with class labels.

    Attributes:
        pixels: uint8 of shape (n, channels, height, width), 0 to 255.
        labels: int64 of shape (n,), 0 to ``n_classes - 1``.
        mean: Mean of each channel of pixels scaled to [0, 1], for normalisation.
        std: Standard deviation of each channel, likewise.
        class_names: One name a class.

    Raises:
        DataError: Shapes, types or labels do not fit.

    Example:
        >>> images = LabeledImages(
        ...     torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]),
        ...     mean=(0.3,), std=(0.35,), class_names=("shirt", "bag"))
        >>> images.n_classes, images.size, images.class_counts.tolist()
        (2, 8, [2, 2])
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise DataError(
                f"pixels are {self.pixels.dtype} of shape {tuple(self.pixels.shape)}; "
                "give uint8 of shape (n, channels, height, width)."
            )
        if self.labels.shape != self.pixels.shape[:1] or self.labels.dtype != torch.int64:
            raise DataError(
                f"labels are {self.labels.dtype} of shape {tuple(self.labels.shape)}; "
                f"give int64 of shape ({len(self.pixels)},), one a image."
            )
        if len(self.pixels) == 0:
            raise DataError("pixels hold no image; give at least one a class.")
        if self.pixels.shape[2] != self.pixels.shape[3]:
            raise DataError(f"images are {tuple(self.pixels.shape[2:])}; they must be square.")
        if not len(self.mean) == len(self.std) == self.pixels.shape[1]:
            raise DataError(
                f"mean and std have {len(self.mean)} and {len(self.std)} entries for "
                f"{self.pixels.shape[1]} channels; give one a channel."
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.n_classes:
            raise DataError(
                f"labels run from {low} to {high}, but there are {self.n_classes} class names."
            )

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.pixels.shape[1]

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.pixels.shape[2]

    @cached_property
    def class_counts(self) -> Tensor:
        """Images of each class, int64 of shape (n_classes,)."""
        return torch.bincount(self.labels, minlength=self.n_classes)

    @cached_property
    def smallest_class(self) -> int:
        """Images of the smallest class."""
        return int(self.class_counts.min())

    @cached_property
    def _beyond(self) -> Tensor:
        """For each class and place up to the largest class: whether the class ends before it."""
        places = torch.arange(int(self.class_counts.max()), device=self.pixels.device)
        return places >= self.class_counts[:, None]

    @cached_property
    def _class_order(self) -> tuple[Tensor, Tensor]:
        """Indices sorted by class, and where each class begins."""
        order = torch.argsort(self.labels, stable=True)
        return order, torch.cumsum(self.class_counts, 0) - self.class_counts

    def of_class(self, label: int) -> Tensor:
        """Indices of the images of one class, in the order of the data set."""
        order, starts = self._class_order
        start = int(starts[label])
        return order[start : start + int(self.class_counts[label])]

    def draw_per_class(self, n: int, generator: torch.Generator) -> Tensor:
        """Draws n different images of every class.

        Args:
            n: Images of each class, at most the size of the smallest class.
            generator: Source of randomness, on any device; its draws decide, not where images lie.

        Returns:
            uint8 of shape (n_classes, n, channels, height, width).

        Raises:
            DataError: A class has fewer than n images.
        """
        if n > self.smallest_class:
            name = self.class_names[int(self.class_counts.argmin())]
            raise DataError(
                f"n is {n}, but class {name!r} has {self.smallest_class} images; ask for fewer."
            )
        device = generator.device
        keys = torch.rand(self._beyond.shape, generator=generator, device=device)
        keys.masked_fill_(self._beyond.to(device), 2.0)
        chosen = keys.topk(n, dim=1, largest=False, sorted=True).indices.to(self.pixels.device)
        order, starts = self._class_order
        index = order[(starts[:, None] + chosen).flatten()]
        return self.pixels[index].view(self.n_classes, n, *self.pixels.shape[1:])

    def to(self, device: torch.device) -> LabeledImages:
        """The same images on another device."""
        return replace(self, pixels=self.pixels.to(device), labels=self.labels.to(device))

    def fingerprint(self) -> str:
        """SHA-256 of shape, normalisation, labels and pixels, in hexadecimal."""
        head = (tuple(self.pixels.shape), self.mean, self.std)
        digest = hashlib.sha256(repr(head).encode())
        digest.update(self.labels.cpu().numpy().tobytes())
        digest.update(self.pixels.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set: its name, training images and test images."""

    name: str
    train: LabeledImages
    test: LabeledImages

"""Labelled images as bytes, on one device or in a mapped file, with fast draws of whole classes."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from dd_core._arguments import as_instance, as_names, as_numbers, as_text
from dd_core.errors import DataError, SettingsError

__all__ = ["ImageData", "LabeledImages"]

_NAMED = 5  # class names in one message


@dataclass(frozen=True)
class LabeledImages:
    """Images of one size with class labels.

    Attributes:
        pixels: uint8 of shape (n, channels, height, width), 0 to 255.
        labels: int64 of shape (n,), 0 to ``n_classes - 1``; every class has an image.
        mean: Mean of each channel of pixels scaled to [0, 1], for normalisation.
        std: Standard deviation of each channel, likewise.
        class_names: One name a class.
        stored: SHA-256 of the pixels, where they are mapped from a file of a known hash (see
            `dd_core.datasets.read_image_folder`); then they are never copied as a whole. Empty
            for pixels in memory.
        draws_on: The device that draws arrive on, by default that of the pixels; see `to`.

    Raises:
        DataError: Shapes, types or labels do not fit, or a class is empty.

    Example:
        >>> images = LabeledImages(
        ...     torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]),
        ...     mean=(0.3,), std=(0.35,), class_names=("shirt", "bag"))
        >>> images.n_classes, images.size, images.class_sizes
        (2, 8, (2, 2))
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    stored: str = ""
    draws_on: torch.device | None = None

    def __post_init__(self) -> None:
        _check_pixels(self.pixels)
        _check_labels(self.labels, len(self.pixels))
        try:
            object.__setattr__(self, "mean", as_numbers("mean", self.mean))
            object.__setattr__(self, "std", as_numbers("std", self.std))
            object.__setattr__(self, "class_names", as_names("class_names", self.class_names))
        except SettingsError as error:
            raise DataError(str(error)) from None
        if not len(self.mean) == len(self.std) == self.pixels.shape[1]:
            raise DataError(
                f"mean and std have {len(self.mean)} and {len(self.std)} entries for "
                f"{self.pixels.shape[1]} channels; give one a channel."
            )
        if not all(deviation > 0 for deviation in self.std):
            raise DataError(
                f"std is {self.std}, but images are divided by it; give positive numbers (a "
                "channel that is the same everywhere measures 0)."
            )
        low, high = int(self.labels.min()), int(self.labels.max())
        if low < 0 or high >= self.n_classes:
            raise DataError(
                f"labels run from {low} to {high}, but there are {self.n_classes} class names; "
                "labels count the names from 0."
            )
        empty = [self.class_names[c] for c, size in enumerate(self.class_sizes) if size == 0]
        if empty:
            more = f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
            raise DataError(
                f"No image is labelled {', '.join(map(repr, empty[:_NAMED]))}{more}; an empty "
                "class cannot be distilled. Add images, or leave it out of class_names and "
                "number the labels anew."
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

    @property
    def device(self) -> torch.device:
        """The device that draws arrive on."""
        return self.pixels.device if self.draws_on is None else self.draws_on

    @cached_property
    def class_sizes(self) -> tuple[int, ...]:
        """Images of each class, counted once: later draws ask the device nothing."""
        return tuple(torch.bincount(self.labels, minlength=self.n_classes).tolist())

    @cached_property
    def class_counts(self) -> Tensor:
        """Images of each class, int64 of shape (n_classes,) on the pixels' device."""
        return torch.tensor(self.class_sizes, device=self.pixels.device)

    @property
    def smallest_class(self) -> int:
        """Images of the smallest class."""
        return min(self.class_sizes)

    @cached_property
    def _beyond(self) -> Tensor:
        """For each class and place up to the largest class: whether the class ends before it."""
        places = torch.arange(max(self.class_sizes), device=self.pixels.device)
        return places >= self.class_counts[:, None]

    @cached_property
    def _class_order(self) -> tuple[Tensor, Tensor]:
        """Indices sorted by class, and where each class begins, on the pixels' device."""
        order = torch.argsort(self.labels, stable=True).to(self.pixels.device)
        return order, torch.cumsum(self.class_counts, 0) - self.class_counts

    @cached_property
    def _grids(self) -> dict[tuple[int, int, int], Tensor]:
        """Places of a (classes, n) grid that hold an image, for classes of fewer than n."""
        return {}

    def of_class(self, label: int) -> Tensor:
        """Indices of the images of one class, in the order of the data set."""
        order, _ = self._class_order
        start = sum(self.class_sizes[:label])
        return order[start : start + self.class_sizes[label]]

    def take(self, index: Tensor | slice) -> Tensor:
        """Some images' pixels, on `device`.

        Pixels that stay on the host are gathered there and, for CUDA, copied through page-locked
        memory while the device goes on computing.

        Args:
            index: int64 of shape (m,), on any device, or a slice.

        Returns:
            uint8 of shape (m, channels, height, width).
        """
        home = self.pixels.device
        if isinstance(index, slice):
            part = self.pixels[index]
            return part if self.device == home else part.to(self.device)
        index = index.to(home)
        if self.device == home or self.device.type != "cuda":
            return self.pixels.index_select(0, index).to(self.device)
        shape = (len(index), *self.pixels.shape[1:])
        batch = torch.empty(shape, dtype=torch.uint8, pin_memory=True)
        torch.index_select(self.pixels, 0, index, out=batch)
        return batch.to(self.device, non_blocking=True)

    def draw_indices(
        self, n: int, generator: torch.Generator, *, short: Literal["error", "repeat"] = "error"
    ) -> Tensor:
        """Draws n images of every class: which ones.

        Args:
            n: Images of each class.
            generator: Source of randomness, on any device; its draws decide, not where images lie.
            short: Classes of fewer than n images are an ``error``, or ``repeat`` their images in
                random order, each floor(n / size) or ceil(n / size) times. Draws of the other
                classes are the same.

        Returns:
            int64 of shape (n_classes, n) on the pixels' device.

        Raises:
            DataError: A class has fewer than n images and ``short`` is ``error``.
        """
        if n > self.smallest_class and short == "error":
            name = self.class_names[self.class_sizes.index(self.smallest_class)]
            raise DataError(
                f"n is {n}, but class {name!r} has {self.smallest_class} images; ask for fewer."
            )
        chosen = self._shuffled(n, generator)
        if n > self.smallest_class:
            places = torch.arange(n, device=self.pixels.device) % self.class_counts[:, None]
            keys = torch.rand(places.shape, generator=generator, device=generator.device)
            keys = keys.to(self.pixels.device).argsort(dim=1)
            mixed = places.gather(1, keys)
            places = torch.where(self.class_counts[:, None] < n, mixed, places)
            chosen = chosen.gather(1, places)
        order, starts = self._class_order
        return order[starts[:, None] + chosen]

    def draw_per_class(
        self, n: int, generator: torch.Generator, *, short: Literal["error", "repeat"] = "error"
    ) -> Tensor:
        """Draws n images of every class, different ones where the class has as many.

        Args:
            n: Images of each class.
            generator: Source of randomness, on any device.
            short: What is done with classes of fewer than n images, see `draw_indices`.

        Returns:
            uint8 of shape (n_classes, n, channels, height, width) on `device`.

        Raises:
            DataError: A class has fewer than n images and ``short`` is ``error``.

        Example:
            >>> pixels = torch.tensor([7, 8, 9], dtype=torch.uint8).view(3, 1, 1, 1)
            >>> images = LabeledImages(pixels, torch.tensor([0, 0, 1]), (0.5,), (0.2,), ("a", "b"))
            >>> images.draw_per_class(4, torch.Generator(), short="repeat").sort(1).values.flatten()
            tensor([7, 7, 8, 8, 9, 9, 9, 9], dtype=torch.uint8)
        """
        index = self.draw_indices(n, generator, short=short)
        return self.take(index.flatten()).view(self.n_classes, n, *self.pixels.shape[1:])

    def draw_batch(
        self, n: int, generator: torch.Generator, *, classes: range | None = None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Draws up to n different images of each class; a class that has fewer gives all.

        Args:
            n: Images of each class.
            generator: Source of randomness, on any device. The draw of a class is the same
                whichever other classes are asked for.
            classes: Consecutive classes, by default all.

        Returns:
            uint8 of shape (total, channels, height, width) on `device`, class by class, and how
            many images each class gave.
        """
        return self._gather(self._shuffled(n, generator), n, classes)

    def first_batch(
        self, n: int, *, classes: range | None = None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """The first n images of each class, or all of a class that has fewer; see `draw_batch`."""
        most = min(n, max(self.class_sizes))
        places = torch.arange(most, device=self.pixels.device).expand(self.n_classes, -1)
        return self._gather(places, n, classes)

    def _shuffled(self, n: int, generator: torch.Generator) -> Tensor:
        """Places within each class in random order, up to n; those of short classes come first.

        Keys of all classes are drawn, so that a class's draw does not depend on who asks.
        """
        device = generator.device
        keys = torch.rand(self._beyond.shape, generator=generator, device=device)
        keys.masked_fill_(self._beyond.to(device), 2.0)
        most = min(n, keys.shape[1])
        chosen = keys.topk(most, dim=1, largest=False, sorted=True).indices
        return chosen.to(self.pixels.device)

    def _gather(
        self, chosen: Tensor, n: int, classes: range | None
    ) -> tuple[Tensor, tuple[int, ...]]:
        """Images at places within their classes, without those beyond a class's end."""
        classes = range(self.n_classes) if classes is None else classes
        part = slice(classes.start, classes.stop)
        sizes = [min(n, size) for size in self.class_sizes[part]]
        order, starts = self._class_order
        places = (starts[part, None] + chosen[part]).flatten()
        if min(sizes, default=n) < chosen.shape[1]:
            places = places[self._filled(sizes, chosen.shape[1], classes.start)]
        return self.take(order[places]), tuple(sizes)

    def _filled(self, sizes: Sequence[int], width: int, start: int) -> Tensor:
        key = (start, len(sizes), width)
        if key not in self._grids:
            flat = [c * width + i for c, size in enumerate(sizes) for i in range(size)]
            self._grids[key] = torch.tensor(flat, device=self.pixels.device)
        return self._grids[key]

    def to(self, device: torch.device, *, share: float = 0.5) -> LabeledImages:
        """The same images for computations on another device.

        Pixels move there, unless they are mapped from a file or take more than a share of a CUDA
        device's free memory: then they stay on the host, and only what is drawn is moved. Draws
        are the same either way.

        Args:
            device: Where draws shall arrive.
            share: Part of the free memory of a CUDA device that pixels may take.
        """
        device = _indexed(device)
        labels = self.labels.to(device)
        if self.stored or not _fits(self.pixels, device, share):
            return replace(self, labels=labels, draws_on=device)
        return replace(self, pixels=self.pixels.to(device), labels=labels, draws_on=None)

    def fingerprint(self) -> str:
        """SHA-256 of shape, normalisation, labels and pixels, in hexadecimal.

        Mapped pixels are not read: their file's hash stands for them.
        """
        head = (tuple(self.pixels.shape), self.mean, self.std)
        digest = hashlib.sha256(repr(head).encode())
        digest.update(self.labels.cpu().numpy().tobytes())
        if self.stored:
            digest.update(self.stored.encode())
        else:
            digest.update(self.pixels.cpu().contiguous().numpy().data)
        return digest.hexdigest()


def _indexed(device: torch.device) -> torch.device:
    """``cuda`` as ``cuda:N``, so that devices can be compared."""
    return torch.empty(0, device=device).device


def _fits(pixels: Tensor, device: torch.device, share: float) -> bool:
    """Whether pixels may move to the device."""
    if device.type != "cuda" or pixels.device == device:
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return pixels.nbytes <= share * free


def _check_pixels(pixels: object) -> None:
    if not isinstance(pixels, Tensor) or pixels.dtype != torch.uint8 or pixels.ndim != 4:
        raise DataError(
            f"pixels are {_kind(pixels)}; give uint8 of shape (n, channels, height, width)."
        )
    if len(pixels) == 0:
        raise DataError("pixels hold no image; give at least one a class.")
    if pixels.shape[2] != pixels.shape[3]:
        raise DataError(f"images are {tuple(pixels.shape[2:])}; they must be square.")
    if pixels.numel() == 0:
        raise DataError(
            f"pixels are of shape {tuple(pixels.shape)}; give at least one channel and one pixel."
        )


def _check_labels(labels: object, n: int) -> None:
    if not isinstance(labels, Tensor) or labels.shape != (n,) or labels.dtype != torch.int64:
        raise DataError(
            f"labels are {_kind(labels)}; give int64 of shape ({n},), one for each image."
        )


def _kind(value: object) -> str:
    """Type and shape of something that should be a tensor."""
    if isinstance(value, Tensor):
        return f"{value.dtype} of shape {tuple(value.shape)}"
    return f"of type {type(value).__name__}, not a tensor"


@dataclass(frozen=True, slots=True)
class ImageData:
    """A data set: its name, training images and test images.

    Raises:
        SettingsError: An argument is something else.
        DataError: Test images are of another shape, normalisation or classes than training images.
    """

    name: str
    train: LabeledImages
    test: LabeledImages

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", as_text("name", self.name))
        as_instance("train", self.train, LabeledImages)
        as_instance("test", self.test, LabeledImages)
        for what in ("channels", "size", "class_names", "mean", "std"):
            ours, theirs = getattr(self.train, what), getattr(self.test, what)
            if ours != theirs:
                raise DataError(
                    f"{what} of test is {theirs}, but {what} of train is {ours}; both must be "
                    "alike."
                )

"""The synthetic set: its start, its views, and the space in which an optimiser moves it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dd_core.decoding import decode, factors_of
from dd_core.errors import DataError, SettingsError
from dd_core.images import LabeledImages
from dd_core.runtime import generator
from dd_core.settings import SyntheticSettings

__all__ = [
    "clamp_pixels",
    "decode",
    "initial_pixels",
    "n_views",
    "pack",
    "to_space",
    "to_unit",
]

Space = Literal["unit", "normalized"]


def n_views(settings: SyntheticSettings) -> int:
    """Training images that the synthetic images of one class give.

    Example:
        >>> n_views(SyntheticSettings(ipc=10, factor=2))
        40
        >>> n_views(SyntheticSettings(ipc=50, factor=2, decode="bound", bound=128))
        107
    """
    plan = factors_of(settings.ipc, settings.factor, settings.decode, settings.bound)
    return sum(f**2 for factors in plan for f in factors)


def to_space(
    pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], space: Space
) -> Tensor:
    """Pixels from 0 to 1 as the optimiser sees them: (x - mean) / std for ``normalized``.

    Args:
        pixels: Shape (..., channels, size, size).
        mean: Mean of each channel of images scaled to [0, 1].
        std: Standard deviation of each channel, likewise.
        space: ``unit`` returns the pixels themselves.

    Example:
        >>> to_space(torch.full((1, 1, 1), 0.75), (0.5,), (0.25,), "normalized").item()
        1.0
    """
    if space == "unit":
        return pixels
    return (pixels - _column(mean, pixels)) / _column(std, pixels)


def to_unit(
    pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], space: Space
) -> Tensor:
    """The inverse of `to_space`: x * std + mean for ``normalized``. Differentiable."""
    if space == "unit":
        return pixels
    return pixels * _column(std, pixels) + _column(mean, pixels)


@torch.no_grad()
def clamp_pixels(
    pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...], space: Space
) -> None:
    """Puts pixels back, in place, into what an image can show: [0, 1] in the space ``unit``.

    Args:
        pixels: Shape (..., channels, size, size), in ``space``.
        mean: See `to_space`.
        std: See `to_space`.
        space: ``unit`` or ``normalized``, where a channel's range is from -mean / std to
            (1 - mean) / std.

    Example:
        >>> pixels = torch.tensor([[[-9.0]], [[9.0]]])
        >>> clamp_pixels(pixels, (0.5, 0.5), (0.25, 0.25), "normalized")
        >>> pixels.flatten().tolist()
        [-2.0, 2.0]
    """
    if space == "unit":
        pixels.clamp_(0, 1)
        return
    for channel, (m, s) in enumerate(zip(mean, std, strict=True)):
        pixels.select(-3, channel).clamp_(-m / s, (1 - m) / s)


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return _stored_column(tuple(values), like.device, like.dtype)


@lru_cache(maxsize=16)
def _stored_column(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    """One value a channel, of shape (channels, 1, 1); kept, so that a loop copies nothing."""
    with torch.inference_mode(False):  # so that gradients may pass it later
        return torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1)


def initial_pixels(images: LabeledImages, settings: SyntheticSettings, seed: int) -> Tensor:
    """The synthetic set before the first iteration.

    Args:
        images: Real training images.
        settings: Number of images, factor and kind of start.
        seed: Seed of the choice of real images, or of the noise.

    Returns:
        float32 of shape (n_classes, ipc, channels, size, size) on the images' device; in [0, 1],
        but where ``init_file`` holds free pixels.

    Raises:
        SettingsError: The factor does not divide the size of the images, or the file of
            ``init_file`` does not fit images or settings.
        DataError: A class has too few real images.
        ArtifactError: ``init_file`` is missing or damaged.
    """
    factor, ipc = settings.factor, settings.ipc
    if images.size % factor:
        raise SettingsError(
            f"factor is {factor}, which does not divide the images' {images.size} px; choose a "
            "divisor."
        )
    if settings.init == "file":
        return _from_file(images, settings).to(images.device)
    draws = generator(seed, "initial pixels")  # on the CPU, for the same start on every device
    if settings.init == "noise":
        shape = (images.n_classes, ipc, images.channels, images.size, images.size)
        noise = torch.randn(shape, generator=draws)
        return (noise / 4 + 0.5).clamp_(0, 1).to(images.device)
    views = factor**2 if settings.init == "mix" else 1
    try:
        drawn = images.draw_per_class(ipc * views, draws, short=settings.short_classes)
    except DataError as error:
        raise DataError(
            f"ipc {ipc} with factor {factor} and init {settings.init!r} needs {ipc * views} real "
            f"images a class: {str(error).rstrip('.')}, or set short_classes = 'repeat'."
        ) from None
    real = drawn.float() / 255
    return real if views == 1 else pack(real, ipc, factor)


def _from_file(images: LabeledImages, settings: SyntheticSettings) -> Tensor:
    """Pixels of the `DistilledSet` in ``init_file``, after every check that they fit."""
    from dd_core.artifact import DistilledSet  # which imports this package's decoding

    stored = DistilledSet.load(Path(settings.init_file))
    counts = sorted(set(stored.class_counts.tolist()))
    facts: tuple[tuple[str, object, object], ...] = (
        ("classes", len(stored.class_names), images.n_classes),
        ("the class names", list(stored.class_names), list(images.class_names)),
        ("images a class", counts if len(counts) > 1 else counts[0], settings.ipc),
        ("channels", stored.images.shape[1], images.channels),
        ("pixels a side", stored.images.shape[-1], images.size),
        ("factor", stored.factor, settings.factor),
    )
    for name, found, wanted in facts:
        if found != wanted:
            raise SettingsError(
                f"init_file {settings.init_file} does not fit: {name}: {_short(found)} in the "
                f"file, {_short(wanted)} asked for. Give a set that fits, or change the settings."
            )
    order = torch.argsort(stored.labels, stable=True)
    return stored.images[order].view(images.n_classes, settings.ipc, *stored.images.shape[1:])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def pack(real: Tensor, ipc: int, factor: int) -> Tensor:
    """Shrinks factor^2 images into the cells of each synthetic image (area average)."""
    classes, _, channels, size, _ = real.shape
    small = size // factor
    shrunk = F.adaptive_avg_pool2d(real.flatten(0, 1), small)
    cells = shrunk.view(classes * ipc, factor, factor, channels, small, small)
    grid = cells.permute(0, 3, 1, 4, 2, 5).reshape(classes, ipc, channels, size, size)
    return grid.contiguous()

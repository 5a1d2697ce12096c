"""The synthetic set: its start from real images, and multi-formation.

Multi-formation (IDC, Kim et al. 2022; NCFM rho = 2): an image is a rho x rho grid of small views;
`decode` enlarges each to the full size, so that ipc images give ipc * rho^2 for training.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dd_core.errors import DataError, SettingsError
from dd_core.images import LabeledImages
from dd_core.runtime import generator
from dd_core.settings import SyntheticSettings

__all__ = ["decode", "initial_pixels"]


def decode(pixels: Tensor, factor: int) -> Tensor:
    """Cuts each image in factor x factor views and enlarges each bilinearly to the full size.

    Args:
        pixels: Shape (groups, n, channels, size, size).
        factor: rho; must divide the size.

    Returns:
        Shape (groups, n * factor^2, channels, size, size); the views of one image stand together,
        row by row. Differentiable.

    Example:
        >>> decode(torch.zeros(10, 1, 3, 32, 32), 2).shape
        torch.Size([10, 4, 3, 32, 32])
    """
    if factor == 1:
        return pixels
    groups, n, channels, size, _ = pixels.shape
    small = size // factor
    views = pixels.view(groups * n, channels, factor, small, factor, small)
    views = views.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, small, small)
    large = F.interpolate(views, size=(size, size), mode="bilinear", align_corners=False)
    return large.view(groups, n * factor**2, channels, size, size)


def initial_pixels(images: LabeledImages, settings: SyntheticSettings, seed: int) -> Tensor:
    """The synthetic set before the first iteration.

    Args:
        images: Real training images.
        settings: Number of images, factor and kind of start.
        seed: Seed of the choice of real images, or of the noise.

    Returns:
        float32 in [0, 1] of shape (n_classes, ipc, channels, size, size) on the images' device.

    Raises:
        SettingsError: The factor does not divide the size of the images.
        DataError: A class has too few real images.
    """
    factor, ipc = settings.factor, settings.ipc
    if images.size % factor:
        raise SettingsError(
            f"factor is {factor}, which does not divide the images' {images.size} px; choose a "
            "divisor."
        )
    draws = generator(seed, "initial pixels")  # on the CPU, for the same start on every device
    if settings.init == "noise":
        shape = (images.n_classes, ipc, images.channels, images.size, images.size)
        noise = torch.randn(shape, generator=draws)
        return (noise / 4 + 0.5).clamp_(0, 1).to(images.pixels.device)
    views = factor**2 if settings.init == "mix" else 1
    try:
        real = images.draw_per_class(ipc * views, draws).float() / 255
    except DataError as error:
        raise DataError(
            f"ipc {ipc} with factor {factor} and init {settings.init!r} needs {ipc * views} real "
            f"images a class: {error}"
        ) from None
    return real if views == 1 else _pack(real, ipc, factor)


def _pack(real: Tensor, ipc: int, factor: int) -> Tensor:
    """Shrinks factor^2 images into the cells of each synthetic image (area average)."""
    classes, _, channels, size, _ = real.shape
    small = size // factor
    shrunk = F.adaptive_avg_pool2d(real.flatten(0, 1), small)
    cells = shrunk.view(classes * ipc, factor, factor, channels, small, small)
    grid = cells.permute(0, 3, 1, 4, 2, 5).reshape(classes, ipc, channels, size, size)
    return grid.contiguous()

"""Network architectures; `build_network` makes one from settings."""

from __future__ import annotations

import torch

from dd_core.errors import SettingsError
from dd_core.images import LabeledImages
from dd_core.networks.convnet import ConvNet
from dd_core.settings import NetworkSettings

__all__ = ["ConvNet", "build_network", "network_for"]


def build_network(
    settings: NetworkSettings, *, channels: int, size: int, n_classes: int, seed: int
) -> ConvNet:
    """Makes a network with random weights that follow from the seed alone.

    Args:
        settings: The architecture.
        channels: Channels of the images.
        size: Height and width of the images.
        n_classes: Classes of the linear classifier.
        seed: Seed of the weights; the global generator is left as it was.

    Raises:
        SettingsError: The images are too small for the depth.
    """
    if size < 2**settings.depth:
        raise SettingsError(
            f"depth is {settings.depth}, which halves images {settings.depth} times, but they "
            f"have {size} px; choose a depth of at most {size.bit_length() - 1}."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ConvNet(
            channels=channels,
            size=size,
            n_classes=n_classes,
            depth=settings.depth,
            width=settings.width,
            norm=settings.norm,
        )


def network_for(images: LabeledImages, settings: NetworkSettings, seed: int) -> ConvNet:
    """Makes a network for the channels, size and classes of these images, on the CPU."""
    return build_network(
        settings,
        channels=images.channels,
        size=images.size,
        n_classes=images.n_classes,
        seed=seed,
    )

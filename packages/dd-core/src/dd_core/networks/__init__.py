"""Network architectures; `build_network` makes one from settings."""

from __future__ import annotations

import math

import torch

from dd_core.errors import SettingsError
from dd_core.images import LabeledImages
from dd_core.networks.alexnet import AlexNet
from dd_core.networks.base import Network, initialize, padded_size
from dd_core.networks.convnet import ConvNet
from dd_core.networks.resnet import ResNet18
from dd_core.networks.stacked import stack_networks, unstack_network
from dd_core.networks.vgg import VGG11
from dd_core.settings import NetworkSettings

__all__ = [
    "VGG11",
    "AlexNet",
    "ConvNet",
    "Network",
    "ResNet18",
    "build_network",
    "describe_network",
    "initialize",
    "large_enough",
    "network_for",
    "stack_networks",
    "unstack_network",
    "usual_depth",
]

_SMALLEST = {"alexnet": 8, "vgg11": 32, "resnet18": 16}


def build_network(
    settings: NetworkSettings, *, channels: int, size: int, n_classes: int, seed: int
) -> Network:
    """Makes a network on the CPU with random weights that follow from the seed alone.

    Args:
        settings: The architecture.
        channels: Channels of the images.
        size: Height and width of the images.
        n_classes: Classes of the linear classifier.
        seed: Seed of the weights; the global generator is left as it was.

    Raises:
        SettingsError: The images are too small for the architecture or its depth, or the norm
            does not fit the width.

    Example:
        >>> settings = NetworkSettings(architecture="resnet18", norm="batch")
        >>> build_network(settings, channels=3, size=64, n_classes=10, seed=0).n_features
        512
    """
    if not large_enough(settings, size):
        least = _SMALLEST[settings.architecture]
        raise SettingsError(
            f"architecture is {settings.architecture!r}, which needs images of at least {least} "
            f"px, but they have {size}; choose 'convnet' with a depth that suits them."
        )
    with torch.device("meta"):  # no memory, no draws from the global generator
        network = _make(settings, channels=channels, size=size, n_classes=n_classes)
    empty = {
        name: torch.empty_strided(t.size(), t.stride(), dtype=t.dtype)
        for name, t in network.state_dict().items()
    }
    network.load_state_dict(empty, assign=True)
    initialize(network, torch.Generator().manual_seed(seed))
    return network


def large_enough(settings: NetworkSettings, size: int) -> bool:
    """Whether images of a size are large enough for an architecture, whatever its depth."""
    return padded_size(size) >= _SMALLEST.get(settings.architecture, 1)


def usual_depth(size: int) -> int:
    """Blocks of a ConvNet for images of this size, as the literature takes them.

    Example:
        >>> [usual_depth(size) for size in (8, 28, 32, 64, 128, 224)]
        [1, 3, 3, 4, 5, 6]
    """
    return max(1, round(math.log2(size / 4)))


def network_for(images: LabeledImages, settings: NetworkSettings, seed: int) -> Network:
    """Makes a network for the channels, size and classes of these images, on the CPU."""
    return build_network(
        settings,
        channels=images.channels,
        size=images.size,
        n_classes=images.n_classes,
        seed=seed,
    )


def describe_network(settings: NetworkSettings) -> str:
    """The settings that matter to this architecture, in words; equal where networks are alike.

    Example:
        >>> describe_network(NetworkSettings())
        'convnet of depth 3, width 128 and norm instance'
        >>> describe_network(NetworkSettings("alexnet", depth=4))
        'alexnet'
    """
    if settings.architecture == "alexnet":
        return "alexnet"
    sizes = f"depth {settings.depth}, width {settings.width} and "
    return (
        f"{settings.architecture} of {sizes if settings.architecture == 'convnet' else ''}"
        f"norm {settings.norm}"
    )


def _make(settings: NetworkSettings, *, channels: int, size: int, n_classes: int) -> Network:
    if settings.architecture == "alexnet":
        return AlexNet(channels=channels, size=size, n_classes=n_classes)
    if settings.architecture == "vgg11":
        return VGG11(channels=channels, size=size, n_classes=n_classes, norm=settings.norm)
    if settings.architecture == "resnet18":
        return ResNet18(channels=channels, size=size, n_classes=n_classes, norm=settings.norm)
    return ConvNet(
        channels=channels,
        size=size,
        n_classes=n_classes,
        depth=settings.depth,
        width=settings.width,
        norm=settings.norm,
    )

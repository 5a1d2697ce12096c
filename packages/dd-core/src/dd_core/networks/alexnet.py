"""AlexNet for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.networks.base import Network, convolve, padded_size, stem_padding
from dd_core.objectives.base import Tap

__all__ = ["AlexNet"]

_CHANNELS = (128, 192, 256, 192, 192)
_KERNELS = (5, 5, 3, 3, 3)
_POOLED = (0, 1, 4)  # convolutions that a max pooling follows


class AlexNet(Network):
    """AlexNet as the dataset-distillation literature (DC, DM) cuts it for 32 px.

    Five convolutions with ReLU: 128 and 192 channels of 5x5, then 256, 192, 192 of 3x3, with 2x2
    max pooling after the first, second and last. It has no norm layers. The features are the last
    pooled map, flattened: 192 * (size / 8)**2. Images of 28 px are padded to 32.

    Taps: ``conv`` gives the outputs of all five convolutions. ``norm`` gives the outputs of the
    first two poolings, which DDM's code of 2024 taps in their place.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, at least 8.
        n_classes: Number of classes.

    Example:
        >>> net = AlexNet(channels=3, size=32, n_classes=10)
        >>> net.features(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 3072])
    """

    def __init__(self, *, channels: int, size: int, n_classes: int) -> None:
        super().__init__()
        inputs = (channels, *_CHANNELS[:-1])
        paddings = (stem_padding(size, 2), 2, 1, 1, 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, k, padding=p)
            for i, o, k, p in zip(inputs, _CHANNELS, _KERNELS, paddings, strict=True)
        )
        self.n_features = _CHANNELS[-1] * (padded_size(size) // 8) ** 2
        self.classifier = nn.Linear(self.n_features, n_classes)
        self.to(memory_format=torch.channels_last)

    def tapped(self, images: Tensor, tap: Tap) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the tapped maps; see `Network.tapped`."""
        x = images.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for number, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv2d)
            x = convolve(x, convolution)
            if tap == "conv":
                maps.append(x)
            x = F.relu(x)
            if number in _POOLED:
                x = F.max_pool2d(x, 2)
                if tap == "norm":
                    maps.append(x)
        return x.flatten(1), tuple(maps[:2] if tap == "norm" else maps)

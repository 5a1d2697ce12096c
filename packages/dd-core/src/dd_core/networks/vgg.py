"""VGG-11 for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.errors import SettingsError
from dd_core.networks.base import (
    Network,
    convolve,
    make_norm,
    normalize_maps,
    padded_size,
    stem_padding,
)
from dd_core.objectives.base import Tap

__all__ = ["VGG11"]

_CHANNELS = (64, 128, 256, 256, 512, 512, 512, 512)
_POOLED = (0, 1, 3, 5, 7)  # convolutions that a max pooling follows


class VGG11(Network):
    """VGG-11 as the dataset-distillation literature (DC, DM) cuts it for 32 px.

    Eight 3x3 convolutions, each with norm and ReLU, and five 2x2 max poolings; one linear
    classifier. The features are the last pooled map, flattened: 512 * (size // 32)**2. Images of
    28 px are padded to 32.

    Taps: ``conv`` gives the outputs of all eight convolutions, ``norm`` of all eight norms.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, 28 or at least 32.
        n_classes: Number of classes.
        norm: ``instance``, ``batch``, ``layer``, ``group`` or ``none``.

    Example:
        >>> net = VGG11(channels=3, size=32, n_classes=10)
        >>> net.features(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 512])
    """

    def __init__(self, *, channels: int, size: int, n_classes: int, norm: str = "instance") -> None:
        super().__init__()
        paddings = (stem_padding(size, 1), *[1] * (len(_CHANNELS) - 1))
        inputs = (channels, *_CHANNELS[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, 3, padding=p)
            for i, o, p in zip(inputs, _CHANNELS, paddings, strict=True)
        )
        self.norms = nn.ModuleList(make_norm(norm, width) for width in _CHANNELS)
        self._norm = norm
        self.n_features = _CHANNELS[-1] * (padded_size(size) // 32) ** 2
        self.classifier = nn.Linear(self.n_features, n_classes)
        self.to(memory_format=torch.channels_last)

    def tapped(self, images: Tensor, tap: Tap) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the tapped maps of every convolution; see `Network.tapped`."""
        if tap == "norm" and self._norm == "none":
            raise SettingsError("tap is 'norm', but the VGG-11 has norm 'none'; take tap 'conv'.")
        x = images.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for number, (convolution, norm) in enumerate(
            zip(self.convolutions, self.norms, strict=True)
        ):
            assert isinstance(convolution, nn.Conv2d)
            x = convolve(x, convolution)
            normed = normalize_maps(x, norm)
            maps += {"none": [], "conv": [x], "norm": [normed]}[tap]
            x = F.relu(normed)
            if number in _POOLED:
                x = F.max_pool2d(x, 2)
        return x.flatten(1), tuple(maps)

"""The ConvNet of dataset distillation: D blocks of convolution, norm, ReLU, average pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.errors import SettingsError
from dd_core.kernels import convnet_features
from dd_core.networks.base import (
    Network,
    convolve,
    make_norm,
    normalize_maps,
    padded_size,
    stem_padding,
)
from dd_core.objectives.base import Tap

__all__ = ["ConvNet"]


class ConvNet(Network):
    """ConvNet-D as in Gidaris & Komodakis (2018) and the dataset-distillation literature.

    Every block is Conv3x3 - norm (affine) - ReLU - AvgPool2x2; a linear classifier follows.
    Images of 28 px are padded to 32 in the first convolution, as in DC and DM. The features are
    the last pooled map, flattened channel by channel.

    Taps: ``conv`` gives the output of every block's convolution, bias included; ``norm`` gives
    the output of every block's norm, as DDM's code of 2024 taps.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, at least 2**depth.
        n_classes: Number of classes.
        depth: Number of blocks.
        width: Channels of each block.
        norm: ``instance``, ``batch``, ``layer``, ``group`` or ``none``.

    Raises:
        SettingsError: The images are too small for the depth, or the width has no 4 groups.

    Example:
        >>> net = ConvNet(channels=3, size=32, n_classes=10)
        >>> net.features(torch.zeros(2, 3, 32, 32)).shape, net(torch.zeros(2, 3, 32, 32)).shape
        (torch.Size([2, 2048]), torch.Size([2, 10]))
        >>> [tuple(m.shape) for m in net.tapped(torch.zeros(2, 3, 32, 32), "norm")[1]]
        [(2, 128, 32, 32), (2, 128, 16, 16), (2, 128, 8, 8)]
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        n_classes: int,
        depth: int = 3,
        width: int = 128,
        norm: str = "instance",
    ) -> None:
        super().__init__()
        padded = padded_size(size)
        if padded < 2**depth:
            raise SettingsError(
                f"depth is {depth}, which halves images {depth} times, but they have {size} px; "
                f"choose a depth of at most {padded.bit_length() - 1}."
            )
        paddings = [stem_padding(size, 1)] + [1] * (depth - 1)
        inputs = [channels] + [width] * (depth - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, width, 3, padding=p) for i, p in zip(inputs, paddings, strict=True)
        )
        self.norms = nn.ModuleList(make_norm(norm, width) for _ in range(depth))
        self._norm = norm
        self.n_features = width * (padded // 2**depth) ** 2
        self.classifier = nn.Linear(self.n_features, n_classes)
        self.to(memory_format=torch.channels_last)

    def tapped(self, images: Tensor, tap: Tap) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the tapped maps of every block; see `Network.tapped`."""
        if tap == "norm" and self._norm == "none":
            raise SettingsError("tap is 'norm', but the ConvNet has norm 'none'; take tap 'conv'.")
        if self._norm == "instance" and tap == "none":
            return self._fast_features(images), ()
        x = images.contiguous(memory_format=torch.channels_last)
        maps: list[Tensor] = []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            assert isinstance(convolution, nn.Conv2d)
            x = convolve(x, convolution)
            normed = normalize_maps(x, norm)
            maps += {"none": [], "conv": [x], "norm": [normed]}[tap]
            x = F.avg_pool2d(F.relu(normed), 2)
        return x.flatten(1), tuple(maps)

    def _fast_features(self, images: Tensor) -> Tensor:
        """All blocks at once. An instance norm takes away a constant of each channel: no bias."""
        weights, norms, paddings = [], [], []
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.GroupNorm)
            weights.append(convolution.weight)
            norms.append((norm.weight, norm.bias))
            paddings.append(int(convolution.padding[0]))
        return convnet_features(images, weights, norms, paddings)

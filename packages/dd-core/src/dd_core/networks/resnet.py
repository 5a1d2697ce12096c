"""ResNet-18 for small images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.networks.base import Network, convolve, make_norm, normalize_maps, stem_padding
from dd_core.objectives.base import Tap

__all__ = ["ResNet18"]

_WIDTHS = (64, 128, 256, 512)
_TAPPED_STAGES = 2


class ResNet18(Network):
    """ResNet-18 as the dataset-distillation literature (DC, DM) cuts it for 32 px.

    A 3x3 stem without pooling, four stages of two basic blocks (64, 128, 256, 512 channels; stages
    two to four halve the size), the mean over the last map's pixels, one linear classifier. The
    features are the mean: 512 numbers at every size. Images of 28 px are padded to 32.

    Taps: ``norm`` gives the outputs of the stem and of the first two stages, after their ReLU,
    which DDM's code of 2024 taps in place of norm layers. ``conv`` gives the outputs of the last
    convolutions of the same three parts, before norm and shortcut.

    Args:
        channels: Channels of the images.
        size: Height and width of the images, at least 16.
        n_classes: Number of classes.
        norm: ``instance``, ``batch``, ``layer``, ``group`` or ``none``.

    Example:
        >>> net = ResNet18(channels=3, size=32, n_classes=10)
        >>> net.features(torch.zeros(1, 3, 32, 32)).shape
        torch.Size([1, 512])
    """

    def __init__(self, *, channels: int, size: int, n_classes: int, norm: str = "instance") -> None:
        super().__init__()
        stem, *_ = _WIDTHS
        self.convolution = nn.Conv2d(channels, stem, 3, padding=stem_padding(size, 1), bias=False)
        self.norm = make_norm(norm, stem)
        inputs = (stem, *_WIDTHS[:-1])
        self.stages = nn.ModuleList(
            nn.ModuleList((_Block(i, o, 1 if i == o else 2, norm), _Block(o, o, 1, norm)))
            for i, o in zip(inputs, _WIDTHS, strict=True)
        )
        self.n_features = _WIDTHS[-1]
        self.classifier = nn.Linear(self.n_features, n_classes)
        self.to(memory_format=torch.channels_last)

    def tapped(self, images: Tensor, tap: Tap) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the tapped maps of stem and stages; see `Network.tapped`."""
        x = images.contiguous(memory_format=torch.channels_last)
        convolved = convolve(x, self.convolution)
        x = F.relu(normalize_maps(convolved, self.norm))
        maps = _chosen(tap, convolved, x)
        for number, stage in enumerate(self.stages):
            assert isinstance(stage, nn.ModuleList)
            for block in stage:
                convolved, x = block(x)
            if number < _TAPPED_STAGES:
                maps += _chosen(tap, convolved, x)
        return x.mean((2, 3)), tuple(maps)


def _chosen(tap: Tap, convolved: Tensor, out: Tensor) -> list[Tensor]:
    return {"none": [], "conv": [convolved], "norm": [out]}[tap]


class _Block(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where shapes change."""

    def __init__(self, inputs: int, outputs: int, stride: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.first_norm = make_norm(norm, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = make_norm(norm, outputs)
        self.shortcut = (
            None if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
        )
        self.shortcut_norm = None if inputs == outputs else make_norm(norm, outputs)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of the second convolution, and of the block."""
        inner = F.relu(normalize_maps(convolve(x, self.first), self.first_norm))
        convolved = convolve(inner, self.second)
        if self.shortcut is not None and self.shortcut_norm is not None:
            x = normalize_maps(convolve(x, self.shortcut), self.shortcut_norm)
        return convolved, F.relu(normalize_maps(convolved, self.second_norm) + x)

"""The ConvNet of dataset distillation: D blocks of convolution, norm, ReLU, average pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.kernels import instance_norm_relu_pool

__all__ = ["ConvNet"]


class ConvNet(nn.Module):
    """ConvNet-D as in Gidaris & Komodakis (2018) and the dataset-distillation literature.

    Every block is Conv3x3 - instance norm (affine) - ReLU - AvgPool2x2; a linear classifier
    follows. Images of 28 px are padded to 32 in the first convolution, as in DC and DM.

    Parameters are float32. Activations have the type of the images that come in, so bfloat16
    images make a bfloat16 network; the logits are float32 always.

    Args:
        channels: Channels of the images.
        size: Height and width of the images.
        n_classes: Number of classes.
        depth: Number of blocks.
        width: Channels of each block.
        norm: ``instance`` or ``none``.

    Example:
        >>> net = ConvNet(channels=3, size=32, n_classes=10)
        >>> net.features(torch.zeros(2, 3, 32, 32)).shape, net(torch.zeros(2, 3, 32, 32)).shape
        (torch.Size([2, 2048]), torch.Size([2, 10]))
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
        self._paddings = [3 if size == 28 else 1] + [1] * (depth - 1)
        inputs = [channels] + [width] * (depth - 1)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, width, 3, padding=p) for i, p in zip(inputs, self._paddings, strict=True)
        )
        self.norms = nn.ModuleList(
            nn.GroupNorm(width, width) if norm == "instance" else nn.Identity()
            for _ in range(depth)
        )
        final = (32 if size == 28 else size) // 2**depth
        self.n_features = width * final**2
        self.classifier = nn.Linear(self.n_features, n_classes)
        self.to(memory_format=torch.channels_last)

    def features(self, images: Tensor) -> Tensor:
        """The last pooled feature map, flattened channel by channel: (n, n_features)."""
        x = images.contiguous(memory_format=torch.channels_last)
        blocks = zip(self.convolutions, self.norms, self._paddings, strict=True)
        for convolution, norm, padding in blocks:
            weight, bias = (p.to(x.dtype) for p in convolution.parameters())
            if isinstance(norm, nn.GroupNorm):
                # The norm takes away a constant of each channel, so the bias changes nothing.
                x = F.conv2d(x, weight, padding=padding)
                x = instance_norm_relu_pool(x, norm.weight, norm.bias)
            else:
                x = F.avg_pool2d(F.relu(F.conv2d(x, weight, bias, padding=padding)), 2)
        return x.flatten(1)

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features, float32 of shape (n, n_classes)."""
        return F.linear(features.float(), self.classifier.weight, self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images of shape (n, channels, size, size)."""
        return self.classify(self.features(images))

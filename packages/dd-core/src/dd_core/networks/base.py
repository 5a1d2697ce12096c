"""What every network can do, and the layers that they share."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.errors import SettingsError
from dd_core.objectives.base import Tap

__all__ = [
    "Network",
    "convolve",
    "initialize",
    "make_norm",
    "normalize_maps",
    "padded_size",
    "stem_padding",
]


class Network(nn.Module, ABC):
    """A classifier whose features and feature maps can be looked at.

    Parameters are float32. Activations have the type of the images that come in, so bfloat16
    images make a bfloat16 network; the logits are float32 always.

    A subclass sets `n_features` and `classifier`, and writes `tapped`.

    Attributes:
        n_features: Length of the feature vector of one image.
        classifier: The linear layer from features to logits.
        copies: Networks that are computed as one; see `stack_networks`.
    """

    n_features: int
    classifier: nn.Linear
    copies: int = 1

    @abstractmethod
    def tapped(self, images: Tensor, tap: Tap) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Features, and the feature maps at the tapped places.

        Args:
            images: Normalised images of shape (n, channels, size, size).
            tap: ``none`` (no maps), ``conv`` (outputs of convolutions, before their norms) or
                ``norm`` (outputs of norm layers, before the ReLU). The class says which layers.

        Returns:
            Features of shape (n, n_features) and one map of shape (n, C, H, W) a tapped layer,
            all of the type of the images.

        Raises:
            SettingsError: The network has no norm layers and ``norm`` is asked for.
        """

    def features(self, images: Tensor) -> Tensor:
        """Features of normalised images: shape (n, n_features), of the type of the images."""
        return self.tapped(images, "none")[0]

    def classify(self, features: Tensor) -> Tensor:
        """Logits of features, float32 of shape (n, n_classes)."""
        weight, bias = self.classifier.weight, self.classifier.bias
        if self.copies == 1:
            return F.linear(features.float(), weight, bias)
        each = features.float().unflatten(1, (self.copies, -1)).transpose(0, 1)
        logits: Tensor = each @ weight.unflatten(0, (self.copies, -1)).mT
        return logits.transpose(0, 1).flatten(1) + bias

    def forward(self, images: Tensor) -> Tensor:
        """Logits of normalised images of shape (n, channels, size, size)."""
        return self.classify(self.features(images))


@torch.no_grad()
def initialize(network: nn.Module, draws: torch.Generator) -> None:
    """Overwrites all weights with PyTorch's usual initialisation, in place.

    Weights and biases of convolutions and linear layers are U(-b, b) with b = 1 / sqrt(fan in);
    norms begin as the identity and running statistics at mean 0 and variance 1.

    Args:
        network: Its weights are replaced, in their order.
        draws: Source of randomness, on the network's device.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            for parameter in layer.parameters():
                # Through a new tensor: in place, the draws would follow the order in memory.
                drawn = torch.empty(parameter.shape, device=parameter.device)
                parameter.copy_(drawn.uniform_(-bound, bound, generator=draws))
        elif isinstance(layer, nn.GroupNorm | nn.BatchNorm2d):
            layer.reset_parameters()


def make_norm(norm: str, channels: int) -> nn.Module:
    """A norm layer of a name of `NetworkSettings`, for maps of these channels.

    ``instance`` normalises each image and channel, ``layer`` each image over channels and pixels,
    ``group`` each image in 4 groups of channels. All have one factor and one offset a channel.
    (The layer norm of DC has them for each pixel too, which fixes the size of the images; before
    training there is no difference.) ``none`` is the identity.

    Raises:
        SettingsError: The channels do not make 4 groups.
    """
    if norm == "group" and channels % 4:
        raise SettingsError(
            f"norm is 'group', which makes 4 groups, but width is {channels}; give a width that "
            "4 divides."
        )
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "none":
        return nn.Identity()
    groups = {"instance": channels, "layer": 1, "group": 4}[norm]
    return nn.GroupNorm(groups, channels)


def normalize_maps(x: Tensor, norm: nn.Module) -> Tensor:
    """The norm layer on maps of any floating type.

    A batch norm uses the batch's statistics in training and the running ones in evaluation.
    """
    if isinstance(norm, nn.GroupNorm):
        weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
        if x.device.type == "cpu":
            # Backward, PyTorch's group norm is some 15 times slower on channels-last bfloat16.
            y = F.group_norm(x.contiguous(), norm.num_groups, weight, bias, norm.eps)
            return y.contiguous(memory_format=torch.channels_last)
        return F.group_norm(x, norm.num_groups, weight, bias, norm.eps)
    normed: Tensor = norm(x)  # batch norm keeps float32 statistics, whatever the type of x
    return normed


def convolve(x: Tensor, convolution: nn.Conv2d) -> Tensor:
    """The convolution, with its weights cast to the type of x."""
    bias = None if convolution.bias is None else convolution.bias.to(x.dtype)
    weight = convolution.weight.to(x.dtype)
    return F.conv2d(
        x, weight, bias, convolution.stride, convolution.padding, groups=convolution.groups
    )


def padded_size(size: int) -> int:
    """The size that a network computes with: images of 28 px are padded to 32."""
    return 32 if size == 28 else size


def stem_padding(size: int, usual: int) -> int:
    """Padding of the first convolution: 2 more for images of 28 px, as in DC and DM."""
    return usual + (padded_size(size) - size) // 2

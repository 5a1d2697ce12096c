"""Style matching of decomposed distribution matching (DDM, WACV 2025): moments and Gram matrices.

Both look at feature maps, layer by layer, and compare what is left of them when positions are
averaged away. Each is an objective of its own, to be added to ``dm``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from dd_core.errors import SettingsError
from dd_core.objectives._checks import one_of
from dd_core.objectives.base import ClassSlice, Features, Objective

__all__ = ["StyleGram", "StyleMoments"]

_EPS = 1e-5
"""Added to variances, as in the official code."""

_LEAST_TARGET = 1e-12
"""Least mean square that a relative term is divided by."""

Layers = Literal["norm", "conv"]


@dataclass(frozen=True, slots=True)
class StyleMoments(Objective):
    """Moments matching (MM): (1/L) sum_l (1/2) [mean_C (dmu)^2 + mean_C (dsigma)^2].

    dmu and dsigma are the differences, synthetic less real, of the mean and the standard deviation
    over space of each channel of layer l:

        ``batch_average``  of the map averaged over the images (unbiased variance; 2024 code),
        ``per_sample``     of each image's map (biased variance), then averaged over the images.

    Both add 1e-5 to the variance. Averaging over n images removes what differs among them, so with
    ``batch_average`` the standard deviation falls with n: 256 real against 10 synthetic images are
    a biased target, even where the distributions are equal. ``per_sample`` has no such bias; but
    after an instance norm each image's channels have mean 0 and deviation 1 whatever the image
    is, so there it would always be 0 and is refused.

    Source: DDM, L_MM; the weight of the official README is 10000.

    Attributes:
        layers: Where maps are taken: ``norm`` (outputs of the norm layers) or ``conv`` (outputs of
            the convolutions, before the norm).
        moments: ``batch_average`` or ``per_sample``.
        relative: Divide the two terms of a layer by the mean square over channels of their own
            real target (2026 code), so that layers of different scale count alike.

    Raises:
        SettingsError: A value is unknown, or the two do not go together; or, when it is used, the
            network has no such layers, or a map a single position.

    Example:
        >>> StyleMoments(layers="conv", moments="per_sample").tap
        'conv'
    """

    layers: Layers = "norm"
    moments: Literal["batch_average", "per_sample"] = "batch_average"
    relative: bool = False

    def __post_init__(self) -> None:
        one_of("layers", self.layers, ("norm", "conv"))
        one_of("moments", self.moments, ("batch_average", "per_sample"))
        if self.layers == "norm" and self.moments == "per_sample":
            raise SettingsError(
                "moments is 'per_sample' and layers is 'norm': after an instance norm each image's "
                "channels have mean 0 and deviation 1 whatever the image shows, so the loss would "
                "always be 0; set layers = 'conv', or moments = 'batch_average'."
            )

    @property
    def tap(self) -> Layers:  # type: ignore[override]  # an option decides, see `Objective.tap`
        """Where feature maps are taken."""
        return self.layers

    def statistics(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each layer's average map, or its channels' moments of shape (classes, 2, channels)."""
        _some(maps, self.layers)
        if self.moments == "batch_average":
            return tuple(_average_map(layer) for layer in maps)
        return tuple(torch.stack(_moments_of_images(layer), -2).mean(1) for layer in maps)

    def embed(self, features: Features) -> Features:
        """Moments of each layer, of shape (classes, 2, channels), and no vectors."""
        kept = features.statistics
        if self.moments == "batch_average":
            kept = tuple(_moments_of_map(layer) for layer in kept)
        return Features(features.vectors[:, :0], kept)

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The loss of each class, the mean over the layers."""
        losses = []
        for target, moments in zip(real.statistics, synthetic.statistics, strict=True):
            terms = (moments - target).square().mean(-1)
            if self.relative:
                terms = terms / target.square().mean(-1).clamp_min(_LEAST_TARGET)
            losses.append(terms.mean(-1))  # half of the sum of two
        return torch.stack(losses).mean(0)


@dataclass(frozen=True, slots=True)
class StyleGram(Objective):
    """Correlation matching (CM): (1/L) sum_l sum_ij (G_synthetic - G_real)_ij^2.

    G is the mean over the images of F F^T / (C H W), with the C channels of an image's map as the
    rows of F (DDM, L_CM; weight 10000 in the official README). The entries are *summed*. The plain
    form also compares the scale of the channels, and grows with its fourth power. With
    ``correlation`` the channels of each image are centred and divided by their standard deviation,
    G = Z Z^T / (H W), which compares neither mean nor scale.

    Attributes:
        layers: Where maps are taken: ``norm`` (outputs of the norm layers; after an instance norm
            only the entries off the diagonal carry a signal) or ``conv``.
        correlation: Compare correlations of the channels instead of plain products.

    Raises:
        SettingsError: A value is unknown; or, when it is used, the network has no such layers.

    Example:
        >>> StyleGram().tap
        'norm'
    """

    layers: Layers = "norm"
    correlation: bool = False

    def __post_init__(self) -> None:
        one_of("layers", self.layers, ("norm", "conv"))

    @property
    def tap(self) -> Layers:  # type: ignore[override]  # an option decides, see `Objective.tap`
        """Where feature maps are taken."""
        return self.layers

    def statistics(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Each layer's mean matrix, float32 of shape (classes, channels, channels)."""
        _some(maps, self.layers)
        make = _correlations if self.correlation else _products
        return tuple(make(layer).mean(1, dtype=torch.float32) for layer in maps)

    def embed(self, features: Features) -> Features:
        """The matrices without the vectors."""
        return Features(features.vectors[:, :0], features.statistics)

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The loss of each class, the mean over the layers."""
        pairs = zip(real.statistics, synthetic.statistics, strict=True)
        return torch.stack([(a - b).square().sum((-2, -1)) for a, b in pairs]).mean(0)


def _some(maps: Sequence[Tensor], layers: str) -> None:
    if not maps:
        raise SettingsError(
            f"layers is {layers!r}, but the network gives no feature maps there; choose other "
            "layers, or a network that has them."
        )


def _average_map(layer: Tensor) -> Tensor:
    """Mean over the images, float32 of shape (classes, C, H, W).

    Taken of rows in the order of memory, which is many times as fast for maps in channels-last.
    """
    channels_last = layer.movedim(2, -1)
    if channels_last.is_contiguous():
        rows = channels_last.flatten(2).mean(1, dtype=torch.float32)
        return rows.view(len(rows), *channels_last.shape[2:]).movedim(-1, 1)
    rows = layer.flatten(2).mean(1, dtype=torch.float32)
    return rows.view(len(rows), *layer.shape[2:])


def _moments_of_map(average: Tensor) -> Tensor:
    """Mean and unbiased deviation over space of (classes, C, H, W), as (classes, 2, C)."""
    if average.shape[-1] * average.shape[-2] < 2:
        raise SettingsError(
            f"a feature map has shape {tuple(average.shape[-2:])}, a single position, of which "
            "'batch_average' takes no deviation; use 'per_sample', or a shallower network."
        )
    variance, mean = torch.var_mean(average, (-2, -1), correction=1)
    return torch.stack((mean, (variance + _EPS).sqrt()), -2)


def _moments_of_images(layer: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased deviation of each image's channels, float32 of shape (classes, n, C).

    From sums in float32, so that no copy of a half-precision map in float32 is kept for the
    backward pass.
    """
    mean = layer.mean((-2, -1), dtype=torch.float32)
    norm = torch.linalg.vector_norm(layer, dim=(-2, -1), dtype=torch.float32)
    variance = norm.square() / (layer.shape[-2] * layer.shape[-1]) - mean.square()
    return mean, (variance.clamp_min(0) + _EPS).sqrt()


def _products(layer: Tensor) -> Tensor:
    """F F^T / (C H W) of each image, shape (classes, n, C, C)."""
    rows = layer.flatten(-2)
    channels, positions = rows.shape[-2:]
    return rows @ rows.mT / (channels * positions)


def _correlations(layer: Tensor) -> Tensor:
    """Z Z^T / (H W) of each image, shape (classes, n, C, C), float32."""
    rows = layer.flatten(-2)
    centred = rows - rows.mean(-1, keepdim=True)
    covariance = (centred @ centred.mT).float() / rows.shape[-1]
    std = (covariance.diagonal(dim1=-2, dim2=-1) + _EPS).sqrt()
    return covariance / std[..., :, None] / std[..., None, :]

"""What a matching objective is: per-class features in, one loss a class out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

__all__ = ["ClassSlice", "Features", "Objective", "Tap"]

Tap = Literal["none", "conv", "norm"]


@dataclass(frozen=True, slots=True)
class Features:
    """What a network says of one side, real or synthetic, of consecutive classes.

    Attributes:
        vectors: Features of each image, shape (classes, n, n_features).
        statistics: What `Objective.statistics` made of the feature maps: means over the n images,
            each of shape (classes, ...). Empty for an objective that taps no maps.
    """

    vectors: Tensor
    statistics: tuple[Tensor, ...] = ()

    def classes(self, start: int, stop: int) -> Features:
        """The features of classes start to stop - 1 of these."""
        return Features(self.vectors[start:stop], tuple(s[start:stop] for s in self.statistics))


@dataclass(frozen=True, slots=True)
class ClassSlice:
    """Which classes a loss is asked for.

    Attributes:
        start: The first class.
        stop: One beyond the last class.
        counts: Real training images of every class of the data set, int64 of shape (n_classes,),
            on the CPU.
    """

    start: int
    stop: int
    counts: Tensor


class Objective(ABC):
    """A discrepancy between real and synthetic features of each class.

    Only `loss` must be written. The objective holds its options and no state: what is random in an
    iteration is what `sample` returns, and what is learned is its `adversary`. The engine calls
    `embed` on the real side once a draw of the real batch, and on the synthetic side in every
    iteration.

    Subclasses are frozen dataclasses whose fields are their options.
    """

    __slots__ = ()

    tap: ClassVar[Tap] = "none"
    """Where feature maps are taken: ``conv`` (outputs of the convolutions), ``norm`` (outputs of
    the norm layers) or nowhere. An objective where an option decides may make it a property."""

    def statistics(self, maps: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Means over the images of what is kept of the feature maps.

        The engine averages the results of several chunks of images by their sizes, so each must
        be a mean over n of something that each image has on its own.

        Args:
            maps: One tensor a tapped layer, of shape (classes, n, channels, height, width).

        Returns:
            Tensors of shape (classes, ...).
        """
        return ()

    def embed(self, features: Features) -> Features:
        """What is kept of the features of one side, such as their normalised form or their mean."""
        return features

    def adversary(self, n_features: int) -> nn.Module | None:
        """A new module that is trained to make the loss large, or None."""
        return None

    def sample(
        self, n_features: int, generator: torch.Generator, adversary: nn.Module | None
    ) -> Tensor:
        """The random part of one iteration, such as frequencies, on the generator's device.

        Where there is an adversary, the result depends on its parameters differentiably.
        """
        return torch.empty(0, device=generator.device)

    def loss_bytes(self, n_real: int, n_synthetic: int) -> int:
        """Bytes that the loss of one class takes beside the features, for `plan_memory`.

        Args:
            n_real: Real images of the class.
            n_synthetic: Synthetic images of the class.
        """
        return 0

    @abstractmethod
    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The loss of each class.

        Args:
            real: Embedded real features of n images a class, without gradient.
            synthetic: Embedded synthetic features of m images a class.
            sample: From `sample`.
            classes: The classes that the features are of.

        Returns:
            float32 of shape (classes,).
        """

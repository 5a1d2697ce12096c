"""What a matching objective is: per-class features in, one loss a class out."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Objective"]


class Objective(Protocol):
    """A discrepancy between real and synthetic features of each class.

    All three methods are pure: the random part of an iteration is what `sample` returns.
    """

    def embed(self, features: Tensor) -> Tensor:
        """What is kept of the features of one extractor, such as their normalised form.

        Args:
            features: Shape (classes, n, n_features).
        """
        ...

    def sample(self, n_features: int, generator: torch.Generator) -> Tensor:
        """The random part of one iteration, on the generator's device."""
        ...

    def loss(self, real: Tensor, synthetic: Tensor, sample: Tensor) -> Tensor:
        """The loss of each class.

        Args:
            real: Embedded real features, shape (classes, n, n_features), without gradient.
            synthetic: Embedded synthetic features, shape (classes, m, n_features).
            sample: From `sample`.

        Returns:
            float32 of shape (classes,).
        """
        ...

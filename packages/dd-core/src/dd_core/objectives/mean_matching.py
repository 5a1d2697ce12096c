"""Distribution matching by means (DM, Zhao & Bilen 2023)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dd_core.objectives.base import ClassSlice, Features, Objective

__all__ = ["MeanMatching"]


@dataclass(frozen=True, slots=True)
class MeanMatching(Objective):
    """|| mean of real features - mean of synthetic features ||^2, DM Eq. 4."""

    def embed(self, features: Features) -> Features:
        """The mean over the images, float32 of shape (classes, 1, n_features)."""
        return Features(features.vectors.float().mean(1, keepdim=True))

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The squared distance of the means of each class."""
        return (real.vectors - synthetic.vectors).square().sum((1, 2))

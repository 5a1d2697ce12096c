"""Neural characteristic function matching (NCFM, CVPR 2025) with frequencies drawn anew."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from cfmetrics import ncf_distance

__all__ = ["NCFM"]


@dataclass(frozen=True, slots=True)
class NCFM:
    """loss_scale * mean over t of sqrt(alpha A(t) + (1 - alpha) P(t)), NCFM Eq. 5 to 8.

    Features are L2-normalised; t ~ N(0, I), which makes this the method without the sampling
    network psi. A and P are the amplitude and phase parts of the difference of the empirical
    characteristic functions, see `ncf_distance`.

    Attributes:
        n_frequencies: Frequencies of one iteration, shared by all classes.
        alpha: Weight of the amplitude part.
        scale: 300 in the official code.
    """

    n_frequencies: int = 1024
    alpha: float = 0.5
    scale: float = 300.0

    def embed(self, features: Tensor) -> Tensor:
        """Features of unit length; the norm is taken in float32."""
        return F.normalize(features.float(), dim=-1).to(features.dtype)

    def sample(self, n_features: int, generator: torch.Generator) -> Tensor:
        """Frequencies t ~ N(0, I) of shape (n_frequencies, n_features)."""
        shape = (self.n_frequencies, n_features)
        return torch.randn(shape, generator=generator, device=generator.device)

    def loss(self, real: Tensor, synthetic: Tensor, sample: Tensor) -> Tensor:
        """The scaled distance of each class."""
        distance: Tensor = ncf_distance(
            real,
            synthetic,
            frequencies=sample.to(real.dtype),
            alpha=self.alpha,
            beta=1 - self.alpha,
        )
        return self.scale * distance

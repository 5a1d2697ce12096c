"""Maximum mean discrepancy with a kernel, as in M3D (Zhang et al., AAAI 2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cfmetrics import kernel_matrix
from dd_core.errors import SettingsError
from dd_core.objectives._checks import at_least, one_of, positive, unit_length, unused
from dd_core.objectives.base import ClassSlice, Features, Objective

__all__ = ["MMD"]

_PAIRS = 2**24
"""Pairs of one side that are handled at a time."""

_KERNELS = ("rbf", "laplace", "rational_quadratic", "imq", "matern")


@dataclass(frozen=True, slots=True)
class MMD(Objective):
    """Squared MMD: mean k(x, x') + mean k(y, y') - 2 mean k(x, y).

    Source: M3D (Zhang et al., AAAI 2024), which condenses by the MMD of a Gaussian kernel. The
    choice of bandwidth is ours: fixed and, by default, on features of unit length; several
    bandwidths a factor ``ratio`` apart give the mean of their kernels. The kernels and estimators
    are those of `cfmetrics.mmd`. What depends on one side alone is computed in `embed`, so that
    of the real side is computed once a real batch.

    Attributes:
        kernel: ``rbf`` (Gaussian), ``laplace``, ``rational_quadratic``, ``imq`` or ``matern``.
        bandwidth: Length scale sigma, in the unit of the features; the middle one of several.
        n_bandwidths: How many bandwidths there are.
        ratio: Each bandwidth is so many times the one before.
        shape: Shape of ``rational_quadratic`` (by default 1) or ``matern`` (1, 3 or 5, by
            default 3).
        estimator: ``biased`` (over all pairs, with a minimum of 0 for equal sides) or
            ``unbiased`` (over pairs of different images; can be negative, and needs two images
            of each side).
        normalize: Scale every feature vector to length 1.

    Raises:
        SettingsError: A value is impossible, or without effect.

    Example:
        >>> MMD(bandwidth=1.0, n_bandwidths=3).bandwidths
        (0.5, 1.0, 2.0)
    """

    kernel: Literal["rbf", "laplace", "rational_quadratic", "imq", "matern"] = "rbf"
    bandwidth: float = 1.0
    n_bandwidths: int = 1
    ratio: float = 2.0
    shape: float | None = None
    estimator: Literal["biased", "unbiased"] = "biased"
    normalize: bool = True

    def __post_init__(self) -> None:
        one_of("kernel", self.kernel, _KERNELS)
        one_of("estimator", self.estimator, ("biased", "unbiased"))
        positive("bandwidth", self.bandwidth)
        at_least("n_bandwidths", self.n_bandwidths, 1)
        positive("ratio", self.ratio)
        if self.ratio <= 1:
            raise SettingsError(f"ratio is {self.ratio}; give a number above 1, such as 2.")
        if self.n_bandwidths == 1:
            unused("ratio", self.ratio, 2.0, "n_bandwidths is 1", "set n_bandwidths")
        if self.kernel == "matern" and self.shape not in (None, 1, 3, 5):
            raise SettingsError(f"shape is {self.shape}; kernel 'matern' takes 1, 3 or 5.")
        if self.kernel not in ("rational_quadratic", "matern"):
            why = f"kernel {self.kernel!r} has none"
            unused("shape", self.shape, None, why, "set kernel = 'rational_quadratic'")
        elif self.shape is not None:
            positive("shape", self.shape)

    @property
    def bandwidths(self) -> tuple[float, ...]:
        """All bandwidths, rising."""
        middle = (self.n_bandwidths - 1) / 2
        return tuple(self.bandwidth * self.ratio ** (i - middle) for i in range(self.n_bandwidths))

    def embed(self, features: Features) -> Features:
        """Features, and as statistic the mean kernel of pairs of one side, shape (classes,)."""
        vectors = unit_length(features.vectors) if self.normalize else features.vectors
        n = vectors.shape[1]
        several = max(1, _PAIRS // n**2)
        within = torch.cat([self._kernel(v, v).mean((1, 2)) for v in vectors.split(several)])
        if self.estimator == "unbiased":
            if n < 2:
                raise SettingsError(
                    "estimator is 'unbiased', which needs 2 images of each class and side, but "
                    f"there is {n}; use 'biased', or more images."
                )
            within = (within * n - 1) / (n - 1)  # without the pairs k(x, x) = 1
        return Features(vectors, (within,))

    def loss_bytes(self, n_real: int, n_synthetic: int) -> int:
        """Distances and kernel values of all pairs, in float32, of each bandwidth."""
        pairs = n_real * max(n_real, n_synthetic) + n_synthetic**2
        return 4 * pairs * (1 + 2 * self.n_bandwidths)

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The squared MMD of each class."""
        between = self._kernel(real.vectors, synthetic.vectors).mean((1, 2))
        return real.statistics[0] + synthetic.statistics[0] - 2 * between

    def _kernel(self, x: Tensor, y: Tensor) -> Tensor:
        matrix: Tensor = kernel_matrix(
            x, y, kernel=self.kernel, bandwidth=self.bandwidths, shape=self.shape
        )
        return matrix

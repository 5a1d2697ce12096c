"""Losses on samples without frequencies: MMD, energy distance, sliced Wasserstein distance.

Their conventions are those of `cfmetrics.torch.losses`.
"""

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Generator, Tensor, nn

from cfmetrics import _validate
from cfmetrics.energy import energy_distance
from cfmetrics.frequencies import RNG, normal_frequencies
from cfmetrics.mean_discrepancy import mmd
from cfmetrics.sliced import sliced_wasserstein
from cfmetrics.torch._common import (
    Reduction,
    check_reduction,
    full_precision,
    reduced,
)

__all__ = [
    "EnergyLoss",
    "MMDLoss",
    "SlicedWassersteinLoss",
]


@final
class MMDLoss(nn.Module):
    """The loss `cfmetrics.mmd`: the squared maximum mean discrepancy.

    Args:
        kernel: Name of the kernel, as in `cfmetrics.kernel_matrix`.
        bandwidth: Length scale, several (their mean kernel), or "median" of the pair at hand; the
            latter is computed by NumPy at every forward, and neither differentiated nor traced by
            `torch.compile`.
        shape: Shape parameter of the kernel.
        estimator: "biased" (the default here, since it is never negative), "unbiased", "linear" or
            "block".
        block_size: Observations in a block of "block".
        rng: NumPy generator or seed for the points of the median, where there are over 1000.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        ValueError: `reduction` is unknown; other settings are checked at forward, as in `mmd`.

    Example:
        >>> x = torch.randn(50, 3)
        >>> round(MMDLoss(bandwidth=1.0)(x, x).item(), 6)
        0.0
    """

    def __init__(
        self,
        *,
        kernel: str = "rbf",
        bandwidth: float | Sequence[float] | str = "median",
        shape: float | None = None,
        estimator: str = "biased",
        block_size: int | None = None,
        rng: RNG = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.shape = shape
        self.estimator = estimator
        self.block_size = block_size
        self.rng = rng
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d)."""
        with full_precision(x):
            values = mmd(
                x,
                y,
                kernel=self.kernel,
                bandwidth=self.bandwidth,
                shape=self.shape,
                estimator=self.estimator,
                block_size=self.block_size,
                rng=self.rng,
            )
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"kernel={self.kernel!r}, bandwidth={self.bandwidth!r}, shape={self.shape}, "
            f"estimator={self.estimator!r}, reduction={self.reduction!r}"
        )


@final
class EnergyLoss(nn.Module):
    """The loss `cfmetrics.energy_distance`.

    Args:
        squared: Whether to return the squared distance, whose gradient does not vanish at 0.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        ValueError: `reduction` is unknown.

    Example:
        >>> EnergyLoss(squared=True)(torch.tensor([0.0]), torch.tensor([2.0])).item()
        4.0
    """

    def __init__(self, *, squared: bool = False, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.squared = squared
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d)."""
        with full_precision(x):
            values = energy_distance(x, y, squared=self.squared)
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"squared={self.squared}, reduction={self.reduction!r}"


@final
class SlicedWassersteinLoss(nn.Module):
    """The loss `cfmetrics.sliced_wasserstein`, on projections drawn once or anew in training.

    The first draw is stored as a buffer. With `redraw`, each forward in training mode draws other
    unit vectors by torch, from the generator given to it or torch's global one (pass none under
    `torch.compile(fullgraph=True)`); the buffer serves in evaluation mode.

    Args:
        n_features: Number of features d of the samples.
        n_projections: Number of unit vectors.
        p: Order of the distance, at least 1.
        redraw: Whether to draw anew at every forward in training mode.
        rng: NumPy generator or seed for the first draw, that of `sliced_wasserstein`.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: A count is not an integer, or `p` is not a number.
        ValueError: A count is not positive, `p` is below 1 or `reduction` is unknown.

    Example:
        >>> loss = SlicedWassersteinLoss(3, rng=0)
        >>> x = torch.randn(50, 3)
        >>> loss(x, x).item(), loss(x, x + 1).item() > 0.5
        (0.0, True)
    """

    projections: Tensor

    def __init__(
        self,
        n_features: int,
        *,
        n_projections: int = 128,
        p: float = 2,
        redraw: bool = False,
        rng: RNG = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _validate.number("p", p)
        if p < 1:
            raise ValueError(f"p is {p}; pass a number >= 1, below which there is no distance")
        directions = normal_frequencies(n_projections, n_features, rng=rng)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        dtype = torch.get_default_dtype()
        self.register_buffer("projections", torch.as_tensor(directions, dtype=dtype))
        self.p = p
        self.redraw = redraw
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d), where redrawn on directions of `generator`."""
        units = self.projections
        if self.redraw and self.training:
            normal = torch.randn(
                units.shape, generator=generator, dtype=units.dtype, device=units.device
            )
            units = nn.functional.normalize(normal, dim=1)
        with full_precision(x):
            values = sliced_wasserstein(x, y, projections=units, p=self.p)
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        n_projections, n_features = self.projections.shape
        return (
            f"n_features={n_features}, n_projections={n_projections}, p={self.p}, "
            f"redraw={self.redraw}, reduction={self.reduction!r}"
        )

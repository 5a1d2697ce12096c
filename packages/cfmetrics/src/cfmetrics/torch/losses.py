"""The discrepancies of cfmetrics as torch losses.

Each module takes two samples (or, for `IntraClassDiversityLoss`, one) with any leading batch axes,
such as one for classes, and reduces the values of the batch to a mean, a sum or nothing. The
gradient reaches both arguments. torch autocast is switched off inside, as torch does for its own
losses: samples in half precision are compared in float32. Every module traces under
`torch.compile(fullgraph=True)` unless its docstring names an option that does not.

A compiled loss that is called inside autocast has an exact value too, but torch runs the backward
pass of a compiled region in the autocast of its call, which rounds the gradient as it does that of
a layer (about 1%). Call it outside the autocast region for gradients in float32.
"""

from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from cfmetrics import _validate
from cfmetrics.cf import cf_distance, ncf_distance
from cfmetrics.spectral import spectral_distance
from cfmetrics.torch._common import (
    Reduction,
    as_tensor,
    check_reduction,
    full_precision,
    reduced,
)
from cfmetrics.torch.frequency_networks import FixedFrequencies

__all__ = [
    "CFLoss",
    "NCFLoss",
    "SpectralLoss",
]

FrequencySource: TypeAlias = Tensor | NDArray[np.floating] | nn.Module
"""Frequencies of shape (F, d), or a module whose forward gives them, such as psi."""


@final
class CFLoss(nn.Module):
    """The loss `cfmetrics.cf_distance`, at fixed, redrawn or learned frequencies.

    Args:
        frequencies: Frequencies of shape (F, d), which become a buffer; or a module that gives
            them, such as `KernelFrequencies(..., redraw=True)` or `ScaleMixtureFrequencies`.
        weights: Weights >= 0 of the frequencies, of shape (F,), kept as a buffer. By default 1/F.
        squared: Whether to return the squared distance, the sampled biased squared MMD.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: The frequencies or weights are not real numbers.
        ValueError: Their shape does not fit, a weight is negative or `reduction` is unknown.

    Example:
        >>> import torch
        >>> from cfmetrics.torch import KernelFrequencies
        >>> loss = CFLoss(KernelFrequencies(256, 3, redraw=True, rng=0))
        >>> x = torch.randn(50, 3)
        >>> loss(x, x).item(), loss(x, x + 2).item() > 0.3
        (0.0, True)
    """

    weights: Tensor | None

    def __init__(
        self,
        frequencies: FrequencySource,
        *,
        weights: Tensor | NDArray[np.floating] | None = None,
        squared: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.frequencies = _source(frequencies)
        if weights is not None:
            weights = as_tensor("weights", weights)
            _validate.frequency_weights(weights, weights.shape[0] if weights.ndim else 0)
            if (weights < 0).any():
                raise ValueError(f"weights holds {weights.min()}; pass numbers >= 0")
        self.register_buffer("weights", weights)
        self.squared = squared
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with full_precision(x):
            values = cf_distance(
                x, y, frequencies=points, weights=self.weights, squared=self.squared
            )
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        weighted = "given" if self.weights is not None else None
        return f"weights={weighted}, squared={self.squared}, reduction={self.reduction!r}"


@final
class NCFLoss(nn.Module):
    """The loss `cfmetrics.ncf_distance`, at fixed, redrawn or learned frequencies.

    With a network psi for the frequencies, maximise it over the parameters of psi and minimise it
    over the samples: the game of NCFM (arXiv 2502.20653), whose official code multiplies it by 300
    and normalises features to unit length before.

    Args:
        frequencies: Frequencies of shape (F, d), which become a buffer; or a module that gives
            them, such as `TanhFrequencies`.
        alpha: Weight of the amplitude part, >= 0.
        beta: Weight of the phase part, >= 0; not both weights may be 0.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: The frequencies are not real numbers, or a weight is not a number.
        ValueError: The shape of the frequencies does not fit, the weights are negative or both 0,
            or `reduction` is unknown.

    Example:
        >>> import torch
        >>> from cfmetrics.torch import ScaleMixtureFrequencies
        >>> loss = NCFLoss(ScaleMixtureFrequencies(64, 3))
        >>> loss(torch.randn(50, 3), torch.randn(40, 3)).backward()
        >>> all(p.grad is not None for p in loss.frequencies.parameters())
        True
    """

    def __init__(
        self,
        frequencies: FrequencySource,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.frequencies = _source(frequencies)
        self.alpha, self.beta = _validate.weights(alpha, beta)
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with full_precision(x):
            values = ncf_distance(x, y, frequencies=points, alpha=self.alpha, beta=self.beta)
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"alpha={self.alpha}, beta={self.beta}, reduction={self.reduction!r}"


@final
class SpectralLoss(nn.Module):
    """The loss `cfmetrics.spectral_distance` (SDD), with amplitude weights for every class.

    Args:
        frequencies: Frequencies of shape (F, d), which become a buffer; or a module that gives
            them, such as `KernelFrequencies`.
        alpha: Weight of the amplitude part, from 0 to 1: one number, or one for every entry of the
            batch (see `cfmetrics.class_weights`), kept as a buffer.
        root: Whether to take the square root at every frequency.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: The frequencies or weights are not real numbers.
        ValueError: The shape of the frequencies does not fit, a weight is not within 0 and 1, or
            `reduction` is unknown.

    Example:
        >>> import torch
        >>> from cfmetrics import class_weights
        >>> from cfmetrics.torch import KernelFrequencies
        >>> alpha = class_weights([500, 20], 0.8)
        >>> loss = SpectralLoss(KernelFrequencies(64, 3), alpha=alpha, reduction="none")
        >>> loss(torch.randn(2, 50, 3), torch.randn(2, 10, 3)).shape
        torch.Size([2])
    """

    alpha: Tensor

    def __init__(
        self,
        frequencies: FrequencySource,
        *,
        alpha: float | Tensor | NDArray[np.floating] = 0.5,
        root: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.frequencies = _source(frequencies)
        shares = as_tensor("alpha", alpha)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"alpha is {alpha}; pass numbers from 0 to 1")
        self.register_buffer("alpha", shares)
        self.root = root
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with full_precision(x):
            values = spectral_distance(x, y, frequencies=points, alpha=self.alpha, root=self.root)
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        shape = tuple(self.alpha.shape)
        alpha = self.alpha.item() if shape == () and not self.alpha.is_meta else shape
        return f"alpha={alpha}, root={self.root}, reduction={self.reduction!r}"


def _source(frequencies: FrequencySource) -> nn.Module:
    return frequencies if isinstance(frequencies, nn.Module) else FixedFrequencies(frequencies)


def _points(source: nn.Module, generator: Generator | None) -> Tensor:
    points: Tensor = source() if generator is None else source(generator)
    return points.float() if points.dtype.itemsize < 4 else points

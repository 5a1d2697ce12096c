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

from collections.abc import Sequence
from typing import Literal, TypeAlias, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from cfmetrics import _validate
from cfmetrics.cf import cf_distance, ncf_distance
from cfmetrics.diversity import bounded_intra_class_diversity, intra_class_diversity
from cfmetrics.energy import energy_distance
from cfmetrics.frequencies import RNG, normal_frequencies
from cfmetrics.mean_discrepancy import mmd
from cfmetrics.sliced import sliced_wasserstein
from cfmetrics.spectral import spectral_distance
from cfmetrics.style import channel_moments_distance, gram_distance
from cfmetrics.torch.frequency_networks import FixedFrequencies

__all__ = [
    "BoundedIntraClassDiversityLoss",
    "CFLoss",
    "ChannelMomentsLoss",
    "EnergyLoss",
    "GramLoss",
    "IntraClassDiversityLoss",
    "MMDLoss",
    "NCFLoss",
    "SlicedWassersteinLoss",
    "SpectralLoss",
]

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""What becomes of the values of a batch."""

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
            weights = _tensor("weights", weights)
            _validate.frequency_weights(weights, weights.shape[0] if weights.ndim else 0)
            if (weights < 0).any():
                raise ValueError(f"weights holds {weights.min()}; pass numbers >= 0")
        self.register_buffer("weights", weights)
        self.squared = squared
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with _full_precision(x):
            values = cf_distance(
                x, y, frequencies=points, weights=self.weights, squared=self.squared
            )
        return _reduced(values, self.reduction)

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
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with _full_precision(x):
            values = ncf_distance(x, y, frequencies=points, alpha=self.alpha, beta=self.beta)
        return _reduced(values, self.reduction)

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
        shares = _tensor("alpha", alpha)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise ValueError(f"alpha is {alpha}; pass numbers from 0 to 1")
        self.register_buffer("alpha", shares)
        self.root = root
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d); `generator` is handed to the frequencies."""
        points = _points(self.frequencies, generator)
        with _full_precision(x):
            values = spectral_distance(x, y, frequencies=points, alpha=self.alpha, root=self.root)
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        shape = tuple(self.alpha.shape)
        alpha = self.alpha.item() if shape == () and not self.alpha.is_meta else shape
        return f"alpha={alpha}, root={self.root}, reduction={self.reduction!r}"


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
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d)."""
        with _full_precision(x):
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
        return _reduced(values, self.reduction)

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
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d)."""
        with _full_precision(x):
            values = energy_distance(x, y, squared=self.squared)
        return _reduced(values, self.reduction)

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
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor, *, generator: Generator | None = None) -> Tensor:
        """Compare x (..., n, d) with y (..., m, d), where redrawn on directions of `generator`."""
        units = self.projections
        if self.redraw and self.training:
            normal = torch.randn(
                units.shape, generator=generator, dtype=units.dtype, device=units.device
            )
            units = nn.functional.normalize(normal, dim=1)
        with _full_precision(x):
            values = sliced_wasserstein(x, y, projections=units, p=self.p)
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        n_projections, n_features = self.projections.shape
        return (
            f"n_features={n_features}, n_projections={n_projections}, p={self.p}, "
            f"redraw={self.redraw}, reduction={self.reduction!r}"
        )


@final
class ChannelMomentsLoss(nn.Module):
    """The loss `cfmetrics.channel_moments_distance` of feature maps, one layer at a time.

    Args:
        statistics: "batch" (moments of the average map) or "sample"; see the traps there.
        relative: Whether to divide each term by the mean square of its own target.
        eps: Added to the variances, >= 0.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: `eps` is not a number.
        ValueError: `statistics` or `reduction` is unknown, or `eps` is negative.

    Example:
        >>> x = torch.randn(10, 3, 4, 4)
        >>> round(ChannelMomentsLoss()(x, x + 2.0).item(), 4)
        2.0
    """

    def __init__(
        self,
        *,
        statistics: Literal["batch", "sample"] = "batch",
        relative: bool = False,
        eps: float = 1e-5,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        _validate.choice("statistics", statistics, ("batch", "sample"))
        self.statistics: Literal["batch", "sample"] = statistics
        self.relative = relative
        self.eps = _validate.not_negative("eps", eps)
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare maps x (..., n, C, H, W) with the target y (..., m, C, H', W')."""
        with _full_precision(x):
            values = channel_moments_distance(
                x, y, statistics=self.statistics, relative=self.relative, eps=self.eps
            )
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"statistics={self.statistics!r}, relative={self.relative}, eps={self.eps}, "
            f"reduction={self.reduction!r}"
        )


@final
class GramLoss(nn.Module):
    """The loss `cfmetrics.gram_distance` of feature maps, one layer at a time.

    Args:
        correlation: Whether to compare correlations of channels instead of plain products.
        eps: Added to the variance of the correlation form, >= 0.
        reduction: "mean", "sum" or "none" over the batch; never over the entries of the matrices,
            which are summed.

    Raises:
        TypeError: `eps` is not a number.
        ValueError: `reduction` is unknown, or `eps` is negative.

    Example:
        >>> x = torch.randn(10, 3, 4, 4)
        >>> GramLoss(correlation=True)(x, 2 * x).item() < 1e-6 < GramLoss()(x, 2 * x).item()
        True
    """

    def __init__(
        self, *, correlation: bool = False, eps: float = 1e-5, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.correlation = correlation
        self.eps = _validate.not_negative("eps", eps)
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare maps x (..., n, C, H, W) with y (..., m, C, H', W')."""
        with _full_precision(x):
            values = gram_distance(x, y, correlation=self.correlation, eps=self.eps)
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"correlation={self.correlation}, eps={self.eps}, reduction={self.reduction!r}"


@final
class IntraClassDiversityLoss(nn.Module):
    """The loss `cfmetrics.intra_class_diversity` of one sample: never positive, unbounded below.

    Args:
        k: Number of neighbours; by default round(0.2 n), but at least 1 (and none where n is 1).
        sample_reduction: "mean" or "sum" over the n observations of each entry of the batch; the
            sum is n times as strong.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: `k` is not an integer.
        ValueError: `k` is below 1, or a reduction is unknown.

    Example:
        >>> x = torch.randn(10, 5)
        >>> loss = IntraClassDiversityLoss()
        >>> loss(2 * x).item() < loss(x).item() < 0
        True
    """

    def __init__(
        self,
        k: int | None = None,
        *,
        sample_reduction: Literal["mean", "sum"] = "mean",
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.k = None if k is None else _validate.count("k", k)
        _validate.choice("sample_reduction", sample_reduction, ("mean", "sum"))
        self.sample_reduction: Literal["mean", "sum"] = sample_reduction
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the loss of features x (..., n, d), a class in every entry of the batch."""
        with _full_precision(x):
            values = intra_class_diversity(x, self.k, reduction=self.sample_reduction)
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return (
            f"k={self.k}, sample_reduction={self.sample_reduction!r}, reduction={self.reduction!r}"
        )


@final
class BoundedIntraClassDiversityLoss(nn.Module):
    """The loss `cfmetrics.bounded_intra_class_diversity`, at its least where the spreads agree.

    Args:
        rank: The largest number of principal directions, at least 1.
        reduction: "mean", "sum" or "none" over the batch.

    Raises:
        TypeError: `rank` is not an integer.
        ValueError: `rank` is below 1, or `reduction` is unknown.

    Example:
        >>> x = torch.randn(50, 5)
        >>> round(BoundedIntraClassDiversityLoss()(3 * x, x).item(), 4)
        4.0
    """

    def __init__(self, *, rank: int = 16, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.rank = _validate.count("rank", rank)
        self.reduction = _reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare the spread of x (..., n, d) with that of the target y (..., m, d)."""
        with _full_precision(x):
            values = bounded_intra_class_diversity(x, y, rank=self.rank)
        return _reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"rank={self.rank}, reduction={self.reduction!r}"


def _source(frequencies: FrequencySource) -> nn.Module:
    return frequencies if isinstance(frequencies, nn.Module) else FixedFrequencies(frequencies)


def _points(source: nn.Module, generator: Generator | None) -> Tensor:
    points: Tensor = source() if generator is None else source(generator)
    return points.float() if points.dtype.itemsize < 4 else points


def _tensor(name: str, values: float | Tensor | NDArray[np.floating]) -> Tensor:
    """Make a tensor for a buffer: a tensor keeps its dtype, others get the default one."""
    _, (array,) = _validate.float_arrays({name: values})
    if isinstance(array, Tensor):
        return array.detach().clone()
    return torch.as_tensor(array, dtype=torch.get_default_dtype())


def _full_precision(x: Tensor) -> torch.autocast:
    return torch.autocast(x.device.type, enabled=False)


def _reduction(reduction: Reduction) -> Reduction:
    _validate.choice("reduction", reduction, ("mean", "sum", "none"))
    return reduction


def _reduced(values: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()

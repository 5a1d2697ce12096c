"""Losses on the style of feature maps and on the diversity within a class.

Their conventions are those of `cfmetrics.torch.losses`.
"""

from typing import Literal, final

from torch import Tensor, nn

from cfmetrics import _validate
from cfmetrics.diversity import bounded_intra_class_diversity, intra_class_diversity
from cfmetrics.style import channel_moments_distance, gram_distance
from cfmetrics.torch._common import (
    Reduction,
    check_reduction,
    full_precision,
    reduced,
)

__all__ = [
    "BoundedIntraClassDiversityLoss",
    "ChannelMomentsLoss",
    "GramLoss",
    "IntraClassDiversityLoss",
]


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
        >>> import torch
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
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare maps x (..., n, C, H, W) with the target y (..., m, C, H', W')."""
        with full_precision(x):
            values = channel_moments_distance(
                x, y, statistics=self.statistics, relative=self.relative, eps=self.eps
            )
        return reduced(values, self.reduction)

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
        >>> import torch
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
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare maps x (..., n, C, H, W) with y (..., m, C, H', W')."""
        with full_precision(x):
            values = gram_distance(x, y, correlation=self.correlation, eps=self.eps)
        return reduced(values, self.reduction)

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
        >>> import torch
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
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the loss of features x (..., n, d), a class in every entry of the batch."""
        with full_precision(x):
            values = intra_class_diversity(x, self.k, reduction=self.sample_reduction)
        return reduced(values, self.reduction)

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
        >>> import torch
        >>> x = torch.randn(50, 5)
        >>> round(BoundedIntraClassDiversityLoss()(3 * x, x).item(), 4)
        4.0
    """

    def __init__(self, *, rank: int = 16, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.rank = _validate.count("rank", rank)
        self.reduction = check_reduction(reduction)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Compare the spread of x (..., n, d) with that of the target y (..., m, d)."""
        with full_precision(x):
            values = bounded_intra_class_diversity(x, y, rank=self.rank)
        return reduced(values, self.reduction)

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"rank={self.rank}, reduction={self.reduction!r}"

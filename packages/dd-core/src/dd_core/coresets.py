"""Points that stand for many: herding and k-means."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Clusters", "cluster", "herding_order", "nearest_distinct"]

_MOST_ROUNDS = 100
"""Lloyd's iterations, of which k-means on images takes far fewer."""


def herding_order(points: Tensor, count: int) -> Tensor:
    """The first points of herding: each brings the mean of the chosen closest to that of all.

    Args:
        points: Shape (n, d).
        count: How many, at most n.

    Returns:
        Indices of different points in the order of the choice, int64 of shape (count,).

    Example:
        >>> herding_order(torch.tensor([[0.0], [1.0], [2.0], [9.0]]), 2)  # The mean is 3.
        tensor([2, 1])
    """
    centred = points - points.mean(0)
    squares = centred.square().sum(1)
    total = torch.zeros_like(centred[0])
    order = torch.empty(count, dtype=torch.int64, device=points.device)
    for i in range(count):
        chosen = (squares + 2 * (centred @ total)).argmin()  # of |total + point|^2
        order[i] = chosen
        total += centred[chosen]
        squares[chosen] = torch.inf
    return order


class Clusters(NamedTuple):
    """Centres, of shape (k, d), and the number of each point's centre, of shape (n,)."""

    centres: Tensor
    labels: Tensor


def cluster(points: Tensor, k: int, draws: torch.Generator) -> Clusters:
    """K-means: k-means++ and then Lloyd's iterations until no point changes its centre.

    At most 100 iterations are made. A centre that loses all its points goes to the point that is
    farthest from its own.

    Args:
        points: Shape (n, d), n at least k.
        k: Number of centres.
        draws: Source of randomness, on the CPU.

    Returns:
        Each centre is the mean of its points, and no other centre is nearer to them.

    Example:
        >>> found = cluster(torch.tensor([[0.0], [2.0], [10.0]]), 2, torch.Generator())
        >>> found.centres.flatten().sort().values
        tensor([ 1., 10.])
    """
    middle = points.mean(0)
    points = points - middle  # so that the products below lose few digits
    centres = points[_plus_plus(points, k, draws)]
    labels = torch.full((len(points),), -1, device=points.device)
    for _ in range(_MOST_ROUNDS):
        nearest = _squared_distances(points, centres).min(1)
        if bool((nearest.indices == labels).all()):
            break
        labels = nearest.indices
        counts = torch.bincount(labels, minlength=k)
        sums = torch.zeros_like(centres).index_add_(0, labels, points)
        centres = sums / counts.clamp_min(1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        centres[empty] = points[nearest.values.topk(len(empty)).indices]
    return Clusters(centres + middle, labels)


def nearest_distinct(points: Tensor, centres: Tensor) -> Tensor:
    """For each centre in turn the nearest point that no earlier centre took.

    Args:
        points: Shape (n, d).
        centres: Shape (k, d), k at most n.

    Returns:
        Indices of different points, int64 of shape (k,).

    Example:
        >>> nearest_distinct(torch.tensor([[0.0], [5.0], [6.0]]), torch.tensor([[5.4], [5.1]]))
        tensor([1, 2])
    """
    middle = points.mean(0)
    distances = _squared_distances(points - middle, centres - middle)
    chosen = torch.empty(len(centres), dtype=torch.int64, device=points.device)
    for i in range(len(centres)):
        chosen[i] = distances[:, i].argmin()
        distances[chosen[i]] = torch.inf
    return chosen


def _plus_plus(points: Tensor, k: int, draws: torch.Generator) -> Tensor:
    """Indices of k points, each drawn in proportion to its squared distance from those before.

    Where all that are left coincide with those before, one of them is drawn evenly.
    """
    n = len(points)
    free = torch.ones(n, dtype=torch.bool, device=points.device)
    distances = torch.full((n,), torch.inf, device=points.device)
    chosen = [int(torch.randint(n, (), generator=draws))]
    while len(chosen) < k:
        newest = points[chosen[-1]]
        distances = torch.minimum(distances, (points - newest).square().sum(1))
        free[chosen[-1]] = False
        shares = torch.where(free, distances, 0).double()
        if not bool(shares.any()):
            shares = free.double()
        sums = shares.cumsum(0)
        drawn = torch.rand((), generator=draws, dtype=torch.float64).to(sums.device) * sums[-1]
        chosen.append(min(int(torch.searchsorted(sums, drawn, right=True)), n - 1))
    return torch.tensor(chosen, device=points.device)


def _squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """Shape (n, k), not below 0."""
    products = points @ centres.T
    sizes = points.square().sum(1)[:, None] + centres.square().sum(1)
    return (sizes - 2 * products).clamp_min(0)

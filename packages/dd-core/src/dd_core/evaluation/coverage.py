"""Coverage and density: are the real images reached, and does the set lie among them?

Naeem, Oh, Uh, Choi & Yoo, "Reliable fidelity and diversity metrics for generative models", ICML
2020, section 3. Around every real point lies a ball that reaches to its k-th nearest neighbour
among the other real points.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dd_core._arguments import as_count, as_instance
from dd_core.errors import DataError, SettingsError

__all__ = ["CoverageDensity", "count_inside", "coverage_density", "neighbour_radii"]

_ROWS = 1024
"""Points whose distances to all real ones are held at a time."""


class CoverageDensity(NamedTuple):
    """Coverage and density of points among real ones; see `coverage_density`."""

    coverage: float
    density: float


def coverage_density(points: Tensor, real: Tensor, *, n_neighbours: int = 5) -> CoverageDensity:
    """Which real points are reached, and how densely real points lie around the given ones.

    With N real points X_i, M points Y_j and the ball B_i around X_i that reaches to its k-th
    nearest neighbour among the other real points,

        coverage = (1/N) sum_i 1[some Y_j lies in B_i],
        density  = (1/kM) sum_j sum_i 1[Y_j lies in B_i].

    Coverage is at most 1. For points of the real distribution it is on average
    1 - prod_{l=1}^{k} (N - l) / (M + N - l), which is small for few points: compare it with that of
    as many real ones. Density is then 1 on average; it can pass 1 where points lie at the densest
    places. Reference: Naeem et al., ICML 2020, section 3.

    Args:
        points: Shape (M, d), floating.
        real: Shape (N, d), N > ``n_neighbours``.
        n_neighbours: k; 5 in the paper.

    Raises:
        SettingsError: A shape or type does not fit.
        DataError: There are too few real points, or a number is not finite.

    Example:
        >>> real = torch.tensor([[0.0], [1.0], [2.0], [9.0]])
        >>> coverage_density(torch.tensor([[0.5], [0.6]]), real, n_neighbours=1)
        CoverageDensity(coverage=0.5, density=2.0)
    """
    k = as_count("n_neighbours", n_neighbours)
    for name, rows in (("points", points), ("real", real)):
        _check(name, as_instance(name, rows, Tensor), real)
    if len(real) <= k:
        raise DataError(
            f"real has {len(real)} points, but balls reach to the neighbour number {k}; give at "
            f"least {k + 1}."
        )
    middle = real.mean(0)  # distances from inner products lose fewer digits near the origin
    real = real - middle
    return count_inside(torch.cdist(points - middle, real) <= neighbour_radii(real, k), k)


def neighbour_radii(real: Tensor, k: int) -> Tensor:
    """Distance of each point of (N, d) to its k-th nearest among the others, of shape (N,)."""
    radii = []
    for start, some in enumerate(real.split(_ROWS)):
        distances = torch.cdist(some, real)
        own = torch.arange(len(some), device=real.device)
        distances[own, start * _ROWS + own] = torch.inf
        radii.append(distances.topk(k, dim=1, largest=False).values[:, -1])
    return torch.cat(radii)


def count_inside(inside: Tensor, k: int) -> CoverageDensity:
    """Coverage and density from which of M points lies in which of N balls, (M, N) of bool."""
    return CoverageDensity(
        float(inside.any(0).double().mean()), float(inside.sum() / (k * len(inside)))
    )


def _check(name: str, rows: Tensor, real: Tensor) -> None:
    fits = rows.ndim == 2 and rows.shape[1:] == real.shape[1:] and rows.is_floating_point()
    if not fits or not len(rows):
        raise SettingsError(
            f"{name} is {rows.dtype} of shape {tuple(rows.shape)}; give floating numbers of shape "
            "(n, d), with one d for points and real."
        )
    if not bool(torch.isfinite(rows).all()):
        raise DataError(f"{name} holds NaN or infinity; give finite features.")

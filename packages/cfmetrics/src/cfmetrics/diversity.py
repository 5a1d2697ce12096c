"""Diversity of the members of a class."""

from typing import Literal

import numpy as np

from cfmetrics import _numerics, _validate
from cfmetrics._validate import Array, Namespace
from cfmetrics.style import mean_square

_NUMPY_CHUNK_BYTES = 4 * 2**20
"""Size of the distances, or of the centred observations, that NumPy handles at a time."""


def intra_class_diversity(
    x: Array, k: int | None = None, *, reduction: Literal["mean", "sum"] = "mean"
) -> Array:
    """Compute a loss that falls as the members of a class move away from their neighbours.

    For observation x_i let m_i be the mean of its k nearest others (Euclidean). With the softmax
    over the d features, p_i = softmax(x_i) and q_i = softmax(m_i), the loss is

        -(1/n) sum_i KL(p_i || q_i),    KL(p || q) = sum_j p_j log(p_j / q_j),

    never above 0. The gradient goes through x_i and through the neighbours' mean; which others are
    nearest is held fixed. Reference: the intra-class diversity term of DDM (arXiv 2412.04748), with
    the default k of its authors' configuration.

    Traps: minimising it maximises a divergence that has no maximum, so the loss is unbounded below,
    and its weight has to be tuned against a term that holds the class together;
    `bounded_intra_class_diversity` has an optimum. The sum is n times as strong as the mean, so a
    weight tuned for one is wrong for the other. A common factor on the features changes the
    value, since the softmax has no temperature; with d = 1 it is always 0.

    Args:
        x: Features of one class, of shape (..., n, d); a loss for every class in leading axes.
        k: Number of neighbours, from 1 to n - 1. By default round(0.2 n), but at least 1.
        reduction: "mean" or "sum" over the n observations.

    Returns:
        Losses of the batch's shape, a scalar where there is no batch; in float32, or float64 for
        float64 and integer features. A single observation has no neighbour: with `k=None` the
        loss is then 0 and its gradient is 0, so that one image per class needs no special case.

    Raises:
        TypeError: `k` is not an integer, or the dtype is boolean, complex or an object.
        ValueError: `k` is below 1 or above n - 1, `reduction` is unknown, `x` is empty, or a NumPy
            array is not finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(10, 5))
        >>> bool(intra_class_diversity(2 * x) < intra_class_diversity(x) < 0)
        True
    """
    _validate.choice("reduction", reduction, ("mean", "sum"))
    xp, (sample,) = _validate.float_arrays({"x": x})
    (sample,) = _numerics.common_dtype(xp, _validate.samples("x", sample))
    n = sample.shape[-2]
    k = _neighbours(k, n)
    if k == 0:
        return (0 * sample).sum(axis=(-2, -1))
    log_p = _log_softmax(xp, sample)
    log_q = _log_softmax(xp, _neighbour_means(xp, sample, k))
    divergence = (xp.exp(log_p) * (log_p - log_q)).sum(axis=(-2, -1))
    return _numerics.result(-divergence / (n if reduction == "mean" else 1), sample)


def bounded_intra_class_diversity(x: Array, y: Array, *, rank: int = 16) -> Array:
    """Measure how far the spread of a class is from that of the real class, direction by direction.

    With the top principal directions v_1 ... v_r of the target, std(X v) the unbiased standard
    deviation of the projections on v, and r = min(rank, n - 1, m - 1, d),

        mean_k (std(X v_k) - std(Y v_k))^2 / mean_k std(Y v_k)^2.

    It is 0 where x has the spread of y along these directions, and 1 where x has no spread at all.
    It does not see where the samples lie, nor the sign of a direction. The directions are held
    fixed: the gradient does not go through them. Where neighbouring principal variances are equal
    the directions are not unique, and so neither is the value. Reference: the bounded, target-
    matched content diversity in the authors' later code of DDM (arXiv 2412.04748).

    Args:
        x: Features of one class, of shape (..., n, d); a value for every class in leading axes.
        y: The target, real features of shape (..., m, d); m may differ, batch axes broadcast.
        rank: The largest number of directions, at least 1.

    Returns:
        Values >= 0 of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer features. Where n or m is 1 there is no spread to compare, and
        value and gradient are 0.

    Raises:
        TypeError: NumPy and torch are mixed, `rank` is not an integer, or a dtype is boolean,
            complex or an object.
        ValueError: `rank` is below 1, a shape does not fit, a sample is empty, or a NumPy array is
            not finite. (NaN in a torch tensor gives NaN, or an error of its eigensolver.)

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(50, 5)) * [5.0, 4.0, 3.0, 2.0, 1.0]
        >>> print(round(bounded_intra_class_diversity(3 * x, x), 9))
        4.0
        >>> print(round(bounded_intra_class_diversity(0 * x, x), 9))
        1.0
    """
    rank = _validate.count("rank", rank)
    xp, arrays = _validate.float_arrays({"x": x, "y": y})
    first, second = _validate.samples("x", arrays[0]), _validate.samples("y", arrays[1])
    _validate.same_features(first, second)
    first, second = _numerics.common_dtype(xp, first, second)
    rank = min(rank, first.shape[-2] - 1, second.shape[-2] - 1, first.shape[-1])
    if rank == 0:
        return (0 * first).sum(axis=(-2, -1)) + (0 * second).sum(axis=(-2, -1))
    directions = _principal_directions(xp, _constant(second), rank)
    spread = _projected_std(xp, first, directions)
    target = _projected_std(xp, second, directions)
    return _numerics.result(mean_square(xp, spread - target, target), first)


def _neighbours(k: int | None, n: int) -> int:
    if k is None:
        return min(max(1, round(0.2 * n)), n - 1)
    k = _validate.count("k", k)
    if k > n - 1:
        raise ValueError(
            f"k is {k}, but an observation of x has {n - 1} others; pass k <= {n - 1}, or None"
        )
    return k


def _log_softmax(xp: Namespace, values: Array) -> Array:
    shifted = values - _constant(xp.max(values, axis=-1, keepdims=True))
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1))[..., None]


def _neighbour_means(xp: Namespace, sample: Array, k: int) -> Array:
    """Average the k nearest others of every observation of (..., n, d), for NumPy in blocks."""
    n = sample.shape[-2]
    columns = xp.matrix_transpose(sample)
    centred = _constant(sample - sample.mean(axis=-2)[..., None, :])
    squares = (centred**2).sum(axis=-1)

    def means(start: int, stop: int) -> Array:
        products = _numerics.products(xp, centred[..., start:stop, :], centred)
        distances = squares[..., start:stop, None] + squares[..., None, :] - 2 * products
        return _numerics.products(xp, _nearest_weights(distances, start, k), columns)

    if _validate.is_torch(sample):
        return means(0, n)
    rows = max(1, _NUMPY_CHUNK_BYTES * sample.shape[-1] // sample.nbytes)
    return xp.concat([means(i, min(i + rows, n)) for i in range(0, n, rows)], axis=-2)


def _nearest_weights(distances: Array, start: int, k: int) -> Array:
    """Give 1/k to the k least of (..., rows, n), each row without its own entry."""
    if _validate.is_torch(distances):
        import torch

        own = torch.eye(distances.shape[-1], dtype=torch.bool, device=distances.device)
        nearest = distances.masked_fill(own, torch.inf).topk(k, largest=False).indices
        return torch.zeros_like(distances).scatter(-1, nearest, 1 / k)
    row = np.arange(distances.shape[-2])
    distances[..., row, start + row] = np.inf
    weights = np.zeros_like(distances)
    np.put_along_axis(weights, np.argpartition(distances, k - 1)[..., :k], 1 / k, axis=-1)
    return weights


def _principal_directions(xp: Namespace, sample: Array, rank: int) -> Array:
    """Find the directions of largest variance of (..., m, d), as the rows of (..., rank, d)."""
    m, d = sample.shape[-2:]
    mean = sample.mean(axis=-2)[..., None, :]
    if m < d:
        return xp.linalg.svd(sample - mean, full_matrices=False)[2][..., :rank, :]
    rows = m if _validate.is_torch(sample) else max(1, _NUMPY_CHUNK_BYTES * m // sample.nbytes)
    scatter = 0
    for start in range(0, m, rows):
        columns = xp.matrix_transpose(sample[..., start : start + rows, :] - mean)
        scatter = scatter + _numerics.products(xp, columns, columns)
    return xp.matrix_transpose(xp.linalg.eigh(scatter)[1])[..., -rank:, :]


def _projected_std(xp: Namespace, sample: Array, directions: Array) -> Array:
    projected = _numerics.products(xp, sample - sample.mean(axis=-2)[..., None, :], directions)
    return _numerics.root(xp, (projected**2).sum(axis=-2) / (sample.shape[-2] - 1))


def _constant(array: Array) -> Array:
    return array.detach() if _validate.is_torch(array) else array

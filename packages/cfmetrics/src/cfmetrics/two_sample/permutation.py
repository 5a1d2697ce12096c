"""The permutation engine: the statistics of all relabelings of a pooled sample at once.

Two kinds of statistic cover the tests of the package. A *linear* one depends on the difference of
the two samples' mean features: with a row of weights for each relabeling, all differences are one
matrix product, O(N K B) for K features, and no N x N matrix exists. A *quadratic* one depends on
sums of a kernel within and between the samples, O(N^2 B), in tiles. A test adds its features or its
kernel, and how the result becomes one number.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _numerics, _validate
from cfmetrics._validate import Array
from cfmetrics.two_sample.features import to_numpy
from cfmetrics.two_sample.prepare import Samples, TwoSamples
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult

_CHUNK_ROWS = 4096
"""Rows of features held at a time."""

_TILE_ROWS = 1024
"""Rows and columns of the kernel matrix held at a time."""

_TYPICAL_ROWS = 64
"""Rows from which a typical value of the kernel is found."""

_ROUNDING = 1e-5
"""Statistics within this share of the observed one are ties, since they are computed in float32."""

_CANCELLED = 1e-6
"""The same as a share of the terms whose differences the statistics are."""

Statistics: TypeAlias = NDArray[np.float64]
"""One row for each relabeling, the observed labeling first."""


def mean_differences(
    samples: Samples, relabelings: Relabelings, features: Callable[[Array], Array]
) -> Statistics:
    """Compute the difference of mean features, x minus y, under every relabeling.

    Args:
        samples: The two samples.
        relabelings: The relabelings, the observed one first.
        features: Maps rows (r, d) to features (r, K) in float32, each row by itself.

    Returns:
        Differences of shape (len(relabelings), K).
    """
    n, m = samples.n, samples.m
    origin = features(samples.centre()[None, :])
    total = 0.0
    for index, block in enumerate(relabelings.blocks()):
        labels = relabelings.block(index)
        total = total + block_sums(samples.rows(block), labels, n / (n + m), features, origin)
    return to_numpy(total) * ((n + m) / (n * m))


def block_sums(
    block: Array,
    labels: NDArray[np.bool_],
    share: float,
    features: Callable[[Array], Array],
    origin: Array,
) -> Array:
    """Sum (label - share) times (features - origin) over one block's rows, for every relabeling.

    Over all rows label - share adds up to 0, so the origin changes nothing but the rounding:
    without it features that hardly vary would leave rounding errors alone, which are not the same
    for an observed labeling (all of x, then all of y) as for random ones.
    """
    total = 0.0
    at_once = block.shape[0] if _validate.is_torch(block) else _CHUNK_ROWS
    for rows in pieces(slice(0, block.shape[0]), at_once):
        z = features(block[rows])
        z -= origin
        total = total + _wide(_numerics.matmul(_weights(labels[:, rows], share, z), z))
    return total


class KernelSums(NamedTuple):
    """Sums of a kernel under every relabeling, each of shape (len(relabelings),).

    They run over ordered pairs of different observations, so that a pair within a sample counts
    twice and no observation meets itself. `size` is the mean absolute kernel value, after a typical
    one is taken off: differences of means far below it are rounding.
    """

    within_x: Statistics
    between: Statistics
    within_y: Statistics
    size: float


def kernel_sums(
    samples: Samples, relabelings: Relabelings, kernel: Callable[[Array, Array], Array]
) -> KernelSums:
    """Sum a symmetric kernel over the pairs within x, between x and y, and within y.

    Args:
        samples: The two samples.
        relabelings: The relabelings, the observed one first.
        kernel: Maps rows (r, d) and (s, d) to the kernel's values (r, s) in float32.

    Returns:
        The sums, and the size of what cancels in their differences.
    """
    share = samples.n / (samples.n + samples.m)
    labels = relabelings.all()
    tiles = [tile for block in relabelings.blocks() for tile in pieces(block, _TILE_ROWS)]
    some = samples.rows(pieces(tiles[0], _TYPICAL_ROWS)[0])
    typical = float(np.float32(np.median(to_numpy(kernel(some, some)))))
    centred = np.zeros(len(relabelings))  # w' K w with the weights w = label - share
    degrees = np.zeros(samples.n + samples.m)  # K 1
    size = 0.0
    for i, rows in enumerate(tiles):
        for columns in tiles[i:]:
            k = kernel(samples.rows(rows), samples.rows(columns))
            k -= typical  # Added again below: a constant must leave no rounding error.
            # In float64: the weights of the observed labeling are constant over a tile, so that
            # rounding errors would add up there and cancel for random labels.
            k = _wide(k)
            if columns == rows:
                zero_diagonal(k)
            else:
                degrees[columns] += to_numpy(k.sum(axis=0))
            degrees[rows] += to_numpy(k.sum(axis=1))
            left = _numerics.matmul(_wide(_weights(labels[:, rows], share, k)), k)
            product = (left * _wide(_weights(labels[:, columns], share, k))).sum(axis=1)
            centred += to_numpy(product) * (1 if columns == rows else 2)
            size += float(abs(k).sum()) * (1 if columns == rows else 2)
    degree = sum(labels[:, tile].astype(np.float64) @ degrees[tile] for tile in tiles)
    everything = degrees.sum()
    within_x: Statistics = centred + 2 * share * degree - share**2 * everything
    between: Statistics = degree - within_x
    within_y = everything - within_x - 2 * between
    n, m = samples.n, samples.m
    return KernelSums(
        within_x + typical * (n * (n - 1)),
        between + typical * (n * m),
        within_y + typical * (m * (m - 1)),
        size / (n + m) ** 2,
    )


def permutation_result(
    values: Statistics,
    samples: TwoSamples,
    relabelings: Relabelings,
    *,
    test: str,
    details: Mapping[str, Any],
    size: float = 0.0,
) -> TestResult:
    """Turn the statistics of all relabelings into a result: p = the share that reaches the first.

    With B random relabelings this is (1 + #{T* >= T}) / (B + 1), which is never zero. `size` is the
    size of the terms whose differences the statistics are, where that is known.
    """
    if not np.isfinite(values).all():
        raise ValueError(
            f"x and y give {test} a statistic that is not finite, although they are: their values "
            f"are too large to be squared or averaged; divide both by a common number"
        )
    return TestResult(
        statistic=float(values[0]),
        pvalue=share_reaching_first(values, _CANCELLED * size),
        test=test,
        method="exact" if relabelings.exhaustive else "permutation",
        n=samples.n,
        m=samples.m,
        n_features=samples.n_features,
        null_distribution=values if relabelings.exhaustive else values[1:],
        details=dict(details),
    )


def share_reaching_first(values: Statistics, tolerance: float = 0.0) -> float:
    """Share of values that reach the first one, which counts itself; ties up to rounding count."""
    return float(np.mean(values >= values[0] - max(tie_tolerance(values), tolerance)))


def standard_scores(values: Statistics) -> Statistics:
    """Standardise every column over all relabelings; a column that does not vary becomes 0."""
    centred = values - values.mean(axis=0)
    deviation = values.std(axis=0)
    scores: Statistics = np.divide(
        centred, deviation, out=np.zeros_like(centred), where=deviation > tie_tolerance(values)
    )
    return scores


def tie_tolerance(values: Statistics) -> Any:
    """How much smaller than the first a value may be by rounding alone; per column of `values`."""
    size = np.maximum(np.abs(values[0]), np.median(np.abs(values), axis=0))
    return _ROUNDING * size


def pieces(block: slice, rows: int) -> list[slice]:
    """Cut a block into pieces of at most `rows` rows."""
    return [slice(i, min(i + rows, block.stop)) for i in range(block.start, block.stop, rows)]


def zero_diagonal(k: Array) -> None:
    """Set the diagonal of a square array to zero, in place."""
    if _validate.is_torch(k):
        k.fill_diagonal_(0)
    else:
        np.fill_diagonal(k, 0)


def _weights(labels: NDArray[np.bool_], share: float, like: Array) -> Array:
    """Weights that add up to zero over all rows, so that products with them do not grow with N."""
    if not _validate.is_torch(like):
        return np.subtract(labels, np.float32(share), dtype=np.float32)
    import torch

    on_device = torch.from_numpy(np.ascontiguousarray(labels)).to(like.device)
    return on_device.to(torch.float32) - share


def _wide(array: Array) -> Array:
    """Convert to float64, where the device has it."""
    if not _validate.is_torch(array):
        return array.astype(np.float64)
    return array.double() if array.device.type != "mps" else array

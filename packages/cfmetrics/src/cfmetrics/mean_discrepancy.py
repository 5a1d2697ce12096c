"""The maximum mean discrepancy (MMD): four estimators of its square."""

import math
from collections.abc import Sequence

from cfmetrics import _numerics, _validate, kernels
from cfmetrics._validate import Array, Namespace
from cfmetrics.frequencies import RNG
from cfmetrics.kernels import Kernel, Pair, by_row

ESTIMATORS = ("unbiased", "biased", "linear", "block")

_CHUNK_BYTES = 4 * 2**20
"""Size of a chunk of observations of the linear estimator, and of tiles of blocks, for NumPy."""


def mmd(
    x: Array,
    y: Array,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | str = "median",
    shape: float | None = None,
    estimator: str = "unbiased",
    block_size: int | None = None,
    rng: RNG = None,
    chunk_size: int | None = None,
) -> Array:
    """Estimate the squared maximum mean discrepancy.

    MMD^2 = E k(X, X') + E k(Y, Y') - 2 E k(X, Y) with independent copies X' and Y'. It is 0 for
    equal distributions, and only for them if the kernel is characteristic: all but "linear"
    (which compares means) and "polynomial" (moments up to its degree) are. The estimators:

    - "unbiased": means over pairs of different observations; O((n + m)^2). It can be negative.
    - "biased": means over all pairs, the V-statistic; O((n + m)^2). Never negative; 0 for equal
      samples; larger than the truth by about 1/n + 1/m for kernels with k(u, u) = 1. Its gradient
      is the smoothest, so it is the usual loss.
    - "linear": mean of k(x, x') + k(y, y') - k(x, y') - k(x', y) over disjoint neighbours x, x'
      and y, y'; O(n). Unbiased, with a larger variance.
    - "block": mean of unbiased estimates on blocks of `block_size` observations; O(n block_size).
      Unbiased; between the two.

    "linear" and "block" use the first min(n, m) observations of both samples (of which "linear"
    leaves out an odd last one, and "block" an incomplete last block), and depend on their order:
    shuffle samples that are sorted.

    References: A. Gretton et al., "A kernel two-sample test", JMLR 13 (2012), Eq. 3 and 5 and Lemma
    14; W. Zaremba, A. Gretton and M. Blaschko, "B-tests: low variance kernel two-sample tests",
    NeurIPS 2013, Section 2.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        kernel: Name of a kernel of `kernel_matrix`.
        bandwidth: Length scale of the kernel in the unit of the samples; several, for the mean of
            the kernels; or "median", for `median_bandwidth(x, y)` of every entry of the batch.
            Under `torch.compile` pass numbers, since the heuristic is computed by NumPy.
        shape: Shape parameter of the kernel, as in `kernel_matrix`.
        estimator: "unbiased", "biased", "linear" or "block".
        block_size: Observations in a block of "block", 2 to min(n, m); by default
            floor(sqrt(min(n, m))), and at least 2.
        rng: Generator or seed for the points of the median heuristic, where there are over 1000.
        chunk_size: Side of the square tiles in which pairs are handled (for "linear", the number
            of pairs of observations at a time; for "block", the number of blocks). By default NumPy
            chooses tiles of a few MiB and torch takes one piece. Chunking a tensor that requires
            gradients saves no memory.

    Returns:
        Squared MMD of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer samples.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: The kernel or the estimator is unknown; a bandwidth is not positive; the shapes
            do not fit; a sample has fewer than 2 observations (1 for "biased") or fewer than
            `block_size`; or a NumPy array is not finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(400, 2)), rng.normal(loc=1.0, size=(300, 2))
        >>> bool(abs(mmd(x[:200], x[200:])) < 0.01 < mmd(x, y))
        True
        >>> mean_difference = mmd(x, y, kernel="linear", estimator="biased")
        >>> bool(np.isclose(mean_difference, ((x.mean(0) - y.mean(0)) ** 2).sum()))
        True
    """
    _validate.choice("estimator", estimator, ESTIMATORS)
    xp, x, y = kernels.two_samples(x, y)
    _enough(estimator, x, y)
    if block_size is not None and estimator != "block":
        raise ValueError(
            f"block_size is {block_size}, but estimator is {estimator!r}; leave it out, or pass "
            f"estimator='block'"
        )
    pair, form = kernels.prepare(xp, x, y, kernel, bandwidth, shape, rng)
    if estimator == "biased":
        value = biased(xp, form, pair, chunk_size)
    elif estimator == "unbiased":
        value = _unbiased(xp, form, pair, kernels.tile_rows(form, pair, chunk_size))
    elif estimator == "linear":
        value = _linear(xp, form, pair, chunk_size)
    else:
        value = _block(xp, form, pair, block_size, chunk_size)
    return _numerics.result(value, x)


def biased(xp: Namespace, kernel: Kernel, pair: Pair, chunk_size: int | None) -> Array:
    """Compute the V-statistic, which is not negative, from checked samples."""
    n, m = pair.x.shape[-2], pair.y.shape[-2]
    step = kernels.tile_rows(kernel, pair, chunk_size)
    within = (
        kernels.self_sum(xp, kernel, pair, pair.x, step) / n**2
        + kernels.self_sum(xp, kernel, pair, pair.y, step) / m**2
    )
    between = kernels.cross_sum(xp, kernel, pair, step) / (n * m)
    return _numerics.at_least(xp, within - 2 * between, 0.0)


def _enough(estimator: str, x: Array, y: Array) -> None:
    for name, sample in (("x", x), ("y", y)):
        if estimator != "biased" and sample.shape[-2] < 2:
            raise ValueError(
                f"{name} has 1 observation, but estimator {estimator!r} needs pairs; pass at least "
                f"2, or estimator='biased'"
            )


def _unbiased(xp: Namespace, kernel: Kernel, pair: Pair, step: int) -> Array:
    n, m = pair.x.shape[-2], pair.y.shape[-2]
    within: Array = 0.0
    for sample, size in ((pair.x, n), (pair.y, m)):
        total = kernels.self_sum(xp, kernel, pair, sample, step)
        total = total - kernels.diagonal_sum(xp, kernel, pair, sample)
        within = within + total / (size * (size - 1))
    return within - 2 * kernels.cross_sum(xp, kernel, pair, step) / (n * m)


def _linear(xp: Namespace, kernel: Kernel, pair: Pair, chunk_size: int | None) -> Array:
    n_pairs = min(pair.x.shape[-2], pair.y.shape[-2]) // 2
    step = _pairs_at_once(pair, n_pairs, chunk_size)
    total: Array = 0.0
    for start in range(0, n_pairs, step):
        bounds = 2 * start, 2 * min(start + step, n_pairs)
        a, b = (kernels.rows(pair, sample, *bounds) for sample in (pair.x, pair.y))
        a1, a2, b1, b2 = a[..., 0::2, :], a[..., 1::2, :], b[..., 0::2, :], b[..., 1::2, :]
        within = by_row(xp, kernel, a1, a2) + by_row(xp, kernel, b1, b2)
        between = by_row(xp, kernel, a1, b2) + by_row(xp, kernel, a2, b1)
        total = total + (within - between).sum(axis=-1)
    return total / n_pairs


def _pairs_at_once(pair: Pair, n_pairs: int, chunk_size: int | None) -> int:
    if chunk_size is not None:
        return _validate.count("chunk_size", chunk_size)
    if _validate.is_torch(pair.x):
        return n_pairs
    bytes_per_pair: int = 16 * pair.x.shape[-1] * _batch(pair)
    return max(1, _CHUNK_BYTES // bytes_per_pair)


def _block(
    xp: Namespace, kernel: Kernel, pair: Pair, block_size: int | None, chunk_size: int | None
) -> Array:
    n = min(pair.x.shape[-2], pair.y.shape[-2])
    size = max(2, math.isqrt(n)) if block_size is None else _block_size(block_size, n)
    n_blocks = n // size
    step = _blocks_at_once(pair, size, n_blocks, chunk_size)
    total: Array = 0.0
    for start in range(0, n_blocks, step):
        stop = min(start + step, n_blocks)
        bounds = start * size, stop * size
        x, y = (kernels.rows(pair, sample, *bounds) for sample in (pair.x, pair.y))
        part = Pair(_split(xp, x, size), _split(xp, y, size), 0.0, 1.0)
        tile = kernels.tile_rows(kernel, part, None)
        total = total + _unbiased(xp, kernel, part, tile).sum(axis=-1)
    return total / n_blocks


def _split(xp: Namespace, rows: Array, size: int) -> Array:
    """View rows (..., n, d) as blocks (..., n / size, size, d)."""
    return xp.reshape(rows, (*rows.shape[:-2], rows.shape[-2] // size, size, rows.shape[-1]))


def _block_size(block_size: int, n: int) -> int:
    size = _validate.count("block_size", block_size)
    if not 2 <= size <= n:
        raise ValueError(
            f"block_size is {block_size}; pass 2 to {n}, the size of the smaller sample"
        )
    return size


def _blocks_at_once(pair: Pair, size: int, n_blocks: int, chunk_size: int | None) -> int:
    if chunk_size is not None:
        return _validate.count("chunk_size", chunk_size)
    if _validate.is_torch(pair.x):
        return n_blocks
    bytes_per_block: int = 8 * size * max(size, pair.x.shape[-1]) * _batch(pair)
    return max(1, _CHUNK_BYTES // bytes_per_block)


def _batch(pair: Pair) -> int:
    return max(1, math.prod(_numerics.batch_shape(pair.x, pair.y)))

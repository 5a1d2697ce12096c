"""The energy distance."""

from cfmetrics import _numerics, _validate, kernels
from cfmetrics._validate import Array, Namespace
from cfmetrics.kernels import Kernel, Pair
from cfmetrics.mean_discrepancy import biased


def energy_distance(
    x: Array, y: Array, *, squared: bool = False, chunk_size: int | None = None
) -> Array:
    """Measure the energy distance of two samples.

    With independent copies X', Y' and Euclidean norms its square is

        D^2 = 2 E|X - Y| - E|X - X'| - E|Y - Y'|,

    with means over all pairs (the V-statistic), so it is never negative. D is a metric between
    distributions with a mean: it is 0 for equal distributions only, and obeys the triangle
    inequality; D^2 does not obey it. It has no bandwidth: scaling both samples by c scales D^2 by
    c. It is the characteristic-function distance with weight proportional to |t|^-(d + 1), and the
    biased squared MMD of the kernel -|u - v|. In one dimension it is computed by sorting, in
    O((n + m) log(n + m)), otherwise from all pairs. Reference: G. J. Szekely and M. L. Rizzo,
    "Energy statistics: a class of statistics based on distances", Journal of Statistical Planning
    and Inference 143 (2013), Eq. 2.1 and Proposition 2.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        squared: Return D^2 (as `dcor.energy_distance`) instead of D (as
            `scipy.stats.energy_distance`). The gradient of D is 0 where D is 0.
        chunk_size: Side of the square tiles in which pairs are handled. By default NumPy chooses
            tiles of a few MiB and torch takes one piece. Chunking a tensor that requires gradients
            saves no memory. One dimension needs no chunks.

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer samples. D is in the square root of the samples' unit. Equal samples
        in different orders can be at a small distance from rounding, of about 1e-8 times the square
        root of the spread in float64.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, or a NumPy array is not finite. (NaN in
            a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> float(energy_distance(np.array([0.0]), np.array([2.0]), squared=True))
        4.0
        >>> float(energy_distance(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]]), squared=True))
        10.0
    """
    xp, x, y = kernels.two_samples(x, y)
    if chunk_size is not None:
        _validate.count("chunk_size", chunk_size)
    if x.shape[-1] == 1:
        square = _by_sorting(xp, x, y)
    else:
        pair = Pair(x, y, kernels.centre(x), 1.0)
        square = biased(xp, Kernel("minus_distance"), pair, chunk_size)
    return _numerics.result(square if squared else _numerics.root(xp, square), x)


def _by_sorting(xp: Namespace, x: Array, y: Array) -> Array:
    """Compute 2 int (F - G)^2, with the distribution functions F and G of one feature."""
    n, m = x.shape[-2], y.shape[-2]
    batch = _numerics.batch_shape(x, y)
    pooled = xp.concat(
        [xp.broadcast_to(x[..., 0], (*batch, n)), xp.broadcast_to(y[..., 0], (*batch, m))], axis=-1
    )
    below = (xp.argsort(pooled, axis=-1) < n).cumsum(axis=-1)
    both = xp.arange(1, n + m + 1, dtype=below.dtype, device=_numerics.device(below))
    f = xp.astype(below, x.dtype) / n
    g = xp.astype(both - below, x.dtype) / m
    values = xp.sort(pooled, axis=-1)
    gaps = values[..., 1:] - values[..., :-1]
    # Between equal values f - g depends on how they were sorted, and so would the gradient.
    return 2 * ((f - g)[..., :-1] ** 2 * (gaps > 0) * gaps).sum(axis=-1)

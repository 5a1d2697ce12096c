"""The sliced Wasserstein distance."""

import math

import numpy as np

from cfmetrics import _numerics, _validate
from cfmetrics._validate import Array, Namespace
from cfmetrics.frequencies import RNG, normal_frequencies

_CHUNK_BYTES = 8 * 2**20
"""Size of the projections that NumPy handles at a time."""

_LEAST_PROJECTIONS = 4
"""Number of projections below which reading the samples again and again takes most of the time."""


def sliced_wasserstein(
    x: Array,
    y: Array,
    *,
    n_projections: int = 128,
    projections: Array | None = None,
    p: float = 2,
    rng: RNG = None,
    chunk_size: int | None = None,
) -> Array:
    """Measure the sliced Wasserstein distance of two samples.

    With unit vectors u, and the quantile functions Q of the projections <u, x_i> and <u, y_j>,

        SW_p = (mean_u int_0^1 |Q_x(s) - Q_y(s)|^p ds)^(1/p).

    The integral is the one-dimensional Wasserstein distance to the power p; it is computed exactly,
    by sorting, for equal and for unequal sizes, in O((n + m) log(n + m)) for every projection. For
    given projections SW_p is symmetric, 0 for equal samples, and obeys the triangle inequality;
    scaling both samples by c scales it by |c|. References: J. Rabin et al., "Wasserstein barycenter
    and its application to texture mixing", SSVM 2011; N. Bonneel et al., "Sliced and Radon
    Wasserstein barycenters of measures", JMIV 51 (2015).

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        n_projections: Number of unit vectors to draw uniformly; not used where `projections` is
            given. One feature needs only one, which is not drawn.
        projections: Vectors to project on, of shape (F, d), or (F,) for one feature, used as they
            are. (POT has them as columns.)
        p: Order of the distance, at least 1.
        rng: Generator or seed for the draw; the same seed draws the same projections for NumPy and
            torch. Under `torch.compile` pass `projections`, since the draw is done by NumPy.
        chunk_size: Projections handled at a time. By default NumPy chooses chunks of a few MiB (or
            four projections) and torch takes one piece.

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer samples. The gradient is 0 where the distance is 0.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, p is below 1, or a NumPy array is not
            finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> shift = np.array([3.0, 0.0, 4.0])
        >>> value = sliced_wasserstein(x, x + shift, n_projections=5000, rng=0)
        >>> bool(abs(value - 5 / np.sqrt(3)) < 0.05)
        True
    """
    _validate.number("p", p)
    if p < 1:
        raise ValueError(f"p is {p}; pass a number >= 1, below which there is no distance")
    given = {} if projections is None else {"projections": projections}
    xp, arrays = _validate.float_arrays({"x": x, "y": y, **given})
    x, y = _validate.samples("x", arrays[0]), _validate.samples("y", arrays[1])
    _validate.same_features(x, y)
    if projections is None:
        x, y = _numerics.common_dtype(xp, x, y)
        units = _directions(n_projections, x.shape[-1], rng)
        units = xp.asarray(units, dtype=x.dtype, device=_numerics.device(x))
    else:
        units = _validate.frequency_matrix(arrays[2], x.shape[-1], name="projections")
        x, y, units = _numerics.common_dtype(xp, x, y, units)
    total: Array = 0.0
    step = _projections_at_once(x, y, units.shape[0], chunk_size)
    for start in range(0, units.shape[0], step):
        total = total + _powers(xp, x, y, units[start : start + step], p).sum(axis=-1)
    return _numerics.result(_numerics.root(xp, total / units.shape[0], 1 / p), x)


def _directions(n_projections: int, n_features: int, rng: RNG) -> Array:
    count = _validate.count("n_projections", n_projections)
    generator = _validate.generator(rng)
    if n_features == 1:
        return np.ones((1, 1))
    _validate.affordable("n_projections", count, 8 * count * n_features)
    directions = normal_frequencies(count, n_features, rng=generator)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _projections_at_once(x: Array, y: Array, n_projections: int, chunk_size: int | None) -> int:
    if chunk_size is not None:
        return _validate.count("chunk_size", chunk_size)
    if _validate.is_torch(x):
        return n_projections
    batch = math.prod(_numerics.batch_shape(x, y))
    bytes_per_projection: int = x.itemsize * max(1, batch) * (x.shape[-2] + y.shape[-2])
    return max(_LEAST_PROJECTIONS, _CHUNK_BYTES // bytes_per_projection)


def _powers(xp: Namespace, x: Array, y: Array, units: Array, p: float) -> Array:
    """Compute the Wasserstein distance to the power p on every projection, (..., F)."""
    a = xp.sort(_numerics.products(xp, units, x), axis=-1)
    b = xp.sort(_numerics.products(xp, units, y), axis=-1)
    if a.shape[-1] == b.shape[-1]:
        return _power(xp, a - b, p).mean(axis=-1)
    i, j, lengths = _common_steps(xp, a, b)
    return (_power(xp, a[..., i] - b[..., j], p) * lengths).sum(axis=-1)


def _power(xp: Namespace, gaps: Array, p: float) -> Array:
    if p == 2:
        return gaps * gaps
    return xp.abs(gaps) if p == 1 else xp.abs(gaps) ** p


def _common_steps(xp: Namespace, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """Find the intervals of [0, 1] on which the quantile functions of sorted a and b are constant.

    Returns:
        The index into a and the index into b on every interval, and its length. Where both
        functions step, one of the two intervals is empty.
    """
    n, m = a.shape[-1], b.shape[-1]
    where = _numerics.device(a)
    # In units of 1 / (n m), in which all steps are integers.
    steps = [xp.arange(n, dtype=xp.int64, device=where) * m]
    steps.append(xp.arange(m, dtype=xp.int64, device=where) * n)
    starts = xp.sort(xp.concat(steps))
    end = xp.full((1,), n * m, dtype=xp.int64, device=where)
    lengths = xp.astype(xp.concat([starts[1:], end]) - starts, a.dtype) / (n * m)
    return starts // m, starts // n, lengths

"""Kernels of two samples: their values, and their sums over all pairs, tile by tile."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cfmetrics import _numerics, _validate, frequencies
from cfmetrics._kernel_forms import KERNELS, Kernel, by_row, kernel_shape, tile
from cfmetrics._validate import Array, Namespace
from cfmetrics.frequencies import RNG

__all__ = [
    "KERNELS",
    "Kernel",
    "Pair",
    "by_row",
    "centre",
    "cross_sum",
    "diagonal_sum",
    "kernel_matrix",
    "kernel_shape",
    "median_scale",
    "prepare",
    "rows",
    "self_sum",
    "tile",
    "tile_rows",
    "two_samples",
]

_TILE_BYTES = 2**20
"""Size of a tile for NumPy: small enough that the steps on it find it in the cache."""

_MAX_POINTS = 1000
"""Number of points to which the median heuristic looks."""


class Pair(NamedTuple):
    """Two checked samples of one dtype, and what takes them to the unit of a kernel."""

    x: Array
    y: Array
    centre: Array | float
    scale: Array | float


def kernel_matrix(
    x: Array,
    y: Array,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] = 1.0,
    shape: float | None = None,
) -> Array:
    """Compute the kernel of every pair of observations.

    The kernels, with z = u - v, sigma = `bandwidth`, and a = nu = `shape`:

        "rbf"                 exp(-|z|^2 / 2 sigma^2)
        "laplace"             exp(-|z| / sigma)
        "laplace_l1"          exp(-sum_i |z_i| / sigma)
        "cauchy"              prod_i 1 / (1 + z_i^2 / sigma^2)
        "rational_quadratic"  (1 + |z|^2 / 2 a sigma^2)^-a
        "imq"                 (1 + |z|^2 / sigma^2)^(-1/2)
        "matern"              with s = sqrt(nu) |z| / sigma:
                              nu = 1: exp(-s);  nu = 3: (1 + s) exp(-s);
                              nu = 5: (1 + s + s^2 / 3) exp(-s)
        "linear"              <u, v>
        "polynomial"          (<u, v> / d + 1)^shape

    The squared distances come from inner products of centred observations, in the dtype of the
    samples, also under torch autocast. Kernels of the distance itself compute it in float64, since
    the root of a rounded 0 would not be small. The gradient is 0 where observations coincide. For
    tensors "cauchy" takes d times the memory of the others.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); batch axes broadcast.
        kernel: Name of the kernel.
        bandwidth: Length scale sigma, in the unit of the samples, or several, for the mean of the
            kernels. "linear" and "polynomial" have none and ignore it.
        shape: Shape parameter: a of "rational_quadratic" (default 1.0), nu of "matern" (default
            3.0), the degree of "polynomial" (default 3).

    Returns:
        Values of shape (..., n, m), in float32, or float64 for float64 and integer samples.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: The kernel is unknown or does not have the shape; a bandwidth is not positive;
            the shapes do not fit, a sample is empty, or a NumPy array is not finite; or the matrix
            does not fit into memory. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> x = np.array([0.0, 3.0])
        >>> kernel_matrix(x, x, kernel="laplace", bandwidth=3.0).round(3)
        array([[1.   , 0.368],
               [0.368, 1.   ]])
    """
    xp, x, y = two_samples(x, y)
    sigmas = _validate.bandwidths(bandwidth)  # No heuristic: matrices must have one bandwidth.
    pair, form = prepare(xp, x, y, kernel, sigmas, shape, None)
    if kernel == "linear":  # Its values, other than its discrepancy, depend on the origin.
        pair = Pair(x, y, 0.0, 1.0)
    n, m = x.shape[-2], y.shape[-2]
    if _validate.is_torch(x):
        return tile(xp, form, rows(pair, x, 0, n), rows(pair, y, 0, m))
    batch = _numerics.batch_shape(x, y)
    _validate.affordable("the number of pairs", n * m, x.itemsize * math.prod(batch) * n * m)
    matrix = np.empty((*batch, n, m), dtype=x.dtype)
    step = tile_rows(form, pair, None)
    for i in range(0, n, step):
        a = rows(pair, x, i, i + step)
        for j in range(0, m, step):
            matrix[..., i : i + step, j : j + step] = tile(xp, form, a, rows(pair, y, j, j + step))
    return matrix


def two_samples(x: Array, y: Array) -> tuple[Namespace, Array, Array]:
    """Check two samples, and view them as (..., n, d) and (..., m, d) in one dtype."""
    xp, (first, second) = _validate.float_arrays({"x": x, "y": y})
    first, second = _validate.samples("x", first), _validate.samples("y", second)
    _validate.same_features(first, second)
    first, second = _numerics.common_dtype(xp, first, second)
    return xp, first, second


def prepare(
    xp: Namespace,
    x: Array,
    y: Array,
    kernel: str,
    bandwidth: float | Sequence[float] | str,
    shape: float | None,
    rng: RNG,
) -> tuple[Pair, Kernel]:
    """Check a kernel's parameters; find the bandwidth, and the centre of the samples."""
    _validate.choice("kernel", kernel, KERNELS)
    shape = kernel_shape(kernel, shape)
    scale: Array | float = 1.0
    ratios: tuple[float, ...] = (1.0,)
    if kernel in ("linear", "polynomial"):
        pass
    elif isinstance(bandwidth, str):
        scale = median_scale(xp, x, y, bandwidth, _validate.generator(rng))
    else:
        sigmas = _validate.bandwidths(bandwidth)
        scale, ratios = sigmas[0], tuple(sigma / sigmas[0] for sigma in sigmas)
    origin = 0.0 if kernel == "polynomial" else centre(x)
    return Pair(x, y, origin, scale), Kernel(kernel, ratios, shape)


def median_scale(
    xp: Namespace, x: Array, y: Array, bandwidth: str, generator: np.random.Generator
) -> Array | float:
    """Compute the median bandwidth: a number, or of shape (..., 1, 1) for a batch."""
    if bandwidth != "median":
        raise ValueError(f"bandwidth is {bandwidth!r}; pass 'median', or one or several numbers")
    scales = frequencies.median_scales([x, y], _MAX_POINTS, generator)
    if scales.ndim == 0:
        return float(scales)
    return xp.asarray(scales[..., None, None], dtype=x.dtype, device=_numerics.device(x))


def centre(x: Array) -> Array:
    """Compute the point to which samples are shifted, so that inner products lose few digits."""
    middle = x.mean(axis=-2)[..., None, :]
    return middle.detach() if _validate.is_torch(middle) else middle


def rows(pair: Pair, sample: Array, start: int, stop: int) -> Array:
    """Take rows of a sample of the pair, in the unit of the kernel."""
    part = sample[..., start:stop, :]
    if not isinstance(pair.centre, float):
        part = part - pair.centre
    return part if isinstance(pair.scale, float) and pair.scale == 1 else part / pair.scale


def tile_rows(kernel: Kernel, pair: Pair, chunk_size: int | None) -> int:
    """Choose the number of rows and of columns of a tile."""
    if chunk_size is not None:
        return _validate.count("chunk_size", chunk_size)
    largest: int = max(pair.x.shape[-2], pair.y.shape[-2])
    if _validate.is_torch(pair.x):
        return largest
    pairs = _TILE_BYTES // (8 * max(1, math.prod(_numerics.batch_shape(pair.x, pair.y))))
    return max(1, min(largest, math.isqrt(pairs)))


def cross_sum(xp: Namespace, kernel: Kernel, pair: Pair, step: int) -> Array:
    """Sum the kernel over all pairs of an observation of x and one of y."""
    if kernel.name == "linear":
        return (_total(pair, pair.x) * _total(pair, pair.y)).sum(axis=-1)
    total: Array = 0.0
    for i in range(0, pair.x.shape[-2], step):
        a = rows(pair, pair.x, i, i + step)
        for j in range(0, pair.y.shape[-2], step):
            b = rows(pair, pair.y, j, j + step)
            total = total + tile(xp, kernel, a, b).sum(axis=(-2, -1))
    return total


def self_sum(xp: Namespace, kernel: Kernel, pair: Pair, sample: Array, step: int) -> Array:
    """Sum the kernel over all pairs of observations of one sample, equal ones included."""
    if kernel.name == "linear":
        return (_total(pair, sample) ** 2).sum(axis=-1)
    total: Array = 0.0
    n = sample.shape[-2]
    for i in range(0, n, step):
        a = rows(pair, sample, i, i + step)
        total = total + tile(xp, kernel, a, a).sum(axis=(-2, -1))
        for j in range(i + step, n, step):
            b = rows(pair, sample, j, j + step)
            total = total + 2 * tile(xp, kernel, a, b).sum(axis=(-2, -1))
    return total


def diagonal_sum(xp: Namespace, kernel: Kernel, pair: Pair, sample: Array) -> Array | float:
    """Sum the kernel of every observation with itself."""
    n: int = sample.shape[-2]
    if kernel.name not in ("linear", "polynomial"):
        return float(n)
    observations = rows(pair, sample, 0, n)
    return by_row(xp, kernel, observations, observations).sum(axis=-1)


def _total(pair: Pair, sample: Array) -> Array:
    """Sum the centred observations, (..., d); the linear kernel has no scale."""
    return sample.shape[-2] * (sample.mean(axis=-2)[..., None, :] - pair.centre)[..., 0, :]

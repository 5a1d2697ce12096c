"""Kernels: their values, and their sums over all pairs of two samples, tile by tile.

A kernel is a statistic of a pair of observations, such as the squared distance, and a profile that
makes the kernel's value of it. Several bandwidths share the statistic.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from cfmetrics import _numerics, _validate, frequencies
from cfmetrics._validate import Array, Namespace
from cfmetrics.frequencies import RNG

_TILE_BYTES = 2**20
"""Size of a tile for NumPy: small enough that the steps on it find it in the cache."""

_MANY_PAIRS = 10_000
"""Number of pairs of observations from which a loop over the features costs little in NumPy."""

_MAX_POINTS = 1000
"""Number of points to which the median heuristic looks."""

_SHAPES: Mapping[str, float] = {**frequencies.SHAPES, "polynomial": 3.0}


class Kernel(NamedTuple):
    """A kernel in units of its first bandwidth; `ratios` are the bandwidths in that unit."""

    name: str
    ratios: tuple[float, ...] = (1.0,)
    shape: float = math.nan


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
    the root of a rounded 0 would not be small. The gradient is 0 where observations coincide.

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


def kernel_shape(kernel: str, shape: float | None) -> float:
    """Check the shape parameter of a kernel that is computed, not sampled."""
    shape = _validate.kernel_shape(kernel, shape, _SHAPES)
    if kernel == "matern" and shape not in (1.0, 3.0, 5.0):
        raise ValueError(
            f"shape is {shape}, for which kernel 'matern' has no closed form here; pass 1, 3 or 5, "
            f"or sample its frequencies (cf_distance does)"
        )
    if kernel == "polynomial" and shape != int(shape):
        raise ValueError(f"shape is {shape}; pass a whole number, the degree of the polynomial")
    return shape


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


def tile(xp: Namespace, kernel: Kernel, a: Array, b: Array) -> Array:
    """Compute the kernel of all pairs of (..., n, d) and (..., m, d), in its unit: (..., n, m)."""
    values = _evaluate(xp, kernel, _all_pairs, a, b)
    return values if values.dtype == a.dtype else xp.astype(values, a.dtype)


def by_row(xp: Namespace, kernel: Kernel, a: Array, b: Array) -> Array:
    """Compute the kernel of row i of a with row i of b, both (..., n, d), in its unit: (..., n)."""
    return _evaluate(xp, kernel, _paired, a, b)


def _total(pair: Pair, sample: Array) -> Array:
    """Sum the centred observations, (..., d); the linear kernel has no scale."""
    return sample.shape[-2] * (sample.mean(axis=-2)[..., None, :] - pair.centre)[..., 0, :]


def _evaluate(
    xp: Namespace,
    kernel: Kernel,
    statistic: Callable[[Namespace, str, Array, Array], Array],
    a: Array,
    b: Array,
) -> Array:
    name, profile = _FORMS[kernel.name]
    if name == "log_squares":  # The only statistic that is no power of the bandwidth.
        scaled = [statistic(xp, name, a / ratio, b / ratio) for ratio in kernel.ratios]
        values = [profile(xp, part, 1.0, kernel.shape) for part in scaled]
    else:
        common = statistic(xp, name, a, b)
        values = [profile(xp, common, ratio, kernel.shape) for ratio in kernel.ratios]
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total / len(values) if len(values) > 1 else total


def _all_pairs(xp: Namespace, statistic: str, a: Array, b: Array) -> Array:
    if statistic == "product":
        return _numerics.products(xp, a, b)
    if statistic == "mean_product":
        return _numerics.products(xp, a, b) / a.shape[-1]
    if statistic == "squared":
        return _numerics.at_least(xp, _squares(xp, a, b)[0], 0.0)
    if statistic == "distance":
        return _distances(xp, _numerics.widened(xp, a), _numerics.widened(xp, b))
    if _validate.is_torch(a):
        if statistic == "l1":
            return xp.cdist(a, b, p=1.0)  # Without an array of shape (n, m, d).
    elif a.shape[-2] * b.shape[-2] > _MANY_PAIRS:
        return _by_feature(statistic, a, b)
    return _paired(xp, statistic, a[..., :, None, :], b[..., None, :, :])


def _by_feature(statistic: str, a: Array, b: Array) -> Array:
    """Compute "l1" or "log_squares" of all pairs of NumPy rows, without a (..., n, m, d) array."""
    part = a[..., :, None, 0] - b[..., None, :, 0]
    total = np.zeros_like(part) if statistic == "l1" else np.ones_like(part)
    with np.errstate(over="ignore"):  # An infinite product has a kernel of 0.
        for k in range(a.shape[-1]):
            np.subtract(a[..., :, None, k], b[..., None, :, k], out=part)
            if statistic == "l1":
                total += np.abs(part, out=part)
            else:
                part *= part
                part += 1
                total *= part
    return total if statistic == "l1" else np.log(total)


def _paired(xp: Namespace, statistic: str, a: Array, b: Array) -> Array:
    if statistic == "product":
        return (a * b).sum(axis=-1)
    if statistic == "mean_product":
        return (a * b).mean(axis=-1)
    difference = a - b
    if statistic == "l1":
        return xp.abs(difference).sum(axis=-1)
    squares = difference * difference
    if statistic == "log_squares":
        return xp.log1p(squares).sum(axis=-1)
    squares = squares.sum(axis=-1)
    return _numerics.root(xp, squares) if statistic == "distance" else squares


def _squares(xp: Namespace, a: Array, b: Array) -> tuple[Array, Array]:
    """Compute |a_i - b_j|^2, rounded, and |a_i|^2 + |b_j|^2, to which the rounding is relative."""
    norms = (a * a).sum(axis=-1)[..., :, None] + (b * b).sum(axis=-1)[..., None, :]
    return norms - 2 * _numerics.products(xp, a, b), norms


def _distances(xp: Namespace, a: Array, b: Array) -> Array:
    squares, norms = _squares(xp, a, b)
    rounding = (8 + math.sqrt(a.shape[-1])) * float(xp.finfo(a.dtype).eps)
    return _numerics.root(xp, squares * (squares > rounding * norms))


def _rbf(xp: Namespace, squares: Array, ratio: float, shape: float) -> Array:
    return xp.exp(squares * (-0.5 / (ratio * ratio)))


def _laplace(xp: Namespace, distances: Array, ratio: float, shape: float) -> Array:
    return xp.exp(distances * (-1 / ratio))


def _cauchy(xp: Namespace, log_squares: Array, ratio: float, shape: float) -> Array:
    return xp.exp(-log_squares)


def _rational_quadratic(xp: Namespace, squares: Array, ratio: float, shape: float) -> Array:
    return (1 + squares / (2 * shape * ratio * ratio)) ** -shape


def _imq(xp: Namespace, squares: Array, ratio: float, shape: float) -> Array:
    return _rational_quadratic(xp, squares, ratio, 0.5)


def _matern(xp: Namespace, distances: Array, ratio: float, shape: float) -> Array:
    s = distances * (math.sqrt(shape) / ratio)
    if shape == 1:
        return xp.exp(-s)
    return (1 + s if shape == 3 else 1 + s + s * s / 3) * xp.exp(-s)


def _linear(xp: Namespace, products: Array, ratio: float, shape: float) -> Array:
    return products


def _polynomial(xp: Namespace, products: Array, ratio: float, shape: float) -> Array:
    return (products + 1) ** int(shape)


def _minus_distance(xp: Namespace, distances: Array, ratio: float, shape: float) -> Array:
    return -distances


_Profile: TypeAlias = Callable[[Namespace, Array, float, float], Array]


class _Form(NamedTuple):
    statistic: str
    profile: _Profile


_FORMS: Mapping[str, _Form] = {
    "rbf": _Form("squared", _rbf),
    "laplace": _Form("distance", _laplace),
    "laplace_l1": _Form("l1", _laplace),
    "cauchy": _Form("log_squares", _cauchy),
    "rational_quadratic": _Form("squared", _rational_quadratic),
    "imq": _Form("squared", _imq),
    "matern": _Form("distance", _matern),
    "linear": _Form("product", _linear),
    "polynomial": _Form("mean_product", _polynomial),
    "minus_distance": _Form("distance", _minus_distance),
}

KERNELS = tuple(name for name in _FORMS if name != "minus_distance")
"""Names of the kernels; "minus_distance", which gives the energy distance, has its function."""

"""Kernels of pairs of observations.

A kernel is a statistic of a pair, such as the squared distance, and a profile that makes the
kernel's value of it. Several bandwidths share the statistic.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from cfmetrics import _numerics, _validate, frequencies
from cfmetrics._validate import Array, Namespace

_BROADCAST_NUMBERS = 2**19
"""Numbers (pairs times features) from which a loop over the features pays in NumPy."""

_SHAPES: Mapping[str, float] = {**frequencies.SHAPES, "polynomial": 3.0}


class Kernel(NamedTuple):
    """A kernel in units of its first bandwidth; `ratios` are the bandwidths in that unit."""

    name: str
    ratios: tuple[float, ...] = (1.0,)
    shape: float = math.nan


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


def tile(xp: Namespace, kernel: Kernel, a: Array, b: Array) -> Array:
    """Compute the kernel of all pairs of (..., n, d) and (..., m, d), in its unit: (..., n, m)."""
    values = _evaluate(xp, kernel, _all_pairs, a, b)
    return values if values.dtype == a.dtype else xp.astype(values, a.dtype)


def by_row(xp: Namespace, kernel: Kernel, a: Array, b: Array) -> Array:
    """Compute the kernel of row i of a with row i of b, both (..., n, d), in its unit: (..., n)."""
    return _evaluate(xp, kernel, _paired, a, b)


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
    elif a.size * b.shape[-2] > _BROADCAST_NUMBERS:
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

"""Small numerical steps that several discrepancies share."""

from typing import Any

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array, Namespace


def common_dtype(xp: Namespace, *arrays: Array) -> list[Array]:
    """Convert to the widest dtype among the arrays, which is float32 at least."""
    wide = xp.float64 if any(a.dtype.itemsize == 8 for a in arrays) else xp.float32
    return [a if a.dtype == wide else xp.astype(a, wide) for a in arrays]


def device(array: Array) -> Any:
    """Tell the device of a tensor; None for NumPy.

    The function of array-api-compat makes dynamo warn under `torch.compile`.
    """
    return array.device if _validate.is_torch(array) else None


def widened(xp: Namespace, array: Array) -> Array:
    """Convert to float64, where the device has it."""
    if array.dtype == xp.float64 or getattr(device(array), "type", "") == "mps":
        return array
    return xp.astype(array, xp.float64)


def at_least(xp: Namespace, values: Array, floor: float) -> Array:
    """Raise values below `floor` to it; NaN stays."""
    # Not xp.clip: the array-api-compat versions differ in it, and older ones break the graph.
    return xp.maximum(values, xp.full_like(values, floor))


def root(xp: Namespace, values: Array, power: float = 0.5) -> Array:
    """Raise values to a power in (0, 1], with value and gradient 0 at 0 and below; NaN stays."""
    if not _validate.is_torch(values):
        values = xp.maximum(values, xp.zeros_like(values))
        return xp.sqrt(values) if power == 0.5 else values**power
    zero = values <= 0
    positive = xp.where(zero, xp.ones_like(values), values)
    powers = xp.sqrt(positive) if power == 0.5 else positive**power
    return xp.where(zero, xp.zeros_like(values), powers)


def products(xp: Namespace, a: Array, b: Array) -> Array:
    """Compute all <a_i, b_j> of (..., n, d) and (..., m, d), as (..., n, m).

    Differences of these are taken, so an enclosing torch autocast must not round them.
    """
    return matmul(a, xp.matrix_transpose(b))


def matmul(a: Array, b: Array) -> Array:
    """Compute a @ b, which an enclosing torch autocast must not round."""
    if _validate.is_torch(a):
        import torch

        if torch.is_autocast_enabled(a.device.type):
            with torch.autocast(a.device.type, enabled=False):
                return a @ b
    return a @ b


def batch_shape(x: Array, y: Array) -> tuple[int, ...]:
    """Broadcast the batch axes of two samples (`torch.compile` cannot trace NumPy's function)."""
    first, second = (tuple(sample.shape[:-2]) for sample in (x, y))
    missing = len(second) - len(first)
    first, second = (1,) * missing + first, (1,) * -missing + second
    return tuple(b if a == 1 else a for a, b in zip(first, second, strict=True))


def result(value: Array, like: Array) -> Array:
    """Give a result the dtype of `like` (NumPy 1 widens scalars), and no zero-dimensional array."""
    return value if _validate.is_torch(value) else np.asarray(value, dtype=like.dtype)[()]

"""Every argument check of the package, made once, at the boundary.

The checks look at types and shapes, which are static under `torch.compile`. Values are checked for
NumPy input only: for a torch tensor that would stop the accelerator and break the graph, so there
NaN in means NaN out.
"""

import math
import os
import sys
from collections.abc import Collection, Mapping
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A NumPy array or a torch tensor; functions return the kind that they were given."""

Namespace: TypeAlias = Any
"""The array-api-compat namespace of an `Array`."""

# Tuples, because torch 2.6 cannot trace the expression int | np.integer.
_INTEGERS = (int, np.integer)
_NUMBERS = (int, float, np.integer, np.floating)
_SEQUENCES = (list, tuple)


def is_torch(value: object) -> bool:
    """Tell whether `value` is a torch tensor, without importing torch.

    `array_api_compat.array_namespace` would answer too, but under `torch.compile` its caches make
    dynamo warn on every first call, so the package dispatches by this check.
    """
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_dask(value: object) -> bool:
    """Tell whether `value` is a Dask array, without importing Dask."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(value, module.Array)


def float_arrays(
    arrays: Mapping[str, Any], *, finite: bool = True
) -> tuple[Namespace, list[Array]]:
    """Turn arguments into real floating arrays of one library.

    Args:
        arrays: The arguments by name: all torch tensors, or all NumPy arrays (or nested sequences).
        finite: Whether to check that NumPy arrays hold neither NaN nor infinity.

    Returns:
        The namespace of the library, and the arrays in the given order. Integers become float64;
        NumPy half precision becomes float32 (NumPy has no fast half arithmetic).

    Raises:
        TypeError: The libraries are mixed, or a dtype is not an integer or a real number.
        ValueError: A NumPy array holds NaN or infinity, or tensors lie on different devices.
    """
    tensors = [name for name, value in arrays.items() if is_torch(value)]
    if not tensors:
        # Imported here, since it imports all of NumPy down to f2py and its tests.
        import array_api_compat.numpy as numpy_namespace

        return numpy_namespace, [
            _numpy_array(numpy_namespace, name, value, finite) for name, value in arrays.items()
        ]
    for name, value in arrays.items():
        if not is_torch(value):
            raise TypeError(
                f"{name} is a {type(value).__name__} but {tensors[0]} is a torch tensor; pass "
                f"torch.as_tensor({name}, dtype={tensors[0]}.dtype, device={tensors[0]}.device)"
            )
    import array_api_compat.torch as torch_namespace

    first = arrays[tensors[0]]
    for name, value in arrays.items():
        if value.device != first.device:
            raise ValueError(
                f"{name} is on device {value.device} but {tensors[0]} is on {first.device}; "
                f"move one of them with .to(device)"
            )
    converted = [_as_float(torch_namespace, name, value) for name, value in arrays.items()]
    return torch_namespace, converted


def exact_integers(name: str, array: Array) -> None:
    """Check that float64 can hold the integers of an array; other arrays pass."""
    wide = ("int64", "uint64")
    if str(array.dtype).removeprefix("torch.") not in wide or 0 in array.shape:
        return
    low, high = int(array.min()), int(array.max())
    if max(-low, high) > 2**53:
        raise ValueError(
            f"{name} holds the integer {low if -low > high else high}, beyond 2**53, so float64 "
            f"cannot tell it from its neighbours; subtract a common number from the samples, or "
            f"pass floating-point numbers if those differences do not matter"
        )


def samples(name: str, array: Array) -> Array:
    """View a sample of shape (..., n, d) or (n,) as (..., n, d); n and d must be positive."""
    shape = tuple(array.shape)
    if array.ndim == 0:
        raise ValueError(f"{name} is a single number; pass a sample of shape (n,) or (..., n, d)")
    if array.ndim == 1:
        array = array[:, None]
    if array.shape[-2] == 0 or array.shape[-1] == 0:
        raise ValueError(
            f"{name} has shape {shape}, which holds no observation; pass at least one observation "
            f"of at least one feature, as (n,) or (..., n, d)"
        )
    return array


def frequency_matrix(
    frequencies: Array, n_features: int, of: str = "x", name: str = "frequencies"
) -> Array:
    """View frequencies of shape (F, d) or (F,) as (F, d), where d must be `n_features`."""
    shape = tuple(frequencies.shape)
    matrix = frequencies[:, None] if frequencies.ndim == 1 else frequencies
    if matrix.ndim != 2 or matrix.shape[0] == 0:
        raise ValueError(
            f"{name} has shape {shape}; pass (F, d), or (F,) for one feature, with F >= 1"
        )
    if matrix.shape[1] != n_features:
        raise ValueError(
            f"{name} has shape {shape}, so {matrix.shape[1]} features, but {of} has "
            f"{n_features}; pass {name} of shape (F, {n_features})"
        )
    return matrix


def same_features(x: Array, y: Array) -> None:
    """Check that two samples (..., n, d) and (..., m, d) share d and have matching batches."""
    if x.shape[-1] != y.shape[-1]:
        raise ValueError(
            f"x has {x.shape[-1]} features but y has {y.shape[-1]} (shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)}); the last axes must be equal"
        )
    matching_shapes("x and y", x.shape[:-2], y.shape[:-2])


def feature_maps(name: str, array: Array) -> Array:
    """Check feature maps of shape (..., n, C, H, W); n, C, H and W must be positive."""
    shape = tuple(array.shape)
    if array.ndim < 4 or 0 in shape[-4:]:
        raise ValueError(
            f"{name} has shape {shape}; pass feature maps of shape (..., n, C, H, W) with at least "
            f"one sample, channel and position"
        )
    return array


def same_channels(x: Array, y: Array) -> None:
    """Check that feature maps (..., n, C, H, W) share C and have matching batches."""
    if x.shape[-3] != y.shape[-3]:
        raise ValueError(
            f"x has {x.shape[-3]} channels but y has {y.shape[-3]} (shapes {tuple(x.shape)} and "
            f"{tuple(y.shape)}); the third axes from the end must be equal"
        )
    matching_shapes("x and y", x.shape[:-4], y.shape[:-4])


def matching_shapes(names: str, first: tuple[int, ...], second: tuple[int, ...]) -> None:
    """Check that two batch shapes broadcast against each other."""
    common = min(len(first), len(second))  # Torch 2.6 cannot trace a zip of unequal lengths.
    ends = first[len(first) - common :], second[len(second) - common :]
    for a, b in zip(*ends, strict=True):
        if a != b and a != 1 and b != 1:
            raise ValueError(
                f"the batch shapes of {names} are {tuple(first)} and {tuple(second)}; they must be "
                f"equal, or broadcast against each other"
            )


def parts(arguments: Mapping[str, Any]) -> tuple[Namespace, list[tuple[Array, Array]]]:
    """Check pairs (real, imag) of characteristic function values, all over the same frequencies."""
    named: dict[str, Any] = {}
    for name, value in arguments.items():
        if not isinstance(value, tuple) or len(value) != 2:
            raise TypeError(
                f"{name} is a {type(value).__name__}; pass the CharacteristicParts(real, imag) "
                f"that characteristic_parts returns"
            )
        named[f"{name}.real"], named[f"{name}.imag"] = value
    xp, arrays = float_arrays(named)
    arrays = [xp.astype(a, xp.float32) if a.dtype.itemsize < 4 else a for a in arrays]
    shapes = [tuple(array.shape) for array in arrays]
    if shapes[0] != shapes[1] or shapes[2] != shapes[3] or shapes[0][-1:] != shapes[2][-1:]:
        raise ValueError(
            f"{', '.join(named)} have shapes {shapes}; real and imag must have one shape, and both "
            f"pairs the same number of frequencies (last axis)"
        )
    matching_shapes("x_parts and y_parts", shapes[0][:-1], shapes[2][:-1])
    return xp, [(arrays[0], arrays[1]), (arrays[2], arrays[3])]


def count(name: str, value: int) -> int:
    """Check a number of things: an integer of at least 1."""
    if isinstance(value, bool) or not isinstance(value, _INTEGERS):
        raise TypeError(f"{name} must be an integer, not {value!r}; pass a whole number >= 1")
    if value < 1:
        raise ValueError(f"{name} is {value}; pass a whole number >= 1")
    return int(value)


def weights(alpha: float, beta: float) -> tuple[float, float]:
    """Check amplitude and phase weights: finite, not negative, not both zero."""
    number("alpha", alpha)
    number("beta", beta)
    if alpha < 0 or beta < 0:
        raise ValueError(f"alpha is {alpha} and beta is {beta}; pass weights >= 0")
    if alpha == 0 and beta == 0:
        raise ValueError("alpha and beta are both 0; make at least one of them positive")
    return float(alpha), float(beta)


def positive(name: str, value: float) -> float:
    """Check a finite number above zero."""
    number(name, value)
    if value <= 0:
        raise ValueError(f"{name} is {value}; pass a number > 0")
    return float(value)


def not_negative(name: str, value: float) -> float:
    """Check a finite number of at least zero."""
    number(name, value)
    if value < 0:
        raise ValueError(f"{name} is {value}; pass a number >= 0")
    return float(value)


def is_number(value: object) -> bool:
    """Tell whether `value` is a plain number of Python or NumPy, not an array."""
    return isinstance(value, _NUMBERS)


def number(name: str, value: float) -> None:
    """Check a finite real number."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        raise TypeError(f"{name} is a {type(value).__name__}; pass a plain number")
    if not -math.inf < value < math.inf:
        raise ValueError(f"{name} is {value}; pass a finite number")


def bandwidths(bandwidth: Any) -> list[float]:
    """Check a bandwidth, or several: finite numbers above zero."""
    if isinstance(bandwidth, str):
        raise ValueError(
            f"bandwidth is {bandwidth!r}; pass a number > 0, such as "
            f"cfmetrics.median_bandwidth(x, y), or a sequence of such numbers"
        )
    if isinstance(bandwidth, np.ndarray):
        bandwidth = bandwidth.tolist()
    if not isinstance(bandwidth, _SEQUENCES):
        return [positive("bandwidth", bandwidth)]
    if not bandwidth:
        raise ValueError("bandwidth is empty; pass at least one number > 0")
    return [positive(f"bandwidth[{k}]", value) for k, value in enumerate(bandwidth)]


def choice(name: str, value: str, allowed: Collection[str]) -> str:
    """Check one of several names."""
    if not isinstance(value, str) or value not in allowed:
        known = ", ".join(repr(known) for known in allowed)
        raise ValueError(f"{name} is {value!r}; pass one of {known}")
    return value


def kernel_shape(kernel: str, shape: float | None, defaults: Mapping[str, float]) -> float:
    """Check the shape parameter of a kernel; `defaults` names the kernels that have one."""
    if shape is None:
        return defaults.get(kernel, math.nan)
    if kernel not in defaults:
        having = ", ".join(repr(name) for name in defaults)
        raise ValueError(
            f"shape is {shape}, but kernel {kernel!r} has no shape; leave it out, or choose one of "
            f"{having}"
        )
    return positive("shape", shape)


def scales(array: Array, n_features: int) -> Array:
    """View scales of shape (K,) or (K, d) as (K, 1) or (K, d), where d must be `n_features`."""
    shape = tuple(array.shape)
    matrix = array[:, None] if array.ndim == 1 else array
    if matrix.ndim != 2 or matrix.shape[0] == 0 or matrix.shape[1] not in (1, n_features):
        raise ValueError(f"scales has shape {shape}; pass (K,) or (K, {n_features}), with K >= 1")
    if (matrix <= 0).any():
        raise ValueError(f"scales holds {matrix.min()}; pass numbers > 0")
    return matrix


def frequency_weights(array: Array, n_frequencies: int) -> Array:
    """Check weights of frequencies: of shape (F,), and not negative."""
    shape = tuple(array.shape)
    if shape != (n_frequencies,):
        raise ValueError(
            f"weights has shape {shape}; pass one for each frequency, so ({n_frequencies},)"
        )
    if not is_torch(array) and (array < 0).any():
        raise ValueError(f"weights holds {array.min()}; pass weights >= 0")
    return array


def fraction(name: str, value: float) -> float:
    """Check a number from 0 to 1."""
    number(name, value)
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is {value}; pass a number from 0 to 1")
    return float(value)


def affordable(name: str, value: int, n_bytes: int) -> None:
    """Check that an array of `n_bytes`, which `value` asks for, leaves half of the memory free."""
    limit = _memory() // 2
    if n_bytes > limit:
        raise ValueError(
            f"{name} is {value}, which takes {n_bytes / 2**30:.1f} GiB, more than half of this "
            f"machine's memory ({limit / 2**30:.1f} GiB); pass fewer"
        )


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """Make a generator from a generator, a seed or None."""
    integral = isinstance(rng, _INTEGERS) and not isinstance(rng, bool)
    if rng is not None and not integral and not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"rng is a {type(rng).__name__}; pass a numpy.random.Generator, a seed or None"
        )
    if integral and rng < 0:  # type: ignore[operator]
        raise ValueError(f"rng is {rng}; pass a seed >= 0")
    return np.random.default_rng(rng)


def _memory() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # Not every system says.
        return 2**35


def _numpy_array(xp: Namespace, name: str, value: Any, finite: bool) -> Array:
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array, whose mask would be lost; pass {name}.filled()")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as one array: {error}") from error
    exact_integers(name, array)
    array = _as_float(xp, name, array)
    if array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()  # Finite where every value is, but for an overflow; needs no mask.
    if finite and not np.isfinite(total) and not (good := np.isfinite(array)).all():
        where = tuple(int(i) for i in np.argwhere(~good)[0])
        raise ValueError(
            f"{name} holds {int((~good).sum())} NaN or infinite values, the first at index "
            f"{where}; remove or impute those observations"
        )
    return array


def _as_float(xp: Namespace, name: str, array: Array) -> Array:
    if xp.isdtype(array.dtype, "real floating"):
        return array
    if xp.isdtype(array.dtype, "integral"):
        return xp.astype(array, xp.float64)
    raise TypeError(
        f"{name} has dtype {array.dtype}; pass real numbers (float16 to float64, or integers)"
    )

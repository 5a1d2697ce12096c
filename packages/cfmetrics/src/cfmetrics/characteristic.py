"""The empirical characteristic function of a sample."""

from typing import NamedTuple

from cfmetrics import _validate
from cfmetrics._validate import Array, Namespace

_NUMPY_CHUNK_BYTES = 4 * 2**20
"""Size of one chunk's projection for NumPy: small enough that cos and sin find it in the cache."""


class CharacteristicParts(NamedTuple):
    """Real and imaginary part of characteristic function values, each of shape (..., F)."""

    real: Array
    imag: Array


def characteristic_parts(
    x: Array, frequencies: Array, *, chunk_size: int | None = None
) -> CharacteristicParts:
    """Estimate a characteristic function, in real arithmetic.

    For observations x_1 ... x_n and a frequency t,

        real(t) = (1/n) sum_k cos <t, x_k>,    imag(t) = (1/n) sum_k sin <t, x_k>.

    The projection <t, x_k> is computed once, in the wider dtype of `x` and `frequencies`; cosine,
    sine and the sums are computed in float32 at least. Traces under
    `torch.compile(fullgraph=True)`.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature, in radians
            per unit of `x`.
        chunk_size: Observations handled at a time; bounds the memory to about
            3 * batch * chunk_size * F numbers. By default NumPy chunks are chosen to be a few MiB
            and torch takes one piece. Chunking a tensor that requires gradients saves no memory,
            since the backward pass needs every chunk.

    Returns:
        The parts, each of shape (..., F): float32, or float64 for float64 and integer input.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, or a NumPy array is not finite. (NaN in
            a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> parts = characteristic_parts(np.array([0.0, np.pi]), np.array([0.0, 1.0]))
        >>> parts.real, parts.imag.round(12)
        (array([1., 0.]), array([0., 0.]))
    """
    xp, (sample, points) = _validate.float_arrays({"x": x, "frequencies": frequencies})
    sample = _validate.samples("x", sample)
    points = _validate.frequency_matrix(points, sample.shape[-1])
    return mean_cos_sin(xp, sample, points, chunk_size)


def characteristic_function(
    x: Array, frequencies: Array, *, chunk_size: int | None = None
) -> Array:
    """Estimate a characteristic function: Phi(t) = (1/n) sum_k exp(i <t, x_k>).

    Phi(0) = 1 and |Phi(t)| <= 1. Shifting the sample by c multiplies Phi(t) by exp(i <t, c>).
    Reference: A. Feuerverger and R. A. Mureika, "The empirical characteristic function and its
    applications", Annals of Statistics 5 (1977).

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature.
        chunk_size: Observations handled at a time, as in `characteristic_parts`.

    Returns:
        Complex values of shape (..., F): complex64, or complex128 for float64 and integer input.

    Raises:
        TypeError: As `characteristic_parts`.
        ValueError: As `characteristic_parts`.

    Example:
        One observation x has Phi(t) = exp(i t x).

        >>> import numpy as np
        >>> value = characteristic_function(np.array([2.0]), np.array([0.5]))
        >>> bool(np.isclose(value[0], np.exp(1j)))
        True
    """
    real, imag = characteristic_parts(x, frequencies, chunk_size=chunk_size)
    return real + 1j * imag


def mean_cos_sin(
    xp: Namespace, sample: Array, frequencies: Array, chunk_size: int | None
) -> CharacteristicParts:
    """Average cos and sin of the projections of a checked sample (..., n, d) on (F, d)."""
    sample, frequencies = _one_dtype(xp, sample, frequencies)
    n = sample.shape[-2]
    rows = _rows_per_chunk(sample, frequencies.shape[0], chunk_size)
    real, imag = _sum_cos_sin(xp, sample[..., :rows, :], frequencies)
    for start in range(rows, n, rows):
        more = _sum_cos_sin(xp, sample[..., start : start + rows, :], frequencies)
        real, imag = real + more[0], imag + more[1]
    return CharacteristicParts(real / n, imag / n)


def _sum_cos_sin(xp: Namespace, sample: Array, frequencies: Array) -> tuple[Array, Array]:
    angles = xp.matmul(sample, frequencies.T)
    if angles.dtype.itemsize < 4:  # Half precision, also from an enclosing torch autocast.
        angles = xp.astype(angles, xp.float32)
    # The method, not xp.sum: with torch 2.6 array-api-compat's sum and mean drop the gradient.
    return xp.cos(angles).sum(axis=-2), xp.sin(angles).sum(axis=-2)


def _one_dtype(xp: Namespace, a: Array, b: Array) -> tuple[Array, Array]:
    """Convert to the wider dtype; float16 with bfloat16 gives float32."""
    if a.dtype == b.dtype:
        return a, b
    if a.dtype.itemsize == b.dtype.itemsize:
        wide = xp.float32
    else:
        wide = a.dtype if a.dtype.itemsize > b.dtype.itemsize else b.dtype
    return xp.astype(a, wide), xp.astype(b, wide)


def _rows_per_chunk(sample: Array, n_frequencies: int, chunk_size: int | None) -> int:
    if chunk_size is not None:
        return _validate.count("chunk_size", chunk_size)
    n: int = sample.shape[-2]
    if _validate.is_torch(sample):
        return n
    bytes_per_row: int = (sample.size // (n * sample.shape[-1])) * n_frequencies * sample.itemsize
    return max(1, min(n, _NUMPY_CHUNK_BYTES // max(1, bytes_per_row)))

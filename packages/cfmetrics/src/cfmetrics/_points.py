"""The samples and the frequencies of a discrepancy: checked, or drawn from a kernel."""

from collections.abc import Mapping, Sequence
from typing import Any

from cfmetrics import _numerics, _validate, kernels
from cfmetrics._validate import Array, Namespace
from cfmetrics.frequencies import RNG, sample_frequencies


def samples_and_points(
    x: Array,
    y: Array,
    given: Array | None,
    others: Mapping[str, Any],
    kernel: str,
    bandwidth: float | Sequence[float] | str,
    shape: float | None,
    n_frequencies: int,
    rng: RNG,
) -> tuple[Namespace, Array, Array, Array, dict[str, Array]]:
    """Check samples and frequencies, or draw the frequencies from a kernel's spectral measure.

    Args:
        x: Sample as the caller gave it.
        y: Sample as the caller gave it.
        given: Frequencies as the caller gave them, or None.
        others: More arrays by name, to become real floating arrays of the same library.
        kernel: Name of the kernel to draw from.
        bandwidth: Its bandwidth. For a batch and "median" the samples are divided by it.
        shape: Its shape parameter.
        n_frequencies: Number of frequencies to draw.
        rng: Generator or seed.

    Returns:
        The namespace; x of shape (..., n, d); y of shape (..., m, d); frequencies of shape (F, d);
        and the converted others.
    """
    arguments = {"x": x, "y": y, **others}
    if given is not None:
        arguments["frequencies"] = given
    xp, arrays = _validate.float_arrays(arguments)
    found = dict(zip(arguments, arrays, strict=True))
    x, y = _validate.samples("x", found.pop("x")), _validate.samples("y", found.pop("y"))
    _validate.same_features(x, y)
    if given is not None:
        points = _validate.frequency_matrix(found.pop("frequencies"), x.shape[-1])
    else:
        x, y, points = _draw(xp, x, y, kernel, bandwidth, shape, n_frequencies, rng)
    if "weights" in found:
        _validate.frequency_weights(found["weights"], points.shape[0])
    return xp, x, y, points, found


def _draw(
    xp: Namespace,
    x: Array,
    y: Array,
    kernel: str,
    bandwidth: float | Sequence[float] | str,
    shape: float | None,
    n_frequencies: int,
    rng: RNG,
) -> tuple[Array, Array, Array]:
    generator = _validate.generator(rng)
    x, y = _numerics.common_dtype(xp, x, y)
    scale: Array | float = 1.0
    if isinstance(bandwidth, str):
        scale, bandwidth = kernels.median_scale(xp, x, y, bandwidth, generator), 1.0
    drawn = sample_frequencies(
        n_frequencies, x.shape[-1], kernel=kernel, bandwidth=bandwidth, shape=shape, rng=generator
    )
    if isinstance(scale, float):
        drawn /= scale
    else:
        x, y = x / scale, y / scale
    return x, y, xp.asarray(drawn, dtype=x.dtype, device=_numerics.device(x))

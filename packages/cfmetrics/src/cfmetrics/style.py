"""Style of feature maps: the moments of their channels, and Gram matrices."""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from cfmetrics import _numerics, _validate
from cfmetrics._validate import Array, Namespace

Statistics: TypeAlias = Literal["batch", "sample"]
"""Whether moments are taken of the average map, or of every sample and then averaged."""

_NUMPY_CHUNK_BYTES = 4 * 2**20
"""Size of what is handled at a time for NumPy, so that no second copy of the input is made."""

_TARGET_FLOOR = 1e-12
"""Least mean square of a target that something is divided by."""


class ChannelMoments(NamedTuple):
    """Mean and standard deviation of every channel over space, each of shape (..., C)."""

    mean: Array
    std: Array


def channel_moments(
    x: Array, *, statistics: Statistics = "batch", eps: float = 1e-5
) -> ChannelMoments:
    """Compute mean and spread of the channels of feature maps, the statistics of instance norm.

    With maps F_1 ... F_n, and mean and var taken over the H W positions of a channel,

        "batch":   G = (1/n) sum_i F_i,  mean = mean(G),  std = sqrt(var_unbiased(G) + eps);
        "sample":  mean = (1/n) sum_i mean(F_i),  std = (1/n) sum_i sqrt(var_biased(F_i) + eps).

    The two means are equal, the two standard deviations are not: "batch" measures the spread of an
    average map, which falls with n, so samples of different sizes differ even where their
    distributions are the same. "sample" does not depend on n in expectation, but directly after an
    instance norm it is constant (0 and about 1), hence blind. Reference: Decomposed Distribution
    Matching (DDM, arXiv 2412.04748): "batch" is its released code.

    Args:
        x: Feature maps of shape (..., n, C, H, W); leading axes, such as one for classes, are kept.
        statistics: "batch" (at least two positions H W) or "sample".
        eps: Added to the variance, >= 0; it keeps the gradient of a constant channel finite.

    Returns:
        The moments, each of shape (..., C): float32, or float64 for float64 and integer input.

    Raises:
        TypeError: The dtype is boolean, complex or an object, or `eps` is not a number.
        ValueError: `x` has fewer than four axes or an empty one, `statistics` is unknown, `eps` is
            negative, "batch" has a single position, or a NumPy array is not finite. (NaN in a torch
            tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> maps = np.stack([np.zeros((1, 2, 2)), np.array([[[0.0, 4.0], [0.0, 4.0]]])])
        >>> channel_moments(maps, statistics="sample", eps=0.0)
        ChannelMoments(mean=array([1.]), std=array([1.]))
    """
    xp, maps = _maps(x=x)
    _check_statistics(statistics, eps, x=maps[0])
    return _channel_moments(xp, maps[0], statistics, eps)


def channel_moments_distance(
    x: Array,
    y: Array,
    *,
    statistics: Statistics = "batch",
    relative: bool = False,
    eps: float = 1e-5,
) -> Array:
    """Measure how far the channel means and standard deviations of feature maps are apart.

    With the moments mu and sigma of `channel_moments`,

        (1/2) [ mean_C (mu_x - mu_y)^2 + mean_C (sigma_x - sigma_y)^2 ].

    Reference: the moments matching loss of DDM (arXiv 2412.04748), which takes the mean of this
    over the layers of a network. Traps: with `statistics="batch"` samples of different sizes differ
    even where their distributions are the same, by the noise that averaging removes; with "sample",
    maps directly after an instance norm are always at distance 0.

    Args:
        x: Feature maps of shape (..., n, C, H, W).
        y: The target, of shape (..., m, C, H', W'); m, H' and W' may differ, batch axes broadcast.
        statistics: "batch" (the published form) or "sample", as in `channel_moments`.
        relative: Whether to divide each of the two terms by the mean square of its own target,
            mean_C mu_y^2 and mean_C sigma_y^2 (at least 1e-12). It makes layers of different scale
            comparable, and the distance asymmetric.
        eps: Added to the variances, as in `channel_moments`.

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer maps.

    Raises:
        TypeError: NumPy and torch are mixed, or as `channel_moments`.
        ValueError: The channels or the batch axes do not fit, or as `channel_moments`.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(10, 3, 4, 4))
        >>> print(round(channel_moments_distance(x, x + 2.0), 12))
        2.0
    """
    xp, maps = _maps(x=x, y=y)
    _check_statistics(statistics, eps, x=maps[0], y=maps[1])
    moments, target = (_channel_moments(xp, each, statistics, eps) for each in maps)
    terms = [
        mean_square(xp, a - b, b if relative else None)
        for a, b in zip(moments, target, strict=True)
    ]
    return _numerics.result((terms[0] + terms[1]) / 2, maps[0])


def gram_matrix(x: Array, *, correlation: bool = False, eps: float = 1e-5) -> Array:
    """Compute the products of channels over space, averaged over the samples.

    With the map F of a sample as a matrix of C channels by H W positions, the matrix is the average
    over the samples of

        F F^T / (C H W),

    or, with `correlation`, of Z Z^T / (H W), where Z are the channels of F less their mean and
    divided by sqrt(var_biased + eps): the correlation coefficients of the channels. Reference:
    L. A. Gatys, A. S. Ecker and M. Bethge, "Image style transfer using convolutional neural
    networks", CVPR 2016, Eq. 3 (without a factor), and DDM (arXiv 2412.04748), whose correlation
    matching uses the plain form.

    Args:
        x: Feature maps of shape (..., n, C, H, W).
        correlation: Whether to centre and standardise the channels of every sample.
        eps: Added to the variance, >= 0; it keeps constant channels finite, at correlation 0.
            Not used by the plain form.

    Returns:
        Matrices of shape (..., C, C): float32 (also under torch autocast), or float64 for float64
        and integer input.

    Raises:
        TypeError: The dtype is boolean, complex or an object, or `eps` is not a number.
        ValueError: `x` has fewer than four axes or an empty one, `eps` is negative, or a NumPy
            array is not finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> maps = np.array([[[[1.0, 3.0]], [[5.0, 1.0]]]])  # One sample, two channels, 1 x 2.
        >>> gram_matrix(maps)
        array([[2.5, 2. ],
               [2. , 6.5]])
        >>> gram_matrix(maps, correlation=True, eps=0.0)
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    eps = _validate.not_negative("eps", eps)
    xp, maps = _maps(x=x)
    return _gram_matrix(xp, maps[0], correlation, eps)


def gram_distance(x: Array, y: Array, *, correlation: bool = False, eps: float = 1e-5) -> Array:
    """Measure how far the Gram matrices of feature maps are apart: sum_ij (G_x - G_y)_ij^2.

    Gram matrices compare which channels fire together, at whatever position. The plain form also
    compares the scale of the channels, and grows with the fourth power of it; the correlation form
    compares neither scale nor mean. Directly after an instance norm the two are the same up to a
    factor of C. This is a sum over the C^2 entries, not their mean. Reference: the correlation
    matching loss of DDM (arXiv 2412.04748), which takes the mean of it over the layers.

    Args:
        x: Feature maps of shape (..., n, C, H, W).
        y: Feature maps of shape (..., m, C, H', W'); m, H', W' may differ, batch axes broadcast.
        correlation: Whether to centre and standardise the channels, as in `gram_matrix`.
        eps: Added to the variance of the correlation form, as in `gram_matrix`.

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer maps.

    Raises:
        TypeError: NumPy and torch are mixed, or as `gram_matrix`.
        ValueError: The channels or the batch axes do not fit, or as `gram_matrix`.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(10, 3, 4, 4))
        >>> bool(gram_distance(x, 2 * x) > 0.1)
        True
        >>> bool(gram_distance(x, 2 * x, correlation=True) < 1e-8)
        True
    """
    eps = _validate.not_negative("eps", eps)
    xp, maps = _maps(x=x, y=y)
    first, second = (_gram_matrix(xp, each, correlation, eps) for each in maps)
    return ((first - second) ** 2).sum(axis=(-2, -1))


def _maps(**arguments: Array) -> tuple[Namespace, list[Array]]:
    xp, arrays = _validate.float_arrays(arguments)
    for name, array in zip(arguments, arrays, strict=True):
        _validate.feature_maps(name, array)
    _validate.same_channels(arrays[0], arrays[-1])
    return xp, _numerics.common_dtype(xp, *arrays)


def _check_statistics(statistics: str, eps: float, **maps: Array) -> None:
    _validate.choice("statistics", statistics, ("batch", "sample"))
    _validate.not_negative("eps", eps)
    for name, array in maps.items():
        if statistics == "batch" and array.shape[-1] * array.shape[-2] < 2:
            raise ValueError(
                f"{name} has shape {tuple(array.shape)}, so one position, whose unbiased variance "
                f"is undefined; pass larger maps, or statistics='sample'"
            )


def _channel_moments(xp: Namespace, maps: Array, statistics: str, eps: float) -> ChannelMoments:
    if statistics == "batch":
        return ChannelMoments(*_spatial_moments(xp, maps.mean(axis=-4), eps, ddof=1))

    def per_sample(chunk: Array) -> Array:
        return xp.stack(_spatial_moments(xp, chunk, eps, ddof=0), axis=-2)

    moments = _mean_over_samples(maps, per_sample)
    return ChannelMoments(moments[..., 0, :], moments[..., 1, :])


def _spatial_moments(xp: Namespace, maps: Array, eps: float, ddof: int) -> tuple[Array, Array]:
    mean = maps.mean(axis=(-2, -1))
    squares = ((maps - mean[..., None, None]) ** 2).sum(axis=(-2, -1))
    return mean, xp.sqrt(squares / (maps.shape[-1] * maps.shape[-2] - ddof) + eps)


def _gram_matrix(xp: Namespace, maps: Array, correlation: bool, eps: float) -> Array:
    channels, height, width = maps.shape[-3:]

    def per_sample(chunk: Array) -> Array:
        if correlation:
            mean, std = _spatial_moments(xp, chunk, eps, ddof=0)
            chunk = (chunk - mean[..., None, None]) / std[..., None, None]
        rows = xp.reshape(chunk, (*chunk.shape[:-2], height * width))
        return _numerics.products(xp, rows, rows)

    terms = height * width if correlation else channels * height * width
    return _mean_over_samples(maps, per_sample) / terms


def _mean_over_samples(maps: Array, statistic: Callable[[Array], Array]) -> Array:
    """Average a statistic (..., n, a, b) of maps (..., n, C, H, W), for NumPy chunk by chunk."""
    n = maps.shape[-4]
    rows = n if _validate.is_torch(maps) else max(1, _NUMPY_CHUNK_BYTES * n // maps.nbytes)
    total = statistic(maps[..., :rows, :, :, :]).sum(axis=-3)
    for start in range(rows, n, rows):
        total = total + statistic(maps[..., start : start + rows, :, :, :]).sum(axis=-3)
    return total / n


def mean_square(xp: Namespace, difference: Array, target: Array | None) -> Array:
    """Average squares over the last axis, where a target is given relative to its mean square."""
    square = (difference**2).mean(axis=-1)
    if target is None:
        return square
    unit = (target**2).mean(axis=-1)
    return square / _numerics.at_least(xp, unit, _TARGET_FLOOR)

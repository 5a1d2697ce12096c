"""Distances between characteristic functions, as a whole and split into amplitude and phase."""

from collections.abc import Sequence
from typing import NamedTuple

from array_api_compat import device

from cfmetrics import _numerics, _validate, kernels
from cfmetrics._numerics import at_least
from cfmetrics._points import samples_and_points
from cfmetrics._validate import Array, Namespace
from cfmetrics.characteristic import CharacteristicParts, mean_cos_sin
from cfmetrics.frequencies import RNG, SPECTRAL_KERNELS, normal_frequencies
from cfmetrics.mean_discrepancy import biased

_METHODS = ("sampled", "closed_form")

SQUARE_FLOOR = 1e-12
"""Least value under the square root of the distance, as in the official NCFM code."""

_MODULUS_FLOOR = 1e-36
"""Least squared modulus: keeps 0/0 out of the gradient of |Phi|, whose size is at most 1."""


class AmplitudePhase(NamedTuple):
    """Amplitude and phase part of |Phi_x - Phi_y|^2, each of shape (..., F)."""

    amplitude: Array
    phase: Array


def amplitude_phase(x_parts: CharacteristicParts, y_parts: CharacteristicParts) -> AmplitudePhase:
    """Split |Phi_x - Phi_y|^2 into what the moduli and what the angles contribute.

    With p = Phi_x(t), q = Phi_y(t) and their angles a, b,

        amplitude = (|p| - |q|)^2,    phase = 2 |p| |q| (1 - cos(a - b)),

    which add up to |p - q|^2. Both are >= 0. The amplitude part does not change when either
    sample is shifted. The phase part is computed as |p - q|^2 - amplitude, which for close p and q
    loses far fewer digits than 2 (|p| |q| - Re(p conj q)). Reference: NCFM (arXiv 2502.20653),
    Eq. 7-8; the first term printed there is |p - q|^2, with which the two would not add up.

    Args:
        x_parts: Parts of the first characteristic function, of shape (..., F).
        y_parts: Parts of the second at the same frequencies; batch axes broadcast.

    Returns:
        The two parts for every frequency, of shape (..., F).

    Raises:
        TypeError: An argument is not a pair, NumPy and torch are mixed, or a dtype is not real.
        ValueError: The shapes do not fit each other, or a NumPy array is not finite.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import CharacteristicParts
        >>> one, i = CharacteristicParts([1.0], [0.0]), CharacteristicParts([0.0], [1.0])
        >>> amplitude_phase(one, i)
        AmplitudePhase(amplitude=array([0.]), phase=array([2.]))
    """
    xp, (p, q) = _validate.parts({"x_parts": x_parts, "y_parts": y_parts})
    return split_square(xp, p, q)


def cf_distance(
    x: Array,
    y: Array,
    *,
    frequencies: Array | None = None,
    weights: Array | None = None,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | str = "median",
    shape: float | None = None,
    n_frequencies: int = 256,
    method: str = "sampled",
    squared: bool = False,
    rng: RNG = None,
    chunk_size: int | None = None,
) -> Array:
    """Measure the distance of two samples by their characteristic functions.

        d^2 = sum_t w(t) |Phi_x(t) - Phi_y(t)|^2

    By default the frequencies t are drawn from the spectral measure of a kernel, with w = 1/F. Then
    d^2 estimates the biased squared MMD of the kernel without bias, in O((n + m) F) instead of
    O((n + m)^2); `method="closed_form"` computes that limit itself. At given
    frequencies (or a fixed bandwidth and seed) d is not negative, symmetric, 0 for equal samples,
    and obeys the triangle inequality; at finitely many frequencies two
    different distributions can be at distance 0 (a pseudometric). It does not change when both
    samples are shifted. References: B. K. Sriperumbudur et al., "Hilbert space embeddings and
    metrics on probability measures", JMLR 11 (2010), Corollary 4; K. Chwialkowski et al., "Fast
    two-sample testing with analytic representations of probability measures", NeurIPS 2015.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature; the parameters
            of the kernel are then not used. By default `n_frequencies` are drawn as
            `sample_frequencies` does; the same seed draws the same ones for NumPy and torch. Under
            `torch.compile` pass them, since the draw is done by NumPy.
        weights: Weights w >= 0 of the frequencies, of shape (F,), used as they are. By default 1/F.
        kernel: Name of a kernel of `sample_frequencies`.
        bandwidth: Length scale of the kernel in the unit of the samples; several, for the mean of
            the kernels; or "median", for `median_bandwidth(x, y)` of every entry of the batch.
        shape: Shape parameter of the kernel, as in `sample_frequencies`.
        n_frequencies: Number of frequencies to draw.
        method: "sampled", or "closed_form" for the integral over the whole spectral measure: the
            biased squared MMD, of all pairs of observations.
        squared: Return d^2 instead of d. The gradient of d is 0 where d is 0.
        rng: Generator or seed for the draws: the points of the median heuristic, where there are
            over 1000, and then the frequencies.
        chunk_size: Observations handled at a time, as in `characteristic_parts` (or, in closed
            form, the side of the tiles of pairs, as in `mmd`).

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer samples.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, a weight is negative, the kernel or the
            method is unknown, a parameter of the kernel is not positive or has no closed form, or a
            NumPy array is not finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(300, 2)), rng.normal(loc=0.5, size=(200, 2))
        >>> sampled = cf_distance(x, y, n_frequencies=4096, rng=1)
        >>> exact = cf_distance(x, y, method="closed_form")
        >>> bool(abs(sampled - exact) < 0.05 * exact)
        True
        >>> float(cf_distance([0.0], [1.0], frequencies=[np.pi]).round(12))
        2.0
    """
    _validate.choice("method", method, _METHODS)
    if method == "closed_form":
        for name, value in (("frequencies", frequencies), ("weights", weights)):
            if value is not None:
                raise ValueError(
                    f"{name} is given, but method 'closed_form' integrates over all frequencies; "
                    f"leave it out, or pass method='sampled'"
                )
        _validate.choice("kernel", kernel, SPECTRAL_KERNELS)
        xp, x, y = kernels.two_samples(x, y)
        pair, form = kernels.prepare(xp, x, y, kernel, bandwidth, shape, rng)
        square = biased(xp, form, pair, chunk_size)
        return _numerics.result(square if squared else _numerics.root(xp, square), x)
    given = {} if weights is None else {"weights": weights}
    xp, x, y, points, others = samples_and_points(
        x, y, frequencies, given, kernel, bandwidth, shape, n_frequencies, rng
    )
    p = mean_cos_sin(xp, x, points, chunk_size)
    q = mean_cos_sin(xp, y, points, chunk_size)
    return _weighted_distance(xp, p, q, others.get("weights"), squared)


def cf_distance_parts(
    x_parts: CharacteristicParts,
    y_parts: CharacteristicParts,
    *,
    weights: Array | None = None,
    squared: bool = False,
) -> Array:
    """Compute `cf_distance` from characteristic functions that are known already.

    Use it where one side does not change, or where it is known in closed form.

    Args:
        x_parts: Parts of the first characteristic function, of shape (..., F).
        y_parts: Parts of the second at the same frequencies; batch axes broadcast.
        weights: Weights >= 0 of the frequencies, of shape (F,), used as they are. By default 1/F.
        squared: Return the square of the distance.

    Returns:
        Distances of the batch's shape, as `cf_distance` returns them.

    Raises:
        TypeError: As `amplitude_phase`.
        ValueError: As `amplitude_phase`, or the weights are negative or of another shape.

    Example:
        >>> from cfmetrics import CharacteristicParts
        >>> one, i = CharacteristicParts([1.0], [0.0]), CharacteristicParts([0.0], [1.0])
        >>> float(cf_distance_parts(one, i, squared=True))
        2.0
    """
    xp, (p, q) = _validate.parts({"x_parts": x_parts, "y_parts": y_parts})
    if weights is not None:
        _, arrays = _validate.float_arrays({"x_parts.real": p[0], "weights": weights})
        weights = _validate.frequency_weights(arrays[1], p[0].shape[-1])
    return _weighted_distance(xp, p, q, weights, squared)


def ncf_distance(
    x: Array,
    y: Array,
    *,
    frequencies: Array | None = None,
    alpha: float = 0.5,
    beta: float = 0.5,
    n_frequencies: int = 256,
    scale: float = 1.0,
    rng: RNG = None,
    chunk_size: int | None = None,
) -> Array:
    """Measure how far apart two samples are, by their characteristic functions.

    With the amplitude part A and the phase part P of `amplitude_phase`, the distance is

        (1/F) sum_t sqrt(max(alpha A(t) + beta P(t), 1e-12)).

    The floor of 1e-12 (as in the official NCFM code) makes the gradient finite, and zero, where the
    characteristic functions agree; so equal samples are at distance sqrt(1e-12) = 1e-6, not 0.
    At given frequencies the distance is symmetric; two different distributions can agree at
    finitely many frequencies; the triangle inequality holds for alpha >= beta and can fail
    otherwise. alpha weighs differences of spread and shape, beta differences of location.
    Reference: NCFM (arXiv 2502.20653), Eq. 7-8, without its factor of 300.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes, or (n,) for one feature.
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature. By default
            `n_frequencies` are drawn from N(0, scale^2 I) by `rng`, in the dtype of `x`; the same
            seed draws the same frequencies for NumPy and torch. Under `torch.compile` pass
            them, since the draw is done by NumPy.
        alpha: Weight of the amplitude part, >= 0.
        beta: Weight of the phase part, >= 0; not both weights may be 0.
        n_frequencies: Number of frequencies to draw; not used where `frequencies` is given.
        scale: Standard deviation of the frequencies to draw, as in `normal_frequencies`.
        rng: Generator or seed for the draw.
        chunk_size: Observations handled at a time, as in `characteristic_parts`.

    Returns:
        Distances of the batch's shape, a scalar where there is no batch; in float32, or float64
        for float64 and integer samples.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, a weight is negative, both weights are
            0, or a NumPy array is not finite. (NaN in a torch tensor gives NaN.)

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 2))
        >>> shifted = ncf_distance(x, x + 1.0, alpha=1.0, beta=0.0, rng=0)
        >>> bool(shifted < 1e-5)  # A shift changes no modulus.
        True
        >>> bool(ncf_distance(x, x + 1.0, alpha=0.0, beta=1.0, rng=0) > 0.1)
        True
    """
    alpha, beta = _validate.weights(alpha, beta)
    given = {} if frequencies is None else {"frequencies": frequencies}
    xp, arrays = _validate.float_arrays({"x": x, "y": y, **given})
    first, second = _validate.samples("x", arrays[0]), _validate.samples("y", arrays[1])
    _validate.same_features(first, second)
    n_features = first.shape[-1]
    if frequencies is None:
        drawn = normal_frequencies(n_frequencies, n_features, scale=scale, rng=rng)
        points = xp.asarray(drawn, dtype=first.dtype, device=device(first))
    else:
        points = _validate.frequency_matrix(arrays[2], n_features)
    p = mean_cos_sin(xp, first, points, chunk_size)
    q = mean_cos_sin(xp, second, points, chunk_size)
    return _distance(xp, p, q, alpha, beta)


def ncf_distance_parts(
    x_parts: CharacteristicParts,
    y_parts: CharacteristicParts,
    *,
    alpha: float = 0.5,
    beta: float = 0.5,
) -> Array:
    """Compute `ncf_distance` from characteristic functions that are known already.

    Use it where one side does not change, or where it is known in closed form.

    Args:
        x_parts: Parts of the first characteristic function, of shape (..., F).
        y_parts: Parts of the second at the same frequencies; batch axes broadcast.
        alpha: Weight of the amplitude part, >= 0.
        beta: Weight of the phase part, >= 0; not both weights may be 0.

    Returns:
        Distances of the batch's shape, as `ncf_distance` returns them.

    Raises:
        TypeError: As `amplitude_phase`, or a weight is not a number.
        ValueError: As `amplitude_phase`, or the weights are negative or both 0.

    Example:
        The distance of a sample from the standard normal distribution:

        >>> import numpy as np
        >>> from cfmetrics import CharacteristicParts, characteristic_parts
        >>> t = np.linspace(0.1, 2.0, 20)
        >>> normal = CharacteristicParts(np.exp(-(t**2) / 2), np.zeros(20))
        >>> x = np.random.default_rng(0).normal(size=2000)
        >>> bool(ncf_distance_parts(characteristic_parts(x, t), normal) < 0.05)
        True
    """
    alpha, beta = _validate.weights(alpha, beta)
    xp, (p, q) = _validate.parts({"x_parts": x_parts, "y_parts": y_parts})
    return _distance(xp, p, q, alpha, beta)


def _weighted_distance(
    xp: Namespace,
    p: tuple[Array, Array],
    q: tuple[Array, Array],
    weights: Array | None,
    squared: bool,
) -> Array:
    squares = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
    if weights is None:
        total = squares.mean(axis=-1)
    else:
        total = (xp.astype(weights, squares.dtype) * squares).sum(axis=-1)
    return _numerics.result(total if squared else _numerics.root(xp, total), squares)


def _distance(
    xp: Namespace, p: tuple[Array, Array], q: tuple[Array, Array], alpha: float, beta: float
) -> Array:
    amplitude, phase = split_square(xp, p, q)
    squares = at_least(xp, alpha * amplitude + beta * phase, SQUARE_FLOOR)
    return xp.sqrt(squares).mean(axis=-1)  # The method, as in characteristic.py.


def split_square(xp: Namespace, p: tuple[Array, Array], q: tuple[Array, Array]) -> AmplitudePhase:
    """Compute `amplitude_phase` of checked parts."""
    amplitude = (_modulus(xp, p) - _modulus(xp, q)) ** 2
    square = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
    return AmplitudePhase(amplitude, at_least(xp, square - amplitude, 0.0))


def _modulus(xp: Namespace, p: tuple[Array, Array]) -> Array:
    return xp.sqrt(at_least(xp, p[0] ** 2 + p[1] ** 2, _MODULUS_FLOOR))

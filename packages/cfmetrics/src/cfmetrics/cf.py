"""Distances between characteristic functions, split into amplitude and phase."""

from typing import NamedTuple

from array_api_compat import device

from cfmetrics import _validate
from cfmetrics._validate import Array, Namespace
from cfmetrics.characteristic import CharacteristicParts, mean_cos_sin
from cfmetrics.frequencies import RNG, normal_frequencies

_SQUARE_FLOOR = 1e-12
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
    return _amplitude_phase(xp, p, q)


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


def _distance(
    xp: Namespace, p: tuple[Array, Array], q: tuple[Array, Array], alpha: float, beta: float
) -> Array:
    amplitude, phase = _amplitude_phase(xp, p, q)
    squares = _at_least(xp, alpha * amplitude + beta * phase, _SQUARE_FLOOR)
    return xp.sqrt(squares).mean(axis=-1)  # The method, as in characteristic.py.


def _amplitude_phase(
    xp: Namespace, p: tuple[Array, Array], q: tuple[Array, Array]
) -> AmplitudePhase:
    amplitude = (_modulus(xp, p) - _modulus(xp, q)) ** 2
    square = (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2
    return AmplitudePhase(amplitude, _at_least(xp, square - amplitude, 0.0))


def _modulus(xp: Namespace, p: tuple[Array, Array]) -> Array:
    return xp.sqrt(_at_least(xp, p[0] ** 2 + p[1] ** 2, _MODULUS_FLOOR))


def _at_least(xp: Namespace, values: Array, floor: float) -> Array:
    # Not xp.clip: the array-api-compat versions differ in it, and older ones break the graph.
    return xp.maximum(values, xp.full_like(values, floor))

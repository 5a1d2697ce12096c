"""Distributions with known characteristic functions and distances, to test against.

Example:
    The empirical characteristic function tends to the one of the distribution:

    >>> from cfmetrics import characteristic_parts, ncf_distance_parts
    >>> from cfmetrics.closed_forms import laplace
    >>> t, distribution = np.linspace(0.1, 3, 30), laplace(mean=1.0)
    >>> ours = characteristic_parts(distribution.sample(10_000, rng=0), t)
    >>> bool(ncf_distance_parts(ours, distribution.parts(t)) < 0.02)
    True
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics.characteristic import CharacteristicParts
from cfmetrics.frequencies import RNG

__all__ = [
    "CharacteristicFunction",
    "NormalPair",
    "bernoulli",
    "cauchy",
    "dirac",
    "exponential",
    "laplace",
    "normal",
    "uniform",
]

Vector: TypeAlias = NDArray[np.float64]
Matrix: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class CharacteristicFunction:
    """A distribution on the line whose characteristic function is known in closed form.

    Attributes:
        name: What it is, such as "normal(mean=0.0, std=1.0)".
        phi: Maps frequencies, any real array, to complex values of the same shape.
        draw: Draws that many observations with a generator.

    Example:
        >>> standard = normal()
        >>> standard(np.array([0.0, 1.0])).real.round(4)
        array([1.    , 0.6065])
        >>> standard.sample(3, rng=0).shape
        (3,)
    """

    name: str
    phi: Callable[[NDArray[Any]], NDArray[Any]]
    draw: Callable[[np.random.Generator, int], NDArray[Any]]

    def __call__(self, frequencies: NDArray[Any]) -> NDArray[np.complex128]:
        """Evaluate Phi(t), for frequencies of any shape."""
        return np.asarray(self.phi(np.asarray(frequencies, dtype=np.float64)), dtype=np.complex128)

    def parts(self, frequencies: NDArray[Any]) -> CharacteristicParts:
        """Evaluate Phi(t) as `ncf_distance_parts` and its like take it."""
        values = self(frequencies)
        return CharacteristicParts(values.real, values.imag)

    def sample(self, n: int, rng: RNG = None) -> Vector:
        """Draw n observations, of shape (n,)."""
        count = _validate.count("n", n)
        return np.asarray(self.draw(_validate.generator(rng), count), dtype=np.float64)

    def __repr__(self) -> str:
        return self.name


def dirac(at: float = 0.0) -> CharacteristicFunction:
    """One point: Phi(t) = exp(i t at).

    Example:
        >>> dirac(2.0).sample(2)
        array([2., 2.])
    """
    return CharacteristicFunction(
        f"dirac(at={at})", lambda t: np.exp(1j * t * at), lambda rng, n: np.full(n, at)
    )


def bernoulli(p: float = 0.5) -> CharacteristicFunction:
    """One with probability p, zero otherwise: Phi(t) = 1 - p + p exp(i t).

    Example:
        >>> bernoulli(1.0).sample(2)
        array([1., 1.])
    """
    return CharacteristicFunction(
        f"bernoulli(p={p})",
        lambda t: 1 - p + p * np.exp(1j * t),
        lambda rng, n: rng.random(n) < p,
    )


def normal(mean: float = 0.0, std: float = 1.0) -> CharacteristicFunction:
    """Normal: Phi(t) = exp(i t mean - t^2 std^2 / 2).

    Example:
        >>> normal(std=0.0)(np.array([5.0]))
        array([1.+0.j])
    """
    return CharacteristicFunction(
        f"normal(mean={mean}, std={std})",
        lambda t: np.exp(1j * t * mean - (t * std) ** 2 / 2),
        lambda rng, n: rng.normal(mean, std, n),
    )


def uniform(low: float = -1.0, high: float = 1.0) -> CharacteristicFunction:
    """Uniform: Phi(t) = exp(i t c) sin(t h) / (t h), with the centre c and half of the width, h.

    Example:
        >>> abs(uniform()(np.array([0.0, np.pi]))).round(12)
        array([1., 0.])
    """
    centre, half = (low + high) / 2, (high - low) / 2
    return CharacteristicFunction(
        f"uniform(low={low}, high={high})",
        lambda t: np.exp(1j * t * centre) * np.sinc(t * half / np.pi),
        lambda rng, n: rng.uniform(low, high, n),
    )


def exponential(scale: float = 1.0) -> CharacteristicFunction:
    """Exponential with mean `scale`: Phi(t) = 1 / (1 - i t scale).

    Example:
        >>> exponential()(np.array([1.0]))
        array([0.5+0.5j])
    """
    return CharacteristicFunction(
        f"exponential(scale={scale})",
        lambda t: 1 / (1 - 1j * t * scale),
        lambda rng, n: rng.exponential(scale, n),
    )


def laplace(mean: float = 0.0, scale: float = 1.0) -> CharacteristicFunction:
    """Laplace with density exp(-|x - mean| / scale) / (2 scale): exp(i t mean) / (1 + t^2 scale^2).

    Example:
        >>> laplace()(np.array([1.0]))
        array([0.5+0.j])
    """
    return CharacteristicFunction(
        f"laplace(mean={mean}, scale={scale})",
        lambda t: np.exp(1j * t * mean) / (1 + (t * scale) ** 2),
        lambda rng, n: rng.laplace(mean, scale, n),
    )


def cauchy(location: float = 0.0, scale: float = 1.0) -> CharacteristicFunction:
    """Cauchy, which has no mean: Phi(t) = exp(i t location - scale |t|).

    Example:
        >>> cauchy(scale=2.0)(np.array([0.0, 1.0])).real.round(4)
        array([1.    , 0.1353])
    """
    return CharacteristicFunction(
        f"cauchy(location={location}, scale={scale})",
        lambda t: np.exp(1j * t * location - scale * np.abs(t)),
        lambda rng, n: location + scale * rng.standard_cauchy(n),
    )


@dataclass(frozen=True)
class NormalPair:
    """P = N(mean_x, std_x^2 I) and Q = N(mean_y, std_y^2 I), with their distances in closed form.

    A standard deviation of 0 makes a point mass, whose samples have exactly the distances of the
    distribution.

    Attributes:
        mean_x: Mean of P, with d numbers.
        mean_y: Mean of Q, with d numbers.
        std_x: Standard deviation of every coordinate of P, >= 0.
        std_y: Standard deviation of every coordinate of Q, >= 0.

    Example:
        >>> from cfmetrics import mmd
        >>> points = NormalPair((0.0, 0.0), (1.0, 1.0), 0.0, 0.0)
        >>> x, y = points.samples(3, 2, rng=0)
        >>> bool(np.isclose(mmd(x, y, bandwidth=1.5, estimator="biased"), points.squared_mmd(1.5)))
        True
    """

    mean_x: tuple[float, ...]
    mean_y: tuple[float, ...]
    std_x: float
    std_y: float

    @property
    def n_features(self) -> int:
        """Number of features d."""
        return len(self.mean_x)

    def samples(self, n: int, m: int, rng: RNG = None) -> tuple[Matrix, Matrix]:
        """Draw n observations of P and m of Q, of shape (n, d) and (m, d)."""
        generator = _validate.generator(rng)
        x, y = (generator.standard_normal((k, self.n_features)) for k in (n, m))
        return x * self.std_x + np.array(self.mean_x), y * self.std_y + np.array(self.mean_y)

    def parts(self, frequencies: Matrix) -> tuple[CharacteristicParts, CharacteristicParts]:
        """Evaluate both characteristic functions at frequencies of shape (F, d)."""
        t = np.asarray(frequencies, dtype=np.float64)
        both = ((self.mean_x, self.std_x), (self.mean_y, self.std_y))
        first, second = (_normal_parts(t, np.array(mean), std) for mean, std in both)
        return first, second

    def squared_mmd(self, bandwidth: float) -> float:
        """Squared MMD of the RBF kernel exp(-|u - v|^2 / (2 bandwidth^2)).

        It is also the squared CF distance weighted by the kernel's spectral measure.
        """

        def mean_kernel(distance2: float, variance: float) -> float:
            total = bandwidth**2 + variance
            scale: float = (bandwidth**2 / total) ** (self.n_features / 2)
            return scale * math.exp(-distance2 / (2 * total))

        a, b = self.std_x**2, self.std_y**2
        within = mean_kernel(0.0, 2 * a) + mean_kernel(0.0, 2 * b)
        return within - 2 * mean_kernel(self._distance() ** 2, a + b)

    def squared_energy(self) -> float:
        """Squared energy distance, 2 E|X - Y| - E|X - X'| - E|Y - Y'|, for one feature.

        Raises:
            ValueError: There is more than one feature.
        """
        self._check_one_feature()
        a, b = self.std_x**2, self.std_y**2
        within = _mean_absolute(0.0, 2 * a) + _mean_absolute(0.0, 2 * b)
        return 2 * _mean_absolute(self._distance(), a + b) - within

    def wasserstein(self) -> float:
        """Wasserstein distance of order 2: |mean_x - mean_y|^2 + d (std_x - std_y)^2, its root."""
        return math.hypot(self._distance(), math.sqrt(self.n_features) * (self.std_x - self.std_y))

    def _distance(self) -> float:
        return math.dist(self.mean_x, self.mean_y)

    def _check_one_feature(self) -> None:
        if self.n_features != 1:
            raise ValueError(f"the closed form is for one feature, not for {self.n_features}")


def _normal_parts(t: Matrix, mean: Vector, std: float) -> CharacteristicParts:
    modulus, angle = np.exp(-((std * t) ** 2).sum(axis=-1) / 2), t @ mean
    return CharacteristicParts(modulus * np.cos(angle), modulus * np.sin(angle))


def _mean_absolute(mean: float, variance: float) -> float:
    """E|Z| for Z ~ N(mean, variance)."""
    if variance == 0:
        return abs(mean)
    spread = math.sqrt(2 * variance / math.pi) * math.exp(-(mean**2) / (2 * variance))
    return spread + mean * math.erf(mean / math.sqrt(2 * variance))

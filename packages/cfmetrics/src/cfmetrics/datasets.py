"""The pairs of distributions on which two-sample tests are compared in the literature.

Every function draws x from P and y from Q, as NumPy arrays in float64, with independent
observations; with `null=True` both come from P, to check that a test holds its level.

Example:
    >>> from cfmetrics.datasets import gaussian_mean_shift
    >>> x, y = gaussian_mean_shift(500, 300, rng=0)
    >>> x.shape, y.shape
    ((500, 10), (300, 10))
"""

import math
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics.frequencies import RNG

__all__ = ["blobs", "gaussian_mean_shift", "gaussian_variance_shift", "hdgm"]

Samples: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""The two samples (n, d) and (m, d)."""


def blobs(
    n: int,
    m: int | None = None,
    *,
    side: int = 4,
    distance: float = 5.0,
    stretch: float = 2.0,
    angle: float = math.pi / 4,
    null: bool = False,
    rng: RNG = None,
) -> Samples:
    """Draw from a square grid of normal blobs, which are round in P and long in Q.

    Both are mixtures with equal weights of side * side normal distributions in the plane, whose
    centres are `distance` apart and have mean zero. In P all have the covariance I. In Q all have a
    covariance with eigenvalues `stretch` and 1, whose long axis has the angle `angle` to the first
    coordinate. The difference is at the scale of one blob, far below the scale of the whole, which
    is what a median bandwidth sees.

    References: A. Gretton et al., "Optimal kernel choice for large-scale two-sample tests", NeurIPS
    2012, Section 5; K. Chwialkowski et al., "Fast two-sample testing with analytic representations
    of probability measures", NeurIPS 2015; W. Jitkrittum et al., "Interpretable distribution
    features with maximum testing power", NeurIPS 2016, with a 4 x 4 grid, distance 5 and stretch 2.
    Their published code multiplies its row vectors with the rotation on the side where it cancels,
    so that its Q is the one with angle=0.

    Args:
        n: Number of observations from P.
        m: Number of observations from Q; n by default.
        side: Number of blobs in a row and in a column.
        distance: Distance of neighbouring centres.
        stretch: Ratio of the variances of Q along the long and the short axis, > 0.
        angle: Angle of the long axis, in radians.
        null: Whether to draw both samples from P.
        rng: Generator or seed.

    Returns:
        The samples, of shape (n, 2) and (m, 2).

    Raises:
        TypeError: A count is not an integer, or a number is not one.
        ValueError: A count, `distance` or `stretch` is not positive.

    Example:
        >>> x, y = blobs(1000, rng=0)
        >>> x.shape
        (1000, 2)
    """
    n, m, generator = _arguments(n, m, rng)
    side = _validate.count("side", side)
    distance, stretch = (
        _validate.positive(name, value)
        for name, value in (("distance", distance), ("stretch", stretch))
    )
    _validate.number("angle", angle)
    axes = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])

    def draw(count: int, scales: tuple[float, float]) -> NDArray[np.float64]:
        cells = generator.integers(side, size=(count, 2))
        sample: NDArray[np.float64] = generator.standard_normal((count, 2)) * scales @ axes
        return sample + distance * (cells - (side - 1) / 2)

    return draw(n, (1.0, 1.0)), draw(m, (1.0, 1.0) if null else (math.sqrt(stretch), 1.0))


def hdgm(
    n: int,
    m: int | None = None,
    *,
    n_features: int = 10,
    offset: float = 0.5,
    correlation: float = 0.5,
    null: bool = False,
    rng: RNG = None,
) -> Samples:
    """Draw from high-dimensional Gaussian mixtures: only a correlation differs, by the cluster.

    Both are mixtures with equal weights of two normal distributions, with means 0 and
    (offset, ..., offset). In P both have the covariance I. In Q the first two coordinates have the
    correlation `correlation` in the first cluster and -`correlation` in the second. So P and Q have
    equal means, and all coordinates but the first two say nothing. Their covariances are equal too:
    the difference is in how the correlation depends on the place.

    Reference: F. Liu et al., "Learning deep kernels for non-parametric two-sample tests", ICML 2020
    (arXiv 2002.09116), HDGM-D. Their published code puts exactly half of the observations into
    each cluster; here, as in the definition of the mixture, a coin is thrown for each.

    Args:
        n: Number of observations from P, in both clusters together.
        m: Number of observations from Q; n by default.
        n_features: Number of features d, at least 2.
        offset: Distance of the two means in each coordinate; their Euclidean distance is
            offset * sqrt(d).
        correlation: Correlation of the first two coordinates of Q, in (-1, 1).
        null: Whether to draw both samples from P.
        rng: Generator or seed.

    Returns:
        The samples, of shape (n, d) and (m, d).

    Raises:
        TypeError: A count is not an integer, or a number is not one.
        ValueError: A count is not positive, d is 1, or the correlation is not between -1 and 1.

    Example:
        >>> x, y = hdgm(1000, n_features=20, rng=0)
        >>> y.shape
        (1000, 20)
    """
    n, m, generator = _arguments(n, m, rng)
    if _validate.count("n_features", n_features) < 2:
        raise ValueError("n_features is 1; pass at least 2, since it is two that correlate")
    _validate.number("offset", offset)
    _validate.number("correlation", correlation)
    if not -1 < correlation < 1:
        raise ValueError(f"correlation is {correlation}; pass a number between -1 and 1")

    def draw(count: int, correlation: float) -> NDArray[np.float64]:
        cluster = generator.integers(2, size=count)
        sample = generator.standard_normal((count, n_features))
        signed = correlation * (1 - 2 * cluster)
        sample[:, 1] = signed * sample[:, 0] + math.sqrt(1 - correlation**2) * sample[:, 1]
        return sample + offset * cluster[:, None]

    return draw(n, 0.0), draw(m, 0.0 if null else correlation)


def gaussian_mean_shift(
    n: int,
    m: int | None = None,
    *,
    n_features: int = 10,
    shift: float = 0.2,
    null: bool = False,
    rng: RNG = None,
) -> Samples:
    """Draw from P = N(0, I) and Q = N((shift, 0, ..., 0), I).

    Reference: "GMD" of W. Jitkrittum et al., "Interpretable distribution features with maximum
    testing power", NeurIPS 2016, where the shift is 1 and d is 100.

    Args:
        n: Number of observations from P.
        m: Number of observations from Q; n by default.
        n_features: Number of features d.
        shift: Difference of the means of the first coordinate.
        null: Whether to draw both samples from P.
        rng: Generator or seed.

    Returns:
        The samples, of shape (n, d) and (m, d).

    Raises:
        TypeError: A count is not an integer, or a number is not one.
        ValueError: A count is not positive.

    Example:
        >>> x, y = gaussian_mean_shift(2000, shift=1.0, rng=0)
        >>> bool(y[:, 0].mean() - x[:, 0].mean() > 0.9)
        True
    """
    _validate.number("shift", shift)
    x, y = _standard_normal(n, m, n_features, rng)
    if not null:
        y[:, 0] += shift
    return x, y


def gaussian_variance_shift(
    n: int,
    m: int | None = None,
    *,
    n_features: int = 10,
    variance: float = 2.0,
    null: bool = False,
    rng: RNG = None,
) -> Samples:
    """Draw from P = N(0, I) and Q = N(0, diag(variance, 1, ..., 1)).

    Reference: "GVD" of W. Jitkrittum et al., "Interpretable distribution features with maximum
    testing power", NeurIPS 2016, where the variance is 2 and d is 50.

    Args:
        n: Number of observations from P.
        m: Number of observations from Q; n by default.
        n_features: Number of features d.
        variance: Variance of the first coordinate of Q, > 0.
        null: Whether to draw both samples from P.
        rng: Generator or seed.

    Returns:
        The samples, of shape (n, d) and (m, d).

    Raises:
        TypeError: A count is not an integer, or a number is not one.
        ValueError: A count or the variance is not positive.

    Example:
        >>> x, y = gaussian_variance_shift(2000, variance=9.0, rng=0)
        >>> bool(y[:, 0].std() > 2.5)
        True
    """
    variance = _validate.positive("variance", variance)
    x, y = _standard_normal(n, m, n_features, rng)
    if not null:
        y[:, 0] *= math.sqrt(variance)
    return x, y


def _standard_normal(n: int, m: int | None, n_features: int, rng: RNG) -> Samples:
    n, m, generator = _arguments(n, m, rng)
    d = _validate.count("n_features", n_features)
    return generator.standard_normal((n, d)), generator.standard_normal((m, d))


def _arguments(n: int, m: int | None, rng: RNG) -> tuple[int, int, np.random.Generator]:
    first = _validate.count("n", n)
    second = first if m is None else _validate.count("m", m)
    return first, second, _validate.generator(rng)

"""The smooth characteristic function test."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.asymptotic import enough_in_both, enough_observations, wald_test
from cfmetrics.two_sample.features import (
    MEDIAN_POINTS,
    CosSin,
    cos_sin,
    find_bandwidth,
    given_frequencies,
    some_rows,
    standardise,
    to_numpy,
)
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    permutation_result,
    pieces,
)
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare, undefined_result
from cfmetrics.two_sample.relabel import BLOCK_ROWS, Relabelings
from cfmetrics.two_sample.result import TestResult

SCFMethod: TypeAlias = Literal["permutation", "asymptotic"]
"""How `scf_2samp` finds its p-value."""

_FAR = 1e15
"""Distance, in bandwidths, to which far outliers are moved: its square is finite in float32."""

_SINGULAR = 1e-5
"""Relative size below which an eigenvalue of a scatter matrix cannot be told from rounding."""


def scf_2samp(
    x: Array,
    y: Array,
    *,
    n_frequencies: int = 5,
    frequencies: Array | None = None,
    bandwidth: float | str = "median",
    method: SCFMethod = "asymptotic",
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, by smooth characteristic functions.

    With u = (x - c) / s for the bandwidth s and c, the median of each feature, each observation has
    the 2J features exp(-|u|^2 / 2) cos <t, u> and exp(-|u|^2 / 2) sin <t, u>, at J random
    frequencies t ~ N(0, I). Their means are a characteristic function smoothed by a Gaussian: if
    two distributions differ, so do they, at almost every t, where plain characteristic functions
    can agree in whole regions. The statistic is Hotelling's T^2 of the features (pooled
    covariance); combinations of them that hardly vary are left out. Its p-value is by the F
    distribution ("asymptotic": O(n J) and no resampling, for many observations per frequency) or by
    relabeling ("permutation": exact, as in `cf_2samp`).

    Reference: K. Chwialkowski et al., "Fast two-sample testing with analytic representations of
    probability measures", NeurIPS 2015, Section 3. There are neither c nor s there (c = 0, s = 1),
    so its power depends on the unit and the origin of the samples, and the covariance is that of
    differences of pairs.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        n_frequencies: Number J of frequencies to draw.
        frequencies: Frequencies of shape (J, d), or (J,), in radians per bandwidth, instead.
        bandwidth: Length scale s: a number, or "median", the median distance of 500 pooled
            observations. (The median c of the features is that of 500 pooled observations, too.)
        method: "asymptotic" or "permutation".
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the points from which bandwidth and median are found, the
            frequencies and the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result; `details` holds "bandwidth", "frequencies" (in radians per unit of the samples) and
        "degrees_of_freedom".

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import scf_2samp
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(500, 3)), rng.normal(scale=1.4, size=(400, 3))
        >>> scf_2samp(x, y, rng=1).pvalue < 1e-3
        True
    """
    _validate.choice("method", method, ("asymptotic", "permutation"))
    resamples = _validate.count("n_resamples", n_resamples)
    wanted = _validate.count("n_frequencies", n_frequencies)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="scf_2samp")
    points = None
    if frequencies is not None:
        points = given_frequencies(frequencies, samples.n_features)
    if samples.has_nan:
        return undefined_result(samples, test="scf_2samp", method=method)
    unit = find_bandwidth(samples, bandwidth, generator)
    if points is None:
        _validate.affordable("n_frequencies", wanted, 2 * 8 * wanted * samples.n_features)
        points = generator.standard_normal((wanted, samples.n_features))
    n, m = samples.n, samples.m
    (enough_in_both if method == "asymptotic" else enough_observations)(2 * len(points), n, m)
    centre = np.median(some_rows(samples, MEDIAN_POINTS, generator), axis=0)
    features = SmoothCosSin(cos_sin(samples, points, unit, _like(centre, samples)), unit)
    details = {"bandwidth": unit, "frequencies": points / unit}
    moments = [_moments(features, sample) for sample in (samples.x, samples.y)]
    basis = _basis(moments, n, m)
    details["degrees_of_freedom"] = basis.shape[1]
    if method == "asymptotic":
        statistic, pvalue = _hotelling(moments, basis, n, m)
        return TestResult(
            statistic=statistic,
            pvalue=pvalue,
            test="scf_2samp",
            method=method,
            n=n,
            m=m,
            n_features=samples.n_features,
            details=details,
        )
    relabelings = Relabelings(n, m, resamples, generator)
    differences = mean_differences(samples, relabelings, features)
    values = _t_squared(differences @ basis, n, m)
    return permutation_result(values, samples, relabelings, test="scf_2samp", details=details)


@dataclass(frozen=True, slots=True)
class SmoothCosSin:
    """Cosines and sines of `inner`, weighted by exp(-|(x - c) / unit|^2 / 2)."""

    inner: CosSin
    unit: float

    def __call__(self, rows: Array) -> Array:
        """Compute features (r, 2F) of rows (r, d), in float32."""
        z = standardise(rows, self.inner.centre, self.unit, largest=_FAR)
        squares = (z * z).sum(axis=1)
        weights = (-squares / 2).exp() if _validate.is_torch(z) else np.exp(-squares / 2)
        return self.inner(rows) * weights[:, None]


def _moments(
    features: SmoothCosSin, sample: Array
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and biased covariance of the features of a sample, in float64."""
    rows = slice(0, sample.shape[0])
    shift: Any = None
    total, products = 0.0, 0.0
    for part in pieces(rows, BLOCK_ROWS):
        z = to_numpy(features(sample[part]))
        shift = z.mean(axis=0) if shift is None else shift
        z = z - shift
        total, products = total + z.sum(axis=0), products + z.T @ z
    mean = total / sample.shape[0]
    return mean + shift, products / sample.shape[0] - np.outer(mean, mean)


def _basis(moments: list[tuple[Any, Any]], n: int, m: int) -> NDArray[np.float64]:
    """Find combinations of the features, as columns, whose scatter around the pooled mean is I."""
    (x_mean, x_cov), (y_mean, y_cov) = moments
    gap = x_mean - y_mean
    total = n * x_cov + m * y_cov + (n * m / (n + m)) * np.outer(gap, gap)
    values, vectors = np.linalg.eigh(total)
    kept = values > _SINGULAR * max(values[-1], np.finfo(np.float64).tiny)
    basis: NDArray[np.float64] = vectors[:, kept] / np.sqrt(values[kept])
    return basis


def _hotelling(
    moments: list[tuple[Any, Any]], basis: NDArray[np.float64], n: int, m: int
) -> tuple[float, float]:
    if basis.shape[1] == 0:  # No feature varies.
        return 0.0, 1.0
    (x_mean, x_cov), (y_mean, y_cov) = ((a @ basis, basis.T @ c @ basis) for a, c in moments)
    result = wald_test(x_mean, x_cov, n, y_mean, y_cov, m, form="hotelling")
    return result.statistic, result.pvalue


def _t_squared(whitened: Statistics, n: int, m: int) -> Statistics:
    """Compute Hotelling's T^2 of every relabeling from its difference of means in the basis.

    The scatter around the pooled mean is the same for all, here I. That within the samples is
    I - (n m / N) d d', so by the Sherman-Morrison formula, with q = (n m / N) d' d,
    T^2 = (N - 2) q / (1 - q).
    """
    q = np.minimum((n * m / (n + m)) * (whitened**2).sum(axis=1), 1 - 1e-9)
    statistics: Statistics = (n + m - 2) * q / (1 - q)
    return statistics


def _like(centre: NDArray[np.float64], samples: Samples) -> Array:
    """Convert a centre to the library, dtype and device of the samples."""
    return samples.xp.asarray(centre, dtype=samples.x.dtype, device=device(samples.x))

"""The smooth characteristic function test."""

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.asymptotic import wald_test
from cfmetrics.two_sample.features import (
    CosSin,
    cos_sin,
    find_bandwidth,
    given_frequencies,
    standardise,
    to_numpy,
)
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    permutation_result,
    pieces,
)
from cfmetrics.two_sample.prepare import NanPolicy, prepare, undefined_result
from cfmetrics.two_sample.relabel import BLOCK_ROWS, Relabelings
from cfmetrics.two_sample.result import TestResult

SCFMethod: TypeAlias = Literal["permutation", "asymptotic"]
"""How `scf_2samp` finds its p-value."""

_FAR = 1e15
"""Distance, in bandwidths, to which far outliers are moved: its square is finite in float32."""

_SINGULAR = 1e-5
"""Relative size below which an eigenvalue of a covariance in float32 is rounding."""


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

    With u = (x - c) / s for the pooled mean c and the bandwidth s, each observation has the 2J
    features exp(-|u|^2 / 2) cos <t, u> and exp(-|u|^2 / 2) sin <t, u>, at J random frequencies t ~
    N(0, I). Their means are a characteristic function smoothed by a Gaussian: if two distributions
    differ, so do they, at almost every t, where plain characteristic functions can agree in whole
    regions. The statistic is Hotelling's T^2 of the features (pooled covariance). Its p-value is by
    the F distribution ("asymptotic": O(n J) and no resampling, for many observations per frequency)
    or by relabeling ("permutation": exact, as in `cf_2samp`).

    Reference: K. Chwialkowski et al., "Fast two-sample testing with analytic representations of
    probability measures", NeurIPS 2015, Section 3. There are neither c nor s there (c = 0, s = 1),
    so its power depends on the unit and the origin of the samples; pass samples - their pooled
    mean, and bandwidth=1.0, for the original weights.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        n_frequencies: Number J of frequencies to draw.
        frequencies: Frequencies of shape (J, d), or (J,), in radians per bandwidth, instead.
        bandwidth: Length scale s: a number, or "median", the median distance of 500 pooled
            observations.
        method: "asymptotic" or "permutation".
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the bandwidth's points, the frequencies and the relabelings.
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
        points = generator.standard_normal((wanted, samples.n_features))
    features = SmoothCosSin(cos_sin(samples, points, unit), unit)
    details = {"bandwidth": unit, "frequencies": points / unit}
    moments = [_moments(features, sample) for sample in (samples.x, samples.y)]
    n, m = samples.n, samples.m
    if method == "asymptotic":
        result = wald_test(*moments[0], n, *moments[1], m, form="hotelling")
        return TestResult(
            statistic=result.statistic,
            pvalue=result.pvalue,
            test="scf_2samp",
            method=method,
            n=n,
            m=m,
            n_features=samples.n_features,
            details={**details, "degrees_of_freedom": result.degrees_of_freedom},
        )
    relabelings = Relabelings(n, m, resamples, generator)
    differences = mean_differences(samples, relabelings, features)
    values, rank = _t_squared(differences, moments, n, m)
    details["degrees_of_freedom"] = rank
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


def _t_squared(
    differences: Statistics, moments: list[tuple[Any, Any]], n: int, m: int
) -> tuple[Statistics, int]:
    """Compute Hotelling's T^2 of every relabeling from the one scatter matrix of all observations.

    The scatter S around the pooled mean is the same for all. That within the samples is
    S - (n m / N) d d', so by the Sherman-Morrison formula, with q = (n m / N) d' S^-1 d,
    T^2 = (N - 2) q / (1 - q).
    """
    (x_mean, x_cov), (y_mean, y_cov) = moments
    weight = n * m / (n + m)
    gap = x_mean - y_mean
    total = n * x_cov + m * y_cov + weight * np.outer(gap, gap)
    values, vectors = np.linalg.eigh(total)
    kept = values > _SINGULAR * max(values[-1], np.finfo(np.float64).tiny)
    whitened = differences @ (vectors[:, kept] / np.sqrt(values[kept]))
    q = np.minimum(weight * (whitened**2).sum(axis=1), 1 - 1e-9)
    statistics: Statistics = (n + m - 2) * q / (1 - q)
    return statistics, int(kept.sum())

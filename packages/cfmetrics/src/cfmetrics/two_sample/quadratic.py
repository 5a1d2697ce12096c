"""Permutation tests with a kernel over all pairs: MMD and energy distance."""

from collections.abc import Callable, Sequence

from cfmetrics import _validate, kernels
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.features import find_bandwidth, standardise
from cfmetrics.two_sample.permutation import KernelSums, Statistics, kernel_sums, permutation_result
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare, undefined_result
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult

_FAR = 1e15
"""Distance, in bandwidths, to which far outliers are moved: its square is finite in float32."""


def mmd_2samp(
    x: Array,
    y: Array,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | str = "median",
    shape: float | None = None,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, by the maximum mean discrepancy.

    The statistic is the unbiased estimate of the squared MMD, `mmd(x, y, estimator="unbiased")`,
    the p-value is by relabeling: exact, as in `cf_2samp`. Every pair of observations is looked at,
    once for all relabelings: O((n + m)^2 (d + B)) time, and memory of O((n + m) B) bytes. For many
    observations use `cf_2samp` with the same kernel, which is linear in n. Reference: A. Gretton et
    al., "A kernel two-sample test", JMLR 13 (2012).

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        kernel: Name of a kernel of `kernel_matrix`.
        bandwidth: Length scale of the kernel: a number; several, for the mean of the kernels; or
            "median", the median distance of 500 pooled observations.
        shape: Shape parameter of the kernel.
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the bandwidth's points and the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result; `details` holds "bandwidth".

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`, or the kernel is unknown.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import mmd_2samp
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(200, 3)), rng.normal(loc=0.5, size=(150, 3))
        >>> mmd_2samp(x, y, rng=1).pvalue
        0.001
    """
    _validate.choice("kernel", kernel, kernels.KERNELS)
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="mmd_2samp")
    if samples.has_nan:
        return undefined_result(samples, test="mmd_2samp", method="permutation")
    if kernel == "polynomial":
        sigmas = [1.0]
    elif kernel == "linear":  # It has no bandwidth: this only keeps float32 in its range.
        sigmas = [_reach(samples)]
    elif isinstance(bandwidth, str):
        sigmas = [find_bandwidth(samples, bandwidth, generator)]
    else:
        sigmas = _validate.bandwidths(bandwidth)
    ratios = tuple(sigma / sigmas[0] for sigma in sigmas)
    form = kernels.Kernel(kernel, ratios, kernels.kernel_shape(kernel, shape))
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    sums = kernel_sums(samples, relabelings, _tiles(samples, form, sigmas[0]))
    unit = sigmas[0] * sigmas[0] if kernel == "linear" else 1.0
    values = _unbiased(samples, sums) * unit
    details = {"bandwidth": sigmas[0] if len(sigmas) == 1 else sigmas}
    return permutation_result(
        values, samples, relabelings, test="mmd_2samp", details=details, size=sums.size * unit
    )


def energy_2samp(
    x: Array,
    y: Array,
    *,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, by the energy distance.

    The statistic is the squared energy distance 2 E|X - Y| - E|X - X'| - E|Y - Y'| over all pairs,
    `energy_distance(x, y, squared=True)`; the p-value is by relabeling: exact, as in `cf_2samp`. It
    has no bandwidth to choose and costs as much as `mmd_2samp`. Reference: G. J. Szekely and
    M. L. Rizzo, "Testing for equal distributions in high dimension", InterStat 5 (2004).

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        n_resamples: Number B of random relabelings.
        rng: Generator or seed for the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result.

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import energy_2samp
        >>> rng = np.random.default_rng(0)
        >>> energy_2samp(rng.normal(size=80), rng.standard_cauchy(size=90), rng=1).pvalue < 0.05
        True
    """
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="energy_2samp")
    if samples.has_nan:
        return undefined_result(samples, test="energy_2samp", method="permutation")
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    unit = _reach(samples)  # Only keeps float32 in its range.
    kernel = _tiles(samples, kernels.Kernel("minus_distance"), unit)
    sums = kernel_sums(samples, relabelings, kernel)
    n, m = samples.n, samples.m
    values = unit * (sums.within_x / n**2 + sums.within_y / m**2 - 2 * sums.between / (n * m))
    return permutation_result(
        values, samples, relabelings, test="energy_2samp", details={}, size=sums.size * unit
    )


def _reach(samples: Samples) -> float:
    """Give the largest coordinate of the centred samples; 1 where all observations are equal."""
    xp, centre = samples.xp, samples.centre()
    ends = [f(a, axis=0) - centre for f in (xp.max, xp.min) for a in (samples.x, samples.y)]
    return max(float(xp.max(xp.abs(end))) for end in ends) or 1.0


def _tiles(samples: Samples, form: kernels.Kernel, unit: float) -> Callable[[Array, Array], Array]:
    """Make the function that computes a tile of the kernel matrix in float32."""
    centre = samples.centre() * (form.name != "polynomial")

    def rows(part: Array) -> Array:
        return standardise(part, centre, unit, largest=_FAR)

    def tile(a: Array, b: Array) -> Array:
        return kernels.tile(samples.xp, form, rows(a), rows(b))

    return tile


def _unbiased(samples: Samples, sums: KernelSums) -> Statistics:
    n, m = samples.n, samples.m
    within = sums.within_x / (n * (n - 1)) + sums.within_y / (m * (m - 1))
    values: Statistics = within - 2 * sums.between / (n * m)
    return values

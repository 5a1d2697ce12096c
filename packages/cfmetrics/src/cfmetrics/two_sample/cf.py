"""The test of equal characteristic functions at given or random frequencies."""

from dataclasses import replace
from typing import Any, Literal, TypeAlias

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import ISOTROPIC, RNG, sample_frequencies
from cfmetrics.state import CFState
from cfmetrics.two_sample.asymptotic import WaldForm, enough_in_both
from cfmetrics.two_sample.dask import (
    DaskSamples,
    mean_differences_dask,
    prepare_dask,
    states_dask,
)
from cfmetrics.two_sample.features import cos_sin, find_bandwidth, given_frequencies
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    permutation_result,
    pieces,
)
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare, undefined_result
from cfmetrics.two_sample.relabel import BLOCK_ROWS, Relabelings
from cfmetrics.two_sample.result import TestResult

CFMethod: TypeAlias = Literal["permutation", "asymptotic", "epps_singleton"]
"""How `cf_2samp` finds its p-value."""

_METHODS = ("permutation", "asymptotic", "epps_singleton")

_N_FREQUENCIES = {"permutation": 128, "asymptotic": 5, "epps_singleton": 5}


def cf_2samp(
    x: Array,
    y: Array,
    *,
    frequencies: Array | None = None,
    n_frequencies: int | None = None,
    kernel: str = "rbf",
    bandwidth: float | str | None = None,
    shape: float | None = None,
    method: CFMethod = "permutation",
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, by their characteristic functions.

    The permutation test's statistic is the squared CF distance at F frequencies,

        T = (1/F) sum_t |Phi_x(t) - Phi_y(t)|^2,

    which is `cf_distance(x, y, frequencies=..., squared=True)`. With frequencies from the spectral
    measure of a kernel it approximates the squared MMD of that kernel, at a cost of
    O((n + m) F (d + B)) for B resamples and memory that does not grow with n. The p-value

        p = (1 + #{T* >= T}) / (B + 1)

    is valid for every n, m, d and distribution: under the null hypothesis P(p <= a) <= a. Where all
    relabelings are no more than `n_resamples` + 1, each is visited once (method "exact").

    The other methods need no resampling, but many observations per frequency. Their statistic
    weighs the 2F differences of the real and imaginary parts by the inverse of their covariance:
    "asymptotic" by the pooled covariance, referred to the F distribution (Hotelling's T^2), which
    holds its level in moderate samples of one order of size; "epps_singleton" by the covariances of
    both samples apart, referred to the chi-square distribution, which needs more observations. In
    one dimension, with frequencies (0.4, 0.8) and bandwidth "semi-iqr", the latter is
    `scipy.stats.epps_singleton_2samp`.

    Features are computed in float32 after centring and scaling in the precision of the samples, so
    the permutation statistic has about five digits; the other methods work in float64.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor. Or a Dask
            array, whose blocks are then worked on where they are; the same seed gives the same
            p-value as in memory.
        y: Sample of shape (m, d), or (m,).
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature, in radians per
            `bandwidth`. By default they are drawn. They must not be chosen by comparing x with y:
            for that use `cf_learned_2samp`.
        n_frequencies: Number of frequencies to draw: 128 by default for "permutation", 5 for the
            other methods.
        kernel: Kernel from whose spectral measure frequencies are drawn, as in
            `sample_frequencies`; with orthogonal directions, which leave fewer gaps, where the
            kernel depends on the Euclidean distance alone.
        bandwidth: Length scale, in the unit of the samples, by which frequencies are divided: a
            number; "median", the median distance of 500 pooled observations (the default for drawn
            frequencies); or "semi-iqr", half the interquartile range of the pooled sample, for one
            feature. The default for given frequencies is 1.
        shape: Shape parameter of the kernel.
        method: "permutation", "asymptotic" or "epps_singleton".
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the bandwidth's points, the frequencies and the relabelings.
            The same seed gives the same test for NumPy and torch.
        nan_policy: What to do with NaN: "raise" (an error), "omit" (leave out those observations)
            or "propagate" (statistic and p-value NaN, with a warning).

    Returns:
        Result; `details` holds "bandwidth" and "frequencies" (in radians per unit of the samples).

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample has fewer than 2 observations, values are NaN (as
            `nan_policy` says) or infinite, a number is out of range, or there are too few
            observations for the method.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import cf_2samp
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(300, 4)), rng.normal(scale=1.3, size=(200, 4))
        >>> cf_2samp(x, y, rng=1).pvalue
        0.001

        The test of Epps and Singleton:

        >>> u, v = rng.normal(size=60), rng.normal(1.0, size=50)
        >>> ours = cf_2samp(u, v, frequencies=[0.4, 0.8], bandwidth="semi-iqr",
        ...                 method="epps_singleton")
        >>> from scipy.stats import epps_singleton_2samp
        >>> bool(np.isclose(ours.pvalue, epps_singleton_2samp(u, v).pvalue))
        True
    """
    _validate.choice("method", method, _METHODS)
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    if _validate.is_dask(x) or _validate.is_dask(y):
        samples: Samples | DaskSamples = prepare_dask(x, y, nan_policy)
    else:
        samples = prepare(x, y, nan_policy, test="cf_2samp")
    given = None if frequencies is None else given_frequencies(frequencies, samples.n_features)
    if isinstance(samples, Samples) and samples.has_nan:
        return undefined_result(samples, test="cf_2samp", method=method)
    if bandwidth is None:
        bandwidth = "median" if given is None else 1.0
    unit = find_bandwidth(samples, bandwidth, generator)
    wanted = _N_FREQUENCIES[method] if n_frequencies is None else n_frequencies
    wanted = _validate.count("n_frequencies", wanted) if given is None else len(given)
    if method != "permutation":
        enough_in_both(2 * wanted, samples.n, samples.m)
    if given is None:
        given = sample_frequencies(
            wanted,
            samples.n_features,
            kernel=kernel,
            shape=shape,
            orthogonal=kernel in ISOTROPIC,
            rng=generator,
        )
    details = {"bandwidth": unit, "frequencies": given / unit}
    if method != "permutation":
        return _asymptotic(samples, details, method)
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    afford_features("n_frequencies", len(given), len(relabelings))
    features = cos_sin(samples, given, unit)
    if isinstance(samples, DaskSamples):
        differences = mean_differences_dask(samples, relabelings, features)
    else:
        differences = mean_differences(samples, relabelings, features)
    values = squared_moduli(differences).mean(axis=1)
    return permutation_result(values, samples, relabelings, test="cf_2samp", details=details)


def squared_moduli(differences: Statistics) -> Statistics:
    """Compute |Phi_x - Phi_y|^2 of shape (B, F) from differences of mean cos and sin (B, 2F)."""
    count = differences.shape[1] // 2
    squares: Statistics = differences[:, :count] ** 2 + differences[:, count:] ** 2
    return squares


def afford_features(name: str, n_frequencies: int, n_relabelings: int) -> None:
    """Check that features of one chunk of rows, and all differences, fit into memory."""
    _validate.affordable(name, n_frequencies, 2 * n_frequencies * 4 * 3 * 4096)
    differences = 2 * n_frequencies * 8 * 3 * n_relabelings
    _validate.affordable("n_resamples", n_relabelings - 1, differences)


def _asymptotic(
    samples: Samples | DaskSamples, details: dict[str, Any], method: CFMethod
) -> TestResult:
    frequencies = details["frequencies"]
    if isinstance(samples, DaskSamples):
        first, second = states_dask(samples, frequencies)
    else:
        first, second = (_state(samples, sample, frequencies) for sample in (samples.x, samples.y))
    form: WaldForm = "hotelling" if method == "asymptotic" else "epps_singleton"
    result = first.test(second, form=form)
    return replace(
        result,
        test="cf_2samp",
        method=method,
        details={**details, "degrees_of_freedom": result.details["degrees_of_freedom"]},
    )


def _state(samples: Samples, sample: Array, frequencies: NDArray[np.float64]) -> CFState:
    xp, where = samples.xp, device(sample)
    dtype = sample.dtype if getattr(where, "type", "cpu") == "mps" else xp.float64
    state = CFState(xp.asarray(frequencies, dtype=dtype, device=where), covariance=True)
    centre = samples.centre()
    for rows in pieces(slice(0, sample.shape[0]), BLOCK_ROWS):
        state.update(xp.astype(sample[rows] - centre, dtype, copy=False))
    return state

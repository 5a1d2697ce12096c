"""The permutation test of the sliced Wasserstein distance."""

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.features import to_numpy
from cfmetrics.two_sample.permutation import Statistics, permutation_result
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare, undefined_result
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult

_CHUNK_BYTES = 2**22
"""Size of the running counts held at a time, small enough for the cache."""


def sliced_wasserstein_2samp(
    x: Array,
    y: Array,
    *,
    n_projections: int = 64,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, by the sliced Wasserstein-1 distance.

    The statistic is the mean over random directions of the one-dimensional Wasserstein-1 distance
    of the projected samples, W1 = integral |F_x - F_y|, `sliced_wasserstein(x, y, p=1)`; one
    feature needs no projection. Projections are sorted once; a relabeling then costs one running
    count, so the whole is O((n + m) P B) for P projections. The p-value is by relabeling: exact, as
    in `cf_2samp`. The distance is in the unit of the samples, so features with large values
    dominate. Reference: N. Bonneel et al., "Sliced and Radon Wasserstein barycenters of measures",
    Journal of Mathematical Imaging and Vision 51 (2015).

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor (the test is
            computed by NumPy).
        y: Sample of shape (m, d), or (m,).
        n_projections: Number P of random directions.
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the directions and the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result; `details` holds "projections", of shape (P, d).

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import sliced_wasserstein_2samp
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=(100, 3)), rng.normal(loc=1.0, size=(90, 3))
        >>> sliced_wasserstein_2samp(x, y, n_resamples=99, rng=1).pvalue
        0.01
    """
    directions = _validate.count("n_projections", n_projections)
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="sliced_wasserstein_2samp")
    _validate.affordable("n_projections", directions, 2 * 8 * directions * samples.n_features)
    if samples.has_nan:
        return undefined_result(samples, test="sliced_wasserstein_2samp", method="permutation")
    projections = _directions(directions, samples.n_features, generator)
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    values = _mean_wasserstein(samples, relabelings, projections)
    return permutation_result(
        values,
        samples,
        relabelings,
        test="sliced_wasserstein_2samp",
        details={"projections": projections},
    )


def _directions(count: int, d: int, rng: np.random.Generator) -> NDArray[np.float64]:
    if d == 1:
        return np.ones((1, 1))
    normal = rng.standard_normal((count, d))
    directions: NDArray[np.float64] = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return directions


def _mean_wasserstein(
    samples: Samples, relabelings: Relabelings, projections: NDArray[np.float64]
) -> Statistics:
    n, m = samples.n, samples.m
    labels = relabelings.all()
    x, y, centre = (to_numpy(a) for a in (samples.x, samples.y, samples.centre()))
    rows = max(1, _CHUNK_BYTES // (4 * (n + m)))
    expected = (np.arange(1, n + m) * (n / (n + m))).astype(np.float32)
    values = np.zeros(len(relabelings))
    for direction in projections:
        projected = np.concatenate([(x - centre) @ direction, (y - centre) @ direction])
        order = np.argsort(projected, kind="stable")
        gaps = np.diff(projected[order])
        width = float(gaps.sum())
        if width == 0:
            continue
        shares = (gaps / width).astype(np.float32)
        for start in range(0, len(relabelings), rows):
            some = slice(start, start + rows)
            counts = np.cumsum(labels[some, order[:-1]], axis=1, dtype=np.int32)
            # F_x - F_y after k sorted observations is (count - k n / N) N / (n m).
            differences = np.subtract(counts, expected, dtype=np.float32)
            integrals = np.abs(differences, out=differences) @ shares
            values[some] += width * integrals.astype(np.float64)
    mean: Statistics = values * ((n + m) / (n * m)) / len(projections)
    return mean

"""Features whose means are characteristic functions, in float32, for the permutation engine."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _numerics, _validate, frequencies
from cfmetrics._validate import Array
from cfmetrics.two_sample.prepare import Samples, TwoSamples

MEDIAN_POINTS = 500
"""Points to which a test's median heuristic looks."""

_LARGEST = 1e30
"""Bound of the coordinates, in units of the bandwidth: float32 stays finite, so no angle is NaN."""


@dataclass(frozen=True, slots=True)
class CosSin:
    """The map x -> (cos <t, x - c>, sin <t, x - c>) for F frequencies: 2F features in float32.

    Shifting both samples by c changes no modulus of a difference of characteristic functions. It is
    done, like the scaling, in the samples' own precision, so that float32 is enough for the rest:
    the angles then have the size of the frequencies.

    Attributes:
        centre: The point c, of shape (d,).
        unit: The frequencies are in radians per unit, and this is one unit of the samples.
        transposed: Frequencies of shape (d, F), in float32.
    """

    centre: Array
    unit: float
    transposed: Array

    def __call__(self, rows: Array) -> Array:
        """Compute features (r, 2F) of rows (r, d)."""
        angles = _numerics.matmul(standardise(rows, self.centre, self.unit), self.transposed)
        if _validate.is_torch(angles):
            import torch

            return torch.cat((angles.cos(), angles.sin()), dim=1)
        count = angles.shape[1]
        features = np.empty((len(angles), 2 * count), dtype=np.float32)
        np.cos(angles, out=features[:, :count])
        np.sin(angles, out=features[:, count:])
        return features


def cos_sin(
    samples: TwoSamples, points: NDArray[np.float64], unit: float, centre: Array | None = None
) -> CosSin:
    """Make the features of frequencies `points` of shape (F, d), in radians per `unit`.

    The centre is that of the samples, unless another is given.
    """
    size = float(np.abs(points).max()) or 1.0  # So that float32 holds frequencies of any size.
    transposed: Array = (points / size).T.astype(np.float32)
    transposed = np.ascontiguousarray(transposed)
    if _validate.is_torch(samples.x):
        import torch

        transposed = torch.from_numpy(transposed).to(samples.x.device)
    return CosSin(samples.centre() if centre is None else centre, unit / size, transposed)


def standardise(rows: Array, centre: Array, unit: float, largest: float = _LARGEST) -> Array:
    """Give (rows - centre) / unit in float32; far outliers are moved to `largest`."""
    if _validate.is_torch(rows):
        return ((rows - centre) / unit).clamp(-largest, largest).float()
    with np.errstate(over="ignore"):
        z = (rows - centre) / unit
    return np.clip(z, -largest, largest).astype(np.float32, copy=False)


def find_bandwidth(samples: TwoSamples, bandwidth: float | str, rng: np.random.Generator) -> float:
    """Resolve a bandwidth: a number, "median", or "semi-iqr" for one feature."""
    if not isinstance(bandwidth, str):
        return _validate.positive("bandwidth", bandwidth)
    if bandwidth == "median":
        pool = [samples.x, samples.y]
        return float(frequencies.median_scales(pool, MEDIAN_POINTS, rng))
    if bandwidth != "semi-iqr":
        raise ValueError(f"bandwidth is {bandwidth!r}; pass a number > 0, 'median' or 'semi-iqr'")
    if samples.n_features != 1:
        raise ValueError(
            f"bandwidth is 'semi-iqr', which is for one feature, but the samples have "
            f"{samples.n_features}; pass 'median' or a number"
        )
    pooled = np.concatenate([to_numpy(samples.x), to_numpy(samples.y)])
    lower, upper = np.percentile(pooled, [25, 75])
    if upper == lower:
        raise ValueError(
            "bandwidth is 'semi-iqr', but more than half of the observations are equal, so it is "
            "0; pass 'median' or a number > 0"
        )
    return float(upper - lower) / 2


def given_frequencies(frequencies: Array, n_features: int) -> NDArray[np.float64]:
    """Check frequencies of either library, of shape (F, d) or (F,), and convert them."""
    _, (points,) = _validate.float_arrays({"frequencies": frequencies})
    checked = to_numpy(_validate.frequency_matrix(points, n_features))
    if not np.isfinite(checked).all():
        raise ValueError("frequencies holds NaN or infinity; pass finite numbers")
    return checked


def some_rows(samples: Samples, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw rows uniformly from the pooled sample: `count`, or all where there are fewer."""
    total = samples.n + samples.m
    rows = np.sort(rng.choice(total, min(total, count), replace=False, shuffle=False))
    parts = (samples.x[rows[rows < samples.n]], samples.y[rows[rows >= samples.n] - samples.n])
    return np.concatenate([to_numpy(part) for part in parts])


def to_numpy(array: Array) -> NDArray[np.float64]:
    """Convert to a NumPy array in float64."""
    if _validate.is_torch(array):
        array = array.detach().cpu().double().numpy()
    return np.asarray(array, dtype=np.float64)

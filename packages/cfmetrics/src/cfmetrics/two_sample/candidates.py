"""Frequencies at several length scales, isotropic and along the axes, for the adaptive tests."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics.two_sample.features import find_bandwidth, some_rows
from cfmetrics.two_sample.prepare import Samples

ISOTROPIC_SCALES = (2.0, 1.0, 1 / 2, 1 / 4, 1 / 8, 1 / 16)
"""Bandwidths of the isotropic frequencies, in median distances."""

MARGINAL_SCALES = (4.0, 2.0, 1.0, 1 / 2, 1 / 4, 1 / 8)
"""Bandwidths of the frequencies along one axis, in spreads of that feature."""

_SPREAD_POINTS = 4096
"""Observations from which the spread of every feature is found."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Groups of frequencies, one for each family and scale.

    Attributes:
        points: All frequencies, of shape (F, d), in radians per `unit`.
        unit: The median distance of the pooled sample.
        groups: Rows of every group.
        families: "isotropic" or "marginal", for every group.
        scales: Bandwidth of every group: in median distances, or in spreads of a feature.
    """

    points: NDArray[np.float64]
    unit: float
    groups: list[slice]
    families: list[str]
    scales: list[float]

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """All frequencies in radians per unit of the samples."""
        return self.points / self.unit

    def family_masks(self) -> list[NDArray[np.bool_]]:
        """For each family, which frequencies belong to it."""
        names = np.repeat(self.families, [group.stop - group.start for group in self.groups])
        return [names == family for family in dict.fromkeys(self.families)]

    def describe(self, index: int) -> dict[str, str | float]:
        """Say what one group looks for: its family and its bandwidth."""
        family, scale = self.families[index], self.scales[index]
        if family == "isotropic":
            return {"family": family, "bandwidth": scale * self.unit}
        return {"family": family, "bandwidth_in_spreads": scale}


def draw_candidates(
    samples: Samples, per_isotropic: int, per_marginal: int, rng: np.random.Generator
) -> Candidates:
    """Draw Gaussian frequencies at every scale of both families.

    The isotropic ones look in all directions at once. The marginal ones look at one feature each,
    in units of that feature's own spread, where a difference is often concentrated; one feature has
    only these. All depends on the pooled sample alone, not on what is x and what is y.
    """
    d = samples.n_features
    per_scale = per_isotropic + per_marginal
    _validate.affordable("n_frequencies", per_scale, 2 * 8 * d * per_scale * len(MARGINAL_SCALES))
    unit = find_bandwidth(samples, "median", rng)
    parts, families, scales = [], [], []
    if d > 1:
        for scale in ISOTROPIC_SCALES:
            parts.append(rng.standard_normal((per_isotropic, d)) / scale)
            families.append("isotropic")
            scales.append(scale)
    else:
        per_marginal += per_isotropic
    spreads = _spreads(samples, unit, rng)
    for scale in MARGINAL_SCALES:
        axes = (rng.integers(d) + np.arange(per_marginal)) % d
        points = np.zeros((per_marginal, d))
        sizes = rng.standard_normal(per_marginal) / (scale * spreads[axes])
        points[np.arange(per_marginal), axes] = sizes
        parts.append(points)
        families.append("marginal")
        scales.append(scale)
    ends = np.cumsum([len(part) for part in parts]).tolist()
    groups = [slice(end - len(part), end) for end, part in zip(ends, parts, strict=True)]
    return Candidates(np.concatenate(parts), unit, groups, families, scales)


def _spreads(samples: Samples, unit: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Spread of every feature in the pooled sample, in `unit`; a constant feature has unit spread.

    Half the width of the central 68%, which is the standard deviation of a normal distribution, and
    finite for every distribution; the standard deviation where most observations are equal.
    """
    pooled = some_rows(samples, _SPREAD_POINTS, rng)
    lower, upper = np.percentile(pooled, [16, 84], axis=0)
    spread = (upper - lower) / 2
    with np.errstate(over="ignore"):  # An infinite spread makes the frequency 0.
        spread = np.where(spread > 0, spread, pooled.std(axis=0))
    result: NDArray[np.float64] = np.where(spread > 0, spread / unit, 1.0)
    return result


def check_count(name: str, value: int) -> int:
    """Check a number of frequencies for each scale: at least 2, one for each family."""
    if _validate.count(name, value) < 2:
        raise ValueError(f"{name} is 1; pass at least 2, some along the axes and some not")
    return int(value)

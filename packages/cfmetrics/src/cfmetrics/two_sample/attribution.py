"""Which frequencies carry a difference, and whether it is amplitude or phase."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.cf import amplitude_phase
from cfmetrics.characteristic import CharacteristicParts
from cfmetrics.frequencies import RNG, sample_frequencies
from cfmetrics.two_sample.cf import afford_features
from cfmetrics.two_sample.features import cos_sin, find_bandwidth, given_frequencies, to_numpy
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    pieces,
    share_reaching_first,
    standard_scores,
    tie_tolerance,
)
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare
from cfmetrics.two_sample.relabel import BLOCK_ROWS, Relabelings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where two samples differ: the parts of |Phi_x - Phi_y|^2 at each frequency, with p-values.

    Attributes:
        frequencies: Frequencies of shape (F, d), in radians per unit of the samples.
        amplitude: Amplitude parts (|Phi_x| - |Phi_y|)^2, of shape (F,): spread and shape.
        phase: Phase parts, of shape (F,): location.
        amplitude_pvalues: p-values of the amplitude parts, of shape (F,), adjusted for looking at
            all 2F parts.
        phase_pvalues: The same of the phase parts.
        amplitude_pvalue: p-value of the mean amplitude part over all frequencies.
        phase_pvalue: p-value of the mean phase part over all frequencies.
        level: Level at which `significant` decides.
        n: Number of observations of x.
        m: Number of observations of y.
    """

    frequencies: NDArray[np.float64]
    amplitude: NDArray[np.float64]
    phase: NDArray[np.float64]
    amplitude_pvalues: NDArray[np.float64]
    phase_pvalues: NDArray[np.float64]
    amplitude_pvalue: float
    phase_pvalue: float
    level: float
    n: int
    m: int

    @property
    def amplitude_share(self) -> float:
        """Share of the amplitude part in the squared distance, 0 to 1; NaN where that is 0."""
        total = float(self.amplitude.sum() + self.phase.sum())
        return float(self.amplitude.sum()) / total if total else float("nan")

    def significant(self) -> NDArray[np.intp]:
        """Rows of the frequencies of which either part has an adjusted p-value within `level`."""
        least = np.minimum(self.amplitude_pvalues, self.phase_pvalues)
        return np.flatnonzero(least <= self.level)

    def __repr__(self) -> str:
        return (
            f"Attribution({len(self.frequencies)} frequencies, "
            f"{len(self.significant())} significant at {self.level:g}, "
            f"amplitude {100 * self.amplitude_share:.0f}% (p = {self.amplitude_pvalue:.4g}), "
            f"phase {100 * (1 - self.amplitude_share):.0f}% (p = {self.phase_pvalue:.4g}), "
            f"n={self.n}, m={self.m})"
        )

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw both parts at the twelve strongest frequencies; a star marks significant ones.

        Args:
            ax: Axes to draw into; by default the current ones of pyplot.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed; the extra `cfmetrics[plot]` brings it.
        """
        from cfmetrics.two_sample.plot import plot_attribution

        return plot_attribution(self, ax)


def cf_attribution(
    x: Array,
    y: Array,
    *,
    frequencies: Array | None = None,
    n_frequencies: int = 64,
    kernel: str = "rbf",
    bandwidth: float | str | None = None,
    shape: float | None = None,
    level: float = 0.05,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> Attribution:
    """Say at which frequencies two samples differ, and whether in amplitude or in phase.

    |Phi_x - Phi_y|^2 is the sum of an amplitude part, which no shift of a sample changes, and a
    phase part (see `amplitude_phase`). All 2F parts are computed for every relabeling and each is
    standardised by its own mean and deviation. The adjusted p-value of a part is the share of
    relabelings whose largest standardised part reaches it (the single-step max-T method of
    P. H. Westfall and S. S. Young, "Resampling-based multiple testing", 1993). So if the
    distributions are equal, the probability of any adjusted p-value at or below a is at most a,
    however many frequencies and however dependent. If they differ, a part may be called significant
    because the samples differ in another respect: a relabeling destroys all differences at once.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        frequencies: Frequencies of shape (F, d), or (F,) for one feature, in radians per
            `bandwidth`; drawn by default.
        n_frequencies: Number of frequencies to draw.
        kernel: Kernel from whose spectral measure they are drawn.
        bandwidth: Length scale, as in `cf_2samp`.
        shape: Shape parameter of the kernel.
        level: Level at which frequencies are called significant.
        n_resamples: Number B of random relabelings.
        rng: Generator or seed.
        nan_policy: "raise" or "omit", as in `cf_2samp`.

    Returns:
        The parts and their p-values.

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`.

    Example:
        A shift shows in the phase, a change of spread in the amplitude:

        >>> import numpy as np
        >>> from cfmetrics import cf_attribution
        >>> rng = np.random.default_rng(0)
        >>> x, y, z = (rng.normal(m, s, size=400) for m, s in ((0, 1), (0.5, 1), (0, 1.6)))
        >>> bool(cf_attribution(x, y, rng=1).amplitude_share < 0.1)
        True
        >>> bool(cf_attribution(x, z, rng=1).amplitude_share > 0.9)
        True
    """
    resamples = _validate.count("n_resamples", n_resamples)
    if _validate.positive("level", level) >= 1:
        raise ValueError(f"level is {level}; pass a number between 0 and 1")
    if nan_policy == "propagate":
        raise ValueError("nan_policy is 'propagate'; cf_attribution takes 'raise' or 'omit'")
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="cf_attribution")
    points = None
    if frequencies is not None:
        points = given_frequencies(frequencies, samples.n_features)
    if bandwidth is None:
        bandwidth = "median" if points is None else 1.0
    unit = find_bandwidth(samples, bandwidth, generator)
    if points is None:
        points = sample_frequencies(
            n_frequencies, samples.n_features, kernel=kernel, shape=shape, rng=generator
        )
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    afford_features("n_frequencies", 4 * len(points), len(relabelings))
    amplitude, phase = _parts(samples, relabelings, points, unit)
    adjusted = _max_t(np.concatenate([amplitude, phase], axis=1))
    return Attribution(
        frequencies=points / unit,
        amplitude=amplitude[0],
        phase=phase[0],
        amplitude_pvalues=adjusted[: len(points)],
        phase_pvalues=adjusted[len(points) :],
        amplitude_pvalue=share_reaching_first(amplitude.mean(axis=1)),
        phase_pvalue=share_reaching_first(phase.mean(axis=1)),
        level=float(level),
        n=samples.n,
        m=samples.m,
    )


def _parts(
    samples: Samples, relabelings: Relabelings, points: NDArray[np.float64], unit: float
) -> tuple[Statistics, Statistics]:
    """Compute amplitude and phase parts, (B, F) each, from differences and the pooled mean."""
    features = cos_sin(samples, points, unit)
    differences = mean_differences(samples, relabelings, features)
    n, m = samples.n, samples.m
    total = np.zeros(differences.shape[1])
    for sample in (samples.x, samples.y):
        for rows in pieces(slice(0, sample.shape[0]), BLOCK_ROWS):
            total += to_numpy(features(sample[rows])).sum(axis=0)
    pooled = total / (n + m)
    count = len(points)
    first, second = (
        CharacteristicParts(mean[:, :count], mean[:, count:])
        for mean in (pooled + differences * (m / (n + m)), pooled - differences * (n / (n + m)))
    )
    parts = amplitude_phase(first, second)
    return parts.amplitude, parts.phase


def _max_t(parts: Statistics) -> NDArray[np.float64]:
    scores = standard_scores(parts)
    largest = scores.max(axis=1)
    reach = largest[:, None] >= scores[0] - tie_tolerance(scores)
    adjusted: NDArray[np.float64] = reach.mean(axis=0)
    return adjusted

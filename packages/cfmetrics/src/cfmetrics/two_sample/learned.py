"""A test whose frequencies are learned on one part of the data and used on the other."""

from dataclasses import dataclass

import numpy as np
from array_api_compat import device
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.characteristic import mean_cos_sin
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.candidates import Candidates, check_count, draw_candidates
from cfmetrics.two_sample.cf import afford_features
from cfmetrics.two_sample.features import cos_sin, to_numpy
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    permutation_result,
    standard_scores,
)
from cfmetrics.two_sample.prepare import NanPolicy, Samples, prepare, undefined_result
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult

_KEPT = 0.02
"""Share of the features of each family that gets weight."""

_LEAST_VARIANCE = 1e-3
"""Floor of the variance of a cosine or sine, whose values have size 1."""


def cf_learned_2samp(
    x: Array,
    y: Array,
    *,
    n_frequencies: int = 256,
    train_fraction: float = 0.5,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, at frequencies that part of the data chose.

    Both samples are split at random. On the training part, candidate frequencies at the 12 scales
    of `cf_agg_2samp` are scored by the squared standardised difference z^2 of the real and of the
    imaginary part of Phi_x(t) - Phi_y(t). Of each family, isotropic and along the axes, those in
    the top 2% get the weight w = z^2 - (the quantile of 98%). On the other part, which had no say,
    the statistic is the sum of two standardised numbers: the weighted squared distance sum w u^2 of
    the standardised differences u, and the mean sum sqrt(w) sign(z) u of a witness function, which
    knows the direction that the training part saw. The p-value is by relabeling the test part
    alone, so it is exact, like that of `cf_2samp`.

    This finds few strong frequencies, where `cf_2samp` averages over many; the split costs power
    where differences are diffuse. Learning features on one part and testing on the other follows
    W. Jitkrittum et al., "Interpretable distribution features with maximum testing power", NeurIPS
    2016, the witness J. Kuebler et al., "A witness two-sample test", AISTATS 2022. That frequencies
    are chosen from candidates, and not moved by a gradient, is our own choice: with a few hundred
    observations the gradient fits noise.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        n_frequencies: Number of candidates for each of 6 pairs of scales, half of them isotropic
            and half along single features.
        train_fraction: Share of both samples to learn from, between 0 and 1.
        n_resamples: Number B of random relabelings of the test part.
        rng: Generator or seed: for the split, the candidates and the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result, whose `n` and `m` count the observations of the test part; `details` holds
        "frequencies" (those with positive weight, heaviest first, in radians per unit of the
        samples), their "weights" (which add up to 1), "n_train" and "m_train".

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`; or a part of a sample would have fewer than 2 observations.

    Example:
        >>> from cfmetrics import cf_learned_2samp, datasets
        >>> x, y = datasets.blobs(1000, rng=0)
        >>> result = cf_learned_2samp(x, y, rng=1)
        >>> result.pvalue < 0.05, result.n, result.details["n_train"]
        (True, 500, 500)
    """
    per_scale = check_count("n_frequencies", n_frequencies)
    resamples = _validate.count("n_resamples", n_resamples)
    if not 0 < _validate.positive("train_fraction", train_fraction) < 1:
        raise ValueError(f"train_fraction is {train_fraction}; pass a number between 0 and 1")
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="cf_learned_2samp")
    if samples.has_nan:
        return undefined_result(samples, test="cf_learned_2samp", method="permutation")
    train, test = _split(samples, train_fraction, generator)
    candidates = draw_candidates(train, per_scale - per_scale // 2, per_scale // 2, generator)
    relabelings = Relabelings(test.n, test.m, resamples, generator)
    afford_features("n_frequencies", len(candidates.points), len(relabelings))
    lesson = _learn(train, candidates)
    weights = lesson.of_frequencies()
    kept = np.flatnonzero(weights)
    features = cos_sin(test, candidates.points[kept], candidates.unit, centre=lesson.centre)
    values = _statistics(mean_differences(test, relabelings, features), lesson.keep(kept))
    order = kept[np.argsort(-weights[kept], kind="stable")]
    details = {
        "frequencies": candidates.frequencies[order],
        "weights": weights[order] / weights.sum(),
        "n_train": train.n,
        "m_train": train.m,
    }
    return permutation_result(values, test, relabelings, test="cf_learned_2samp", details=details)


@dataclass(frozen=True, slots=True)
class _Lesson:
    """What the training part says about 2F features, the cosines before the sines.

    Attributes:
        centre: Point at which the features' angles are zero.
        differences: Mean features of x minus those of y.
        variances: Variances of the features in the pooled training part.
        weights: Weights of the features.
    """

    centre: Array
    differences: NDArray[np.float64]
    variances: NDArray[np.float64]
    weights: NDArray[np.float64]

    def of_frequencies(self) -> NDArray[np.float64]:
        """Weights of the F frequencies."""
        total: NDArray[np.float64] = self.weights.reshape(2, -1).sum(axis=0)
        return total

    def keep(self, frequencies: NDArray[np.intp]) -> "_Lesson":
        """Keep only some frequencies."""
        rows = np.concatenate([frequencies, frequencies + len(self.weights) // 2])
        parts = (self.differences[rows], self.variances[rows], self.weights[rows])
        return _Lesson(self.centre, *parts)


def _split(samples: Samples, fraction: float, rng: np.random.Generator) -> tuple[Samples, Samples]:
    parts = []
    for name, sample in (("x", samples.x), ("y", samples.y)):
        size = int(sample.shape[0])
        first = round(fraction * size)
        if first < 2 or size - first < 2:
            raise ValueError(
                f"train_fraction is {fraction}, which splits the {size} observations of {name} "
                f"into {first} and {size - first}; both parts need at least 2"
            )
        order = rng.permutation(size)
        parts.append((sample[np.sort(order[:first])], sample[np.sort(order[first:])]))
    (x_train, x_test), (y_train, y_test) = parts
    xp = samples.xp
    return Samples(x_train, y_train, xp=xp), Samples(x_test, y_test, xp=xp)


def _learn(train: Samples, candidates: Candidates) -> _Lesson:
    xp, centre = train.xp, train.centre()
    points = xp.asarray(candidates.frequencies, dtype=train.x.dtype, device=device(train.x))
    # The double frequencies give the variances: cos^2 t = (1 + cos 2t) / 2.
    both = xp.concat((points, 2 * points))
    p, q = (mean_cos_sin(xp, sample - centre, both, None) for sample in (train.x, train.y))
    count, total = len(candidates.points), train.n + train.m
    share = train.n / total
    differences = [to_numpy(a - b)[:count] for a, b in zip(p, q, strict=True)]
    real, imag = (to_numpy(share * a + (1 - share) * b) for a, b in zip(p, q, strict=True))
    of_cos = (1 + real[count:]) / 2 - real[:count] ** 2
    of_sin = (1 - real[count:]) / 2 - imag[:count] ** 2
    variances = np.maximum(np.concatenate([of_cos, of_sin]), 0) + _LEAST_VARIANCE
    difference = np.concatenate(differences)
    scores = difference**2 / (variances * (total / (train.n * train.m)))
    weights = np.zeros(2 * count)
    for family in candidates.family_masks():
        mask = np.tile(family, 2)
        weights[mask] = np.maximum(scores[mask] - np.quantile(scores[mask], 1 - _KEPT), 0)
    if not weights.any():
        weights[:] = 1.0
    return _Lesson(centre, difference, variances, weights)


def _statistics(differences: Statistics, lesson: _Lesson) -> Statistics:
    deviations = np.sqrt(lesson.variances)
    scaled = differences / deviations
    quadratic = scaled**2 @ lesson.weights
    witness = scaled @ (np.sign(lesson.differences) * np.sqrt(lesson.weights))
    total: Statistics = standard_scores(np.stack([quadratic, witness], axis=1)).sum(axis=1)
    return total

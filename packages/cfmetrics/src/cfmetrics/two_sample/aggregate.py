"""A test that looks at many length scales at once, without splitting the data."""

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.candidates import Candidates, check_count, draw_candidates
from cfmetrics.two_sample.cf import afford_features, squared_moduli
from cfmetrics.two_sample.features import cos_sin
from cfmetrics.two_sample.permutation import (
    Statistics,
    mean_differences,
    permutation_result,
    standard_scores,
)
from cfmetrics.two_sample.prepare import NanPolicy, prepare, undefined_result
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult

_SHARPNESS = 2.0
"""Factor of the soft maximum over components: small values average, large ones take the largest."""


def cf_agg_2samp(
    x: Array,
    y: Array,
    *,
    n_frequencies: int = 96,
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
) -> TestResult:
    """Test whether two samples have one distribution, at many length scales at once.

    No bandwidth has to be chosen, and no data are set aside to choose it. Frequencies are drawn at
    12 scales: isotropic ones with bandwidths of 2, 1, 1/2, ... 1/16 median distances, and ones
    along single features with bandwidths of 4, 2, ... 1/8 spreads of that feature. Let D(t) =
    |Phi_x(t) - Phi_y(t)|^2 and E(t) its mean over the relabelings. Every isotropic scale gives two
    components: the mean of D, which sees differences spread over many frequencies, and the largest
    D(t) / E(t), which sees differences at few; every scale of single features gives the latter.
    With each component c standardised by its own mean and deviation over all relabelings,
    the statistic is a soft maximum, (1/2) log sum_c exp(2 c). The observed labeling is standardised
    together with the others, so the test is exact, like `cf_2samp`. Aggregating kernels without a
    split follows A. Schrab et al., "MMD aggregated two-sample test", JMLR 24 (2023), the soft
    maximum F. Biggs et al., "MMD-FUSE", NeurIPS 2023; the components and the use of the axes are
    our own choice.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        n_frequencies: Number of frequencies for each of 6 pairs of scales: two thirds isotropic,
            one third along single features (chosen in turn where there are more features).
        n_resamples: Number B of random relabelings.
        rng: Generator or seed: for the frequencies and the relabelings.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.

    Returns:
        Result; `details` holds "selected" (family, bandwidth and kind of the largest component) and
        "components" (their standardised values).

    Raises:
        TypeError: As `cf_2samp`.
        ValueError: As `cf_2samp`.

    Example:
        A grid of blobs whose shape differs: what differs is far smaller than the whole.

        >>> from cfmetrics import cf_agg_2samp, datasets
        >>> x, y = datasets.blobs(1000, rng=0)
        >>> result = cf_agg_2samp(x, y, n_resamples=199, rng=1)
        >>> result.pvalue, result.details["selected"]["family"]
        (0.005, 'marginal')
    """
    per_scale = check_count("n_frequencies", n_frequencies)
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="cf_agg_2samp")
    if samples.has_nan:
        return undefined_result(samples, test="cf_agg_2samp", method="permutation")
    per_marginal = max(1, per_scale // 3)
    candidates = draw_candidates(samples, per_scale - per_marginal, per_marginal, generator)
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    afford_features("n_frequencies", len(candidates.points), len(relabelings))
    features = cos_sin(samples, candidates.points, candidates.unit)
    components, labels = _components(mean_differences(samples, relabelings, features), candidates)
    scores = standard_scores(components)
    largest = scores.max(axis=1)  # Taken out of the exponentials, which could overflow.
    excess = np.exp(_SHARPNESS * (scores - largest[:, None])).sum(axis=1)
    values = largest + np.log(excess) / _SHARPNESS
    details = {
        "selected": labels[int(scores[0].argmax())],
        "components": scores[0],
        "bandwidth": candidates.unit,
    }
    return permutation_result(values, samples, relabelings, test="cf_agg_2samp", details=details)


def _components(
    differences: Statistics, candidates: Candidates
) -> tuple[Statistics, list[dict[str, str | float]]]:
    squares = squared_moduli(differences)
    means = squares.mean(axis=0)
    columns, labels = [], []
    for index, group in enumerate(candidates.groups):
        part = squares[:, group]
        if candidates.families[index] == "isotropic":
            columns.append(part.mean(axis=1))
            labels.append({**candidates.describe(index), "kind": "mean"})
        largest = np.divide(part, means[group], out=np.zeros_like(part), where=means[group] > 0)
        columns.append(largest.max(axis=1))
        labels.append({**candidates.describe(index), "kind": "largest"})
    return np.stack(columns, axis=1), labels

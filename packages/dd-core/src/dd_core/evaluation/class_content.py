"""One class of a small set beside its real images: distances, tests, coverage."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import torch
from torch import Tensor

from cfmetrics import (
    CharacteristicParts,
    amplitude_phase,
    cf_2samp,
    cf_attribution,
    characteristic_parts,
    median_bandwidth,
    sample_frequencies,
)
from dd_core.errors import DataError
from dd_core.evaluation.coverage import count_inside, neighbour_radii
from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.nearest import ClassFeatures, class_features
from dd_core.evaluation.set_content import BesideReal, ClassContent, PValues
from dd_core.images import LabeledImages
from dd_core.runtime import Runtime, generator

__all__ = ["How", "compare_class"]

_LEAST_HELD = 100
"""Real images from which the typical distance of neighbours is found, where there are as many."""


@dataclass(frozen=True, slots=True)
class How:
    """The numbers that a comparison depends on."""

    seed: int
    n_frequencies: int
    n_resamples: int
    n_neighbours: int
    n_draws: int
    most_real: int

    def number(self, *stream: str | int) -> int:
        """A seed for one purpose; the same for all sets that are compared."""
        return generator(self.seed, "content", *stream).initial_seed()


def compare_class(
    views: Tensor,
    places: Tensor,
    label: int,
    train: LabeledImages,
    space: FeatureSpace,
    how: How,
    runtime: Runtime,
) -> ClassContent:
    """One class, with p-values that are not adjusted yet."""
    size = train.class_sizes[label]
    order = torch.randperm(size, generator=generator(how.seed, "content", "halves", label))
    kept = order[: how.most_real]
    found = class_features(
        views, places, train, label, kept, space, chunk=runtime.chunk_images
    )  # fmt: skip
    unit = median_bandwidth(found.real, rng=how.number("bandwidth", label))
    points = sample_frequencies(
        how.n_frequencies, found.real.shape[1], bandwidth=unit, orthogonal=True,
        rng=how.number("frequencies", label),
    )  # fmt: skip
    frequencies = torch.as_tensor(points, dtype=torch.float32, device=found.real.device)
    real = _without_copies(found, train.of_class(label).to(kept.device)[kept], how, train, label)
    middle = real.mean(0)  # angles of centred features are small, so float32 is enough
    first, second = (half - middle for half in real.tensor_split([(len(real) + 1) // 2]))
    ours = found.views - middle
    tests = _tests(ours, first, frequencies, how, label)
    return ClassContent(
        name=train.class_names[label], views=len(ours), real=size, compared=len(first),
        **_numbers(ours, first, second, frequencies, how, label), pvalues=tests, adjusted=tests,
        nearest=found.nearest,
    )  # fmt: skip


def _without_copies(
    found: ClassFeatures, images: Tensor, how: How, train: LabeledImages, label: int
) -> Tensor:
    """Features of the real images that the set does not hold itself."""
    copies = torch.tensor([each.image for each in found.nearest if each.is_copy], dtype=torch.int64)
    real = found.real[~torch.isin(images, copies).to(found.real.device)]
    least = 2 * (how.n_neighbours + 1)
    if len(real) < least:
        raise DataError(
            f"data holds {len(copies)} of the {len(images)} real images of class "
            f"{train.class_names[label]!r} unchanged, and the comparison needs at least {least} "
            "others; compare a smaller set, or give more real images."
        )
    return real


def _numbers(
    ours: Tensor, first: Tensor, second: Tensor, frequencies: Tensor, how: How, label: int
) -> dict[str, Any]:
    """What the views are beside the first half, and what random images of the second are."""
    m = len(ours)
    draws = _draws(m, len(second), how, label)
    held = second[: max(how.n_draws * m, _LEAST_HELD)]
    radii = neighbour_radii(first, how.n_neighbours)
    between = torch.cdist(held, first)
    theirs = characteristic_parts(first, frequencies)
    inside = torch.cdist(ours, first) <= radii
    value = _measured(ours, inside, theirs, frequencies, how)
    held_inside = between <= radii
    drawn = [_measured(held[d], held_inside[d], theirs, frequencies, how) for d in draws]
    columns = dict(zip(_NAMES, zip(*drawn, strict=True), strict=True)) if drawn else {}
    apart = _are_apart(m, len(second), how)
    compared = {
        name: BesideReal(one, *_mean_and_deviation(columns.get(name), apart))
        for name, one in zip(_NAMES, value, strict=True)
    }
    return {**compared, "typical_distance": float(between.min(1).values.median())}


def _draws(m: int, held: int, how: How, label: int) -> list[Tensor]:
    """Places of m random images in the second half for each draw: none twice, while it has enough.

    The half is in random order already. Where it has too few, the draws share images.
    """
    if m > held:
        return []
    if _are_apart(m, held, how):
        return list(torch.arange(how.n_draws * m).split(m))
    draws = generator(how.seed, "content", "draws", label)
    return [torch.randperm(held, generator=draws)[:m] for _ in range(how.n_draws)]


def _are_apart(m: int, held: int, how: How) -> bool:
    """Whether all draws of m images have images of their own."""
    return how.n_draws * m <= held


_NAMES = ("distance", "amplitude", "phase", "coverage", "density")


def _measured(
    rows: Tensor, inside: Tensor, real: CharacteristicParts, frequencies: Tensor, how: How
) -> tuple[float, ...]:
    """The numbers of some points, in the order of `_NAMES`."""
    square = amplitude_phase(characteristic_parts(rows, frequencies), real)
    amplitude, phase = float(square.amplitude.mean()), float(square.phase.mean())
    return math.sqrt(amplitude + phase), amplitude, phase, *count_inside(inside, how.n_neighbours)


def _mean_and_deviation(
    values: Sequence[float] | None, apart: bool
) -> tuple[float | None, float | None]:
    """Of the draws; no deviation where they share images.

    Draws without replacement from few images are nearly the same images, at the end (m = held)
    exactly, so their deviation goes to 0 and says nothing of other real images.
    """
    if values is None:
        return None, None
    return fmean(values), stdev(values) if apart else None


def _tests(ours: Tensor, real: Tensor, frequencies: Tensor, how: How, label: int) -> PValues:
    """Permutation tests of the squared distance and its parts; none for a single view."""
    if len(ours) < 2:
        return PValues()
    ours = ours[ours.double().sum(1).argsort()]  # the order of the set's images shall not matter
    whole = cf_2samp(
        ours, real, frequencies=frequencies, n_resamples=how.n_resamples,
        rng=how.number("test", label),
    )  # fmt: skip
    parts = cf_attribution(
        ours, real, frequencies=frequencies, n_resamples=how.n_resamples,
        rng=how.number("attribution", label),
    )  # fmt: skip
    return PValues(whole.pvalue, parts.amplitude_pvalue, parts.phase_pvalue)

"""What a comparison of a small set with the real images of its classes found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from dd_core.errors import DataError
from dd_core.images import LabeledImages

__all__ = ["BesideReal", "ClassContent", "NearestReal", "PValues", "SetContent"]

COPY = 0.5 / 255
"""A view that differs from a training image by less, in the mean, is that image."""


@dataclass(frozen=True, slots=True)
class BesideReal:
    """A number of the set, and what as many random real images have in its place.

    Attributes:
        value: The set's.
        real: Mean over draws of as many real images; None where the class has too few for a draw.
        deviation: Sample standard deviation over these draws; of a mean over classes, that of the
            mean. None where the real images are too few for draws that share none: the draws are
            alike then, and their deviation would be too small. A mean over classes has one only
            where all classes have.
    """

    value: float
    real: float | None = None
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class PValues:
    """Of the test whether views and real images have one distribution, and of its two parts.

    Attributes:
        distance: Of the squared distance; None for a class of one view, which no test takes.
        amplitude: Of its amplitude part: spread and shape.
        phase: Of its phase part: location.
    """

    distance: float | None = None
    amplitude: float | None = None
    phase: float | None = None


@dataclass(frozen=True, slots=True)
class NearestReal:
    """The training image of its class that a view is nearest to in the feature space.

    Attributes:
        view: Place of the view in `DistilledSet.decoded`.
        image: Place of the image in the training images.
        feature_distance: Euclidean distance of their features.
        pixel_distance: Root mean square difference of their pixels, which run from 0 to 1.
    """

    view: int
    image: int
    feature_distance: float
    pixel_distance: float

    @property
    def is_copy(self) -> bool:
        """Whether the view is that image, but for rounding to bytes."""
        return self.pixel_distance < COPY


@dataclass(frozen=True, slots=True)
class ClassContent:
    """One class of the set beside its real images.

    Attributes:
        name: Name of the class.
        views: Views of the class in the set.
        real: Real training images of the class.
        compared: Of these, how many the views were compared with.
        distance: Distance of the characteristic functions, sqrt(mean_t |Phi - Phi'|^2).
        amplitude: Amplitude part of its square, mean_t (|Phi| - |Phi'|)^2.
        phase: Phase part of its square, the rest.
        coverage: Share of the real images that a view comes near.
        density: How densely real images lie around the views; 1 for real images.
        pvalues: Of the test, for this class alone.
        adjusted: The same after Holm (1979) over all classes.
        typical_distance: Median distance of a real image to its nearest one, of those compared
            with; what `NearestReal.feature_distance` is read beside.
        nearest: One entry a view, in the order of the views.
    """

    name: str
    views: int
    real: int
    compared: int
    distance: BesideReal
    amplitude: BesideReal
    phase: BesideReal
    coverage: BesideReal
    density: BesideReal
    pvalues: PValues
    adjusted: PValues
    typical_distance: float
    nearest: tuple[NearestReal, ...]

    @property
    def copies(self) -> int:
        """Views that are training images unchanged."""
        return sum(each.is_copy for each in self.nearest)


_COMPARED = ("distance", "amplitude", "phase", "coverage", "density")


@dataclass(frozen=True, slots=True)
class SetContent:
    """A small set beside the real images of its classes; see `compare_with_real`.

    Attributes:
        space: The feature space in words.
        seed: Seed of all draws.
        n_frequencies: Frequencies of the characteristic functions.
        n_resamples: Relabelings of each test.
        n_neighbours: k of coverage and density.
        n_draws: Draws of random real images beside the set.
        classes: One entry a class, in the order of the labels.
        seconds: Time that it took.
        train: The real images; `nearest_pixels` looks into them. Not part of the record.
    """

    space: str
    seed: int
    n_frequencies: int
    n_resamples: int
    n_neighbours: int
    n_draws: int
    classes: tuple[ClassContent, ...]
    seconds: float
    train: LabeledImages = field(repr=False, compare=False)

    def mean(self, name: str) -> BesideReal:
        """The mean over classes of distance, amplitude, phase, coverage or density."""
        entries: list[BesideReal] = [getattr(one, name) for one in self.classes]
        real = [entry.real for entry in entries if entry.real is not None]
        spread = [entry.deviation for entry in entries if entry.deviation is not None]
        value = math.fsum(entry.value for entry in entries) / len(entries)
        if len(real) < len(entries):  # a mean over fewer classes could not be compared
            return BesideReal(value)
        known = len(spread) == len(entries)
        deviation = math.hypot(*spread) / len(spread) if known else None
        return BesideReal(value, math.fsum(real) / len(real), deviation)

    @property
    def copies(self) -> int:
        """Views that are training images unchanged."""
        return sum(one.copies for one in self.classes)

    @property
    def tested(self) -> int:
        """Classes that have p-values: those of at least two views.

        No adjusted p-value is below ``tested / (n_resamples + 1)``, so with few relabelings and
        many classes the tests cannot find anything.
        """
        return sum(one.adjusted.distance is not None for one in self.classes)

    def differing(self, level: float = 0.05) -> int:
        """Of the `tested` classes, those whose views are not of the real distribution.

        These are the ones whose adjusted p-values are at most ``level``.
        """
        found = [one.adjusted.distance for one in self.classes]
        return sum(p is not None and p <= level for p in found)

    def nearest_pixels(self, nearest: Sequence[NearestReal]) -> Tensor:
        """Pixels of the nearest real images, uint8 of shape (n, channels, size, size)."""
        index = torch.tensor([each.image for each in nearest], dtype=torch.int64)
        return self.train.take(index).cpu()

    def as_record(self) -> dict[str, Any]:
        """JSON-able form, with the means over classes under ``summary``; for `from_record`."""
        record: dict[str, Any] = {
            name: getattr(self, name)
            for name in ("space", "seed", "n_frequencies", "n_resamples", "n_neighbours", "n_draws")
        }
        summary: dict[str, Any] = {name: asdict(self.mean(name)) for name in _COMPARED}
        summary |= {"copies": self.copies, "tested": self.tested, "differing": self.differing()}
        classes = [asdict(one) | {"nearest": _columns(one.nearest)} for one in self.classes]
        return record | {"seconds": self.seconds, "summary": summary, "classes": classes}

    @classmethod
    def from_record(cls, record: Mapping[str, Any], train: LabeledImages) -> SetContent:
        """What was written down, with the real images that it was found in.

        Raises:
            DataError: The record is none of `as_record`, or of other images.
        """
        try:
            classes = tuple(_class_of(entry) for entry in record["classes"])
            plain = {k: v for k, v in record.items() if k not in ("classes", "summary")}
            made = cls(**plain, classes=classes, train=train)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"record is not what SetContent.as_record gives ({error}); compare the set anew."
            ) from None
        sizes = tuple((one.name, one.real) for one in made.classes)
        if sizes != tuple(zip(train.class_names, train.class_sizes, strict=True)):
            raise DataError("record is of other images than train; compare the set anew.")
        return made


def _columns(nearest: Sequence[NearestReal]) -> dict[str, list[float]]:
    """Entries as one list a field, which takes a quarter of the room."""
    names = ("view", "image", "feature_distance", "pixel_distance")
    return {name: [getattr(each, name) for each in nearest] for name in names}


def _class_of(entry: Mapping[str, Any]) -> ClassContent:
    columns = entry["nearest"]
    rows = zip(*columns.values(), strict=True)
    nearest = tuple(NearestReal(**dict(zip(columns, row, strict=True))) for row in rows)
    compared = {name: BesideReal(**entry[name]) for name in _COMPARED}
    tests = {name: PValues(**entry[name]) for name in ("pvalues", "adjusted")}
    return ClassContent(**{**entry, **compared, **tests, "nearest": nearest})

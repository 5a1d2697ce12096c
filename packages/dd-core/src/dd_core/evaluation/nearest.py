"""The nearest real image of each view, in one pass over the images of a class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.set_content import NearestReal
from dd_core.images import LabeledImages

__all__ = ["ClassFeatures", "class_features"]


@dataclass(frozen=True, slots=True)
class ClassFeatures:
    """Features of one class, and the nearest real image of each view.

    Attributes:
        views: Of the views, float32 of shape (m, d).
        real: Of the real images that were to be kept, of shape (n, d).
        nearest: One entry a view.
    """

    views: Tensor
    real: Tensor
    nearest: tuple[NearestReal, ...]


def class_features(
    views: Tensor,
    places: Tensor,
    train: LabeledImages,
    label: int,
    kept: Tensor,
    space: FeatureSpace,
    *,
    chunk: int,
) -> ClassFeatures:
    """Features of views and real images of one class, and the nearest real image of each view.

    All real images of the class are looked at, a chunk at a time; features stay of ``kept`` alone.

    Args:
        views: Views of the class, float from 0 to 1, of shape (m, channels, size, size).
        places: Their places in `DistilledSet.decoded`, of shape (m,).
        train: Real images.
        label: The class.
        kept: Which of the images of the class stay, by their place in it.
        space: The feature space.
        chunk: Images at a time.

    Raises:
        DataError: Features are not finite.
    """
    device, name = train.device, train.class_names[label]
    ours = torch.cat(
        [space.features(v.to(device), f"views of class {name!r}") for v in views.split(chunk)]
    )
    index = train.of_class(label)
    slot = torch.full((len(index),), -1)
    slot[kept] = torch.arange(len(kept))
    real = ours.new_empty((len(kept), ours.shape[1]))
    search = _Search(ours)
    for images, slots in zip(index.split(chunk), slot.to(device).split(chunk), strict=True):
        rows = space.features(train.take(images), f"real images of class {name!r}")
        stays = slots >= 0
        real[slots[stays]] = rows[stays]
        search.look(rows, images.to(device))
    return ClassFeatures(ours, real, _entries(views.to(device), places, train, search))


class _Search:
    """Of each view the nearest real image so far."""

    def __init__(self, ours: Tensor) -> None:
        self._ours, self._middle = ours, ours.mean(0)
        self._rows = torch.zeros_like(ours)
        self._least = ours.new_full((len(ours),), torch.inf)
        self.images = torch.zeros(len(ours), dtype=torch.int64, device=ours.device)

    def look(self, rows: Tensor, images: Tensor) -> None:
        """Looks at more real images, by their features and their places."""
        closest = torch.cdist(self._ours - self._middle, rows - self._middle).min(1)
        better = closest.values < self._least
        chosen = closest.indices[better]
        self._least[better] = closest.values[better]
        self.images[better], self._rows[better] = images[chosen], rows[chosen]

    @property
    def distances(self) -> Tensor:
        """Distances from the nearest, by differences: those of inner products are rounded."""
        return (self._ours - self._rows).square().sum(1).sqrt()


def _entries(
    views: Tensor, places: Tensor, train: LabeledImages, search: _Search
) -> tuple[NearestReal, ...]:
    pixels = train.take(search.images).float() / 255
    apart = (views - pixels).square().flatten(1).mean(1).sqrt()
    columns = (places, search.images, search.distances, apart)
    return tuple(NearestReal(*row) for row in zip(*(c.tolist() for c in columns), strict=True))

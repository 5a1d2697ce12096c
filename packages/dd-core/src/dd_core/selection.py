"""Real images chosen without distillation: the baselines that a distilled set must beat."""

from __future__ import annotations

from dataclasses import asdict

import torch

from dd_core.artifact import DistilledSet
from dd_core.images import LabeledImages
from dd_core.settings import SyntheticSettings
from dd_core.synthetic import initial_pixels

__all__ = ["select_random"]


def select_random(images: LabeledImages, settings: SyntheticSettings, *, seed: int) -> DistilledSet:
    """Random real images of every class.

    With ``init="real"`` or factor 1 they are taken as they are; with ``init="mix"`` each stored
    image packs factor^2 real ones, which is where a distillation of these settings and this seed
    starts from.

    Args:
        images: Real training images.
        settings: Number of images, factor and kind.
        seed: Seed of the choice.

    Raises:
        DataError: A class has too few images.
    """
    pixels = initial_pixels(images, settings, seed)
    return as_distilled(
        pixels, images, 1 if settings.init == "real" else settings.factor,
        {"method": "random selection", "synthetic": asdict(settings), "seed": seed},
    )  # fmt: skip


def as_distilled(
    pixels: torch.Tensor, images: LabeledImages, factor: int, provenance: dict[str, object]
) -> DistilledSet:
    """Pixels of shape (n_classes, ipc, channels, size, size) as a `DistilledSet`."""
    classes, ipc = pixels.shape[:2]
    return DistilledSet(
        pixels.detach().flatten(0, 1).cpu().contiguous(),
        torch.arange(classes).repeat_interleave(ipc),
        factor,
        images.mean,
        images.std,
        images.class_names,
        {**provenance, "data": images.fingerprint()},
    )

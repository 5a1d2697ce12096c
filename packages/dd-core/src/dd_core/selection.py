"""Real images chosen without distillation: the baselines that a distilled set must beat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

import torch
from torch import Tensor

from dd_core._arguments import as_instance, as_seed
from dd_core.artifact import DistilledSet
from dd_core.augment import normalize
from dd_core.coresets import cluster, herding_order, nearest_distinct
from dd_core.decoding import Form
from dd_core.errors import DataError, SettingsError
from dd_core.images import LabeledImages
from dd_core.runtime import generator
from dd_core.settings import SyntheticSettings
from dd_core.synthetic import initial_pixels, pack

__all__ = ["FeatureFunction", "select_herding", "select_kmeans", "select_random"]

FeatureFunction = Callable[[Tensor], Tensor]
"""Normalised images (n, channels, size, size) to features (n, ...), such as `ConvNet.features`."""

_CHUNK = 500
"""Images whose features are computed at a time."""


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
        SettingsError: ``init`` is neither ``real`` nor ``mix``, or the factor does not fit.
        DataError: A class has too few images.
    """
    _check_arguments(images, settings)
    seed = as_seed(seed)
    pixels = initial_pixels(images, settings, seed)
    facts = {"method": "random selection", "synthetic": asdict(settings), "seed": seed}
    return _selected(pixels, images, settings, facts)


def select_herding(
    images: LabeledImages, settings: SyntheticSettings, *, features: FeatureFunction | None = None
) -> DistilledSet:
    """Real images of every class whose mean feature follows that of the class, chosen greedily.

    Each next image is the one that brings the mean of the chosen closest to the mean of the class
    (Welling 2009, in the form of iCaRL, Rebuffi et al. 2017, Alg. 4). Nothing is random. With
    ``init="mix"`` ipc * factor^2 images are chosen and packed in the order of the choice.

    Args:
        images: Real training images.
        settings: Number of images, factor and kind; see `select_random`.
        features: What the means are of; by default the normalised pixels.

    Raises:
        SettingsError: ``init`` is neither ``real`` nor ``mix``, or the factor does not fit.
        DataError: A class has too few images (unless ``short_classes`` is ``repeat``: then all of
            them are taken, and again from the first one on), or the features are not one row of
            finite numbers an image.

    Example:
        >>> pixels = torch.tensor([0, 90, 110, 255], dtype=torch.uint8).view(4, 1, 1, 1)
        >>> labels = torch.zeros(4, dtype=torch.int64)
        >>> images = LabeledImages(pixels, labels, (0.5,), (0.2,), ("shirt",))
        >>> chosen = select_herding(images, SyntheticSettings(ipc=1, factor=1))  # mean 114
        >>> round(chosen.images.item() * 255)
        110
    """

    def choose(points: Tensor, count: int, label: int) -> Tensor:
        return herding_order(points, count)

    facts: dict[str, object] = {
        "method": "herding",
        "features": _origin(features),
        "synthetic": asdict(settings),
    }
    return _chosen(images, settings, features, choose, facts)


def select_kmeans(
    images: LabeledImages,
    settings: SyntheticSettings,
    *,
    seed: int,
    features: FeatureFunction | None = None,
) -> DistilledSet:
    """The real image nearest to each centre of k-means in the class, k = ipc (or ipc * factor^2).

    k-means++ (Arthur & Vassilvitskii 2007) and Lloyd's iterations until no image changes its
    centre. The images are different ones: where one is nearest to two centres, the second takes
    the nearest that is left.

    Args:
        images: Real training images.
        settings: Number of images, factor and kind; see `select_random`.
        seed: Seed of the first centres.
        features: What distances are taken of; by default the normalised pixels.

    Raises:
        SettingsError: ``init`` is neither ``real`` nor ``mix``, or the factor does not fit.
        DataError: As `select_herding`.

    Example:
        >>> pixels = torch.tensor([0, 10, 20, 200, 210, 225], dtype=torch.uint8).view(6, 1, 1, 1)
        >>> labels = torch.zeros(6, dtype=torch.int64)
        >>> images = LabeledImages(pixels, labels, (0.5,), (0.2,), ("shirt",))
        >>> chosen = select_kmeans(images, SyntheticSettings(ipc=2, factor=1), seed=0)
        >>> sorted(round(255 * value) for value in chosen.images.flatten().tolist())
        [10, 210]
    """
    seed = as_seed(seed)

    def choose(points: Tensor, count: int, label: int) -> Tensor:
        found = cluster(points, count, generator(seed, "k-means", label))
        return nearest_distinct(points, found.centres)

    facts: dict[str, object] = {
        "method": "k-means",
        "features": _origin(features),
        "synthetic": asdict(settings),
        "seed": seed,
    }
    return _chosen(images, settings, features, choose, facts)


def as_distilled(
    pixels: Tensor,
    images: LabeledImages,
    factor: int,
    provenance: dict[str, object],
    *,
    decode: Form = "single",
    bound: int = 128,
) -> DistilledSet:
    """Pixels of shape (n_classes, ipc, channels, size, size) as a `DistilledSet`."""
    classes, ipc = pixels.shape[:2]
    stored = pixels.detach().flatten(0, 1).cpu().contiguous()
    return DistilledSet(
        stored,
        torch.arange(classes).repeat_interleave(ipc),
        factor,
        images.mean,
        images.std,
        images.class_names,
        {**provenance, "data": images.fingerprint()},
        decode=decode,
        bound=bound,
        value_range=DistilledSet.range_of(stored),
    )


def _check_arguments(images: LabeledImages, settings: SyntheticSettings) -> None:
    as_instance("images", images, LabeledImages)
    as_instance("settings", settings, SyntheticSettings)
    if settings.init not in ("real", "mix"):
        raise SettingsError(
            f"init is {settings.init!r}, but real images are selected; choose 'real' or 'mix'."
        )


def _origin(features: FeatureFunction | None) -> str:
    return "normalised pixels" if features is None else "a given function"


def _selected(
    pixels: Tensor, images: LabeledImages, settings: SyntheticSettings, facts: dict[str, object]
) -> DistilledSet:
    if settings.init == "real" or settings.factor == 1:
        return as_distilled(pixels, images, 1, facts)
    return as_distilled(
        pixels, images, settings.factor, facts, decode=settings.decode, bound=settings.bound
    )


def _chosen(
    images: LabeledImages,
    settings: SyntheticSettings,
    features: FeatureFunction | None,
    choose: Callable[[Tensor, int, int], Tensor],
    facts: dict[str, object],
) -> DistilledSet:
    _check_arguments(images, settings)
    if features is not None and not callable(features):
        raise SettingsError(
            f"features is of type {type(features).__name__}; give a function of normalised images."
        )
    factor = settings.factor if settings.init == "mix" else 1
    if images.size % factor:
        raise SettingsError(
            f"factor is {factor}, which does not divide the images' {images.size} px; choose a "
            "divisor."
        )
    wanted = settings.ipc * factor**2
    real = []
    for label in range(images.n_classes):
        index = images.of_class(label)
        count = min(wanted, len(index))
        if count < wanted and settings.short_classes == "error":
            raise DataError(
                f"ipc {settings.ipc} with factor {factor} and init {settings.init!r} needs "
                f"{wanted} real images a class, but class {images.class_names[label]!r} has "
                f"{count}; ask for fewer, or set short_classes = 'repeat'."
            )
        order = choose(_class_points(images, index, label, features), count, label)
        again = torch.arange(wanted, device=index.device) % count
        real.append(images.take(index[order.to(index.device)[again]]).cpu().float() / 255)
    pixels = torch.stack(real)
    return _selected(
        pixels if factor == 1 else pack(pixels, settings.ipc, factor), images, settings, facts
    )


@torch.no_grad()
def _class_points(
    images: LabeledImages, index: Tensor, label: int, features: FeatureFunction | None
) -> Tensor:
    """Features of some images, float32 of shape (n, d)."""
    parts: list[Tensor] = []
    for some in index.split(_CHUNK):
        x = normalize(images.take(some), images.mean, images.std)
        rows: object = x if features is None else features(x)
        if not isinstance(rows, Tensor) or rows.shape[:1] != (len(some),) or not rows.numel():
            found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise DataError(
                f"features gives {found} for {len(some)} images; give a function that returns a "
                "tensor with one row an image, such as a network's features."
            )
        parts.append(rows.flatten(1).float() if rows.ndim > 1 else rows[:, None].float())
    points = torch.cat(parts)
    if not bool(torch.isfinite(points).all()):
        raise DataError(
            f"features of class {images.class_names[label]!r} are not finite; give features that "
            "are numbers for every image."
        )
    return points

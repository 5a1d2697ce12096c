"""A `DistilledSet` as the tool of DD-Ranking loads it."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from dd_core._arguments import as_choice, as_instance, as_number, as_path
from dd_core.artifact import DistilledSet
from dd_core.augment import normalize
from dd_core.errors import ArtifactError, SettingsError
from dd_core.export import MARK, as_views, facts_of, torch_bytes, write_folder

__all__ = ["DDRANKING_DATASETS", "export_ddranking"]

_CIFAR = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

DDRANKING_DATASETS = {
    "CIFAR10": (10, *_CIFAR),
    "CIFAR100": (100, *_CIFAR),
    "TinyImageNet": (200, *_IMAGENET),
    "ImageNette": (10, *_IMAGENET),
    "ImageWoof": (10, *_IMAGENET),
    "ImageFruit": (10, *_IMAGENET),
    "ImageMeow": (10, *_IMAGENET),
    "ImageSquawk": (10, *_IMAGENET),
    "ImageYellow": (10, *_IMAGENET),
    "ImageNet1K": (1000, *_IMAGENET),
}
"""What the tool calls its data sets: for each the number of classes, and the mean and deviation
that the tool normalises its test images with (for CIFAR-100 those of CIFAR-10)."""


def export_ddranking(
    data: DistilledSet,
    folder: Path | str,
    *,
    dataset: str | None = None,
    learning_rate: float | None = None,
    overwrite: bool = False,
) -> None:
    """Writes the files that the demonstrations of DD-Ranking load (version 0.2.0, commit b8b0966).

    n is the number of classes times ``ipc``, the views of a class. ``compute_metrics`` of the tool
    takes the tensors in these files:

    - ``images.pt``: ``image_tensor``, float32 (n, 3, size, size), normalised, class by class.
    - ``hard_labels.pt``: ``hard_labels``, int64 (n,); the tool makes the same from ``ipc``.
    - ``labels.pt``, where the set has soft labels: ``soft_labels`` of the mode ``S``, float32 (n,
      n_classes), log-probabilities.
    - ``lr.pt``, where ``learning_rate`` is given: ``syn_lr``, a number.

    The tool knows no packed images, so every decoded view is an image, and ``ipc`` in its settings
    must be the views of a class, which ``export.json`` says. It then draws as many random images,
    more than the set stores. It takes the images as they are, and normalises its test images with
    constants of its own: name the ``dataset`` for these. Its losses ``sce`` and ``kl`` take a
    softmax of the labels, which gives the probabilities back at temperature 1; ``mse_gt`` compares
    logits, and these are known but for a constant an image.

    Args:
        data: A set of three channels, with as many views of each class as of any other. Classes
            must be in the order of the tool's labels, which it does not name.
        folder: A new or empty folder, or an earlier export with ``overwrite``.
        dataset: One of `DDRANKING_DATASETS`: what the images are normalised for. By default they
            are normalised with mean and deviation of the set. Whitened images stay as they are.
        learning_rate: Rate for students of the set. Without it the tool tries five rates and
            takes the best on the test images.
        overwrite: Replace an earlier export as a whole.

    Raises:
        SettingsError: An unknown ``dataset``, or a ``learning_rate`` that is not positive.
        ArtifactError: The folder is not empty, the set has other classes than ``dataset``, or the
            tool cannot take its images.

    Example:
        >>> import tempfile
        >>> tiny = DistilledSet(torch.rand(2, 3, 8, 8), torch.tensor([1, 0]), 2, (0.5,) * 3,
        ...                     (0.2,) * 3, ("shirt", "bag"))
        >>> folder = Path(tempfile.mkdtemp()) / "ddranking"
        >>> export_ddranking(tiny, folder)
        >>> torch.load(folder / "images.pt").shape, torch.load(folder / "hard_labels.pt").tolist()
        (torch.Size([8, 3, 8, 8]), [0, 0, 0, 0, 1, 1, 1, 1])
    """
    folder = as_path("folder", folder)
    mean, std = _normalization(as_instance("data", data, DistilledSet), dataset)
    views = as_views(data)
    ipc = _views_a_class(views)
    order = torch.argsort(views.labels.cpu(), stable=True)
    tensors: dict[str, Tensor] = {
        "images": normalize(views.images.detach().cpu()[order], mean, std).contiguous(),
        "hard_labels": views.labels.cpu()[order],
    }
    if views.soft_labels is not None:
        tensors["labels"] = views.soft_labels.detach().cpu()[order].clamp_min(1e-30).log()
    if learning_rate is not None:
        tensors["lr"] = torch.tensor(_rate(learning_rate))
    facts = {
        **facts_of(data),
        "views": True,
        "normalization": {"mean": list(mean), "std": list(std)},
        "ddranking": {"dataset": dataset, "ipc": ipc, "use_zca": _whitened(data)},
    }

    def write(target: Path) -> None:
        for name, tensor in tensors.items():
            (target / f"{name}.pt").write_bytes(torch_bytes(tensor))
        (target / MARK).write_text(json.dumps(facts, indent=2, default=str))

    write_folder(folder, write, overwrite)


def _normalization(
    data: DistilledSet, dataset: str | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation for the images, after the checks of classes and channels."""
    channels = data.images.shape[1]
    if channels != 3:
        raise ArtifactError(
            f"images have {channels} channels, and DD-Ranking's networks take 3; use export_npz."
        )
    if dataset is None:
        return data.mean, data.std
    as_choice("dataset", dataset, tuple(DDRANKING_DATASETS))
    classes, mean, std = DDRANKING_DATASETS[dataset]
    if classes != data.n_classes:
        raise ArtifactError(
            f"dataset is {dataset!r}, which has {classes} classes in DD-Ranking, and the set has "
            f"{data.n_classes}; give the one that it was distilled from, or None."
        )
    return (data.mean, data.std) if _whitened(data) else (mean, std)


def _whitened(data: DistilledSet) -> bool:
    """Whether the pixels are ZCA-whitened; such a set has mean 0 and deviation 1."""
    preprocessing = data.provenance.get("preprocessing")
    return isinstance(preprocessing, dict) and bool(preprocessing.get("zca"))


def _views_a_class(views: DistilledSet) -> int:
    """The number of views of each class, which must be one number."""
    counts = views.class_counts.tolist()
    if min(counts) < max(counts):
        raise ArtifactError(
            f"classes have {min(counts)} to {max(counts)} views, and DD-Ranking takes as many of "
            "each; use export_npz with views=True."
        )
    return int(counts[0])


def _rate(value: float) -> float:
    rate = as_number("learning_rate", value)
    if rate <= 0:
        raise SettingsError(f"learning_rate is {value}; it must be positive.")
    return rate

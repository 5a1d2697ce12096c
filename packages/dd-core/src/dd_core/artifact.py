"""A distilled set on disk: pixels in safetensors, and a manifest with all that using them needs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor
from torch.utils.data import TensorDataset

from dd_core._arguments import as_path
from dd_core.artifact_checks import check_set, plain_provenance
from dd_core.artifact_files import FORMAT, PIXELS, read_files, write_files
from dd_core.augment import normalize
from dd_core.decoding import Form, decode, factors_of
from dd_core.errors import ArtifactError

__all__ = ["DistilledSet"]


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic (or selected) images and everything that a training needs to know of them.

    Attributes:
        images: float32 of shape (n, channels, size, size), from 0 to 1 (see ``value_range``), not
            normalised.
        labels: int64 of shape (n,), 0 to the number of classes - 1; every class occurs.
        factor: Multi-formation rho; divides the size.
        mean: Channel means for normalisation.
        std: Channel standard deviations for normalisation.
        class_names: One name a class, each another.
        provenance: Method, settings, data set, seed, preprocessing and so on: what JSON can say.
            It is kept as JSON gives it back: texts for paths and keys, lists for tuples.
        decode: How images are cut into views: ``single``, ``multi`` or ``bound``; see
            `dd_core.decoding`.
        bound: Most views of a class, for ``bound``.
        value_range: Lowest and highest pixel that are allowed. Pixels that were free in the
            distillation may pass 0 and 1; `range_of` gives their range.
        soft_labels: None, or float32 probabilities of shape (rows, n_classes) with one row an
            image (all its views share it) or one row a view, in the order of `decoded`. Logits
            need no form of their own: log-probabilities are logits but for a constant a row,
            which no softmax sees at any temperature.

    Raises:
        ArtifactError: A part is of the wrong shape or type, not finite, or out of range; or JSON
            cannot say what ``provenance`` holds.

    Example:
        >>> tiny = DistilledSet(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), 2, (0.5,), (0.2,),
        ...                     ("shirt", "bag"))
        >>> images, labels = tiny.decoded()
        >>> images.shape, labels.tolist()
        (torch.Size([8, 1, 8, 8]), [0, 0, 0, 0, 1, 1, 1, 1])
    """

    images: Tensor
    labels: Tensor
    factor: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    decode: Form = "single"
    bound: int = 128
    value_range: tuple[float, float] = (0.0, 1.0)
    soft_labels: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std", "class_names", "value_range"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
        check_set(self)
        for name in ("mean", "std", "value_range"):  # numbers of NumPy as Python's
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))
        object.__setattr__(self, "provenance", plain_provenance(self.provenance))

    def fingerprint(self) -> str:
        """SHA-256 of all that decides a training on the set; the provenance does not.

        Example:
            >>> from dataclasses import replace
            >>> tiny = DistilledSet(torch.zeros(1, 1, 8, 8), torch.tensor([0]), 2, (0.5,), (0.2,),
            ...                     ("shirt",))
            >>> tiny.fingerprint() == replace(tiny, provenance={"seed": 1}).fingerprint()
            True
            >>> tiny.fingerprint() == replace(tiny, decode="multi").fingerprint()
            False
        """
        facts = (
            self.factor, self.decode, self.bound, self.mean, self.std, self.class_names,
        )  # fmt: skip
        digest = hashlib.sha256(repr(facts).encode())
        for tensor in (self.images, self.labels, self.soft_labels):
            digest.update(repr(None if tensor is None else tuple(tensor.shape)).encode())
            if tensor is not None:
                digest.update(tensor.detach().cpu().contiguous().numpy().data)
        return digest.hexdigest()

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def class_counts(self) -> Tensor:
        """Images of each class, before decoding; int64 of shape (n_classes,)."""
        return torch.bincount(self.labels, minlength=self.n_classes)

    @property
    def ipc(self) -> int:
        """Images of the largest class, before decoding."""
        return int(self.class_counts.max())

    @property
    def view_counts(self) -> Tensor:
        """Views of each image, int64 of shape (n,)."""
        counts = [sum(f**2 for f in factors) for factors in self._factors()]
        return torch.tensor(counts, device=self.labels.device)

    def _factors(self) -> list[tuple[int, ...]]:
        """The factors that each image is cut by, in the order of the images."""
        plans = [
            iter(factors_of(count, self.factor, self.decode, self.bound))
            for count in self.class_counts.tolist()
        ]
        return [next(plans[label]) for label in self.labels.tolist()]

    def decoded(self) -> tuple[Tensor, Tensor]:
        """All views at full size, float32, and their labels, ready to train on.

        The views of one image stand together, in the order of the images.
        """
        counts = self.view_counts
        if self.decode != "bound":
            views = decode(self.images[:, None], self.factor, self.decode).flatten(0, 1)
            return views, self.labels.repeat_interleave(counts)
        views = self.images.new_empty((int(counts.sum()), *self.images.shape[1:]))
        starts = counts.cumsum(0) - counts
        factors = torch.tensor([f for (f,) in self._factors()], device=self.labels.device)
        for f in set(factors.tolist()):
            of = (factors == f).nonzero()[:, 0]
            places = starts[of, None] + torch.arange(f**2, device=of.device)
            views[places.flatten()] = decode(self.images[of, None], f).flatten(0, 1)
        return views, self.labels.repeat_interleave(counts)

    def soft_targets(self) -> Tensor:
        """Probabilities of the classes for every view, of shape (views, n_classes).

        Raises:
            ArtifactError: The set has no soft labels.
        """
        if self.soft_labels is None:
            raise ArtifactError(
                "The set has no soft_labels; make them with dd_core.soft_labels.label_with_teacher "
                "or train with the labels."
            )
        counts = self.view_counts
        if len(self.soft_labels) == int(counts.sum()):
            return self.soft_labels
        return self.soft_labels.repeat_interleave(counts.to(self.soft_labels.device), dim=0)

    def as_dataset(self, *, soft: bool = False) -> TensorDataset:
        """A torch Dataset of all views, decoded and normalised, for any `DataLoader`.

        Args:
            soft: Give the probabilities of `soft_targets` instead of labels;
                `torch.nn.functional.cross_entropy` takes both.

        Returns:
            Items (image, label): float32 of shape (channels, size, size), (x - mean) / std, and
            int64, or float32 of shape (n_classes,) where ``soft``. Nothing is augmented.

        Raises:
            ArtifactError: ``soft``, but the set has no soft labels.

        Example:
            >>> tiny = DistilledSet(torch.rand(2, 1, 8, 8), torch.tensor([0, 1]), 2, (0.5,),
            ...                     (0.2,), ("shirt", "bag"))
            >>> image, label = tiny.as_dataset()[7]
            >>> image.shape, int(label)
            (torch.Size([1, 8, 8]), 1)
        """
        views, labels = self.decoded()
        return TensorDataset(
            normalize(views, self.mean, self.std), self.soft_targets() if soft else labels
        )

    @staticmethod
    def range_of(images: Tensor) -> tuple[float, float]:
        """The ``value_range`` of free pixels: (0, 1), or wider where a pixel lies outside."""
        pixels = images.detach()
        return min(0.0, float(pixels.min())), max(1.0, float(pixels.max()))

    def save(self, folder: Path | str) -> None:
        """Writes ``distilled.safetensors`` and ``manifest.json`` into a folder, atomically each.

        Raises:
            ArtifactError: The folder is a file, or lies in one.
            OSError: The folder cannot be written.
        """
        tensors = {"images": self.images, "labels": self.labels}
        if self.soft_labels is not None:
            tensors["soft_labels"] = self.soft_labels
        content = save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        write_files(as_path("folder", folder), content, self._manifest())

    def _manifest(self) -> dict[str, Any]:
        return {
            "images": list(self.images.shape),
            "ipc": self.ipc,
            "factor": self.factor,
            "decode": self.decode,
            "bound": self.bound,
            "views": int(self.view_counts.sum()),
            "view_order": "image by image, by rising factor, row by row; each view enlarged "
            "bilinearly to the full size",
            "value_range": list(self.value_range),
            "normalization": {"mean": list(self.mean), "std": list(self.std)},
            "class_names": list(self.class_names),
            "soft_labels": None if self.soft_labels is None else list(self.soft_labels.shape),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def load(cls, folder: Path | str) -> DistilledSet:
        """Reads what `save` wrote, in this format or the one before.

        Raises:
            ArtifactError: A file is missing or damaged, or of another format.
        """
        folder = as_path("folder", folder)
        manifest, content = read_files(folder)
        try:
            tensors = load(content)
        except (SafetensorError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{folder / PIXELS} is damaged ({error}). Copy it again, or distil again."
            ) from None
        try:
            ours = manifest["format"] == FORMAT
            normalization, names = manifest["normalization"], manifest["class_names"]
            if not isinstance(names, list):
                raise TypeError(f"class_names: {names!r}")
            return cls(
                tensors["images"],
                tensors["labels"],
                manifest["factor"],
                tuple(normalization["mean"]),
                tuple(normalization["std"]),
                tuple(names),
                dict(manifest["provenance"]),
                decode=manifest["decode"] if ours else "single",
                bound=manifest["bound"] if ours else 128,
                value_range=tuple(manifest["value_range"]) if ours else (0.0, 1.0),
                soft_labels=tensors.get("soft_labels"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{folder} lacks a field of a distilled set ({error}). Copy it again, or write it "
                "whole with DistilledSet(images, labels, factor, mean, std, class_names).save("
                f"{folder.name!r})."
            ) from None
        except ArtifactError as error:
            raise ArtifactError(f"{folder} does not hold a distilled set: {error}") from None

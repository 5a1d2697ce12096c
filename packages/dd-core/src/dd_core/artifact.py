"""A distilled set on disk: pixels in safetensors, and a manifest with all that using them needs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from dd_core.checkpoint import write_atomically
from dd_core.errors import ArtifactError
from dd_core.synthetic import decode

__all__ = ["DistilledSet"]

FORMAT = 1
_PIXELS, _MANIFEST = "distilled.safetensors", "manifest.json"


@dataclass(frozen=True)
class DistilledSet:
    """Synthetic (or selected) images and everything that a training needs to know of them.

    Attributes:
        images: float32 in [0, 1] of shape (n, channels, height, width), not normalised.
        labels: int64 of shape (n,).
        factor: Multi-formation rho; each image holds rho x rho views.
        mean: Channel means for normalisation.
        std: Channel standard deviations for normalisation.
        class_names: One name a class.
        provenance: JSON-able: method, settings, data set, seed and so on.

    Example:
        >>> import torch
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

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.labels.shape != self.images.shape[:1]:
            raise ArtifactError(
                f"images have shape {tuple(self.images.shape)} and labels "
                f"{tuple(self.labels.shape)}; give (n, channels, height, width) and (n,)."
            )
        if self.factor < 1 or self.images.shape[-1] % self.factor:
            raise ArtifactError(
                f"factor is {self.factor}, which does not divide {self.images.shape[-1]} px."
            )

    @property
    def ipc(self) -> int:
        """Images per class, before decoding."""
        return len(self.images) // len(self.class_names)

    def decoded(self) -> tuple[Tensor, Tensor]:
        """All views at full size, float32 in [0, 1], and their labels, ready to train on."""
        views = decode(self.images[:, None], self.factor)
        return views.flatten(0, 1), self.labels.repeat_interleave(self.factor**2)

    def save(self, folder: Path) -> None:
        """Writes ``distilled.safetensors`` and ``manifest.json`` into a folder, atomically each."""
        content = save({"images": self.images.detach().cpu().contiguous(), "labels": self.labels})
        manifest = {
            "format": FORMAT,
            "sha256": hashlib.sha256(content).hexdigest(),
            "images": list(self.images.shape),
            "ipc": self.ipc,
            "factor": self.factor,
            "decode": "rho x rho grid, row by row; each view enlarged bilinearly to full size",
            "value_range": [0.0, 1.0],
            "normalization": {"mean": list(self.mean), "std": list(self.std)},
            "class_names": list(self.class_names),
            "provenance": dict(self.provenance),
        }
        write_atomically(folder / _PIXELS, content)
        write_atomically(folder / _MANIFEST, json.dumps(manifest, indent=2).encode())

    @classmethod
    def load(cls, folder: Path) -> DistilledSet:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, or of another format.
        """
        try:
            manifest = json.loads((folder / _MANIFEST).read_bytes())
            content = (folder / _PIXELS).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{error.filename} is missing; is {folder} a distilled set?"
            ) from None
        except ValueError as error:
            raise ArtifactError(f"{folder / _MANIFEST} is damaged ({error}).") from None
        found = manifest.get("format") if isinstance(manifest, dict) else None
        if found != FORMAT:
            raise ArtifactError(
                f"{folder / _MANIFEST} has format {found}, this version reads {FORMAT}."
            )
        if hashlib.sha256(content).hexdigest() != manifest.get("sha256"):
            raise ArtifactError(
                f"{folder / _PIXELS} is damaged: its SHA-256 is not that of the manifest. "
                "Copy it again, or distil again."
            )
        try:
            tensors = load(content)
            return cls(
                tensors["images"],
                tensors["labels"],
                int(manifest["factor"]),
                tuple(manifest["normalization"]["mean"]),
                tuple(manifest["normalization"]["std"]),
                tuple(manifest["class_names"]),
                manifest["provenance"],
            )
        except (KeyError, TypeError, SafetensorError) as error:
            raise ArtifactError(f"{folder} lacks a field of a distilled set ({error}).") from None

"""One cell with its images, and the keys of what it shares with other cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dd_core.datasets import split_per_class
from dd_core.evaluation.search import held_out_per_class
from dd_core.images import ImageData, LabeledImages
from dd_recipes.recipe import Cell
from dd_recipes.runfiles import key_of

__all__ = ["Keys", "Work", "training_images"]


@dataclass(frozen=True, slots=True)
class Keys:
    """A cell with what the keys of its pool and its small set follow from.

    Attributes:
        cell: The cell.
        images: What identifies the training images.
        seed: Seed of the run.
        start: What identifies the set that the pixels start from, where that is a file.
        snapshots: Iterations of the distillation after which the pixels are kept too.
    """

    cell: Cell
    images: str
    seed: int
    start: str = ""
    snapshots: Sequence[int] = ()

    @property
    def made_of(self) -> str:
        """What identifies the images that pool and set are made of; a search holds some out."""
        if self.cell.measure != "search":
            return self.images
        share = self.cell.search.held_out
        return key_of({"images": self.images, "held_out": share, "seed": self.seed})

    @property
    def pool_key(self) -> str:
        """The key of the cell's pool."""
        settings = self.cell.settings()
        parts = {name: settings[name] for name in ("network", "pretrain")}
        return key_of({"images": self.made_of, "seed": self.seed, **parts})

    @property
    def plain_key(self) -> str:
        """The key of the cell's small set before it gets soft labels."""
        settings = self.cell.settings()
        parts: dict[str, Any] = {name: settings[name] for name in ("kind", "synthetic")}
        if self.cell.kind == "distill":
            parts |= {name: settings[name] for name in ("distill", "network")}
        if self.cell.looks_through_pool:
            parts["pool"] = self.pool_key
        if self.start:
            parts["start"] = self.start
        if self.snapshots:
            parts["snapshots"] = list(self.snapshots)
        return key_of({"images": self.made_of, "seed": self.seed, **parts})

    @property
    def set_key(self) -> str:
        """The key of the cell's small set."""
        if self.cell.soft_labels == "none":
            return self.plain_key
        parts = {"soft_labels": self.cell.soft_labels, "pool": self.pool_key}
        return key_of({"set": self.plain_key, **parts})


@dataclass(frozen=True, slots=True, kw_only=True)
class Work(Keys):
    """A cell that is to be measured.

    Attributes:
        data: Its images.
    """

    data: ImageData


def training_images(cell: Cell, train: LabeledImages, seed: int) -> LabeledImages:
    """What a cell's small set is made of: the training images, but for those a search holds out."""
    if cell.measure != "search":
        return train
    rest, _ = split_per_class(train, held_out_per_class(train, cell.search.held_out), seed)
    return rest

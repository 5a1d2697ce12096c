"""Settings of single measures: what a cell needs to know beyond its set and its students."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from dd_core.evaluation.search import architecture_grid
from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["ContinualSettings", "SearchSettings"]

Norm = Literal["instance", "batch", "layer", "group", "none"]


@dataclass(frozen=True, slots=True)
class ContinualSettings:
    """Class-incremental learning, for cells of measure ``continual``.

    Attributes:
        steps: Steps in which the classes come, equally many at each or one more; usual are 5 and
            10.
    """

    steps: int = 5

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}; it must be at least 1.")


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """A search among ConvNets, for cells of measure ``search``.

    The networks are all combinations of depth, width and norm that the images allow. They are
    trained as the cell's students: on the small set as ``[students]`` says, and on the real
    training images that are not held out with the number and length given here.

    Attributes:
        depths: Numbers of blocks.
        widths: Channels of the blocks.
        norms: Norms.
        held_out: Share of the training images that judges the networks; neither the small set nor
            its extractors see them.
        students: Networks of each architecture that are trained on the real images.
        epochs: Passes over the real images.
        steps: Optimiser steps on the real images in the place of ``epochs``; 0 means that
            ``epochs`` counts.
    """

    depths: tuple[int, ...] = (1, 2, 3)
    widths: tuple[int, ...] = (32, 64, 128)
    norms: tuple[Norm, ...] = ("instance", "batch", "none")
    held_out: float = 0.1
    students: int = 1
    epochs: int = 10
    steps: int = 0

    def __post_init__(self) -> None:
        for name in ("depths", "widths", "norms"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{name} are {list(values)}; give different ones, at least one.")
        for name in ("depths", "widths"):
            if min(getattr(self, name)) < 1:
                raise ValueError(f"{name} are {list(getattr(self, name))}; give 1 or more.")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; give a share between 0 and 1.")
        for name, least in (("students", 1), ("epochs", 1), ("steps", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")

    def networks(self, size: int) -> dict[str, NetworkSettings]:
        """The networks for images of a size, by name."""
        return architecture_grid(self.depths, self.widths, self.norms, size=size)

    def whole(self, students: StudentSettings) -> StudentSettings:
        """How networks are trained on the real images, for a cell with these students."""
        return replace(
            students, students=self.students, epochs=self.epochs, steps=self.steps, evaluations=1
        )

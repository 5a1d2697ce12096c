"""The weighted sum of objectives that a distillation minimises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dd_core.errors import SettingsError
from dd_core.objectives.base import ClassSlice, Features, Objective, Tap

__all__ = ["Matching"]


@dataclass(frozen=True, slots=True)
class Matching:
    """A weighted sum of objectives, each with its own form of the same features.

    Attributes:
        objectives: The objectives; those that tap feature maps must all tap the same place.
        weights: One factor each.
    """

    objectives: tuple[Objective, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        taps = {objective.tap for objective in self.objectives} - {"none"}
        if len(taps) > 1:
            raise ValueError(
                f"objectives tap feature maps at {' and '.join(sorted(taps))}; give them one tap, "
                "so that one forward pass serves all."
            )

    @property
    def tap(self) -> Tap:
        """Where the network's feature maps are taken."""
        taps = [objective.tap for objective in self.objectives if objective.tap != "none"]
        return taps[0] if taps else "none"

    def statistics(self, maps: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
        """For each objective what it keeps of the maps of some images; means over these images."""
        return [
            objective.statistics(maps) if objective.tap != "none" else ()
            for objective in self.objectives
        ]

    def embed(
        self, vectors: Tensor, statistics: Sequence[tuple[Tensor, ...]]
    ) -> tuple[Features, ...]:
        """For each objective what it keeps of one side."""
        return tuple(
            objective.embed(Features(vectors, kept))
            for objective, kept in zip(self.objectives, statistics, strict=True)
        )

    def adversaries(self, n_features: int) -> nn.ModuleDict:
        """The adversaries of the objectives that have one, by the objective's position."""
        made = ((str(i), o.adversary(n_features)) for i, o in enumerate(self.objectives))
        return nn.ModuleDict({key: module for key, module in made if module is not None})

    def sample(
        self, n_features: int, generator: torch.Generator, adversaries: nn.ModuleDict
    ) -> tuple[Tensor, ...]:
        """The random part of one iteration of each objective."""
        modules = dict(adversaries.items())
        return tuple(
            objective.sample(n_features, generator, modules.get(str(i)))
            for i, objective in enumerate(self.objectives)
        )

    def loss(
        self,
        real: Sequence[Features],
        synthetic: Sequence[Features],
        samples: Sequence[Tensor],
        classes: ClassSlice,
    ) -> Tensor:
        """The weighted loss of each class, float32 of shape (classes,)."""
        parts = zip(self.objectives, self.weights, real, synthetic, samples, strict=True)
        losses = [(w, _checked(o, o.loss(r, s, t, classes), classes)) for o, w, r, s, t in parts]
        return torch.stack([weight * loss for weight, loss in losses]).sum(0)


def _checked(objective: Objective, loss: Tensor, classes: ClassSlice) -> Tensor:
    """The loss, if it is one number a class that depends on the synthetic images."""
    wanted = (classes.stop - classes.start,)
    shape = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
    if shape != wanted:
        raise SettingsError(
            f"the loss of objective {type(objective).__name__} is {shape} for {wanted[0]} classes; "
            f"return a tensor of shape {wanted}."
        )
    if not loss.requires_grad and torch.is_grad_enabled():
        raise SettingsError(
            f"the loss of objective {type(objective).__name__} has no gradient; it must depend on "
            "the synthetic features by differentiable operations."
        )
    return loss.float()

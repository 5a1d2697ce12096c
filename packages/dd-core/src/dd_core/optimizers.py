"""Optimisers of the outer loop, from the settings."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dd_core.settings import DistillSettings

__all__ = ["ascent_optimizer", "base_rate", "pixel_optimizer"]


def pixel_optimizer(pixels: Tensor, s: DistillSettings) -> torch.optim.Optimizer:
    """The optimiser of the pixels; its rate is set in each iteration."""
    if s.optimizer == "sgd":
        return torch.optim.SGD(
            [pixels], s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay
        )
    kind = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
    return kind([pixels], s.learning_rate, weight_decay=s.weight_decay)


def ascent_optimizer(
    adversaries: nn.ModuleDict, settings: DistillSettings
) -> torch.optim.Optimizer | None:
    """The optimiser by which adversaries climb; None where there are none."""
    parameters = list(adversaries.parameters())
    if not parameters:
        return None
    s = settings.ascent
    return torch.optim.SGD(
        parameters,
        s.learning_rate,
        momentum=s.momentum,
        weight_decay=s.weight_decay,
        maximize=True,
    )


def base_rate(s: DistillSettings, n_classes: int) -> float:
    """The rate before the schedule: a joint step of an adaptive optimiser is sqrt(C) times as long.

    Example:
        >>> base_rate(DistillSettings(learning_rate=0.01), 100)
        0.1
    """
    adaptive = s.optimizer in ("adamw", "adam") and s.step == "joint"
    return s.learning_rate * (math.sqrt(n_classes) if adaptive else 1.0)

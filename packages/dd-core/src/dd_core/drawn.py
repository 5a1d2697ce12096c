"""Random parts of an iteration that several losses use in turn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Drawn", "hand_on"]


class Drawn:
    """Random parts of an iteration, cut off so that several losses can use them in turn.

    Attributes:
        leaves: What the losses see; they collect the gradient on its way to an adversary.
    """

    def __init__(self, sources: tuple[Tensor, ...]) -> None:
        self._sources = sources
        self.leaves = tuple(t.detach().requires_grad_(t.requires_grad) for t in sources)

    def backward(self) -> None:
        """Hands the collected gradient on to the adversaries."""
        pairs = zip(self._sources, self.leaves, strict=True)
        reached = [(s, leaf.grad) for s, leaf in pairs if leaf.grad is not None]
        if reached:
            torch.autograd.backward([s for s, _ in reached], [g for _, g in reached])


def hand_on(drawn: Sequence[Drawn]) -> None:
    """Hands all collected gradients on."""
    for each in drawn:
        each.backward()

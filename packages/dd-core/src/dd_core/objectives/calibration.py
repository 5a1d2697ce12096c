"""Calibration: the trained network should classify the synthetic images (NCFM's fine-tuning)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["calibration_loss"]


def calibration_loss(logits: Tensor, first_class: int) -> Tensor:
    """Cross-entropy of each class's images, averaged within the class.

    Source: ``cailb_loss`` with ``iter_calib = 1`` in the official NCFM code.

    Args:
        logits: Shape (classes, n, n_classes), of consecutive classes.
        first_class: Label of the first of them.

    Returns:
        float32 of shape (classes,).

    Example:
        >>> calibration_loss(torch.zeros(2, 3, 10), 4).exp().round().tolist()
        [10.0, 10.0]
    """
    classes, n = logits.shape[:2]
    labels = torch.arange(first_class, first_class + classes, device=logits.device)
    labels = labels.repeat_interleave(n)
    losses = F.cross_entropy(logits.flatten(0, 1), labels, reduction="none")
    return losses.view(classes, n).mean(1)

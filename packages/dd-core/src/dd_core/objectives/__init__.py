"""Matching objectives, one file each, through one small protocol."""

from __future__ import annotations

from dd_core.objectives.base import Objective
from dd_core.objectives.calibration import calibration_loss
from dd_core.objectives.mean_matching import MeanMatching
from dd_core.objectives.ncfm import NCFM
from dd_core.settings import DistillSettings

__all__ = ["NCFM", "MeanMatching", "Objective", "build_objective", "calibration_loss"]


def build_objective(settings: DistillSettings) -> Objective:
    """The matching objective that the settings name."""
    if settings.method == "dm":
        return MeanMatching(settings.loss_scale)
    return NCFM(settings.n_frequencies, settings.alpha, settings.loss_scale)

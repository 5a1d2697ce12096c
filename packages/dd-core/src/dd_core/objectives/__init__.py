"""Matching objectives, one file each, through one small protocol."""

from __future__ import annotations

from dd_core.objectives.base import ClassSlice, Features, Objective
from dd_core.objectives.calibration import calibration_loss
from dd_core.objectives.csdm import CSDM
from dd_core.objectives.diversity import IntraClassDiversity
from dd_core.objectives.mean_matching import MeanMatching
from dd_core.objectives.mmd import MMD
from dd_core.objectives.ncfm import NCFM
from dd_core.objectives.registry import build_objective, objective_names
from dd_core.objectives.style import StyleGram, StyleMoments

__all__ = [
    "CSDM",
    "MMD",
    "NCFM",
    "ClassSlice",
    "Features",
    "IntraClassDiversity",
    "MeanMatching",
    "Objective",
    "StyleGram",
    "StyleMoments",
    "build_objective",
    "calibration_loss",
    "objective_names",
]

"""How good is a set, and what is in it? Students trained on it, and real images beside it."""

from __future__ import annotations

from dd_core.evaluation.architectures import cross_architectures, evaluate_architectures
from dd_core.evaluation.classes import classes_seen, of_classes, real_of_classes
from dd_core.evaluation.content import compare_with_real
from dd_core.evaluation.continual import Continual, ContinualStep, evaluate_continual
from dd_core.evaluation.coverage import CoverageDensity, coverage_density
from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.protocol import PROTOCOLS, budget_curve, student_protocol
from dd_core.evaluation.robustness import robust_scores
from dd_core.evaluation.scores import (
    RobustScores,
    Score,
    augmentation_robust_score,
    label_robust_score,
)
from dd_core.evaluation.search import (
    architecture_grid,
    held_out_per_class,
    search_architectures,
)
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate, RankCorrelation
from dd_core.evaluation.set_content import (
    BesideReal,
    ClassContent,
    NearestReal,
    PValues,
    SetContent,
)
from dd_core.evaluation.students import Evaluation, evaluate

__all__ = [
    "PROTOCOLS",
    "ArchitectureSearch",
    "BesideReal",
    "Candidate",
    "ClassContent",
    "Continual",
    "ContinualStep",
    "CoverageDensity",
    "Evaluation",
    "FeatureSpace",
    "NearestReal",
    "PValues",
    "RankCorrelation",
    "RobustScores",
    "Score",
    "SetContent",
    "architecture_grid",
    "augmentation_robust_score",
    "budget_curve",
    "classes_seen",
    "compare_with_real",
    "coverage_density",
    "cross_architectures",
    "evaluate",
    "evaluate_architectures",
    "evaluate_continual",
    "held_out_per_class",
    "label_robust_score",
    "of_classes",
    "real_of_classes",
    "robust_scores",
    "search_architectures",
    "student_protocol",
]

"""How good is a set? Students trained on it from scratch, tested on real images."""

from __future__ import annotations

from dd_core.evaluation.architectures import cross_architectures, evaluate_architectures
from dd_core.evaluation.protocol import PROTOCOLS, budget_curve, student_protocol
from dd_core.evaluation.students import Evaluation, evaluate

__all__ = [
    "PROTOCOLS",
    "Evaluation",
    "budget_curve",
    "cross_architectures",
    "evaluate",
    "evaluate_architectures",
    "student_protocol",
]

"""How good is a set? Students trained on it from scratch, tested on real images."""

from __future__ import annotations

from dd_core.evaluation.students import Evaluation, evaluate

__all__ = ["Evaluation", "evaluate"]

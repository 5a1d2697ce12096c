"""Dataset distillation: a few synthetic images that train a network like many real ones.

The way of the data: :mod:`dd_core.datasets` reads :class:`~dd_core.images.LabeledImages`;
:func:`~dd_core.pretrain.pretrain_pool` trains extractors; :func:`~dd_core.minmax.distill` makes a
:class:`~dd_core.artifact.DistilledSet`; :func:`~dd_core.evaluation.evaluate` says what it is worth.
"""

from __future__ import annotations

from dd_core.artifact import DistilledSet
from dd_core.datasets import read_cifar10, read_npz
from dd_core.errors import (
    ArtifactError,
    CheckpointError,
    DataError,
    NonFiniteError,
    RunError,
    SettingsError,
    UserError,
)
from dd_core.evaluation import Evaluation, evaluate
from dd_core.extractors import ExtractorPool
from dd_core.images import ImageData, LabeledImages
from dd_core.minmax import Distillation, Distiller, distill
from dd_core.pretrain import pretrain_pool
from dd_core.runtime import Runtime, choose_runtime, environment
from dd_core.selection import select_random
from dd_core.settings import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
)

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "DataError",
    "DistillSettings",
    "Distillation",
    "DistilledSet",
    "Distiller",
    "Evaluation",
    "ExtractorPool",
    "ImageData",
    "LabeledImages",
    "NetworkSettings",
    "NonFiniteError",
    "PretrainSettings",
    "RunError",
    "Runtime",
    "SettingsError",
    "StudentSettings",
    "SyntheticSettings",
    "UserError",
    "choose_runtime",
    "distill",
    "environment",
    "evaluate",
    "pretrain_pool",
    "read_cifar10",
    "read_npz",
    "select_random",
]

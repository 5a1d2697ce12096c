"""Dataset distillation: a few synthetic images that train a network like many real ones.

The way of the data: `dd_core.datasets` reads `LabeledImages`;
`pretrain_pool` trains extractors; `distill` makes a
`DistilledSet`; `evaluate` says what it is worth.
"""

from __future__ import annotations

from dd_core.artifact import DistilledSet
from dd_core.datasets import (
    from_torchvision,
    long_tailed,
    read_cifar10,
    read_cifar100,
    read_image_folder,
    read_npz,
    split_per_class,
    subset,
)
from dd_core.distillation import Distillation, distill
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
from dd_core.export import export_images, export_legacy, export_npz
from dd_core.export_ddranking import export_ddranking
from dd_core.extractors import ExtractorPool
from dd_core.images import ImageData, LabeledImages
from dd_core.import_images import import_images
from dd_core.legacy import import_legacy
from dd_core.memory import MemoryPlan, plan_memory
from dd_core.minmax import Distiller
from dd_core.objectives import Objective, build_objective, objective_names
from dd_core.pretrain import pretrain_pool
from dd_core.ranks import Ranks, join_ranks
from dd_core.runtime import Runtime, choose_runtime, environment
from dd_core.selection import select_herding, select_kmeans, select_random
from dd_core.settings import (
    AscentSettings,
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
    Term,
)
from dd_core.soft_labels import label_with_teacher, soft_cross_entropy, teacher_probabilities

__all__ = [
    "ArtifactError",
    "AscentSettings",
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
    "MemoryPlan",
    "NetworkSettings",
    "NonFiniteError",
    "Objective",
    "PretrainSettings",
    "Ranks",
    "RunError",
    "Runtime",
    "SettingsError",
    "StudentSettings",
    "SyntheticSettings",
    "Term",
    "UserError",
    "build_objective",
    "choose_runtime",
    "distill",
    "environment",
    "evaluate",
    "export_ddranking",
    "export_images",
    "export_legacy",
    "export_npz",
    "from_torchvision",
    "import_images",
    "import_legacy",
    "join_ranks",
    "label_with_teacher",
    "long_tailed",
    "objective_names",
    "plan_memory",
    "pretrain_pool",
    "read_cifar10",
    "read_cifar100",
    "read_image_folder",
    "read_npz",
    "select_herding",
    "select_kmeans",
    "select_random",
    "soft_cross_entropy",
    "split_per_class",
    "subset",
    "teacher_probabilities",
]

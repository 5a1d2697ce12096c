"""Settings of every phase: frozen dataclasses that can be written down, hashed and compared.

They are the one definition of what can be set. Impossible values raise
`SettingsError` when the object is made.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from dd_core.augment import Augmentation
from dd_core.errors import SettingsError

__all__ = [
    "DistillSettings",
    "NetworkSettings",
    "PretrainSettings",
    "StudentSettings",
    "SyntheticSettings",
]


def _training_common(milestones: tuple[float, ...], cutmix: float, weight_decay: float) -> None:
    if any(not 0 < m < 1 for m in milestones) or list(milestones) != sorted(milestones):
        raise SettingsError(f"milestones are {milestones}; give rising fractions between 0 and 1.")
    if not 0 <= cutmix <= 1:
        raise SettingsError(f"cutmix is {cutmix}; give a probability from 0 to 1.")
    _not_negative("weight_decay", weight_decay)


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise SettingsError(f"{name} is {value}; it must be at least {least}.")


def _positive(name: str, value: float) -> None:
    if not value > 0:
        raise SettingsError(f"{name} is {value}; it must be positive.")


def _not_negative(name: str, value: float) -> None:
    if not value >= 0:
        raise SettingsError(f"{name} is {value}; it must not be negative.")


def _one_of(name: str, value: str, choices: Collection[str]) -> None:
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A network architecture.

    Attributes:
        architecture: ``convnet`` is the ConvNet-D of the field: D blocks of 3x3 convolution,
            norm, ReLU and 2x2 average pooling, and one linear classifier.
        depth: Number of blocks (3 for 28 and 32 px, 4 for 64, 5 for 128).
        width: Channels of each block.
        norm: ``instance`` (a group norm with one channel a group, affine) or ``none``.
    """

    architecture: Literal["convnet"] = "convnet"
    depth: int = 3
    width: int = 128
    norm: Literal["instance", "none"] = "instance"

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ("convnet",))
        _one_of("norm", self.norm, ("instance", "none"))
        _at_least("depth", self.depth, 1)
        _at_least("width", self.width, 1)


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """How the pool of extractors is trained (NCFM: 20 networks, 60 epochs, SGD).

    Attributes:
        networks: Networks in the pool; initial and final weights of each are kept.
        epochs: Passes over the real training images.
        batch_size: Images a step.
        learning_rate: SGD learning rate.
        momentum: SGD momentum.
        weight_decay: SGD weight decay.
        milestones: Fractions of the training at which the rate is multiplied by ``gamma``.
        gamma: Factor of the learning rate at each milestone.
        augmentation: Strategy string, see `dd_core.augment`.
        cutmix: Probability of CutMix for a batch.
    """

    networks: int = 20
    epochs: int = 60
    batch_size: int = 128
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 5e-4
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    gamma: float = 0.2
    augmentation: str = "flip_color_crop"
    cutmix: float = 0.5

    def __post_init__(self) -> None:
        for name in ("networks", "epochs", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        _positive("learning_rate", self.learning_rate)
        _training_common(self.milestones, self.cutmix, self.weight_decay)
        Augmentation.parse(self.augmentation)


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """The synthetic set: how many images, and how one image holds several views.

    Attributes:
        ipc: Images per class.
        factor: Multi-formation rho. Each image is a grid of rho x rho views; a view is
            enlarged bilinearly to the full size, so a class has ipc * rho^2 training images.
        init: ``mix`` (every view is a different real image, shrunk), ``real`` (real images
            as they are) or ``noise``.
    """

    ipc: int = 10
    factor: int = 2
    init: Literal["mix", "real", "noise"] = "mix"

    def __post_init__(self) -> None:
        _at_least("ipc", self.ipc, 1)
        _at_least("factor", self.factor, 1)
        _one_of("init", self.init, ("mix", "real", "noise"))


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """A distillation by distribution matching. The defaults are NCFM without psi, text values.

    Attributes:
        method: ``ncfm`` (characteristic functions) or ``dm`` (mean matching).
        synthetic: The synthetic set.
        iterations: Outer iterations; all classes take part in each.
        batch_real: Real images of each class and draw (fewer where a class has fewer).
        optimizer: ``adamw`` or ``sgd`` over the pixels.
        learning_rate: For ``adamw``, the rate of the official loop, which steps once a class;
            the joint step over C classes uses ``learning_rate * sqrt(C)``, which moves a pixel
            as far. For ``sgd``, whose steps do not depend on the other classes, the rate itself.
        momentum: SGD momentum.
        weight_decay: Weight decay of the optimiser.
        schedule: ``constant``, ``cosine`` (to zero at the last iteration) or ``plateau``
            (halved after 500 iterations without a new minimum, as in the official code).
        extractor: ``blend`` (beta * initial + (1 - beta) * trained weights of one network of
            the pool, beta ~ U(0, 1)) or ``random`` (fresh random weights, as in DM).
        hold: Iterations that one extractor, real batch and augmentation draw are kept for;
            the real features are then computed once. 1 is the papers' algorithm.
        augmentation: Siamese augmentation; the same draw for real and synthetic images.
        augmentation_draws: ``per_class`` (official) or ``shared`` by all classes.
        calibration: Weight of the cross-entropy of the trained network on the synthetic set.
        n_frequencies: NCFM: frequency arguments, drawn anew each iteration.
        alpha: NCFM: weight of the amplitude part; the phase part has ``1 - alpha``.
        loss_scale: Factor of the matching loss (300 in the official NCFM code).
    """

    method: Literal["ncfm", "dm"] = "ncfm"
    synthetic: SyntheticSettings = SyntheticSettings()
    iterations: int = 20000
    batch_real: int = 1024
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.5
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    extractor: Literal["blend", "random"] = "blend"
    hold: int = 1
    augmentation: str = "color_crop_cutout"
    augmentation_draws: Literal["per_class", "shared"] = "per_class"
    calibration: float = 1.0
    n_frequencies: int = 1024
    alpha: float = 0.5
    loss_scale: float = 300.0

    def __post_init__(self) -> None:
        _one_of("method", self.method, ("ncfm", "dm"))
        _one_of("optimizer", self.optimizer, ("adamw", "sgd"))
        _one_of("schedule", self.schedule, ("constant", "cosine", "plateau"))
        _one_of("extractor", self.extractor, ("blend", "random"))
        _one_of("augmentation_draws", self.augmentation_draws, ("per_class", "shared"))
        Augmentation.parse(self.augmentation)
        for name in ("iterations", "batch_real", "hold", "n_frequencies"):
            _at_least(name, getattr(self, name), 1)
        _positive("learning_rate", self.learning_rate)
        _positive("loss_scale", self.loss_scale)
        for name in ("momentum", "weight_decay", "calibration"):
            _not_negative(name, getattr(self, name))
        if not 0 <= self.alpha <= 1:
            raise SettingsError(f"alpha is {self.alpha}; choose a weight from 0 to 1.")
        if self.calibration > 0 and self.extractor == "random":
            raise SettingsError(
                f"calibration is {self.calibration} but extractor is 'random', which has no "
                "trained network; set calibration = 0 or extractor = 'blend'."
            )


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """How students are trained on a small set (NCFM: AdamW, halved at each fifth, CutMix).

    Attributes:
        students: Networks trained from scratch, each with its own seed.
        epochs: Passes over the set.
        steps: Optimiser steps instead of ``epochs``, so that sets of different sizes are trained
            alike; 0 means that ``epochs`` counts.
        batch_size: Images a step, at most the size of the set.
        learning_rate: AdamW learning rate.
        weight_decay: AdamW weight decay.
        milestones: Fractions of the training at which the rate is multiplied by ``gamma``.
        gamma: Factor of the learning rate at each milestone.
        augmentation: Strategy string, see `dd_core.augment`.
        cutmix: Probability of CutMix for a batch.
        evaluations: Test evaluations of each student, evenly spaced; the last is at the end.
    """

    students: int = 5
    epochs: int = 2000
    steps: int = 0
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    milestones: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    gamma: float = 0.5
    augmentation: str = "flip_color_crop/scale/rotate"
    cutmix: float = 0.5
    evaluations: int = 4

    def __post_init__(self) -> None:
        for name in ("students", "epochs", "batch_size", "evaluations"):
            _at_least(name, getattr(self, name), 1)
        _at_least("steps", self.steps, 0)
        Augmentation.parse(self.augmentation)
        _positive("learning_rate", self.learning_rate)
        _training_common(self.milestones, self.cutmix, self.weight_decay)

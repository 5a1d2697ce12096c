"""Settings of every phase: frozen dataclasses that can be written down, hashed and compared.

They are the one definition of what can be set. Impossible values raise
`SettingsError` when the object is made.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from dd_core._arguments import check_fields
from dd_core.augment import Augmentation
from dd_core.errors import SettingsError
from dd_core.objectives.registry import build_objective

__all__ = [
    "AscentSettings",
    "DistillSettings",
    "NetworkSettings",
    "PretrainSettings",
    "StudentSettings",
    "SyntheticSettings",
    "Term",
]


def _momentum(value: float) -> None:
    if not 0 <= value < 1:
        raise SettingsError(f"momentum is {value}; give a number from 0 to below 1.")


def _training_common(milestones: tuple[float, ...], cutmix: float, weight_decay: float) -> None:
    _milestones(milestones)
    if not 0 <= cutmix <= 1:
        raise SettingsError(f"cutmix is {cutmix}; give a probability from 0 to 1.")
    _not_negative("weight_decay", weight_decay)


def _milestones(milestones: tuple[float, ...]) -> None:
    if any(not 0 < m < 1 for m in milestones) or list(milestones) != sorted(milestones):
        raise SettingsError(f"milestones are {milestones}; give rising fractions between 0 and 1.")


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise SettingsError(f"{name} is {value}; it must be at least {least}.")


def _positive(name: str, value: float) -> None:
    if value <= 0:
        raise SettingsError(f"{name} is {value}; it must be positive.")


def _not_negative(name: str, value: float) -> None:
    if value < 0:
        raise SettingsError(f"{name} is {value}; it must not be negative.")


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """A network architecture.

    Attributes:
        architecture: ``convnet`` is the ConvNet-D of the field: D blocks of 3x3 convolution,
            norm, ReLU and 2x2 average pooling, and one linear classifier. ``alexnet``, ``vgg11``
            and ``resnet18`` are the variants for small images of the dataset-distillation
            literature; depth and width do not change them.
        depth: ConvNet: number of blocks (3 for 28 and 32 px, 4 for 64, 5 for 128, 6 for 224).
        width: ConvNet: channels of each block.
        norm: ``instance`` (a group norm with one channel a group, affine), ``batch``, ``layer``,
            ``group`` (4 groups) or ``none``.
    """

    architecture: Literal["convnet", "alexnet", "vgg11", "resnet18"] = "convnet"
    depth: int = 3
    width: int = 128
    norm: Literal["instance", "batch", "layer", "group", "none"] = "instance"

    def __post_init__(self) -> None:
        check_fields(self)
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
        check_fields(self)
        for name in ("networks", "epochs", "batch_size"):
            _at_least(name, getattr(self, name), 1)
        _momentum(self.momentum)
        _positive("learning_rate", self.learning_rate)
        _positive("gamma", self.gamma)
        _training_common(self.milestones, self.cutmix, self.weight_decay)
        Augmentation.parse(self.augmentation)


@dataclass(frozen=True, slots=True)
class SyntheticSettings:
    """The synthetic set: how many images, and how one image holds several views.

    Attributes:
        ipc: Images per class.
        factor: Multi-formation rho. Each image is a grid of rho x rho views; a view is
            enlarged bilinearly to the full size, so a class has ipc * rho^2 training images.
        decode: ``single`` (all images are cut by ``factor``), ``multi`` (each image is used at
            every factor from 1 to ``factor``) or ``bound`` (images are cut by the largest factor
            that keeps a class within ``bound`` views); the three forms of IDC.
        bound: Most views of a class where decode is ``bound``.
        init: ``mix`` (every view is a different real image, shrunk), ``real`` (real images
            as they are), ``noise``, or ``file`` (a distilled set, ``init_file``).
        init_file: Folder of a `DistilledSet` to start from, where init is ``file``; a path is
            kept as a string.
        short_classes: What ``mix`` and ``real`` do where a class has fewer real images than they
            take: ``error``, or ``repeat`` (its images are taken again, each equally often but for
            one time more or less).
        space: What the optimiser moves: ``unit`` (pixels from 0 to 1, NCFM) or ``normalized``
            (mean subtracted, divided by the deviation; DM). The size of a step differs, and where
            weight decay pulls: to black, or to the mean.
        clamp: Keep pixels within what an image can show, after each step (``unit``), or leave
            them free (``none``, DM).
    """

    ipc: int = 10
    factor: int = 2
    decode: Literal["single", "multi", "bound"] = "single"
    bound: int = 128
    init: Literal["mix", "real", "noise", "file"] = "mix"
    init_file: str = ""
    short_classes: Literal["error", "repeat"] = "error"
    space: Literal["unit", "normalized"] = "unit"
    clamp: Literal["unit", "none"] = "unit"

    def __post_init__(self) -> None:
        if isinstance(self.init_file, os.PathLike):
            object.__setattr__(self, "init_file", os.fspath(self.init_file))
        check_fields(self)
        for name in ("ipc", "factor", "bound"):
            _at_least(name, getattr(self, name), 1)
        if self.decode == "bound" and self.bound < self.ipc:
            raise SettingsError(
                f"bound is {self.bound}, fewer than ipc = {self.ipc}; every image gives a view at "
                "least, so give a bound of at least ipc."
            )
        if (self.init == "file") != bool(self.init_file):
            raise SettingsError(
                f"init is {self.init!r} and init_file is {self.init_file!r}; give init_file with "
                "init = 'file', and only there."
            )


@dataclass(frozen=True, slots=True)
class Term:
    """One matching objective of a weighted sum.

    Attributes:
        name: A name of `objective_names`: one of dd-core's own, or an entry point of the group
            ``dd_core.objectives``.
        weight: Factor of its loss (300 for NCFM in the official code).
        options: Settings of the objective, such as ``{"n_frequencies": 1024}``.

    Example:
        >>> Term("ncfm", 300.0, {"alpha": 0.7}).name
        'ncfm'
    """

    name: str
    weight: float = 1.0
    options: Mapping[str, bool | int | float | str] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("weight", self.weight)
        build_objective(self.name, self.options)  # says what is wrong


@dataclass(frozen=True, slots=True)
class AscentSettings:
    """How an adversary, such as NCFM's sampling network psi, climbs: SGD, as in the official code.

    Attributes:
        learning_rate: Rate of one step an iteration, of the loss summed over the classes.
        momentum: Momentum.
        weight_decay: Weight decay.
    """

    learning_rate: float = 1e-3
    momentum: float = 0.5
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_fields(self)
        _positive("learning_rate", self.learning_rate)
        _momentum(self.momentum)
        _not_negative("weight_decay", self.weight_decay)


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """A distillation by distribution matching. The defaults are NCFM without psi, text values.

    Attributes:
        objectives: What is minimised: a weighted sum of matching objectives.
        synthetic: The synthetic set.
        iterations: Outer iterations; all classes take part in each.
        batch_real: Real images of each class and draw; a class that has fewer gives all.
        real_batches: ``fresh`` (drawn anew) or ``first`` (always the first images of a class, as
            the official loader of NCFM does).
        step: ``joint`` (one optimiser step for all classes) or ``per_class`` (one step of the
            whole image tensor after each class, and again after each class's calibration: the
            official order, which for AdamW moves pixels sqrt(C) times as far).
        optimizer: ``adamw``, ``adam`` or ``sgd`` over the pixels.
        learning_rate: The rate of a step per class. A joint step of ``adamw`` or ``adam`` over C
            classes uses ``learning_rate * sqrt(C)``, which moves a pixel as far as C steps of the
            matching loss. (With calibration the official order makes 2 C steps, which move it
            about sqrt(2) times as far again.) ``sgd`` uses the rate itself in both.
        momentum: SGD momentum.
        weight_decay: Weight decay of the optimiser, once a step: an iteration ``per_class`` decays
            more often than a joint one.
        schedule: ``constant``, ``cosine`` (falling to zero over the iterations), ``step`` (times
            ``gamma`` at each of ``milestones``) or ``plateau`` (halved after ``patience``
            iterations without a new minimum of the loss, as in the official code of NCFM).
        milestones: Fractions of the iterations, for ``step``.
        gamma: Factor at each milestone, for ``step``.
        patience: Iterations without a new minimum, for ``plateau``.
        extractor: ``blend`` (beta * initial + (1 - beta) * trained weights of one network of
            the pool, beta ~ U(0, 1)) or ``random`` (fresh random weights, as in DM).
        hold: Iterations that one extractor, real batch and augmentation draw are kept for;
            the real features are then computed once. 1 is the papers' algorithm.
        augmentation: Siamese augmentation; the same draw for real and synthetic images.
        augmentation_draws: ``per_class`` (official) or ``shared`` by all classes.
        frequency_draws: ``shared`` by all classes, or ``per_class`` (official NCFM), which costs
            more memory and time.
        calibration: Weight of the cross-entropy of the trained network on the synthetic set.
        ascent: Optimiser of the objectives' adversaries, where they have one.
    """

    objectives: tuple[Term, ...] = (Term("ncfm", 300.0),)
    synthetic: SyntheticSettings = SyntheticSettings()
    iterations: int = 20000
    batch_real: int = 1024
    real_batches: Literal["fresh", "first"] = "fresh"
    step: Literal["joint", "per_class"] = "joint"
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.5
    weight_decay: float = 5e-4
    schedule: Literal["constant", "cosine", "step", "plateau"] = "constant"
    milestones: tuple[float, ...] = (2 / 3, 5 / 6)
    gamma: float = 0.5
    patience: int = 500
    extractor: Literal["blend", "random"] = "blend"
    hold: int = 1
    augmentation: str = "color_crop_cutout"
    augmentation_draws: Literal["per_class", "shared"] = "per_class"
    frequency_draws: Literal["shared", "per_class"] = "shared"
    calibration: float = 1.0
    ascent: AscentSettings = AscentSettings()

    def __post_init__(self) -> None:
        check_fields(self, objectives='(Term("ncfm"),)')
        if not self.objectives:
            raise SettingsError("objectives is empty; give one at least, such as Term('ncfm').")
        names = [term.name for term in self.objectives]
        if len(set(names)) < len(names):
            raise SettingsError(f"objectives are {', '.join(names)}; name each only once.")
        Augmentation.parse(self.augmentation)
        for name in ("iterations", "batch_real", "hold", "patience"):
            _at_least(name, getattr(self, name), 1)
        _milestones(self.milestones)
        _positive("learning_rate", self.learning_rate)
        _positive("gamma", self.gamma)
        _momentum(self.momentum)
        for name in ("weight_decay", "calibration"):
            _not_negative(name, getattr(self, name))
        if self.calibration > 0 and self.extractor == "random":
            raise SettingsError(
                f"calibration is {self.calibration} but extractor is 'random', which has no "
                "trained network; set calibration = 0 or extractor = 'blend'."
            )
        if self.step == "per_class" and self.hold > 1:
            raise SettingsError(
                f"step is 'per_class' and hold is {self.hold}; holding is a change of the joint "
                "step only, so set hold = 1 or step = 'joint'."
            )

    @property
    def method(self) -> str:
        """The objectives' names, joined by ``+``."""
        return "+".join(term.name for term in self.objectives)


@dataclass(frozen=True, slots=True)
class StudentSettings:
    """How students are trained on a small set (NCFM: AdamW, halved at each fifth, CutMix).

    Attributes:
        students: Networks trained from scratch, each with its own seed.
        epochs: Passes over the set.
        steps: Optimiser steps instead of ``epochs``, so that sets of different sizes are trained
            alike; 0 means that ``epochs`` counts.
        batch_size: Images a step, at most the size of the set.
        optimizer: ``adamw`` (NCFM), ``adam`` or ``sgd`` (DC, DM, DDM).
        learning_rate: Learning rate.
        momentum: SGD momentum.
        weight_decay: Weight decay.
        milestones: Fractions of the training at which the rate is multiplied by ``gamma``.
        gamma: Factor of the learning rate at each milestone.
        augmentation: Strategy string, see `dd_core.augment`.
        cutmix: Probability of CutMix for a batch.
        labels: ``stored`` (a teacher's probabilities where the set has them) or ``hard`` (the
            classes alone, whatever the set has).
        evaluations: Test evaluations of each student, evenly spaced; the last is at the end.
    """

    students: int = 5
    epochs: int = 2000
    steps: int = 0
    batch_size: int = 128
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.01
    milestones: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    gamma: float = 0.5
    augmentation: str = "flip_color_crop/scale/rotate"
    cutmix: float = 0.5
    labels: Literal["stored", "hard"] = "stored"
    evaluations: int = 4

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("students", "epochs", "batch_size", "evaluations"):
            _at_least(name, getattr(self, name), 1)
        _at_least("steps", self.steps, 0)
        Augmentation.parse(self.augmentation)
        _positive("learning_rate", self.learning_rate)
        _momentum(self.momentum)
        _positive("gamma", self.gamma)
        _training_common(self.milestones, self.cutmix, self.weight_decay)

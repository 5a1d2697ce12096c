"""The trainings behind the label-robust and the augmentation-robust score.

What the scores are stands in `dd_core.evaluation.scores`. Every accuracy is one of `evaluate`: the
last epoch, nothing chosen on the test images, and the same settings for the set and for random
images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from dd_core._arguments import as_instance, as_number, as_path, as_seed
from dd_core.artifact import DistilledSet
from dd_core.errors import DataError, SettingsError
from dd_core.evaluation.each import Part, evaluate_each
from dd_core.evaluation.scores import RobustScores
from dd_core.evaluation.students import Evaluation, evaluate
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.runtime import Runtime, generator
from dd_core.selection import select_random
from dd_core.settings import NetworkSettings, StudentSettings, SyntheticSettings
from dd_core.soft_labels import TeacherForm, label_with_teacher
from dd_core.training import total_steps

__all__ = ["robust_scores"]


def robust_scores(
    data: DistilledSet,
    train: LabeledImages,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    *,
    whole: StudentSettings | Evaluation | float | None = None,
    own: Evaluation | None = None,
    teacher: nn.Module | None = None,
    folder: Path | str,
    whole_folder: Path | str | None = None,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    checkpoint_seconds: float = 5.0,
    workers: int | Literal["auto"] = "auto",
) -> RobustScores:
    """Trains all students that LRS and ARS need; a second call goes on from the folder.

    Each student of the random part gets real images of its own: of every class as many as the set
    *stores*. Packed views (multi-formation) are a merit of the set and not matched. The random
    students take as many optimiser steps as those of the set, so that a set with more views is
    not also trained for longer. A class with fewer real images gives all, and some again.

    Where the set has soft labels, random images must get them from the same teacher: give it. It
    is asked without augmentation, in the form that the set's provenance names. Without it they
    keep their classes, and the result says so (`RobustScores.alike`).

    Args:
        data: A distilled set.
        train: The real training images that it stands for, of the same classes.
        test: Real test images.
        network: The students' architecture.
        settings: The protocol. ``students`` is the number of each part.
        whole: For the whole training set with plain labels: how to train on it, what training
            gave, or an accuracy in percent. Without it there is no label-robust score.
        own: Students of the set by these settings and this seed, where they were trained already.
        teacher: Network that gave the set its soft labels; takes normalised images.
        folder: Where results and unfinished states are kept, a sub-folder for each part.
        whole_folder: Where those of the whole training set are; by default in ``folder``.
        seed: Seed of students and of the random choice; not negative.
        runtime: Device and precision.
        listen: Receives events.
        checkpoint_seconds: Time between two stored states.
        workers: Students at a time, see `evaluate`.

    Raises:
        SettingsError: An argument is of the wrong type or out of range, ``teacher`` is given for
            a set whose soft labels are not used, or does not take the images.
        DataError: The images are of other classes, size or channels than the set.
        CheckpointError: The folder belongs to another evaluation, another process works in it, or
            a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    folder, seed = as_path("folder", folder), as_seed(seed)
    settings = as_instance("settings", settings, StudentSettings)
    _check_train(
        as_instance("data", data, DistilledSet), as_instance("train", train, LabeledImages)
    )
    whole = _as_whole_set(whole)
    soft = data.soft_labels is not None and settings.labels == "stored"
    if teacher is not None and not soft:
        raise SettingsError(
            "teacher is given, but students of the set do not learn from soft labels; leave it "
            "out, or give a set with soft_labels and settings with labels = 'stored'."
        )

    runs = _Trainings(
        data, train, test, network, teacher, folder, seed, runtime, listen, checkpoint_seconds,
        workers,
    )  # fmt: skip
    if teacher is not None:
        runs.random_set(0)  # so that one that does not fit is refused before hours of training
    bare = replace(settings, augmentation="none", cutmix=0.0)
    augmented = settings.augmentation not in ("", "none") or settings.cutmix > 0
    own = own or runs.of(data, settings, "own")
    hard = runs.of(data, replace(settings, labels="hard"), "hard") if soft else own
    plain = runs.of(data, bare, "plain") if augmented else own
    random = runs.of_random(settings, "random")
    random_plain = runs.of_random(bare, "random plain") if augmented else random
    if isinstance(whole, StudentSettings):
        where = None if whole_folder is None else as_path("whole_folder", whole_folder)
        whole = runs.of(train, whole, "whole", folder=where)
    return RobustScores(
        own, hard, plain, random, random_plain, whole,
        "hard" if teacher is None else "teacher", soft, tuple(data.class_counts.tolist()),
    )  # fmt: skip


@dataclass(frozen=True)
class _Trainings:
    """Evaluations of the parts, each in its own folder."""

    data: DistilledSet
    train: LabeledImages
    test: LabeledImages
    network: NetworkSettings
    teacher: nn.Module | None
    folder: Path
    seed: int
    runtime: Runtime
    listen: Listener
    checkpoint_seconds: float
    workers: int | Literal["auto"]

    def of(
        self,
        images: DistilledSet | LabeledImages,
        settings: StudentSettings,
        name: str,
        *,
        folder: Path | None = None,
    ) -> Evaluation:
        """Students of some images."""
        return evaluate(
            images, self.test, self.network, settings, folder=folder or self.folder / name,
            seed=self.seed, runtime=self.runtime, listen=self.listen,
            phase=f"students {name}", checkpoint_seconds=self.checkpoint_seconds,
            workers=self.workers,
        )  # fmt: skip

    def of_random(self, settings: StudentSettings, name: str) -> Evaluation:
        """One student of each random set, for as many steps as those of the set take."""
        steps = total_steps(int(self.data.view_counts.sum()), settings)
        parts = [
            Part(
                self.random_set(number), self.test,
                self.folder / f"{name.replace(' ', '-')}-{number:03d}",
                generator(self.seed, "random student", number).initial_seed(),
            )
            for number in range(settings.students)
        ]  # fmt: skip
        return evaluate_each(
            parts, self.network, replace(settings, steps=steps), runtime=self.runtime,
            listen=self.listen, phase=f"students {name}", workers=self.workers,
            checkpoint_seconds=self.checkpoint_seconds,
        )  # fmt: skip

    def random_set(self, number: int) -> DistilledSet:
        """Real images for one random student, with a teacher's labels where there is one."""
        seed = generator(self.seed, "random set", number).initial_seed()
        chosen = _random_set(self.data, self.train, seed)
        if self.teacher is None:
            return chosen
        return label_with_teacher(chosen, self.teacher, form=_form(self.data))


def _random_set(data: DistilledSet, train: LabeledImages, seed: int) -> DistilledSet:
    """As many random real images of every class as a set stores, normalised as the set is."""
    settings = SyntheticSettings(ipc=data.ipc, factor=1, init="real", short_classes="repeat")
    drawn = select_random(train, settings, seed=seed)
    place = torch.arange(data.ipc).repeat(data.n_classes)
    kept = place < data.class_counts.cpu()[drawn.labels]
    images = drawn.images[kept]
    return replace(
        drawn, images=images, labels=drawn.labels[kept], mean=data.mean, std=data.std,
        value_range=DistilledSet.range_of(images),
    )  # fmt: skip


def _form(data: DistilledSet) -> TeacherForm:
    """How the set's teacher was asked; ``paper`` where the provenance does not say."""
    known = data.provenance.get("soft_labels")
    form = known.get("form") if isinstance(known, dict) else None
    return form if form in ("code", "code26") else "paper"


def _as_whole_set(
    whole: StudentSettings | Evaluation | float | None,
) -> StudentSettings | Evaluation | float | None:
    if whole is None or isinstance(whole, StudentSettings | Evaluation):
        return whole
    try:
        accuracy = as_number("whole", whole)
    except SettingsError:
        accuracy = math.nan
    if not 0 <= accuracy <= 100:
        raise SettingsError(
            f"whole is {whole!r:.80}; give StudentSettings to train with, an Evaluation, or an "
            "accuracy in percent, from 0 to 100."
        )
    return accuracy


def _check_train(data: DistilledSet, train: LabeledImages) -> None:
    """Refuses training images that random sets to compare with cannot be drawn from."""
    ours = (data.class_names, data.images.shape[1], data.images.shape[-1])
    theirs = (train.class_names, train.channels, train.size)
    for name, own, found in zip(("class_names", "channels", "size"), ours, theirs, strict=True):
        if own != found:
            raise DataError(
                f"{name} of train is {found!r:.80} and that of data {own!r:.80}; give the training "
                "images that the set was distilled from, with the classes in the same order."
            )

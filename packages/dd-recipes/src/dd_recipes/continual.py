"""Class-incremental learning with the small set as memory, as in GDumb (Prabhu et al. 2020).

Classes come in a seeded order, some at each step. After each step students are trained from
scratch on the images of all classes seen so far, and tested on these classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from dd_core.artifact import DistilledSet
from dd_core.evaluation import Evaluation
from dd_core.images import LabeledImages
from dd_core.runtime import generator
from dd_recipes.phases import Bench, SmallSet, make_set, train_students
from dd_recipes.preflight import CONTINUAL_STEPS
from dd_recipes.rows import Curve
from dd_recipes.work import Work

__all__ = ["classes_seen", "measure_continual", "of_classes", "real_of_classes"]


def classes_seen(n_classes: int, seed: int, steps: int = CONTINUAL_STEPS) -> list[list[int]]:
    """The classes seen after each step, in the order in which they came.

    Example:
        >>> [len(seen) for seen in classes_seen(100, 0)]
        [20, 40, 60, 80, 100]
    """
    order = torch.randperm(n_classes, generator=generator(seed, "class order")).tolist()
    return [order[: round(n_classes * step / steps)] for step in range(1, steps + 1)]


def measure_continual(bench: Bench, work: Work) -> tuple[SmallSet, list[Evaluation], Curve]:
    """Trains and tests students after each step.

    Returns:
        The whole set, the students of each step, and their accuracies by the classes seen.
    """
    small, test = make_set(bench, work), work.data.test
    steps = classes_seen(test.n_classes, bench.seed)
    trained = [
        train_students(
            bench, work.cell, of_classes(small.distilled, seen), real_of_classes(test, seen),
            f"students/step-{number}", f", step {number} of {len(steps)}",
        )
        for number, seen in enumerate(steps, 1)
    ]  # fmt: skip
    curve = tuple((len(seen), found.last) for seen, found in zip(steps, trained, strict=True))
    return small, trained, curve


def of_classes(distilled: DistilledSet, classes: Sequence[int]) -> DistilledSet:
    """The images of some classes, which are numbered anew in the order given."""
    chosen, labels = _numbered(distilled.labels, classes)
    names = tuple(distilled.class_names[label] for label in classes)
    return replace(
        distilled, images=distilled.images[chosen], labels=labels, class_names=names,
        soft_labels=None,
    )  # fmt: skip


def real_of_classes(images: LabeledImages, classes: Sequence[int]) -> LabeledImages:
    """Real images of some classes, which are numbered anew in the order given."""
    chosen, labels = _numbered(images.labels, classes)
    names = tuple(images.class_names[label] for label in classes)
    pixels = images.take(chosen)
    return LabeledImages(pixels, labels.to(pixels.device), images.mean, images.std, names)


def _numbered(labels: Tensor, classes: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which entries are of these classes, and their new labels."""
    new = torch.full((int(labels.max()) + 1,), -1, device=labels.device)
    new[torch.tensor(classes, device=labels.device)] = torch.arange(len(classes)).to(labels.device)
    chosen = (new[labels] >= 0).nonzero()[:, 0]
    return chosen, new[labels[chosen]]

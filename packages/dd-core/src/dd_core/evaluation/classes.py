"""Some of the classes: their order in class-incremental learning, and the parts that are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from dd_core._arguments import as_count, as_instance, as_seed, as_whole
from dd_core.artifact import DistilledSet
from dd_core.errors import DataError, SettingsError
from dd_core.images import LabeledImages
from dd_core.runtime import generator

__all__ = ["classes_seen", "of_classes", "real_of_classes"]


def classes_seen(n_classes: int, n_steps: int, *, seed: int) -> tuple[tuple[int, ...], ...]:
    """The classes seen after each step, in the order in which they came.

    After step k of K there are floor(C k / K) of C classes, so that the steps bring equally many,
    or one more.

    Args:
        n_classes: C.
        n_steps: K, from 1 to C.
        seed: Seed of the order of the classes.

    Returns:
        One tuple a step, each the beginning of the next; the last one holds all classes.

    Raises:
        SettingsError: A number is of the wrong type or out of range.

    Example:
        >>> [len(seen) for seen in classes_seen(100, 5, seed=0)]
        [20, 40, 60, 80, 100]
        >>> classes_seen(4, 2, seed=0)
        ((2, 3), (2, 3, 0, 1))
    """
    n_classes, n_steps = as_count("n_classes", n_classes), as_count("n_steps", n_steps)
    if n_steps > n_classes:
        raise SettingsError(
            f"n_steps is {n_steps}, but there are {n_classes} classes, and each step brings at "
            f"least one; give from 1 to {n_classes}."
        )
    order = torch.randperm(n_classes, generator=generator(as_seed(seed), "class order")).tolist()
    return tuple(tuple(order[: n_classes * step // n_steps]) for step in range(1, n_steps + 1))


def of_classes(data: DistilledSet, classes: Sequence[int]) -> DistilledSet:
    """The part of a set that is of some classes, numbered anew in the order given.

    Soft labels keep these classes alone and are normalised anew, p'_c = p_c / sum_s p_s over the
    classes s that are kept. A row without probability for any of them becomes its image's label.

    Args:
        data: A distilled or selected set.
        classes: Labels of the classes, each once.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: A label is not of this set, or is given twice; or there is none.

    Example:
        >>> whole = DistilledSet(torch.rand(3, 1, 8, 8), torch.arange(3), 1, (0.5,), (0.2,),
        ...                      ("ant", "bee", "cow"), soft_labels=torch.tensor(
        ...                      [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.5, 0.0, 0.5]]))
        >>> part = of_classes(whole, [2, 0])
        >>> part.class_names, part.labels.tolist(), part.soft_labels[0].tolist()
        (('cow', 'ant'), [1, 0], [0.3333333432674408, 0.6666666865348816])
    """
    as_instance("data", data, DistilledSet)
    classes = _as_classes(classes, data.class_names)
    chosen, labels = _numbered(data.labels, classes, data.n_classes)
    return replace(
        data, images=data.images[chosen], labels=labels[chosen],
        class_names=tuple(data.class_names[label] for label in classes),
        soft_labels=_soft_labels(data, chosen, labels, classes),
    )  # fmt: skip


def _soft_labels(
    data: DistilledSet, chosen: Tensor, labels: Tensor, classes: Sequence[int]
) -> Tensor | None:
    """The chosen rows, of the chosen classes alone."""
    soft = data.soft_labels
    if soft is None:
        return None
    if len(soft) != len(data.images):  # one row a view
        counts = data.view_counts
        chosen, labels = chosen.repeat_interleave(counts), labels.repeat_interleave(counts)
    part, own = soft[chosen.to(soft.device)][:, list(classes)], labels[chosen].to(soft.device)
    mass, least = part.sum(1, keepdim=True), torch.finfo(soft.dtype).tiny
    plain = one_hot(own, len(classes)).to(soft.dtype)
    return torch.where(mass >= least, part / mass.clamp_min(least), plain)


def real_of_classes(images: LabeledImages, classes: Sequence[int]) -> LabeledImages:
    """The real images of some classes, numbered anew in the order given.

    The normalisation stays that of the whole.

    Args:
        images: The whole.
        classes: Labels of the classes, each once.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: A label is not of these images, or is given twice; or there is none.

    Example:
        >>> whole = LabeledImages(torch.zeros(4, 1, 8, 8, dtype=torch.uint8),
        ...                       torch.tensor([0, 1, 2, 0]), (0.5,), (0.2,), ("ant", "bee", "cow"))
        >>> part = real_of_classes(whole, [2, 0])
        >>> part.class_names, part.labels.tolist()
        (('cow', 'ant'), [1, 0, 1])
    """
    as_instance("images", images, LabeledImages)
    classes = _as_classes(classes, images.class_names)
    chosen, labels = _numbered(images.labels, classes, images.n_classes)
    pixels = images.take(chosen.nonzero()[:, 0])
    names = tuple(images.class_names[label] for label in classes)
    return LabeledImages(pixels, labels[chosen].to(pixels.device), images.mean, images.std, names)


def _numbered(labels: Tensor, classes: Sequence[int], n_classes: int) -> tuple[Tensor, Tensor]:
    """A mask of the entries that are of these classes, and the new labels (-1 elsewhere)."""
    new = torch.full((n_classes,), -1, dtype=torch.int64, device=labels.device)
    new[list(classes)] = torch.arange(len(classes), device=labels.device)
    return new[labels] >= 0, new[labels]


def _as_classes(classes: object, names: tuple[str, ...]) -> tuple[int, ...]:
    """Different labels of the classes with these names.

    Raises:
        SettingsError: It is something else than whole numbers.
        DataError: One is out of range or given twice, or there is none.
    """
    if not isinstance(classes, Sequence) or isinstance(classes, str):
        raise SettingsError(
            f"classes are of type {type(classes).__name__}; give labels, such as [0, 3]."
        )
    found = tuple(as_whole(f"classes[{i}]", label) for i, label in enumerate(classes))
    if not found or min(found) < 0 or max(found) >= len(names) or len(set(found)) < len(found):
        raise DataError(
            f"classes are {list(found)!r:.80}; give different labels from 0 to {len(names) - 1}, "
            "at least one."
        )
    return found

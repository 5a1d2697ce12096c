"""Parts of a data set: chosen images, a part held out, and long-tailed subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from dd_core._arguments import as_count, as_instance, as_number, as_seed, as_whole
from dd_core.errors import DataError, SettingsError
from dd_core.images import LabeledImages
from dd_core.runtime import generator

__all__ = ["long_tailed", "long_tailed_sizes", "split_per_class", "subset"]


def subset(images: LabeledImages, indices: Tensor | Sequence[int]) -> LabeledImages:
    """Some of the images, in the order of the indices, with the same classes and normalisation.

    Pixels of the subset are in memory, also where those of the whole are mapped from a file.

    Args:
        images: The whole.
        indices: Positions, from 0 to ``len(images) - 1``, or a mask of shape (n,).

    Raises:
        SettingsError: ``images`` is something else.
        DataError: ``indices`` are something else, a position is outside, or a class is left
            without images.

    Example:
        >>> whole = LabeledImages(
        ...     torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]),
        ...     mean=(0.3,), std=(0.35,), class_names=("shirt", "bag"))
        >>> subset(whole, [3, 0]).labels.tolist()
        [1, 0]
    """
    as_instance("images", images, LabeledImages)
    try:
        index = torch.as_tensor(indices, device=images.labels.device)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        raise DataError(
            f"indices are of type {type(indices).__name__} and make no tensor; give integers, or a "
            f"mask of shape ({len(images)},)."
        ) from None
    if index.dtype == torch.bool and index.shape == images.labels.shape:
        index = index.nonzero().flatten()
    whole = not (index.is_floating_point() or index.is_complex() or index.dtype == torch.bool)
    if index.ndim != 1 or (len(index) and not whole):
        raise DataError(
            f"indices are {index.dtype} of shape {tuple(index.shape)}; give integers in one "
            f"dimension, or a mask of shape ({len(images)},)."
        )
    index = index.long()
    if len(index) and (int(index.min()) < 0 or int(index.max()) >= len(images)):
        raise DataError(
            f"indices run from {int(index.min())} to {int(index.max())}, but there are "
            f"{len(images)} images, counted from 0."
        )
    pixels = images.pixels.index_select(0, index.to(images.pixels.device))
    return replace(images, pixels=pixels, labels=images.labels[index], stored="")


def split_per_class(
    images: LabeledImages, n: int, seed: int
) -> tuple[LabeledImages, LabeledImages]:
    """Holds n images of each class out, so that settings need not be chosen on test images.

    Args:
        images: The whole.
        n: Images of each class to hold out, fewer than the smallest class has.
        seed: Seed of the choice.

    Returns:
        The rest, and what is held out, each in the order of the whole.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: A class would be left without images on one side.
    """
    as_instance("images", images, LabeledImages)
    n, seed = as_whole("n", n), as_seed(seed)
    if not 1 <= n < images.smallest_class:
        raise DataError(
            f"n is {n}, but the smallest class has {images.smallest_class} images; hold out at "
            "least 1 and leave at least 1."
        )
    chosen = images.draw_indices(n, generator(seed, "held out")).flatten()
    held = torch.zeros(len(images), dtype=torch.bool)
    held[chosen.cpu()] = True
    return subset(images, ~held), subset(images, held)


def long_tailed_sizes(largest: int, n_classes: int, imbalance_factor: float) -> list[int]:
    """Sizes of the classes of a long-tailed set: n_c = int(n_max * r^(c / (C - 1))), r = 1 / imf.

    The formula of the long-tailed distillation literature (LTDD, and the sets of CSDM): class 0 is
    the largest, the last one is smaller by the imbalance factor.

    Args:
        largest: n_max.
        n_classes: C.
        imbalance_factor: imf, from 1 (balanced) to n_max.

    Raises:
        SettingsError: An argument is of the wrong type, or a number impossible.
        DataError: The factor is below 1, or leaves the last class without images.

    Example:
        >>> long_tailed_sizes(5000, 10, 200)
        [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25]
    """
    largest, n_classes = as_count("largest", largest), as_count("n_classes", n_classes)
    imbalance_factor = as_number("imbalance_factor", imbalance_factor)
    if imbalance_factor < 1:
        raise DataError(f"imbalance_factor is {imbalance_factor:g}; give 1 (balanced) or more.")
    if imbalance_factor > largest:
        raise DataError(
            f"imbalance_factor is {imbalance_factor:g}, but the largest class has {largest} "
            "images, so the smallest would have none; give less."
        )
    last, ratio = max(n_classes - 1, 1), 1 / imbalance_factor
    return [max(1, int(largest * ratio ** (c / last))) for c in range(n_classes)]


def long_tailed(images: LabeledImages, imbalance_factor: float, *, seed: int = 42) -> LabeledImages:
    """A long-tailed subset of a balanced training set, by exponential class sizes.

    Class c keeps n_c = int(n_max * r^(c / (C - 1))) images, r = 1 / ``imbalance_factor``, with
    n_max the size of the largest class; see `long_tailed_sizes`. They are chosen by
    ``numpy.random.RandomState(seed).choice(indices, n_c, replace=False)``, with 42 as in the LTDD
    code. What that code does beyond this is not known, so these are choices of our own: one
    generator serves all classes in the order of their labels, and the images stay in the order of
    the whole. The normalisation is that of the whole. Test images stay balanced: do not pass them
    here.

    Args:
        images: Training images.
        imbalance_factor: Largest class over smallest class, at least 1.
        seed: Seed of the choice.

    Raises:
        SettingsError: An argument is of the wrong type, or the seed impossible.
        DataError: The factor is below 1 or too large, or a class has fewer images than it needs.

    Example:
        >>> labels = torch.arange(2).repeat(50)
        >>> whole = LabeledImages(
        ...     torch.zeros(100, 1, 8, 8, dtype=torch.uint8), labels, (0.3,), (0.35,), ("a", "b"))
        >>> long_tailed(whole, 10).class_sizes
        (50, 5)
    """
    as_instance("images", images, LabeledImages)
    seed = as_seed(seed)
    if seed >= 2**32:
        raise SettingsError(f"seed is {seed}; NumPy's RandomState takes one below 2**32.")
    sizes = long_tailed_sizes(max(images.class_sizes), images.n_classes, imbalance_factor)
    for label, (there, needed) in enumerate(zip(images.class_sizes, sizes, strict=True)):
        if there < needed:
            raise DataError(
                f"class {images.class_names[label]!r} has {there} images, but {needed} are needed "
                f"for imbalance_factor {imbalance_factor}; the set must be balanced, or fall in "
                "the order of the labels more slowly than that."
            )
    draws = np.random.RandomState(seed)
    chosen = [
        draws.choice(images.of_class(label).cpu().numpy(), size, replace=False)
        for label, size in enumerate(sizes)
    ]
    return subset(images, torch.from_numpy(np.sort(np.concatenate(chosen))))

"""Data sets of torchvision, and any others that give an image and a label for a position."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dd_core._arguments import as_names, as_path, as_text
from dd_core.datasets._build import build, labelled
from dd_core.datasets._decode import MOST_CLASSES, Decoded, Form, Part
from dd_core.datasets._normalization import KNOWN, Moments, Normalization, as_normalization
from dd_core.datasets._square import FoundColour, as_array
from dd_core.errors import DataError, SettingsError
from dd_core.events import Listener, ignore
from dd_core.images import ImageData

__all__ = ["from_torchvision"]

_TRANSFORMS = ("transform", "target_transform", "transforms")


def from_torchvision(
    train: Any,
    test: Any,
    *,
    size: int | None = None,
    channels: int | None = None,
    class_names: Sequence[str] | None = None,
    name: str | None = None,
    normalization: Normalization | None = None,
    cache: Path | str | None = None,
    listen: Listener = ignore,
) -> ImageData:
    """Takes any two map-style data sets, such as torchvision's, into `ImageData`.

    An item must be a PIL image, or uint8 of shape (height, width), (channels, height, width) or,
    for NumPy arrays, (height, width, channels), and an integer label. So make the data sets
    without ``ToTensor`` and normalisation; other transforms are applied once, here. Data sets
    that hold all images in ``data`` and have no transform (MNIST and its kin, CIFAR, SVHN) are
    taken over at once.

    Args:
        train: Training images; has ``len(train)`` and ``train[i]``.
        test: Test images.
        size: Height and width in pixels: the shorter side of an image is scaled to it (bilinear
            with antialiasing) and the centre is cut out. Without it, all images must be square
            and of one size.
        channels: 1 makes images gray, 3 makes them RGB. By default one channel if all images are
            gray, else three.
        class_names: Names of the labels 0, 1, ..., by default ``train.classes`` and else these
            numbers. A name without images in either part is left out, with a warning.
        name: Name of the data set, by default that of its class.
        normalization: Mean and standard deviation of the channels of images scaled to [0, 1]; by
            default the field's constants for CIFAR-10, CIFAR-100, MNIST, Fashion-MNIST and SVHN,
            and for others measured on the training images.
        cache: A folder of its own for the decoded images, which are then mapped from a file
            instead of kept in memory. It is made anew when the data set's class, length,
            description, list of files or first, middle or last item differ; a data set cannot
            say more, so remove the folder if you change others of its items.
        listen: Receives progress.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: An item is something else, or images differ in size and no ``size`` is given.

    Example:
        >>> gray = [(np.full((28, 28), 40 * i, np.uint8), i % 2) for i in range(6)]
        >>> data = from_torchvision(gray, gray[:2], class_names=("even", "odd"), name="gray")
        >>> tuple(data.train.pixels.shape), data.train.class_sizes
        ((6, 1, 28, 28), (3, 3))
    """
    form = Form(size, channels)
    both = {"train": train, "test": test}
    for title, data in both.items():
        if not hasattr(data, "__len__") or not hasattr(data, "__getitem__"):
            raise SettingsError(
                f"{title} is of type {type(data).__name__}, without len({title}) or {title}[i]; "
                "give a map-style data set."
            )
    kind = type(_innermost(train)).__name__ if name is None else as_text("name", name)
    cache = None if cache is None else as_path("cache", cache)
    names = _class_names(train) if class_names is None else as_names("class_names", class_names)
    normalization = as_normalization(normalization)
    if normalization is None and type(train).__name__ in KNOWN and not _transformed(train):
        known = KNOWN[type(train).__name__]
        normalization = known if channels in (None, len(known[0])) else None
    if size is None and cache is None:
        whole = {title: _at_once(data, channels) for title, data in both.items()}
        found = {title: part for title, part in whole.items() if part is not None}
        if len(found) == 2 and found["train"].pixels.shape[1:] == found["test"].pixels.shape[1:]:
            return labelled(kind, found, names, normalization, listen)
    return build(
        kind,
        {title: _part(title, data) for title, data in both.items()},
        names,
        form,
        source=[_facts(title, data) for title, data in both.items()] if cache is not None else None,
        cache=cache,
        normalization=normalization,
        listen=listen,
    )


def _innermost(data: Any) -> Any:
    """The data set of which this is a ``torch.utils.data.Subset``, if it is one."""
    while hasattr(data, "indices") and hasattr(data, "dataset"):
        data = data.dataset
    return data


def _class_names(data: Any) -> list[str] | None:
    """The names in ``classes``; where a class has several (ImageNet), the first.

    ImageNet has two cranes: such names get their label, so that all differ.
    """
    names = getattr(_innermost(data), "classes", None)
    if names is None:
        return None
    first = [str(entry if isinstance(entry, str) else entry[0]) for entry in names]
    times = Counter(first)
    return [n if times[n] == 1 else f"{n} ({label})" for label, n in enumerate(first)]


def _transformed(data: Any) -> bool:
    return any(getattr(data, name, None) is not None for name in _TRANSFORMS)


def _part(title: str, data: Any) -> Part:
    def read(index: int) -> tuple[Any, Any]:
        item = data[index]
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise DataError(
                f"item {index} of {title} is a {type(item).__name__}; give (image, label) pairs."
            )
        return item[0], item[1]

    return Part(len(data), read, lambda index: f"item {index} of {title}")


def _at_once(data: Any, channels: int | None) -> Decoded | None:
    """All images of a data set that keeps them in ``data``; None if it does not.

    Three items are compared, so that a data set whose items are something else is not mistaken.
    """
    pixels = np.asarray(getattr(data, "data", ()))
    labels = np.asarray(getattr(data, "targets", getattr(data, "labels", ())))
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or _transformed(data):
        return None
    if labels.shape != (len(pixels),) or labels.dtype.kind not in "iu" or len(data) != len(labels):
        return None
    if len(labels) and not 0 <= labels.min() <= labels.max() < MOST_CLASSES:
        return None  # read one by one, so that the message can name the item
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] not in (1, 3):
        pixels = pixels.transpose(0, 3, 1, 2)
    if pixels.shape[1] != (channels or pixels.shape[1]) or pixels.shape[1] not in (1, 3):
        return None
    gray = pixels.shape[1] == 1
    for index in {0, len(data) // 2, len(data) - 1}:
        image, label = data[index]
        try:
            item = as_array(image, "an item", size=None, gray=gray, strict=True)
        except FoundColour:
            return None
        if not np.array_equal(item, pixels[index]) or label != labels[index]:
            return None
    moments = Moments(pixels.shape[1])
    moments.add(pixels)
    return Decoded(np.array(pixels, order="C"), labels.astype(np.int64), "", moments.result())


def _facts(title: str, data: Any) -> list[object]:
    """What a data set says of itself, for the cache's key."""
    inner = _innermost(data)
    facts: list[object] = [title, len(data), type(inner).__qualname__]
    described = " ".join(repr(getattr(inner, key, None)) for key in ("root", *_TRANSFORMS))
    facts.append(re.sub(r"0x[0-9a-f]+", "", described))
    for path, *rest in getattr(inner, "samples", ()):
        found = Path(path).stat() if isinstance(path, str) and Path(path).is_file() else None
        facts.append([str(path), repr(rest), found and (found.st_size, found.st_mtime_ns)])
    for index in {0, len(data) // 2, len(data) - 1} if len(data) else ():
        image, label = data[index]
        facts.append([index, hashlib.sha256(np.asarray(image).tobytes()).hexdigest(), repr(label)])
    return facts

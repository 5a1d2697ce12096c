"""From parts that can be read to `ImageData`, by way of a cache where one is asked for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from dd_core.datasets import _cache
from dd_core.datasets._decode import Decoded, Form, Part, decode, in_memory
from dd_core.datasets._normalization import Normalization
from dd_core.events import Listener, Message
from dd_core.images import ImageData, LabeledImages

__all__ = ["build", "labelled"]

_NAMED = 5  # class names in one message


def build(
    name: str,
    parts: Mapping[str, Part],
    class_names: Sequence[str] | None,
    form: Form,
    *,
    source: object,
    cache: Path | None,
    normalization: Normalization | None,
    listen: Listener,
) -> ImageData:
    """Decodes the parts ``train`` and ``test``, or takes them from the cache.

    Args:
        name: Name of the data set.
        parts: What is decoded.
        class_names: Names of the labels 0, 1, ...; by default these numbers.
        form: Size and channels.
        source: JSON-able; while it is the same, the cache is good.
        cache: Folder of the cache, or None.
        normalization: Mean and deviation of the channels, by default those of the training images.
        listen: Receives progress.

    Raises:
        DataError: An image cannot be read, or does not fit to the others.
    """
    if cache is None:
        return labelled(
            name, decode(parts, form, in_memory, listen), class_names, normalization, listen
        )
    text = json.dumps([source, form.size, form.channels], sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()
    decoded = _cache.load(cache, key, listen)
    if decoded is None:
        decoded = decode(parts, form, _cache.writer(cache), listen)
        _cache.save(cache, key, decoded)
    return labelled(name, decoded, class_names, normalization, listen)


def labelled(
    name: str,
    parts: Mapping[str, Decoded],
    class_names: Sequence[str] | None,
    normalization: Normalization | None,
    listen: Listener,
) -> ImageData:
    """Both parts with names of classes; names that have no image in either are left out."""
    labels = {title: part.labels for title, part in parts.items()}
    both = np.concatenate(list(labels.values()))
    if class_names is None:
        class_names = [str(c) for c in range(int(both.max()) + 1)]
    if both.min() >= 0 and both.max() < len(class_names):
        used = np.unique(both)
        if len(used) < len(class_names):
            empty = sorted(set(range(len(class_names))) - set(used.tolist()))
            names = ", ".join(repr(class_names[c]) for c in empty[:_NAMED])
            names += f" and {len(empty) - _NAMED} more" if len(empty) > _NAMED else ""
            listen(Message(f"{name}: no image is labelled {names}; left out", "warning"))
            class_names = [class_names[c] for c in used]
            labels = {title: np.searchsorted(used, part) for title, part in labels.items()}
    mean, std = normalization or parts["train"].measured
    train, test = (
        LabeledImages(
            _cache.map_pixels(parts[title].pixels),
            torch.from_numpy(labels[title].astype(np.int64)),
            tuple(float(v) for v in mean),
            tuple(float(v) for v in std),
            tuple(class_names),
            stored=parts[title].stored,
        )
        for title in ("train", "test")
    )
    return ImageData(name, train, test)

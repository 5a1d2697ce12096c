"""Images from anywhere, one after another, into one block of bytes a part."""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from dd_core._arguments import as_whole
from dd_core.datasets._normalization import Moments, Normalization
from dd_core.datasets._square import FoundColour, as_array
from dd_core.errors import DataError
from dd_core.events import Listener
from dd_core.progress import Phase

__all__ = ["MOST_CLASSES", "Decoded", "Form", "Part", "Store", "decode", "in_memory"]

MOST_CLASSES = 100_000  # a label beyond this is a mistake: names would be made for all before it
_BLOCK = 128
Array = np.ndarray[Any, Any]
Store = Callable[[str, tuple[int, ...], Iterator[Array]], tuple[Array, str]]


@dataclass(frozen=True)
class Form:
    """What images shall look like: ``size`` px and ``channels``, None for as they are."""

    size: int | None
    channels: int | None

    def __post_init__(self) -> None:
        for name in ("size", "channels"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, as_whole(name, getattr(self, name)))
        if self.size is not None and self.size < 1:
            raise DataError(f"size is {self.size}; give the pixels of a side, at least 1.")
        if self.channels not in (None, 1, 3):
            raise DataError(f"channels is {self.channels}; give 1 (gray), 3 (RGB) or None.")


@dataclass(frozen=True)
class Part:
    """A part of a data set, not decoded yet.

    Attributes:
        length: Number of images.
        read: Gives image and label of a position.
        describe: What a message calls it.
        parallel: Whether ``read`` may run in several threads.
    """

    length: int
    read: Callable[[int], tuple[Any, Any]]
    describe: Callable[[int], str]
    parallel: bool = False


@dataclass(frozen=True)
class Decoded:
    """A decoded part: pixels (n, C, S, S), labels (n,), hash of stored pixels, and its moments."""

    pixels: Array
    labels: Array
    stored: str
    measured: Normalization


def in_memory(title: str, shape: tuple[int, ...], blocks: Iterator[Array]) -> tuple[Array, str]:
    """The store that keeps pixels in memory.

    Raises:
        DataError: They do not fit.
    """
    needed, there = int(np.prod(shape, dtype=np.int64)), _physical_memory()
    if needed > there:
        raise DataError(
            f"The {shape[0]} images of {title} take {needed / 1e9:.1f} GB of the {there / 1e9:.1f} "
            "GB of memory; give cache=FOLDER, to keep them in a file that is mapped."
        )
    pixels, start = np.empty(shape, np.uint8), 0
    for block in blocks:
        pixels[start : start + len(block)] = block
        start += len(block)
    return pixels, ""


def decode(
    parts: Mapping[str, Part], form: Form, store: Store, listen: Listener
) -> dict[str, Decoded]:
    """Decodes all parts alike: gray if all images are gray, or as many channels as are asked for.

    Raises:
        DataError: An image cannot be read, or sizes differ.
    """
    for title, part in parts.items():
        if part.length == 0:
            raise DataError(f"{title} has no images; give at least one a class.")
    if form.channels is None:
        try:
            return _decode(parts, form.size, store, listen, gray=True, strict=True)
        except FoundColour:
            return _decode(parts, form.size, store, listen, gray=False, strict=False)
    return _decode(parts, form.size, store, listen, gray=form.channels == 1, strict=False)


def _decode(
    parts: Mapping[str, Part],
    size: int | None,
    store: Store,
    listen: Listener,
    *,
    gray: bool,
    strict: bool,
) -> dict[str, Decoded]:
    shapes = _Shapes()

    def one(part: Part, index: int) -> tuple[Array, int]:
        where = part.describe(index)
        image, label = part.read(index)
        try:
            label = operator.index(label)
        except TypeError:
            raise DataError(
                f"The label of {where} is {label!r}; give one integer for each image."
            ) from None
        if label >= MOST_CLASSES:
            raise DataError(
                f"The label of {where} is {label}, so that the classes 0, 1, ..., {label - 1} are "
                f"expected too and most would be empty; number the labels from 0, below "
                f"{MOST_CLASSES}."
            )
        if label < 0:
            raise DataError(f"The label of {where} is {label}; number the labels from 0.")
        return as_array(image, where, size=size, gray=gray, strict=strict), label

    def whole(title: str, part: Part) -> Decoded:
        labels: list[int] = []
        moments = Moments(1 if gray else 3)

        def blocks() -> Iterator[Array]:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
                apply: Callable[..., Iterator[Any]] = threads.map if part.parallel else map
                for start in range(0, part.length, _BLOCK):
                    indices = range(start, min(start + _BLOCK, part.length))
                    images, found = zip(*apply(lambda i: one(part, i), indices), strict=True)
                    shapes.check([part.describe(i) for i in indices], images)
                    labels.extend(found)
                    block = np.stack(images)
                    moments.add(block)
                    yield block

        stream = blocks()
        first = next(stream)
        phase = Phase(f"read {title}", part.length, "image", listen)
        shape = (part.length, *first.shape[1:])
        pixels, stored = store(title, shape, _told(chain([first], stream), phase))
        phase.finish()
        return Decoded(pixels, np.array(labels, np.int64), stored, moments.result())

    return {title: whole(title, part) for title, part in parts.items()}


def _told(blocks: Iterator[Array], phase: Phase) -> Iterator[Array]:
    done = 0
    for block in blocks:
        yield block
        done += len(block)
        phase.advance(done)


class _Shapes:
    """All images must be square and as large as the first."""

    def __init__(self) -> None:
        self._first: tuple[str, tuple[int, ...]] | None = None

    def check(self, names: list[str], images: tuple[Array, ...]) -> None:
        way_out = "Give size=PIXELS: the shorter side is scaled to it and the centre cut out."
        for name, image in zip(names, images, strict=True):
            shape = image.shape[1:]
            first, expected = self._first = self._first or (name, shape)
            if shape != expected:
                raise DataError(
                    f"Images differ in size: {first} is {_text(expected)} and {name} is "
                    f"{_text(shape)}. {way_out}"
                )
        if expected[0] != expected[1]:
            raise DataError(f"{first} is {_text(expected)}, but images must be square. {way_out}")


def _text(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} px"


def _physical_memory() -> float:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return float("inf")

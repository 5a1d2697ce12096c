"""Folders of image files, one folder a class."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dd_core._arguments import as_number, as_path, as_seed, as_text
from dd_core.datasets._build import build
from dd_core.datasets._decode import Form, Part
from dd_core.datasets._normalization import Normalization, as_normalization
from dd_core.datasets._square import pillow
from dd_core.errors import DataError
from dd_core.events import Listener, ignore
from dd_core.images import ImageData
from dd_core.runtime import generator

__all__ = ["class_files", "class_folders", "images_of", "read_image_folder"]

_ENDINGS = (".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
Listing = list[tuple[Path, int]]  # file and label


def read_image_folder(
    root: Path | str,
    *,
    size: int | None = None,
    channels: int | None = None,
    test: str | None = None,
    held_out: float | None = None,
    seed: int = 0,
    name: str | None = None,
    normalization: Normalization | None = None,
    cache: Path | str | None = None,
    listen: Listener = ignore,
) -> ImageData:
    """Reads a tree ``root/train/CLASS/*.jpg`` and ``root/val`` or ``root/test`` likewise.

    Classes are numbered in the order of their folders' names, images follow in the order of their
    paths; so the labels are those of torchvision's ``ImageFolder``. Folders inside a class's folder
    belong to it. Hidden files and other endings are passed over; an orientation tag is not applied.

    Args:
        root: The tree, or a folder of class folders alone (then give ``held_out``).
        size: Height and width in pixels: the shorter side of an image is scaled to it (bilinear
            with antialiasing) and the centre is cut out. Without it, all images must be square
            and of one size.
        channels: 1 makes images gray, 3 makes them RGB. By default one channel if all images are
            gray, else three.
        test: Folder of the test images, by default ``val`` or ``test``, whichever there is.
        held_out: For trees without test images: the share of each class, between 0 and 1, that is
            kept for the test and not trained on.
        seed: Seed of the choice of the images held out.
        name: Name of the data set, by default the folder's.
        normalization: Mean and standard deviation of the channels of images scaled to [0, 1]; by
            default measured on the training images.
        cache: A folder of its own for the decoded images. They are then mapped from a file
            instead of kept in memory, and a second call decodes nothing, as long as the names,
            sizes and times of the image files, ``size`` and ``channels`` are the same.
        listen: Receives progress.

    Raises:
        SettingsError: An argument is of the wrong type.
        DataError: Folders or classes are missing, images cannot be read, or they differ in size
            and no ``size`` is given.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for part in ("train", "val"):
        ...     for kind in ("cat", "dog"):
        ...         (root / part / kind).mkdir(parents=True)
        ...         Image.new("L", (40, 32), 99).save(root / part / kind / "1.png")
        >>> data = read_image_folder(root, size=32, normalization=((0.5,), (0.25,)))
        >>> data.train.class_names, tuple(data.train.pixels.shape)
        (('cat', 'dog'), (2, 1, 32, 32))
    """
    root, seed, form = as_path("root", root), as_seed(seed), Form(size, channels)
    test = None if test is None else as_text("test", test)
    held_out = None if held_out is None else as_number("held_out", held_out)
    name = None if name is None else as_text("name", name)
    cache = None if cache is None else as_path("cache", cache)
    normalization = as_normalization(normalization)
    if not root.is_dir():
        raise DataError(f"{root} is not a folder; give one with train/CLASS/*.jpg.")
    class_names, listings = _listings(root, test, held_out, seed)
    return build(
        name or root.resolve().name,
        {title: images_of(listing) for title, listing in listings.items()},
        class_names,
        form,
        source=[
            class_names,
            {
                title: [_facts(root, path, label) for path, label in listing]
                for title, listing in listings.items()
            },
        ]
        if cache is not None
        else None,
        cache=cache,
        normalization=normalization,
        listen=listen,
    )


def _listings(
    root: Path, test: str | None, held_out: float | None, seed: int
) -> tuple[list[str], dict[str, Listing]]:
    """Class names, and the files of both parts."""
    train = root / "train" if (root / "train").is_dir() else root
    folders = (
        [test] if test else [f for f in ("val", "test") if train != root and (root / f).is_dir()]
    )
    if len(folders) > 1:
        raise DataError(f"{root} has both val and test; give test='val' or test='test'.")
    if folders and not test and not any(p.is_file() for p in (root / folders[0]).rglob("*")):
        raise DataError(
            f"{root / folders[0]} is empty: add images as CLASS/*.jpg, or remove the folder."
        )
    if folders and train == root:
        raise DataError(f"test is {test!r}, but {root} has no folder train beside it; add it.")
    if bool(folders) == (held_out is not None):
        raise DataError(
            f"held_out is {held_out}, but {root} has test images in {folders[0]}; leave it away."
            if folders
            else f"{root} has no test images; add val/CLASS or test/CLASS beside train/CLASS, or "
            "give held_out=0.1 to keep a tenth of each class for the test."
        )
    class_names = class_folders(train)
    files = class_files(train, class_names)
    if held_out is not None:
        return class_names, _split(files, class_names, held_out, seed)
    test_root = root / folders[0]
    if not test_root.is_dir():
        raise DataError(f"test is {test!r}, but {test_root} is not a folder.")
    if unknown := sorted(set(class_folders(test_root)) - set(class_names)):
        raise DataError(f"{test_root / unknown[0]} is a class that {train} does not have.")
    return class_names, {"train": files, "test": class_files(test_root, class_names)}


def class_folders(folder: Path) -> list[str]:
    """Names of the folders of classes, in order; at least one."""
    names = sorted(
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not names:
        raise DataError(f"{folder} has no folders of classes; give {folder}/CLASS/*.jpg.")
    return names


def class_files(folder: Path, class_names: list[str]) -> Listing:
    """Image files of each class's folder with their labels; at least one a class."""
    listing: Listing = []
    for label, name in enumerate(class_names):
        found = [path for path in (folder / name).rglob("*") if path.suffix.lower() in _ENDINGS]
        visible = [path for path in found if not path.name.startswith(".")]
        if not visible:
            raise DataError(
                f"{folder / name} has no images ({', '.join(_ENDINGS)}); an empty class cannot be "
                "distilled. Add images, or remove the folder."
            )
        listing += [(path, label) for path in sorted(visible)]
    return listing


def _split(files: Listing, class_names: list[str], share: float, seed: int) -> dict[str, Listing]:
    if not 0 < share < 1:
        raise DataError(f"held_out is {share}; give a share between 0 and 1.")
    parts: dict[str, Listing] = {"train": [], "test": []}
    for label, name in enumerate(class_names):
        mine = [entry for entry in files if entry[1] == label]
        n = max(1, round(share * len(mine)))
        if n >= len(mine):
            raise DataError(
                f"held_out is {share}, which takes {n} of the {len(mine)} images of class "
                f"{name!r} and leaves none; add images or give less."
            )
        order = torch.randperm(len(mine), generator=generator(seed, "held out", label)).tolist()
        parts["test"] += [mine[i] for i in sorted(order[:n])]
        parts["train"] += [mine[i] for i in sorted(order[n:])]
    return parts


def _facts(root: Path, path: Path, label: int) -> list[object]:
    found = path.stat()
    return [path.relative_to(root).as_posix(), label, found.st_size, found.st_mtime_ns]


def images_of(listing: Listing) -> Part:
    """The files as images that are read when they are asked for."""
    opener = pillow()
    opener.init()  # before threads do

    def read(index: int) -> tuple[Any, int]:
        path, label = listing[index]
        try:
            image = opener.open(path)
            image.load()
        except Exception as error:  # decoders of damaged files raise all kinds
            raise DataError(
                f"{path} is not a readable image ({error}). Replace it, or take it away."
            ) from None
        return image, label

    return Part(len(listing), read, lambda index: str(listing[index][0]), parallel=True)

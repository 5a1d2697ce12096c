"""The images of a recipe: from the package, from a data set in a folder, or from a tree of files.

torch is imported by `load_data` alone; `find_data` and `SOURCES` cost nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib.resources import as_file
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dd_recipes import assets
from dd_recipes.find_data import DEFAULT_ROOT, Found, find_data, listings, own_folder
from dd_recipes.source_table import SOURCES, Source

if TYPE_CHECKING:
    from dd_core.events import Event, Listener
    from dd_core.images import ImageData, LabeledImages
    from dd_recipes.recipe import DataSource

__all__ = ["SOURCES", "Found", "Source", "find_data", "load_data"]


def _ignore(event: Event) -> None:
    """As `dd_core.events.ignore`, which would import torch."""


def load_data(source: DataSource, root: Path | None, listen: Listener = _ignore) -> ImageData:
    """Reads the images of a recipe.

    Images of Tiny ImageNet and of ImageNet's subsets are decoded once, into the folder
    ``.dd-cache`` below the root.

    Args:
        source: The recipe's data source.
        root: Folder given by ``--data``; None means ``data``.
        listen: Receives progress.

    Raises:
        DataError: The data are missing, incomplete or damaged, the classes are too small for the
            imbalance factor, or a folder was given that is not used.
    """
    from dd_core.datasets import long_tailed

    data = _whole(source, root, listen)
    if source.imbalance_factor == 1:
        return data
    train = long_tailed(data.train, source.imbalance_factor, seed=source.imbalance_seed)
    name = f"{data.name}-LT, imbalance factor {source.imbalance_factor:g}"
    return replace(data, name=name, train=train)


def _whole(source: DataSource, root: Path | None, listen: Listener) -> ImageData:
    """The balanced set."""
    from dd_core.datasets import read_cifar10, read_cifar100, read_image_folder
    from dd_core.errors import DataError

    if source.source == "embedded":
        return _sized(_embedded(root), source.size, listen)
    if source.source == "folder":
        folder = own_folder(source.path, root)
        if all((folder / part).is_dir() for part in ("train", "val", "test")):
            raise DataError(
                f"{folder} has both val and test; rename one of them, so that it is clear which "
                "images are for the test."
            )
        return read_image_folder(
            folder, size=source.size or None,
            held_out=source.held_out or None, listen=listen,
        )  # fmt: skip
    found = find_data(source, root)
    if found.state != "found":
        raise DataError(found.problem)
    if found.layout == "cifar":
        read = read_cifar10 if source.source == "cifar10" else read_cifar100
        return _sized(read(root or DEFAULT_ROOT), source.size, listen)
    return _files(SOURCES[source.source], found, source.size, root or DEFAULT_ROOT, listen)


def _embedded(root: Path | None) -> ImageData:
    from dd_core.datasets import read_npz
    from dd_core.errors import DataError

    if root is not None:
        raise DataError(
            f"--data {root} was given, but this recipe uses the images of the package; "
            "leave --data out."
        )
    with as_file(assets.embedded_file()) as path:
        return read_npz(path, name=SOURCES["embedded"].title, sha256=assets.SUBSET_SHA256)


def _files(source: Source, found: Found, size: int, root: Path, listen: Listener) -> ImageData:
    """A data set of image files, RGB and normalised as ImageNet, by way of the cache."""
    from dd_core.datasets import from_torchvision, read_image_folder
    from dd_core.legacy import NORMALIZATIONS

    assert found.path is not None
    common: dict[str, Any] = {
        "size": size or None,
        "channels": 3,
        "name": source.title,
        "normalization": NORMALIZATIONS["imagenet"],
        "cache": _cache(root, f"{source.name}-{size or 'own'}", listen),
        "listen": listen,
    }
    if found.layout == "tree":
        of_test = "val" if (found.path / "val").is_dir() else "test"
        return read_image_folder(found.path, test=of_test, **common)
    names, parts = listings(source, found)
    train, test = (_ImageFiles(tuple(parts[part])) for part in ("train", "test"))
    return from_torchvision(train, test, class_names=names, **common)


@dataclass
class _ImageFiles:
    """Image files with labels, as torchvision's data sets have them."""

    samples: tuple[tuple[Path, int], ...]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        from dd_core.errors import DataError

        path, label = self.samples[index]
        opener = _pillow()
        try:
            image = opener.open(path)
            image.load()
        except Exception as error:  # decoders of damaged files raise all kinds
            raise DataError(
                f"{path} is not a readable image ({error}). Unpack the data set anew."
            ) from None
        return image, label


def _pillow() -> Any:
    from dd_core.errors import DataError

    try:
        from PIL import Image
    except ImportError:
        raise DataError(
            "Reading images needs Pillow, which is not installed; run 'pip install pillow'."
        ) from None
    return Image


def _cache(root: Path, name: str, listen: Listener) -> Path | None:
    """A folder for decoded images below the root; None where it cannot be written."""
    folder = root / ".dd-cache" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".write-test").write_bytes(b"")
        (folder / ".write-test").unlink()
    except OSError as error:
        from dd_core.events import Message

        text = f"{folder} cannot be written ({error.strerror}); images are kept in memory"
        listen(Message(text, "warning"))
        return None
    return folder


def _sized(data: ImageData, size: int, listen: Listener) -> ImageData:
    """The set with images of ``size`` px; 0 keeps their own."""
    from dd_core.datasets import from_torchvision

    if size in (0, data.train.size):
        return data
    train, test = (_Pairs(part) for part in (data.train, data.test))
    return from_torchvision(
        train, test, size=size, channels=data.train.channels, name=data.name, listen=listen,
        class_names=data.train.class_names, normalization=(data.train.mean, data.train.std),
    )  # fmt: skip


@dataclass
class _Pairs:
    """Images in memory as pairs."""

    images: LabeledImages

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.images.pixels[index], int(self.images.labels[index])

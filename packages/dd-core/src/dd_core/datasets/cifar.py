"""CIFAR-10 and CIFAR-100 in the layout that torchvision downloads and in the official binary one.

Every file's checksum is that of the official release, so pickles are read only when they are known
to be those.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_core._arguments import as_path
from dd_core.datasets._files import read_verified
from dd_core.datasets._normalization import KNOWN
from dd_core.errors import DataError
from dd_core.images import ImageData, LabeledImages

__all__ = ["read_cifar10", "read_cifar100"]

Batch = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]  # (n, 3072) uint8 and (n,) labels

_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_CIFAR100_CLASSES = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle",
    "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle",
    "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup",
    "dinosaur", "dolphin", "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house",
    "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion", "lizard", "lobster", "man",
    "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid",
    "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy",
    "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal",
    "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar",
    "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor",
    "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
)  # fmt: skip
_BINARY_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    "train": "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
    "test": "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
}
# MD5 of the members of the python archives, as torchvision checks them.
_PICKLED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
    "train": "16019d7e3df5f24257cddd939b257f8d",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
}
_HOW_CIFAR = (
    "{0} is had from its authors' page (Krizhevsky, University of Toronto) as the python or "
    "binary archive, or with torchvision.datasets.{3}(root, download=True); unpack it and "
    "give the folder that holds {1} or {2}."
)
_HOW_CIFAR10 = _HOW_CIFAR.format(
    "CIFAR-10", "cifar-10-batches-py", "cifar-10-batches-bin", "CIFAR10"
)
_HOW_CIFAR100 = _HOW_CIFAR.format("CIFAR-100", "cifar-100-python", "cifar-100-binary", "CIFAR100")


def read_cifar10(root: Path | str) -> ImageData:
    """Reads CIFAR-10 in the layout that torchvision downloads, or the official binary layout.

    Args:
        root: The folder with ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or one of these
            folders itself.

    Raises:
        SettingsError: ``root`` is no path.
        DataError: Neither layout is there, or a file is missing or damaged.
    """
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    root = as_path("root", root)
    folders = (root / "cifar-10-batches-py", root / "cifar-10-batches-bin", root)
    *train, test = _batches(folders, names, b"labels", 1, _HOW_CIFAR10, "CIFAR-10")
    pixels, labels = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return ImageData(
        "CIFAR-10",
        _images((pixels, labels), "CIFAR10", _CIFAR10_CLASSES),
        _images(test, "CIFAR10", _CIFAR10_CLASSES),
    )


def read_cifar100(root: Path | str) -> ImageData:
    """Reads CIFAR-100, with its 100 fine classes, in either of its official layouts.

    Args:
        root: The folder with ``cifar-100-python`` or ``cifar-100-binary``, or one of these folders
            itself.

    Raises:
        SettingsError: ``root`` is no path.
        DataError: Neither layout is there, or a file is missing or damaged.
    """
    root = as_path("root", root)
    folders = (root / "cifar-100-python", root / "cifar-100-binary", root)
    parts = _batches(folders, ["train", "test"], b"fine_labels", 2, _HOW_CIFAR100, "CIFAR-100")
    train, test = (_images(part, "CIFAR100", _CIFAR100_CLASSES) for part in parts)
    return ImageData("CIFAR-100", train, test)


def _batches(
    folders: tuple[Path, ...], names: list[str], key: bytes, labels: int, how: str, what: str
) -> list[Batch]:
    """The files of the first folder that has one of the layouts.

    Args:
        folders: Where to look; the last is what the user gave.
        names: The files, without the ending ``.bin`` of the binary layout.
        key: Where the labels are in the pickled layout.
        labels: Label bytes before each image in the binary layout; the last one counts.
        how: How the data set is had.
        what: Its name.
    """
    for folder in folders:
        if (folder / names[0]).is_file():
            return [_pickled(folder / name, key, how) for name in names]
        if (folder / f"{names[0]}.bin").is_file():
            return [_binary(folder / f"{name}.bin", labels, how) for name in names]
    raise DataError(f"{what} was not found under {folders[-1]}. {how}")


def _binary(path: Path, labels: int, how: str) -> Batch:
    content = read_verified(path, "sha256", _BINARY_SHA256[path.stem], how)
    records = np.frombuffer(content, np.uint8).reshape(-1, labels + 3072)
    return records[:, labels:], records[:, labels - 1]


def _pickled(path: Path, key: bytes, how: str) -> Batch:
    content = read_verified(path, "md5", _PICKLED_MD5[path.stem], how)
    batch = pickle.loads(content, encoding="bytes")
    return batch[b"data"], np.asarray(batch[key])


def _images(batch: Batch, known: str, class_names: tuple[str, ...]) -> LabeledImages:
    pixels, labels = batch
    return LabeledImages(
        torch.from_numpy(np.ascontiguousarray(pixels).reshape(-1, 3, 32, 32)),
        torch.from_numpy(labels.astype(np.int64)),
        *KNOWN[known],
        class_names,
    )

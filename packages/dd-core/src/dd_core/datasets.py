"""Data sets from files into `ImageData`; what is damaged is said so."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dd_core.errors import DataError
from dd_core.images import ImageData, LabeledImages

__all__ = ["read_cifar10", "read_npz"]

_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error)
_CIFAR10_MEAN, _CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
_CIFAR10_CLASSES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
_BINARY_SHA256 = {
    "data_batch_1": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
# MD5 of the members of cifar-10-python.tar.gz, as torchvision checks them.
_PICKLED_MD5 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_HOW_CIFAR10 = (
    "CIFAR-10 is had from its authors' page (Krizhevsky, University of Toronto) as the python or "
    "binary archive, or with torchvision.datasets.CIFAR10(root, download=True); unpack it and "
    "give the folder that holds cifar-10-batches-py or cifar-10-batches-bin."
)


def read_cifar10(root: Path) -> ImageData:
    """Reads CIFAR-10 in the layout that torchvision downloads, or the official binary layout.

    Every file's checksum is that of the official release, so pickles are read only when they are
    known to be those.

    Args:
        root: The folder with ``cifar-10-batches-py`` or ``cifar-10-batches-bin``, or one of these
            folders itself.

    Raises:
        DataError: Neither layout is there, or a file is missing or damaged.
    """
    root = Path(root)
    for folder in (root / "cifar-10-batches-py", root / "cifar-10-batches-bin", root):
        if (folder / "data_batch_1").is_file():
            batches = {name: _pickled(folder / name) for name in _PICKLED_MD5}
            break
        if (folder / "data_batch_1.bin").is_file():
            batches = {name: _binary(folder / f"{name}.bin") for name in _BINARY_SHA256}
            break
    else:
        raise DataError(f"CIFAR-10 was not found under {root}. {_HOW_CIFAR10}")
    train = [batches[f"data_batch_{i}"] for i in range(1, 6)]
    return ImageData(
        "CIFAR-10",
        _cifar10(np.concatenate([p for p, _ in train]), np.concatenate([y for _, y in train])),
        _cifar10(*batches["test_batch"]),
    )


def read_npz(path: Path, *, name: str, sha256: str | None = None) -> ImageData:
    """Reads a data set from one ``.npz`` file.

    The file holds ``train_images`` and ``test_images``, uint8 of shape (n, h, w) or
    (n, h, w, channels); ``train_labels`` and ``test_labels``, integers of shape (n,); and
    ``class_names``. ``mean`` and ``std`` of the channels of images scaled to [0, 1] are optional
    and else computed from the training images.

    Args:
        path: The file.
        name: Name of the data set.
        sha256: The file's expected SHA-256.

    Raises:
        DataError: The file is missing, damaged, or lacks an array.
    """
    content = _read(path, "Install or copy it again.")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"{path} is damaged: its SHA-256 is not {sha256[:12]}... ({len(content)} bytes). "
            "Install or copy it again."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, TypeError, AttributeError, OSError, EOFError, *_ZIP_ERRORS) as error:
        raise DataError(f"{path} is not a readable .npz file ({error}).") from None
    names = ("train_images", "train_labels", "test_images", "test_labels", "class_names")
    if missing := [key for key in names if key not in arrays]:
        raise DataError(f"{path} lacks the arrays {', '.join(missing)}.")
    train = _channels_first(arrays["train_images"], path)
    flat = train.swapaxes(0, 1).reshape(train.shape[1], -1)
    mean = arrays.get("mean", flat.mean(1) / 255)
    std = arrays.get("std", flat.std(1) / 255)

    def images(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> LabeledImages:
        return LabeledImages(
            torch.from_numpy(pixels),
            torch.from_numpy(labels.astype(np.int64)),
            tuple(float(v) for v in mean),
            tuple(float(v) for v in std),
            tuple(str(v) for v in arrays["class_names"]),
        )

    test = _channels_first(arrays["test_images"], path)
    return ImageData(
        name, images(train, arrays["train_labels"]), images(test, arrays["test_labels"])
    )


def _read(path: Path, way_out: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path} is missing. {way_out}") from None


def _channels_first(images: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{path}: images are {images.dtype} of shape {images.shape}; they must be uint8 of "
            "shape (n, h, w) or (n, h, w, channels)."
        )
    stacked = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return np.ascontiguousarray(stacked)


def _cifar10(pixels: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> LabeledImages:
    return LabeledImages(
        torch.from_numpy(np.ascontiguousarray(pixels).reshape(-1, 3, 32, 32)),
        torch.from_numpy(labels.astype(np.int64)),
        _CIFAR10_MEAN,
        _CIFAR10_STD,
        _CIFAR10_CLASSES,
    )


def _verified(path: Path, algorithm: str, expected: Mapping[str, str]) -> bytes:
    content = _read(path, _HOW_CIFAR10)
    found = hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()
    if found != expected[path.stem]:
        raise DataError(
            f"{path} is damaged or not the official file: its {algorithm} is {found}, not "
            f"{expected[path.stem]} ({len(content)} bytes). {_HOW_CIFAR10}"
        )
    return content


def _binary(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    records = np.frombuffer(_verified(path, "sha256", _BINARY_SHA256), np.uint8)
    records = records.reshape(10000, 3073)
    return records[:, 1:], records[:, 0]


def _pickled(path: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    batch = pickle.loads(_verified(path, "md5", _PICKLED_MD5), encoding="bytes")
    return batch[b"data"], np.asarray(batch[b"labels"])

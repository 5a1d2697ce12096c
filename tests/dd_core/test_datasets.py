"""Reading data sets: both layouts of CIFAR-10, .npz, and what is said of damage."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest

from dd_core import DataError, read_cifar10, read_npz
from dd_core.datasets import cifar

NAMES = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]


@pytest.fixture
def batches():
    draws = np.random.default_rng(0)
    return {
        name: (
            draws.integers(0, 256, (10000, 3072), dtype=np.uint8),
            draws.integers(0, 10, 10000, dtype=np.uint8),
        )
        for name in NAMES
    }


@pytest.fixture
def binary(batches, tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    sums = {}
    for name, (pixels, labels) in batches.items():
        content = np.concatenate([labels[:, None], pixels], 1).tobytes()
        (folder / f"{name}.bin").write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(cifar, "_BINARY_SHA256", sums)
    return folder


@pytest.fixture
def pickled(batches, tmp_path, monkeypatch):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    sums = {}
    for name, (pixels, labels) in batches.items():
        content = pickle.dumps({b"data": pixels, b"labels": labels.tolist()})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(cifar, "_PICKLED_MD5", sums)
    return folder


@pytest.mark.parametrize("layout", ["binary", "pickled"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar10_layouts_give_the_same_images(layout, inside, batches, request):
    folder = request.getfixturevalue(layout)
    data = read_cifar10(folder if inside else folder.parent)
    assert len(data.train) == 50000 and len(data.test) == 10000 and data.train.n_classes == 10
    pixels, labels = batches["data_batch_2"]
    image = data.train.pixels[10003]
    assert data.train.labels[10003] == labels[3]
    # Each record holds the red plane row by row, then green, then blue.
    assert image[1, 5, 7] == pixels[3, 1024 + 5 * 32 + 7]
    assert (data.test.pixels[9].flatten().numpy() == batches["test_batch"][0][9]).all()


@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_damaged_batch_is_named_and_a_pickle_not_opened(layout, request, monkeypatch):
    folder = request.getfixturevalue(layout)
    path = sorted(folder.iterdir())[2]
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(bytes(content))
    opened = []
    original = pickle.loads

    def loads(content, **options):
        opened.append(content)
        return original(content, **options)

    monkeypatch.setattr(cifar.pickle, "loads", loads)
    with pytest.raises(DataError, match=rf"{path.name} is damaged or not the official file"):
        read_cifar10(folder)
    assert bytes(content) not in opened
    path.write_bytes(bytes(content[:1000]))
    with pytest.raises(DataError, match="1000 bytes"):
        read_cifar10(folder)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} is missing"):
        read_cifar10(folder)


def test_absent_cifar10_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match=r"not found under .*torchvision"):
        read_cifar10(tmp_path)


def arrays(**change):
    draws = np.random.default_rng(0)
    base = {
        "train_images": draws.integers(0, 256, (6, 8, 8), dtype=np.uint8),
        "train_labels": np.array([0, 1] * 3, dtype=np.uint8),
        "test_images": draws.integers(0, 256, (2, 8, 8), dtype=np.uint8),
        "test_labels": np.array([0, 1], dtype=np.uint8),
        "class_names": np.array(["cat", "dog"]),
    }
    return {**base, **change}


def test_npz_gray_and_colour(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays())
    data = read_npz(path, name="pets")
    assert data.name == "pets" and data.train.pixels.shape == (6, 1, 8, 8)
    assert data.train.class_names == ("cat", "dog")
    assert data.train.mean[0] == pytest.approx(arrays()["train_images"].mean() / 255)
    assert data.test.mean == data.train.mean
    colour = {k: np.stack([arrays()[k]] * 3, -1) for k in ("train_images", "test_images")}
    np.savez(path, **arrays(**colour))
    assert read_npz(path, name="pets").train.pixels.shape == (6, 3, 8, 8)


def test_npz_hash_is_checked(tmp_path):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays())
    right = hashlib.sha256(path.read_bytes()).hexdigest()
    read_npz(path, name="pets", sha256=right)
    content = bytearray(path.read_bytes())
    content[200] ^= 4
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="SHA-256"):
        read_npz(path, name="pets", sha256=right)


def test_bad_npz_is_named(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(DataError, match="is missing"):
        read_npz(path, name="pets")
    path.write_bytes(b"not a zip file")
    with pytest.raises(DataError, match="not a readable"):
        read_npz(path, name="pets")
    np.savez(path, train_images=arrays()["train_images"])
    with pytest.raises(DataError, match="lacks the arrays train_labels"):
        read_npz(path, name="pets")
    np.savez(path, **arrays(train_images=np.zeros((6, 8, 8))))
    with pytest.raises(DataError, match="must be uint8"):
        read_npz(path, name="pets")
    np.savez(path, **arrays(train_labels=np.array([0, 1, 2, 0, 1, 2])))
    with pytest.raises(DataError, match="labels run from 0 to 2"):
        read_npz(path, name="pets")

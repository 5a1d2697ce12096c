"""Reading data sets: both layouts of the CIFAR sets, .npz, and what is said of damage."""

from __future__ import annotations

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import DataError
from dd_core.datasets import cifar as module
from dd_core.datasets import read_cifar10, read_cifar100, read_npz
from dd_core.datasets._normalization import Moments

N = 40  # records of a file; the official ones have more


class Layout:
    """File names and record layout of one of the two data sets."""

    def __init__(self, name, read, stem, names, labels, key):
        self.name, self.read, self.names, self.labels, self.key = name, read, names, labels, key
        self.binary, self.pickled = f"{stem[0]}-bin{stem[1]}", f"{stem[0]}-py{stem[2]}"
        self.classes = 100 if labels == 2 else 10


CIFAR = [
    Layout(
        "CIFAR-10", read_cifar10, ("cifar-10-batches", "", ""),
        [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], 1, b"labels",
    ),
    Layout("CIFAR-100", read_cifar100, ("cifar-100", "ary", "thon"), ["train", "test"], 2,
           b"fine_labels"),
]  # fmt: skip


@pytest.fixture(params=CIFAR, ids=lambda layout: layout.name)
def cifar(request):
    return request.param


@pytest.fixture
def batches(cifar):
    """Pixels and labels of each file; every class is in every file, a coarse label before it."""
    draws, n = np.random.default_rng(0), max(N, cifar.classes)
    return {
        name: (
            draws.integers(0, 256, (n, 3072), dtype=np.uint8),
            draws.permutation(np.arange(n) % cifar.classes).astype(np.uint8),
        )
        for name in cifar.names
    }


@pytest.fixture
def binary(cifar, batches, tmp_path, monkeypatch):
    folder = tmp_path / cifar.binary
    folder.mkdir()
    sums = {}
    for name, (pixels, labels) in batches.items():
        coarse = [255 - labels[:, None]] * (cifar.labels - 1)
        content = np.concatenate([*coarse, labels[:, None], pixels], 1).tobytes()
        (folder / f"{name}.bin").write_bytes(content)
        sums[name] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(module, "_BINARY_SHA256", sums)
    return folder


@pytest.fixture
def pickled(cifar, batches, tmp_path, monkeypatch):
    folder = tmp_path / cifar.pickled
    folder.mkdir()
    sums = {}
    for name, (pixels, labels) in batches.items():
        record = {b"data": pixels, cifar.key: labels.tolist(), b"coarse_labels": [0] * len(labels)}
        content = pickle.dumps(record)
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    monkeypatch.setattr(module, "_PICKLED_MD5", sums)
    return folder


@pytest.mark.parametrize("layout", ["binary", "pickled"])
@pytest.mark.parametrize("inside", [True, False])
def test_cifar_layouts_give_the_same_images(cifar, layout, inside, batches, request):
    folder = request.getfixturevalue(layout)
    data = cifar.read(folder if inside else folder.parent)
    *train, test = batches.values()
    each = len(test[0])
    assert data.name == cifar.name and data.train.n_classes == cifar.classes
    assert len(data.train) == each * len(train) and len(data.test) == each
    assert data.train.labels.tolist() == np.concatenate([labels for _, labels in train]).tolist()
    # Each record holds the red plane row by row, then green, then blue.
    pixels, _ = train[-1]
    image = data.train.pixels[each * (len(train) - 1) + 3]
    assert image[1, 5, 7] == pixels[3, 1024 + 5 * 32 + 7]
    assert (data.test.pixels[9].flatten().numpy() == test[0][9]).all()


@pytest.mark.parametrize("layout", ["binary", "pickled"])
def test_damaged_batch_is_named_and_a_pickle_not_opened(cifar, layout, request, monkeypatch):
    folder = request.getfixturevalue(layout)
    path = sorted(folder.iterdir())[1]
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(bytes(content))
    opened = []
    original = pickle.loads

    def loads(content, **options):
        opened.append(content)
        return original(content, **options)

    monkeypatch.setattr(module.pickle, "loads", loads)
    with pytest.raises(DataError, match=rf"{path.name} is damaged or not the official file"):
        cifar.read(folder)
    assert bytes(content) not in opened
    path.write_bytes(bytes(content[:1000]))
    with pytest.raises(DataError, match="1000 bytes"):
        cifar.read(folder)
    path.unlink()
    with pytest.raises(DataError, match=f"{path.name} (is missing|was not found)|not found under"):
        cifar.read(folder)


def test_absent_cifar_says_how_to_get_it(cifar, tmp_path):
    way = rf"{cifar.name} was not found under .*datasets\.{cifar.name.replace('-', '')}\("
    with pytest.raises(DataError, match=way):
        cifar.read(tmp_path)


def test_the_classes_of_cifar100_are_in_alphabetical_order():
    names = module._CIFAR100_CLASSES
    assert len(set(names)) == 100 and list(names) == sorted(names)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3), st.lists(st.integers(1, 600), min_size=1, max_size=3), st.integers(0, 99))
def test_moments_are_those_of_all_pixels_however_they_are_cut(channels, blocks, seed):
    draws = np.random.default_rng(seed)
    high = int(draws.integers(2, 257))
    pixels = draws.integers(0, high, (sum(blocks), channels, 2, 3), dtype=np.uint8)
    moments = Moments(channels)
    for block in np.split(pixels, np.cumsum(blocks)[:-1]):
        moments.add(block)
    mean, std = moments.result()
    flat = pixels.swapaxes(0, 1).reshape(channels, -1) / 255.0
    assert mean == pytest.approx(flat.mean(1), rel=1e-12)
    assert std == pytest.approx(flat.std(1), rel=1e-9)
    whole = Moments(channels)
    whole.add(pixels)
    assert whole.result() == (mean, std)


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


def test_an_npz_that_is_no_file_or_lacks_arrays_is_named(tmp_path):
    path = tmp_path / "set.npz"
    with pytest.raises(DataError, match="is missing"):
        read_npz(path, name="pets")
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_npz(tmp_path, name="pets")
    path.write_bytes(b"not a zip file")
    with pytest.raises(DataError, match="not a readable"):
        read_npz(path, name="pets")
    np.savez(path, train_images=arrays()["train_images"])
    with pytest.raises(DataError, match="lacks the arrays train_labels"):
        read_npz(path, name="pets")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": np.zeros((6, 8, 8))}, "train_images is float64 .* must be uint8"),
        ({"test_images": np.zeros((2, 64), np.uint8)}, "test_images is uint8 of shape .2, 64."),
        ({"train_images": np.zeros((0, 8, 8), np.uint8)}, "train_images is of shape .0, 8, 8."),
        ({"test_images": np.zeros((2, 9, 9), np.uint8)}, "size of test is 9, but size of train"),
        ({"test_images": np.zeros((2, 8, 8, 3), np.uint8)}, "test_images and .*for 3 channels"),
        ({"test_images": np.zeros((2, 8, 9), np.uint8)}, "test_images and .* must be square"),
        ({"train_labels": np.array([0, 1, 2] * 2)}, "train_images and .*labels run from 0 to 2"),
        ({"test_labels": np.array([-1, 1])}, "test_images and test_labels: labels run from -1"),
        ({"test_labels": np.array([0, 1, 1])}, "test_images and test_labels: labels are .*3"),
        ({"train_labels": np.array([0, 1] * 3) / 2}, "train_labels is float64"),
        ({"class_names": np.array([b"cat", b"dog"])}, "class_names is .S3"),
        ({"class_names": np.array("cat")}, "class_names is <U3"),
        ({"class_names": np.array(["cat", "cat"])}, "class_names has 'cat' twice"),
        ({"mean": np.array([0.5])}, "it has only mean; store both"),
        ({"std": np.array([0.5])}, "it has only std; store both"),
        ({"mean": np.array([np.nan]), "std": np.array([0.5])}, "mean.0. is nan"),
        ({"mean": np.array([0.5]), "std": np.array(["x"])}, "std.0. is 'x'"),
        ({"mean": np.array(0.5), "std": np.array([0.5])}, "mean is 0.5; give a tuple"),
    ],
)
def test_a_bad_array_of_an_npz_is_named_with_its_file(tmp_path, change, words):
    path = tmp_path / "set.npz"
    np.savez(path, **arrays(**change))
    with pytest.raises(DataError, match=f"set.npz: .*{words}"):
        read_npz(path, name="pets")


def test_an_npz_may_bring_its_normalisation(tmp_path):
    np.savez(tmp_path / "set.npz", **arrays(mean=np.float32([0.5]), std=np.float64([0.25])))
    data = read_npz(str(tmp_path / "set.npz"), name="pets")
    assert data.train.mean == data.test.mean == (0.5,) and data.test.std == (0.25,)

"""Map-style data sets, those of torchvision among them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

from dd_core import DataError
from dd_core.datasets import from_torchvision
from dd_core.datasets.mapstyle import _at_once
from dd_core.events import Message

LABELS = [0, 1, 1, 0, 1, 0]


def arrays(channels=3, *, n=6, size=8, last=True, seed=0):
    shape = (n, size, size) if channels == 1 else (n, size, size, 3) if last else (n, 3, size, size)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


class Whole:
    """Keeps all images, as CIFAR10 or SVHN do."""

    def __init__(self, data, labels=LABELS, *, key="targets", classes=("cat", "dog"), item=None):
        self.data, self.item = data, item
        setattr(self, key, labels)
        self._labels = labels
        if classes:
            self.classes = list(classes)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        image = self.data[index] if self.item is None else self.item(self.data[index])
        return image, int(self._labels[index])


@pytest.mark.parametrize("key", ["targets", "labels"])
@pytest.mark.parametrize("kind", ["gray", "last", "first", "tensor"])
def test_sets_that_hold_all_images_are_as_their_items(key, kind):
    data = arrays(1 if kind in ("gray", "tensor") else 3, last=kind == "last")
    data = torch.from_numpy(data) if kind == "tensor" else data
    labels = {"gray": LABELS, "tensor": torch.tensor(LABELS)}.get(kind, np.array(LABELS, np.uint8))
    whole = Whole(data, labels, key=key)
    assert _at_once(whole, None) is not None
    quick = from_torchvision(whole, whole)
    slow = from_torchvision(list(whole), list(whole), class_names=("cat", "dog"))
    assert torch.equal(quick.train.pixels, slow.train.pixels)
    assert quick.train.labels.tolist() == slow.train.labels.tolist() == LABELS
    assert quick.train.mean == slow.train.mean and quick.train.std == slow.train.std
    assert quick.name == "Whole" and quick.train.class_names == ("cat", "dog")


def test_items_decide_where_they_are_not_what_is_kept():
    whole = Whole(arrays(), item=lambda image: 255 - image)
    pixels = from_torchvision(whole, whole).train.pixels
    assert (pixels.numpy() == 255 - whole.data.transpose(0, 3, 1, 2)).all()
    whole = Whole(arrays())
    whole.transform = lambda image: image
    assert _at_once(whole, None) is None


def test_the_taken_over_pixels_are_a_copy():
    whole = Whole(arrays())
    pixels = from_torchvision(whole, whole).train.pixels
    before = pixels.clone()
    whole.data[:] = 0
    assert torch.equal(pixels, before)


def test_a_subset_has_the_names_and_images_of_its_whole():
    whole = Whole(arrays())
    data = from_torchvision(Subset(whole, [2, 0]), Subset(Subset(whole, [5, 4, 3]), [0, 1]))
    assert data.name == "Whole" and data.train.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == [1, 0] and data.test.labels.tolist() == [0, 1]
    assert (data.test.pixels[1].numpy() == whole.data[4].transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (None, ("0", "1")),
        (("cat", "dog"), ("cat", "dog")),
        ((("tench", "Tinca"), ("goldfish", "Carassius")), ("tench", "goldfish")),
        ((("crane",), ("crane",)), ("crane (0)", "crane (1)")),  # ImageNet has two
    ],
)
def test_names_of_classes(classes, expected):
    whole = Whole(arrays(), classes=classes)
    assert from_torchvision(whole, whole).train.class_names == expected
    assert from_torchvision(whole, whole, class_names=["a", "b"]).train.class_names == ("a", "b")


def test_a_name_without_images_is_left_out_and_said_so():
    # EMNIST's letters are labelled 1 to 26, and class 0 is called "N/A".
    events = []
    whole = Whole(arrays(), [1, 3, 3, 1, 3, 1], classes=("N/A", "a", "b", "c"))
    data = from_torchvision(whole, whole, listen=events.append)
    assert data.train.class_names == ("a", "c") and data.train.labels.tolist() == LABELS
    assert [e.text for e in events if isinstance(e, Message)] == [
        "Whole: no image is labelled 'N/A', 'b'; left out"
    ]
    data = from_torchvision(whole := [(arrays()[0], 90)], whole, listen=events.append)
    assert data.train.class_names == ("90",)
    assert "labelled '0', '1', '2', '3', '4' and 85 more; left" in events[-1].text


def test_normalisation_is_the_fields_for_known_sets_and_else_measured():
    known = type("CIFAR10", (Whole,), {})(arrays())
    assert from_torchvision(known, known).train.std == (0.2023, 0.1994, 0.2010)
    measured = tuple(known.data.astype(float).mean((0, 1, 2)) / 255)
    part = Subset(known, range(6))
    assert from_torchvision(part, known).train.mean == pytest.approx(measured)
    given = ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    data = from_torchvision(known, known, normalization=given)
    assert (data.test.mean, data.test.std) == given


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ((torch.zeros(3, 8, 8), 0), r"item 1 of train is float32 of shape \(3, 8, 8\)"),
        ((np.zeros((8, 8, 3)), 0), "leave ToTensor and normalisation away"),
        ((np.zeros((8, 8, 2), np.uint8), 0), "with 1 or 3 channels"),
        (("cat.jpg", 0), "item 1 of train is str; give PIL images"),
        (({}, "caption"), "label of item 1 of train is 'caption'"),
        ((arrays()[0], torch.tensor([0, 1])), "give one integer for each image"),
        (arrays()[0], "item 1 of train is a ndarray; give .image, label. pairs"),
        ((arrays(size=9)[0], 0), "item 0 of train is 8 x 8 px and item 1 of train is 9 x 9 px"),
    ],
)
def test_bad_items_are_named(item, words):
    with pytest.raises(DataError, match=words):
        from_torchvision([(arrays()[0], 0), item], [(arrays()[0], 0)])


def test_empty_sets_and_labels_out_of_range_are_named():
    good = [(image, label) for image, label in zip(arrays(), LABELS, strict=True)]
    with pytest.raises(DataError, match="test has no images"):
        from_torchvision(good, [])
    with pytest.raises(DataError, match="label of item 0 of train is -1; number"):
        from_torchvision([(arrays()[0], -1), *good], good)
    with pytest.raises(DataError, match=r"item 6 of train is 10000000, .* classes 0, 1, ..., 9999"):
        from_torchvision([*good, (arrays()[0], 10**7)], good)
    with pytest.raises(DataError, match="item 1 of train is 10000000"):
        whole = Whole(arrays(), [0, 10**7, 1, 0, 1, 0])
        from_torchvision(whole, whole, class_names=["cat", "dog"])
    with pytest.raises(DataError, match="labels run from 0 to 1, but there are 1 class names"):
        from_torchvision(good, good, class_names=["cat"])
    with pytest.raises(DataError, match="No image is labelled '1'"):
        from_torchvision(good, good[:1])


def test_arrays_are_resized_as_pictures_are():
    image = pytest.importorskip("PIL.Image")
    colour, gray = arrays(size=12), arrays(1, size=12)
    for data in (colour, gray):
        items = list(zip(data, LABELS, strict=True))
        pictures = [(image.fromarray(a), label) for a, label in items]
        tensors = [
            (torch.from_numpy(a).view(12, 12, -1).permute(2, 0, 1), label) for a, label in items
        ]
        ours = [from_torchvision(i, i, size=8).train.pixels for i in (items, pictures, tensors)]
        assert torch.equal(ours[0], ours[1]) and torch.equal(ours[1], ours[2])
        wide = from_torchvision(items, items, channels=3).train.pixels
        assert wide.shape[1] == 3
    items = list(zip(colour, LABELS, strict=True))
    made_gray = from_torchvision(items, items, channels=1)
    luma = np.asarray(image.fromarray(colour[0]).convert("L"))
    assert (made_gray.train.pixels[0, 0].numpy() == luma).all()


def test_fashion_mnist_of_torchvision(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    images = {"train": arrays(1, n=30, size=28), "t10k": arrays(1, n=20, size=28, seed=1)}
    for part, pixels in images.items():
        head = struct.pack(">IIII", 2051, len(pixels), 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        labels = bytes(i % 10 for i in range(len(pixels)))
        head = struct.pack(">II", 2049, len(pixels))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels)
    both = [datasets.FashionMNIST(tmp_path, train=train) for train in (True, False)]
    data = from_torchvision(*both)
    assert data.name == "FashionMNIST" and data.train.class_names[9] == "Ankle boot"
    assert data.train.mean == (0.2861,) and data.train.pixels.shape == (30, 1, 28, 28)
    assert (data.test.pixels[:, 0].numpy() == images["t10k"]).all()
    assert data.test.labels.tolist() == [i % 10 for i in range(20)]
    large = from_torchvision(*both, size=32)
    assert large.train.pixels.shape == (30, 1, 32, 32)


def test_generated_sets_of_torchvision():
    datasets = pytest.importorskip("torchvision.datasets")
    both = [datasets.FakeData(6, (3, 16, 16), num_classes=2, random_offset=i) for i in (0, 9)]
    data = from_torchvision(*both)
    for part, source in zip((data.train, data.test), both, strict=True):
        for i in range(6):
            image, label = source[i]
            assert part.labels[i] == label
            assert (part.pixels[i].numpy() == np.asarray(image).transpose(2, 0, 1)).all()
    with pytest.raises(DataError, match="leave ToTensor and normalisation away"):
        transforms = pytest.importorskip("torchvision.transforms")
        both[0].transform = transforms.ToTensor()
        from_torchvision(*both)

"""Labelled images: checks, and draws of whole classes."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dd_core import DataError, LabeledImages


def numbered(labels: list[int], classes: int) -> LabeledImages:
    """Image i is filled with the value i."""
    pixels = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    names = tuple(map(str, range(classes)))
    return LabeledImages(pixels, torch.tensor(labels), (0.5,), (0.2,), names)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_draws_are_of_the_class_and_different(data):
    counts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=5))
    order = [c for c, count in enumerate(counts) for _ in range(count)]
    labels = data.draw(st.permutations(order))
    images = numbered(labels, len(counts))
    n = data.draw(st.integers(1, min(counts)))
    seed = data.draw(st.integers(0, 99))
    drawn = images.draw_per_class(n, torch.Generator().manual_seed(seed))[:, :, 0, 0, 0]
    for label, row in enumerate(drawn.tolist()):
        assert len(set(row)) == n
        assert all(labels[i] == label for i in row)


def test_every_image_is_drawn_about_equally_often():
    images = numbered([0] * 6 + [1] * 4, 2)
    counts = torch.zeros(10)
    for seed in range(1200):
        drawn = images.draw_per_class(2, torch.Generator().manual_seed(seed))[:, :, 0, 0, 0]
        counts += torch.bincount(drawn.flatten().long(), minlength=10)
    expected = torch.tensor([400.0] * 6 + [600.0] * 4)
    assert ((counts - expected).abs() < 5 * expected.sqrt()).all()


def values(drawn: torch.Tensor) -> list[int]:
    return drawn[..., 0, 0, 0].flatten().tolist()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_batch_holds_up_to_n_different_images_of_each_class(data):
    counts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=6))
    order = [c for c, count in enumerate(counts) for _ in range(count)]
    images = numbered(data.draw(st.permutations(order)), len(counts))
    n, seed = data.draw(st.integers(1, 10)), data.draw(st.integers(0, 99))
    start = data.draw(st.integers(0, len(counts) - 1))
    classes = range(start, data.draw(st.integers(start + 1, len(counts))))

    def draw(classes=None):
        return images.draw_batch(n, torch.Generator().manual_seed(seed), classes=classes)

    drawn, sizes = draw()
    assert sizes == tuple(min(n, count) for count in counts)
    parts = [values(part) for part in drawn.split(sizes)]
    for label, part in enumerate(parts):
        assert len(set(part)) == len(part)
        assert all(images.labels[i] == label for i in part)
    # The draw of a class does not depend on who else is asked for, nor on an earlier draw.
    for _ in range(2):
        some, some_sizes = draw(classes)
        assert some_sizes == sizes[classes.start : classes.stop]
        assert values(some) == [*chain(*parts[classes.start : classes.stop])]
    first, first_sizes = images.first_batch(n, classes=classes)
    expected = [[i for i in range(len(order)) if images.labels[i] == c][:n] for c in classes]
    assert first_sizes == some_sizes and values(first) == [*chain(*expected)]


def test_each_range_of_classes_has_its_own_sizes():
    images = numbered([0, 1, 1, 1, 2, 2], 3)
    for label, expected in ((0, [0]), (1, [1, 2, 3]), (2, [4, 5]), (0, [0])):
        drawn, sizes = images.first_batch(3, classes=range(label, label + 1))
        assert values(drawn) == expected and sizes == (len(expected),)


def test_draws_of_whole_classes_agree():
    images = numbered([0] * 6 + [1] * 4, 2)
    one = images.draw_per_class(3, torch.Generator().manual_seed(5))
    other, _ = images.draw_batch(3, torch.Generator().manual_seed(5))
    assert values(one) == values(other)


def test_batches_are_uniform():
    images = numbered([0] * 7 + [1] * 3 + [2] * 5, 3)
    generator, draws, n = torch.Generator().manual_seed(0), 3000, 4
    counts = torch.zeros(15)
    for _ in range(draws):
        counts += torch.bincount(
            torch.tensor(values(images.draw_batch(n, generator)[0])), minlength=15
        )
    assert counts[7:10].tolist() == [draws] * 3  # a small class gives all, each time
    for part, size in ((counts[:7], 7), (counts[10:], 5)):
        share = n / size
        # Without replacement the counts vary less, by (1 - share) * size / (size - 1); so scaled,
        # Pearson's sum has the chi-square law of size - 1 degrees of freedom.
        expected = draws * share
        pearson = float(((part - expected) ** 2 / expected).sum()) * (size - 1) / size / (1 - share)
        assert stats.chi2.ppf(1e-4, size - 1) < pearson < stats.chi2.ppf(1 - 1e-4, size - 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_short_classes_repeat_their_images_equally_often(data):
    counts = data.draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    order = [c for c, count in enumerate(counts) for _ in range(count)]
    images = numbered(data.draw(st.permutations(order)), len(counts))
    n, seed = data.draw(st.integers(1, 20)), data.draw(st.integers(0, 99))
    drawn = images.draw_per_class(n, torch.Generator().manual_seed(seed), short="repeat")
    batch, sizes = images.draw_batch(n, torch.Generator().manual_seed(seed))
    assert drawn.shape[:2] == (len(counts), n)
    for label, (row, part) in enumerate(zip(drawn, batch.split(sizes), strict=True)):
        times = torch.bincount(row[:, 0, 0, 0].long(), minlength=len(order))
        mine = times[images.labels == label]
        assert int(mine.sum()) == n and int(mine.max()) - int(mine.min()) <= 1
        if counts[label] >= n:
            assert values(row) == values(part)


def test_repeated_images_come_in_random_order():
    images = numbered([0, 0, 0, 1], 2)
    rows = [
        values(images.draw_per_class(6, torch.Generator().manual_seed(s), short="repeat")[0])
        for s in range(200)
    ]
    # 6 images, each twice: the first three are different in 2/5 of all orders.
    different = sum(len(set(row[:3])) == 3 for row in rows)
    assert abs(different - 80) < 5 * (200 * 0.4 * 0.6) ** 0.5


def test_take_gives_the_images_asked_for():
    images = numbered([0, 1, 0, 1], 2)
    assert values(images.take(torch.tensor([3, 0, 3]))) == [3, 0, 3]
    assert values(images.take(slice(1, 3))) == [1, 2]
    assert images.device == images.pixels.device == torch.device("cpu")


def test_mapped_pixels_are_neither_moved_nor_read_for_the_fingerprint():
    pixels = numbered([0, 1, 0, 1], 2).pixels.contiguous()
    mapped = replace(numbered([0, 1, 0, 1], 2), pixels=pixels, stored="ab" * 32)
    moved = mapped.to(torch.device("cpu"))
    assert moved.pixels.data_ptr() == pixels.data_ptr() and moved.device.type == "cpu"
    before = mapped.fingerprint()
    assert before != numbered([0, 1, 0, 1], 2).fingerprint()
    assert before != replace(mapped, stored="cd" * 32).fingerprint()
    pixels += 1  # unseen: the file's hash stands for the pixels
    assert mapped.fingerprint() == moved.fingerprint() == before
    assert replace(mapped, labels=1 - mapped.labels).fingerprint() != before


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("kept", ["stored", "large", "moved"])
def test_draws_arrive_on_the_device_and_are_the_same(kept):
    images = numbered([0] * 9 + [1] * 5, 2)
    images = replace(images, stored="ab" * 32) if kept == "stored" else images
    there = images.to(torch.device("cuda"), share=1e-12 if kept == "large" else 0.5)
    assert there.device.type == there.labels.device.type == "cuda"
    assert there.pixels.device.type == ("cuda" if kept == "moved" else "cpu")
    for n in (3, 7):
        for draw in ("draw_batch", "first_batch"):
            drawn, expected = (
                getattr(i, draw)(n, *(() if draw == "first_batch" else [torch.Generator()]))
                for i in (there, images)
            )
            assert drawn[0].device == there.device and drawn[1] == expected[1]
            assert torch.equal(drawn[0].cpu(), expected[0])


@cuda
def test_draws_on_the_device_do_not_wait_for_it():
    images = numbered([0] * 9 + [1] * 5, 2).to(torch.device("cuda"))
    generator = torch.Generator("cuda")
    for n in (3, 7):
        images.draw_batch(n, generator)  # makes the tables
    try:
        torch.cuda.set_sync_debug_mode("error")
        for n in (3, 7):
            images.draw_batch(n, generator)
            images.first_batch(n)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_of_class_keeps_the_order():
    assert numbered([1, 0, 1, 0], 2).of_class(1).tolist() == [0, 2]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixels": torch.zeros(2, 1, 4, 4)}, "uint8"),
        ({"pixels": torch.zeros(2, 4, 4, dtype=torch.uint8)}, "shape"),
        ({"pixels": torch.zeros(2, 1, 4, 6, dtype=torch.uint8)}, "square"),
        ({"labels": torch.tensor([0, 1, 1])}, "labels"),
        ({"labels": torch.tensor([0, 7])}, "labels run from 0 to 7"),
        ({"labels": torch.tensor([-1, 0])}, "labels run from -1"),
        ({"mean": (0.5, 0.5)}, "mean and std"),
        ({"std": (0.0,)}, "std is"),
        ({"class_names": ("a", "b", "c", "d")}, "No image is labelled 'c', 'd'; an empty class"),
        ({"class_names": tuple("abcdefghi")}, "'c', 'd', 'e', 'f', 'g' and 2 more"),
        (
            {"pixels": torch.zeros(0, 1, 4, 4, dtype=torch.uint8), "labels": torch.zeros(0).long()},
            "no image",
        ),
    ],
)
def test_bad_images_are_named(change, words):
    good = {
        "pixels": torch.zeros(2, 1, 4, 4, dtype=torch.uint8),
        "labels": torch.tensor([0, 1]),
        "mean": (0.5,),
        "std": (0.2,),
        "class_names": ("a", "b"),
    }
    with pytest.raises(DataError, match=words):
        LabeledImages(**{**good, **change})


def test_too_large_a_draw_names_the_class():
    with pytest.raises(DataError, match="class '1' has 1 images"):
        numbered([0, 0, 1], 2).draw_per_class(2, torch.Generator())


def test_fingerprint_sees_pixels_labels_and_shape():
    a, b, c = numbered([0, 1], 2), numbered([0, 1], 2), numbered([1, 0], 2)
    assert a.fingerprint() == b.fingerprint() != c.fingerprint()
    assert replace(a, std=(0.3,)).fingerprint() != a.fingerprint()

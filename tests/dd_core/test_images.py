"""Labelled images: checks, and draws of whole classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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

"""Parts of a data set: long-tailed subsets, a part held out, chosen images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import DataError, LabeledImages, SettingsError
from dd_core.datasets import long_tailed, long_tailed_sizes, split_per_class, subset

# papers/csdm.md, section 2: CIFAR-10-LT.
CIFAR10_LT = {
    10: [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500],
    50: [5000, 3237, 2096, 1357, 878, 568, 368, 238, 154, 100],
    100: [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50],
    200: [5000, 2775, 1540, 854, 474, 263, 146, 81, 45, 25],
}


def balanced(classes: int, each: int) -> LabeledImages:
    """Classes one after another in turn; the pixels hold the image's number in base 256."""
    n = classes * each
    numbers = torch.arange(n)
    pixels = torch.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], 1)
    names = tuple(f"class {c}" for c in range(classes))
    return LabeledImages(
        pixels.to(torch.uint8).view(n, 3, 1, 1),
        torch.arange(classes).repeat(each),
        (0.5,) * 3,
        (0.25,) * 3,
        names,
    )


def numbers(images: LabeledImages) -> list[int]:
    a, b, c = images.pixels.view(-1, 3).long().unbind(1)
    return (a + 256 * b + 65536 * c).tolist()


@pytest.mark.parametrize("factor", CIFAR10_LT)
def test_sizes_are_those_of_cifar10_lt(factor):
    images = long_tailed(balanced(10, 5000), factor)
    assert list(images.class_sizes) == CIFAR10_LT[factor]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 2000), st.integers(1, 100), st.floats(0, 1))
def test_sizes_fall_from_the_largest_by_the_factor(largest, classes, share):
    factor = largest**share
    sizes = long_tailed_sizes(largest, classes, factor)
    assert len(sizes) == classes and sizes[0] == largest and min(sizes) >= 1
    assert sizes == sorted(sizes, reverse=True)
    if classes > 1:
        assert sizes[-1] == pytest.approx(largest / factor, abs=1)
    assert long_tailed_sizes(largest, classes, 1) == [largest] * classes


@pytest.mark.parametrize("largest", range(1, 120))
def test_the_largest_factor_leaves_one_image(largest):
    # 49 * (1 / 49) is less than 1 in floating point.
    assert long_tailed_sizes(largest, 2, largest) == [largest, 1]


def test_images_are_chosen_by_one_generator_class_by_class():
    images = balanced(4, 30)
    draws = np.random.RandomState(42)
    labels = images.labels.numpy()
    expected = [
        draws.choice(np.flatnonzero(labels == c), n, replace=False)
        for c, n in enumerate(long_tailed_sizes(30, 4, 10))
    ]
    chosen = long_tailed(images, 10)
    assert numbers(chosen) == sorted(np.concatenate(expected).tolist())
    assert chosen.labels.tolist() == [i % 4 for i in numbers(chosen)]
    assert (chosen.mean, chosen.class_names) == (images.mean, images.class_names)
    assert numbers(long_tailed(images, 10)) == numbers(chosen)
    assert numbers(long_tailed(images, 10, seed=1)) != numbers(chosen)


def test_an_impossible_tail_is_named():
    images = balanced(3, 20)
    with pytest.raises(DataError, match=r"imbalance_factor is 0.5; give 1"):
        long_tailed(images, 0.5)
    with pytest.raises(SettingsError, match="imbalance_factor is nan"):
        long_tailed(images, float("nan"))
    with pytest.raises(DataError, match=r"imbalance_factor is 21, .* 20 images"):
        long_tailed(images, 21)
    short = subset(images, [i for i in range(60) if i % 3 != 1 or i < 9])
    with pytest.raises(DataError, match=r"class 'class 1' has 3 images, but 14 are needed"):
        long_tailed(short, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 12), st.data())
def test_a_split_is_a_partition_with_n_of_each_class(classes, each, data):
    images = balanced(classes, each)
    n, seed = data.draw(st.integers(1, each - 1)), data.draw(st.integers(0, 9))
    rest, held = split_per_class(images, n, seed)
    assert held.class_sizes == (n,) * classes and rest.class_sizes == (each - n,) * classes
    assert sorted(numbers(rest) + numbers(held)) == numbers(images)
    assert numbers(held) == sorted(numbers(held))
    assert numbers(split_per_class(images, n, seed)[1]) == numbers(held)


@pytest.mark.parametrize("n", [0, 4, 5])
def test_a_split_leaves_images_on_both_sides(n):
    with pytest.raises(DataError, match=f"n is {n}, but the smallest class has 4"):
        split_per_class(balanced(2, 4), n, 0)


def test_a_subset_is_what_was_asked_for():
    images = balanced(2, 4)
    assert numbers(subset(images, [5, 0, 2, 5])) == [5, 0, 2, 5]
    assert subset(images, torch.tensor([5, 0])).labels.tolist() == [1, 0]
    assert numbers(subset(images, images.labels.bool() | (torch.arange(8) == 2))) == [1, 2, 3, 5, 7]


@pytest.mark.parametrize(
    ("indices", "words"),
    [
        ([0, 8], "indices run from 0 to 8"),
        ([-1, 0], "indices run from -1"),
        ([0.5, 1.0], "float32"),
        ([[0, 1]], r"shape \(1, 2\)"),
        ([True, False], "mask"),
        ([], "no image"),
        ([0, 2], "No image is labelled 'class 1'"),
    ],
)
def test_a_bad_subset_is_named(indices, words):
    with pytest.raises(DataError, match=words):
        subset(balanced(2, 4), indices)

"""Arguments of wrong types are refused by name, in one line; good ones are converted."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dd_core import (
    DataError,
    ExtractorPool,
    ImageData,
    LabeledImages,
    NetworkSettings,
    PretrainSettings,
    Runtime,
    SettingsError,
    choose_runtime,
    from_torchvision,
    long_tailed,
    pretrain_pool,
    read_cifar10,
    read_cifar100,
    read_image_folder,
    read_npz,
    split_per_class,
    subset,
)
from dd_core._arguments import (
    as_bytes,
    as_choice,
    as_count,
    as_flag,
    as_instance,
    as_names,
    as_numbers,
    as_path,
    as_seed,
    as_text,
    check_fields,
)
from dd_core.datasets import long_tailed_sizes

PIXELS, LABELS = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])
IMAGES = LabeledImages(PIXELS, LABELS, (0.5,), (0.25,), ("a", "b"))
RUNTIME = Runtime("cpu", "float32", compile=False, threads=1)
NETWORK = NetworkSettings(depth=1, width=4)
GRAY = [(np.zeros((8, 8), np.uint8), i % 2) for i in range(4)]


def new_images(**change):
    return replace(IMAGES, **change)


def new_runtime(**change):
    return replace(RUNTIME, **change)


def new_data(**change):
    return ImageData(**{"name": "x", "train": IMAGES, "test": IMAGES, **change})


def take(images=IMAGES, indices=(0, 1)):
    return subset(images, indices)


def split(images=IMAGES, n=1, seed=0):
    return split_per_class(images, n, seed)


def tail(images=IMAGES, imbalance_factor=2, seed=0):
    return long_tailed(images, imbalance_factor, seed=seed)


def tail_sizes(largest=9, n_classes=3, imbalance_factor=2):
    return long_tailed_sizes(largest, n_classes, imbalance_factor)


def mapstyle(**change):
    return from_torchvision(**{"train": GRAY, "test": GRAY, **change})


def npz(**change):
    return read_npz(**{"path": "none.npz", "name": "x", **change})


def folder(**change):
    return read_image_folder(**{"root": "none", **change})


def random_pool(**change):
    given = {"network": NETWORK, "channels": 1, "size": 8, "n_classes": 2, "count": 1, "seed": 0}
    return ExtractorPool.random(**{**given, **change})


def save_pool(folder):
    return random_pool().save(folder)


def trained_pool(**change):
    given = {
        "images": IMAGES, "network": NETWORK, "settings": PretrainSettings(networks=1, epochs=1),
        "folder": "none", "seed": 0, "runtime": RUNTIME,
    }  # fmt: skip
    return pretrain_pool(**{**given, **change})


PATHS = (None, 3, "", b"x", ["x"], "a\0b")
SEEDS = (None, -1, 1.0, True, "0", math.nan)
COUNTS = (0, -1, 1.5, True, "3", math.nan, [1])
OBJECTS = (None, 3, "x", PIXELS)

TABLE = [
    (new_images, "pixels", (None, [[0]], PIXELS.numpy(), PIXELS.float(), PIXELS[0], PIXELS[:0],
                            PIXELS[:, :0], PIXELS[:, :, :0, :0])),
    (new_images, "labels", (None, [0, 1, 0, 1], LABELS.numpy(), LABELS.int(), LABELS - 1,
                            LABELS.bool(), LABELS[:3])),
    (new_images, "mean", (None, 0.5, "0.5", (math.nan,), (True,), ("0.5",), (), (0.5, 0.5),
                          torch.zeros(1))),
    (new_images, "std", (None, 0.5, (math.inf,), (0.0,), (-1.0,), (), [None])),
    (new_images, "class_names", (None, "ab", ("a", "a"), ("a", 1), {"a": 0, "b": 1})),
    (new_runtime, "device_name", (None, 0, torch.device("cpu"), "tpu")),
    (new_runtime, "precision", (None, "float16", torch.float32)),
    (new_runtime, "compile", (None, 1, "on")),
    (new_runtime, "threads", COUNTS),
    (new_data, "name", (None, 3)),
    (new_data, "train", OBJECTS),
    (new_data, "test", (*OBJECTS, new_images(mean=(0.4,)), new_images(class_names=("a", "c")))),
    (choose_runtime, "device", (None, 0, torch.device("cpu"), "tpu", "cuda:x")),
    (choose_runtime, "precision", (None, torch.float32, "half")),
    (choose_runtime, "compile", (None, True, "yes")),
    (choose_runtime, "threads", COUNTS),
    (take, "images", OBJECTS),
    (take, "indices", (None, "01", 1, [0.5], [[0]], [9], [-1], [[0], [1, 2]], [True], [1j],
                       [2**70])),
    (split, "images", OBJECTS),
    (split, "n", COUNTS),
    (split, "seed", SEEDS),
    (tail, "images", OBJECTS),
    (tail, "imbalance_factor", (0.5, math.nan, math.inf, "2", True, None, [2])),
    (tail, "seed", (*SEEDS, 2**32)),
    (tail_sizes, "largest", COUNTS),
    (tail_sizes, "n_classes", COUNTS),
    (tail_sizes, "imbalance_factor", (0, math.nan, "2")),
    (mapstyle, "train", (None, 3, iter(GRAY), {1, 2}, [3])),
    (mapstyle, "test", (None, 3, [])),
    (mapstyle, "size", COUNTS),
    (mapstyle, "channels", (2, True, "3", 3.0)),
    (mapstyle, "class_names", ("ab", ("a", "a"), [0, 1], 3)),
    (mapstyle, "name", (3, IMAGES)),
    (mapstyle, "normalization", (0.5, "ab", ((0.5,),), (0.5, 0.25), ((math.nan,), (1.0,)),
                                 ((0.5,), (0.0,)), ((0.5,), (0.5, 0.5)))),
    (mapstyle, "cache", (3, "", b"x")),
    (npz, "path", PATHS),
    (npz, "name", (None, 3)),
    (folder, "root", PATHS),
    (folder, "size", COUNTS),
    (folder, "channels", (2, True, "3", 3.0)),
    (folder, "test", (3, True)),
    (folder, "held_out", ("0.1", math.nan, True)),
    (folder, "seed", SEEDS),
    (folder, "name", (3,)),
    (folder, "normalization", (0.5, (0.5, 0.25))),
    (folder, "cache", (3, "")),
    (read_cifar10, "root", PATHS),
    (read_cifar100, "root", PATHS),
    (random_pool, "network", (None, "convnet", NetworkSettings)),
    (random_pool, "channels", COUNTS),
    (random_pool, "size", COUNTS),
    (random_pool, "n_classes", COUNTS),
    (random_pool, "count", COUNTS),
    (random_pool, "seed", SEEDS),
    (save_pool, "folder", PATHS),
    (ExtractorPool.load, "folder", PATHS),
    (trained_pool, "images", OBJECTS),
    (trained_pool, "network", (None, "convnet", PretrainSettings())),
    (trained_pool, "settings", (None, {}, PretrainSettings)),
    (trained_pool, "folder", PATHS),
    (trained_pool, "seed", SEEDS),
    (trained_pool, "runtime", (None, "cpu")),
    (trained_pool, "checkpoint_seconds", (None, "5", math.nan)),
    (trained_pool, "workers", (*COUNTS, "all")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("call", "name", "values"), TABLE, ids=[f"{call.__name__}.{name}" for call, name, _ in TABLE]
)
def test_wrong_arguments_are_named(call, name, values, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for wrong in values:
        with pytest.raises((SettingsError, DataError)) as caught:
            call(**{name: wrong})
        message = str(caught.value)
        assert name in message or (name == "pixels" and "images are" in message), message
        assert "\n" not in message and len(message) < 350
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_good_arguments_are_converted(tmp_path):
    images = new_images(mean=[0], std=[np.float32(0.25)], class_names=["a", "b"])
    assert (images.mean, images.std, images.class_names) == ((0.0,), (0.25,), ("a", "b"))
    same = new_images(mean=(0.0,))
    assert images.fingerprint() == same.fingerprint() and type(images.mean[0]) is float
    assert new_runtime(threads=np.int64(2)).as_record()["threads"] == 2
    data = mapstyle(size=np.int64(16), channels=3, normalization=[[0.5] * 3, [1] * 3])
    assert data.train.size == 16 and data.train.std == (1.0,) * 3
    a, b = (split(n=kind(1), seed=kind(4))[1].pixels for kind in (int, np.int64))
    assert torch.equal(a, b)
    pool = trained_pool(folder=str(tmp_path / "pool"), seed=np.int64(0))
    assert (pool.mean, pool.std, pool.class_names) == ((0.5,), (0.25,), ("a", "b"))
    again = trained_pool(folder=tmp_path / "pool")  # the same run: nothing is trained anew
    assert again.seconds == pool.seconds and again.fingerprint() == pool.fingerprint()
    pool.save(str(tmp_path / "copy"))
    assert ExtractorPool.load(str(tmp_path / "copy")).class_names == ("a", "b")


@pytest.mark.parametrize(
    ("check", "good", "expected"),
    [
        (lambda v: as_path("p", v), "a/b", Path("a/b")),
        (lambda v: as_path("p", v), Path("a"), Path("a")),
        (as_seed, 0, 0),
        (as_seed, 2**100, 2**100),
        (as_seed, torch.tensor(3), 3),
        (lambda v: as_count("n", v, least=3), np.uint8(3), 3),
        (lambda v: as_bytes("b", v), 8e9, 8 * 10**9),
        (lambda v: as_bytes("b", v), 1, 1),
        (lambda v: as_flag("f", v), False, False),
        (lambda v: as_text("t", v), np.str_("x"), "x"),
        (lambda v: as_names("n", v), ["a", "b"], ("a", "b")),
        (lambda v: as_numbers("n", v), [1, np.float32(0.5)], (1.0, 0.5)),
        (lambda v: as_choice("c", v, ("a", "b")), "b", "b"),
        (lambda v: as_instance("i", v, int), 3, 3),
    ],
)
def test_helpers_give_values_back_as_plain_types(check, good, expected):
    found = check(good)
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize("wrong", [0, -1, 1.5, math.nan, math.inf, True, "8 GiB", None])
def test_bytes_are_counted(wrong):
    with pytest.raises(SettingsError, match=r"memory_budget is .* such as 8 \* 2\*\*30"):
        as_bytes("memory_budget", wrong)


def test_long_values_are_cut():
    with pytest.raises(SettingsError) as caught:
        as_text("title", np.zeros((100, 100)))
    assert len(str(caught.value)) < 120 and "\n" not in str(caught.value)


def test_an_annotation_that_cannot_be_checked_is_a_mistake_of_the_programmer():
    with pytest.raises(TypeError, match="pixels has an annotation"):
        check_fields(IMAGES)

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import pytest

from dd_core.datasets import read_npz
from dd_core.errors import DataError
from dd_recipes.assets import SUBSET_SHA256, embedded_file
from dd_recipes.recipe import DataSource
from dd_recipes.sources import load_data


@pytest.fixture
def content() -> bytes:
    return embedded_file().read_bytes()


def test_the_subset_is_balanced_and_large_enough() -> None:
    data = load_data(DataSource("embedded"), None)
    train, test = data.train.class_counts, data.test.class_counts
    assert len(set(train.tolist())) == len(set(test.tolist())) == 1
    assert int(train[0]) >= 500
    assert int(test[0]) >= 100
    assert (data.train.n_classes, data.train.channels, data.train.size) == (10, 1, 28)
    assert data.train.class_names[9] == "Ankle boot"


def test_no_image_is_in_both_splits() -> None:
    data = load_data(DataSource("embedded"), None)
    train = {image.numpy().tobytes() for image in data.train.pixels}
    test = {image.numpy().tobytes() for image in data.test.pixels}
    assert len(train) == len(data.train)
    assert not train & test


def test_mean_and_deviation_are_those_of_the_training_images() -> None:
    data = load_data(DataSource("embedded"), None)
    scaled = data.train.pixels.double() / 255
    assert data.train.mean[0] == pytest.approx(float(scaled.mean()), abs=1e-6)
    assert data.train.std[0] == pytest.approx(float(scaled.std(correction=0)), abs=1e-6)


def test_the_file_is_small_and_its_licence_lies_beside_it(content: bytes) -> None:
    assert len(content) < 3_900_000
    licence = (files("dd_recipes") / "assets" / "LICENSE-fashion-mnist.txt").read_text("utf-8")
    assert "MIT License" in licence
    assert "Copyright (c) 2017 Zalando SE" in licence


def test_no_pickle_is_needed() -> None:
    with as_file(embedded_file()) as path, np.load(path, allow_pickle=False) as arrays:
        assert {arrays[name].dtype.kind for name in arrays.files} == {"u", "f", "U"}


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "empty"])
def test_damage_is_detected(content: bytes, tmp_path: Path, damage: str) -> None:
    middle = len(content) // 2
    flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    damaged = {"flipped byte": flipped, "truncated": content[:-1000], "empty": b""}[damage]
    path = tmp_path / "subset.npz"
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"subset\.npz"):
        read_npz(path, name="subset", sha256=SUBSET_SHA256)


def test_the_hash_is_checked_whenever_the_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dd_recipes.assets.SUBSET_SHA256", "0" * 64)
    with pytest.raises(DataError, match="damaged"):
        load_data(DataSource("embedded"), None)

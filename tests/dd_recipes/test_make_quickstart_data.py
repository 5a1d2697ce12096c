from __future__ import annotations

import gzip
import importlib.util
import struct
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dd_core.datasets import read_npz
from dd_recipes.recipe import DataSource
from dd_recipes.sources import load_data

SCRIPT = Path(__file__).parents[2] / "tools" / "make_quickstart_data.py"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_quickstart_data", SCRIPT)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_idx_files_are_read_by_their_header(tool: ModuleType) -> None:
    values = np.arange(24, dtype=np.uint8)
    content = struct.pack(">HBB3I", 0, 8, 3, 2, 3, 4) + values.tobytes()
    assert np.array_equal(tool.parse_idx(content), values.reshape(2, 3, 4))
    with pytest.raises(SystemExit, match="not an idx file"):
        tool.parse_idx(b"\x89PNG" + content)


def test_the_choice_is_balanced_without_repeats_and_stable(tool: ModuleType) -> None:
    labels = np.arange(1000).astype(np.uint8) % 10
    chosen = tool.choose(labels, "train", 30)
    assert len(set(chosen.tolist())) == 300
    assert np.array_equal(labels[chosen], np.repeat(np.arange(10), 30))
    assert np.array_equal(chosen, tool.choose(labels, "train", 30))
    assert not np.array_equal(chosen, tool.choose(labels, "test", 30))
    # A larger choice begins with the smaller one.
    assert np.array_equal(tool.choose(labels, "train", 40).reshape(10, 40)[:, :30].ravel(), chosen)


def test_equal_arrays_give_equal_bytes_that_read_back(tool: ModuleType, tmp_path: Path) -> None:
    data = load_data(DataSource("embedded"), None)
    arrays = {
        "train_images": data.train.pixels[:, 0].numpy(),
        "train_labels": data.train.labels.numpy().astype(np.uint8),
        "test_images": data.test.pixels[:, 0].numpy(),
        "test_labels": data.test.labels.numpy().astype(np.uint8),
        "mean": np.array(data.train.mean),
        "std": np.array(data.train.std),
        "class_names": np.array(data.train.class_names),
    }
    content = tool.pack(arrays)
    assert content == tool.pack(arrays)
    (tmp_path / "again.npz").write_bytes(content)
    again = read_npz(tmp_path / "again.npz", name="again")
    assert again.train.fingerprint() == data.train.fingerprint()
    assert again.test.fingerprint() == data.test.fingerprint()


def test_other_files_than_the_official_ones_are_refused(tool: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="no train-labels-idx1-ubyte"):
        tool.make_arrays(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something"))
    with pytest.raises(SystemExit, match="not the official file"):
        tool.make_arrays(tmp_path)


def test_the_class_names_are_those_of_the_package(tool: ModuleType) -> None:
    data = load_data(DataSource("embedded"), None)
    assert data.train.class_names == tool.CLASS_NAMES
    assert data.train.class_counts.tolist() == [tool.TRAIN_PER_CLASS] * 10
    assert data.test.class_counts.tolist() == [tool.TEST_PER_CLASS] * 10

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dd_recipes.cli import Guarded
from dd_recipes.commands.data import data
from dd_recipes.sources import SOURCES


@click.group(cls=Guarded)
def commands() -> None:
    pass


commands.add_command(data)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["data", *arguments])


PICKLED = 31_035_704  # bytes of a file of CIFAR-10


def make_file(path: Path, size: int) -> None:
    """A file with nothing in it, which takes no place on the disk."""
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.truncate(path, size)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """CIFAR-100 by names and sizes of its files, and half of CIFAR-10."""
    make_file(tmp_path / "cifar-100-binary" / "train.bin", 50_000 * 3074)
    make_file(tmp_path / "cifar-100-binary" / "test.bin", 10_000 * 3074)
    make_file(tmp_path / "cifar-10-batches-py" / "data_batch_1", PICKLED)
    return tmp_path


def test_every_data_set_has_a_line(root: Path) -> None:
    result = call("--data", str(root))
    assert result.exit_code == 0
    states = {line.split()[0]: line.split()[1] for line in result.output.splitlines() if line}
    assert {name: states[name] for name in SOURCES} == {
        name: {"embedded": "found", "cifar100": "found", "cifar10": "incomplete"}.get(
            name, "missing"
        )
        for name in SOURCES
    }
    assert "50,000 + 10,000" in result.output
    assert "lacks data_batch_2" in result.output


def test_one_data_set_is_explained(root: Path) -> None:
    result = call("imagewoof", "--data", str(root))
    assert result.exit_code == 0
    assert "imagewoof2-160" in result.output
    assert f"{root}/imagenet/train" in result.output
    assert "Licence: ImageNet's terms" in result.output
    assert "to get it again" in call("cifar100", "--data", str(root)).output


def test_each_data_set_that_is_named_is_explained(root: Path) -> None:
    output = call("imagewoof", "cifar100", "tinyimagenet", "--data", str(root)).output
    assert "imagewoof2-160" in output
    assert "CIFAR-100: to get it again" in output
    assert "unpack tiny-imagenet-200.zip" in output
    assert "NAME" not in output
    assert "'dd-recipes data NAME' says how" in call("--data", str(root)).output


def test_a_file_that_was_cut_off_is_noticed(root: Path) -> None:
    make_file(root / "cifar-100-binary" / "test.bin", 3074)
    output = call("cifar100", "--data", str(root)).output
    assert "incomplete" in output and "50,000" not in output
    assert "test.bin has 3,074 bytes; a whole one has 30,740,000. To get it again: " in output


def test_json_has_what_a_script_needs(root: Path) -> None:
    records = json.loads(call("--json", "--data", str(root)).output)
    assert [record["name"] for record in records] == list(SOURCES)
    found = next(record for record in records if record["name"] == "cifar100")
    assert found["path"] == str(root / "cifar-100-binary")
    assert (found["state"], found["train"], found["classes"]) == ("found", 50_000, 100)


def test_an_unknown_name_is_refused() -> None:
    result = call("cifar11")
    assert result.exit_code == 2
    assert "cifar11" in result.output and "cifar10" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--download"], "needs the names of data sets"),
        (["tinyimagenet", "--download"], "tinyimagenet cannot be downloaded from here"),
    ],
)
def test_what_cannot_be_downloaded(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = call(*arguments, "--data", str(tmp_path / "new"))
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("Name or service not known"),
        RuntimeError("File not found or corrupted"),
    ],
)
def test_without_network_there_is_one_message(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**arguments: Any) -> None:
        raise error

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fail)
    result = call("cifar10", "--download", "--data", str(tmp_path / "new"))
    assert result.exit_code == 2
    assert "CIFAR-10 could not be downloaded" in result.output
    assert "cifar-10-batches-py" in result.output and "Traceback" not in result.output


def test_torchvision_may_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    result = call("cifar10", "--download", "--data", str(tmp_path))
    assert result.exit_code == 2
    assert "pip install torchvision" in result.output


def test_what_is_there_is_not_downloaded_again(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def fetch(root: str, download: bool) -> None:
        asked.append(root)
        for name in (*(f"data_batch_{i}" for i in range(2, 6)), "test_batch"):
            make_file(Path(root) / "cifar-10-batches-py" / name, PICKLED)

    monkeypatch.setattr("torchvision.datasets.CIFAR10", fetch)
    result = call("cifar10", "cifar100", "--download", "--data", str(root))
    assert result.exit_code == 0
    assert asked == [str(root)]
    assert "CIFAR-100 is there already" in result.output
    assert "incomplete" not in result.output


def test_it_answers_in_an_instant(tmp_path: Path) -> None:
    code = (
        "import sys; from dd_recipes.commands.data import data\n"
        f"try: data(['--data', {str(tmp_path)!r}])\nexcept SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'numpy', 'dd_core', 'rich'} & set(sys.modules)"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from dd_core import DistilledSet, export_legacy
from dd_recipes.cli import Guarded
from dd_recipes.commands.export import export
from dd_recipes.sources import SOURCES

CIFAR10 = SOURCES["cifar10"].class_names


@click.group(cls=Guarded)
def commands() -> None:
    pass


commands.add_command(export)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["export", *map(str, arguments)])


def a_set(*, n_classes: int = 2, names: tuple[str, ...] = ("cat", "dog"), factor: int = 2,
          scale: float = 1.0) -> DistilledSet:  # fmt: skip
    images = torch.rand(2 * n_classes, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * scale
    labels = torch.arange(n_classes).repeat_interleave(2)
    return DistilledSet(
        images, labels, factor, (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201), names,
        {"method": "noise"}, value_range=DistilledSet.range_of(images),
    )  # fmt: skip


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    a_set().save(tmp_path / "set")
    return tmp_path / "set"


def test_a_folder_of_images(stored: Path, tmp_path: Path) -> None:
    result = call(stored, "--to", "folder", "--out", tmp_path / "png")
    assert result.exit_code == 0
    assert "4 images of 2 classes" in result.output
    assert len(list((tmp_path / "png" / "000_cat").glob("*.png"))) == 2
    assert call(stored, "--to", "folder", "--views", "--out", tmp_path / "views").exit_code == 0
    assert len(list((tmp_path / "views" / "001_dog").glob("*.png"))) == 8


def test_the_folder_of_a_run_that_made_a_set_will_do(tmp_path: Path) -> None:
    a_set().save(tmp_path / "run" / "distilled")
    assert call(tmp_path / "run", "--to", "npz", "--out", tmp_path / "a.npz").exit_code == 0
    with np.load(tmp_path / "a.npz") as arrays:
        assert arrays["images"].shape == (4, 3, 8, 8)


@pytest.mark.parametrize("layout", ["idc", "dc", "mtt"])
def test_every_layout_can_be_written_and_read_back(
    layout: str, stored: Path, tmp_path: Path
) -> None:
    views = [] if layout == "idc" else ["--views"]
    written = tmp_path / ("old" if layout == "mtt" else "old.pt")
    result = call(stored, "--to", "pt", "--layout", layout, *views, "--out", written)
    assert result.exit_code == 0, result.output
    said = {"idc": ["--factor", "2"], "dc": [], "mtt": ["--no-zca"]}[layout]
    result = call(written, "--to", "set", "--out", tmp_path / "back", "--classes", "cat,dog",
                  "--normalization", "cifar10", *said)  # fmt: skip
    assert result.exit_code == 0, result.output
    again, before = DistilledSet.load(tmp_path / "back"), DistilledSet.load(stored)
    assert torch.allclose(again.decoded()[0], before.decoded()[0], atol=1e-5)
    assert again.class_names == before.class_names
    assert again.mean == before.mean


def test_ddranking_is_told_what_it_needs_to_know(tmp_path: Path) -> None:
    """The set's own constants are not those that the tool tests with."""
    data = replace(a_set(n_classes=10, names=CIFAR10), mean=(0.5,) * 3, std=(0.25,) * 3)
    data.save(tmp_path / "set")
    result = call(tmp_path / "set", "--to", "ddranking", "--out", tmp_path / "dd",
                  "--learning-rate", "0.01")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "80 views of 10 classes" in result.output
    assert "normalised for CIFAR10; in DD-Ranking give ipc 8 (views of 2 stored images) and " \
        "im_size [8, 8]" in result.output  # fmt: skip
    images = torch.load(tmp_path / "dd" / "images.pt")
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in
                 ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)))  # fmt: skip
    assert torch.allclose(images * std + mean, data.decoded()[0], atol=1e-6)
    assert torch.load(tmp_path / "dd" / "lr.pt").item() == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("known", "arguments", "said"),
    [
        ({"data": {"source": "imagewoof"}}, [], "normalised for ImageWoof;"),
        ({"data": {"source": "folder"}}, [], "normalised with the set's mean and std;"),
        ({"data": "a hash"}, [], "normalised with the set's mean and std;"),
        ({}, ["--dataset", "imagenette"], "normalised for ImageNette;"),
    ],
)
def test_the_data_of_ddranking_are_the_sets_own(
    known: dict[str, object], arguments: list[str], said: str, tmp_path: Path
) -> None:
    names = tuple(f"class {i}" for i in range(10))
    data = replace(a_set(n_classes=10, names=names, factor=1), provenance=known)
    data.save(tmp_path / "set")
    result = call(tmp_path / "set", "--to", "ddranking", "--out", tmp_path / "dd", *arguments)
    assert result.exit_code == 0, result.output
    assert said in result.output and "give ipc 2 and im_size" in result.output


def test_the_line_that_reads_it_is_true(stored: Path, tmp_path: Path) -> None:
    for form, out in (("npz", "a.npz"), ("set", "copy"), ("pt", "a.pt"), ("ddranking", "dd")):
        layout = ["--layout", "idc"] if form == "pt" else []
        result = call(stored, "--to", form, *layout, "--out", tmp_path / out)
        line = result.output.splitlines()[-1].removeprefix("read it: ")
        import dd_core

        assert eval(line, {"torch": torch, "numpy": np, "dd_core": dd_core}) is not None


@pytest.mark.parametrize(
    ("layout", "needed"),
    [
        ("idc", ["--dataset NAME (or --classes a,b,c and --normalization NORM)", "--factor N"]),
        ("dc", ["--dataset NAME (or --classes a,b,c and --normalization NORM)"]),
        ("mtt", ["--dataset NAME (or --classes a,b,c and", "--zca or --no-zca"]),
    ],
)
def test_what_a_legacy_file_does_not_say_is_asked_for_at_once(
    layout: str, needed: list[str], tmp_path: Path
) -> None:
    export_legacy(a_set(factor=1), tmp_path / "old.pt", layout)  # type: ignore[arg-type]
    result = call(tmp_path / "old.pt", "--to", "npz", "--out", tmp_path / "a.npz")
    assert result.exit_code == 2
    assert all(option in result.output for option in needed)
    assert not (tmp_path / "a.npz").exists()


def test_a_data_set_by_name_says_classes_and_normalisation(tmp_path: Path) -> None:
    export_legacy(a_set(n_classes=10, names=CIFAR10), tmp_path / "ncfm.pt", "idc")
    result = call(tmp_path / "ncfm.pt", "--to", "set", "--out", tmp_path / "set",
                  "--dataset", "cifar10", "--factor", "2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert DistilledSet.load(tmp_path / "set").class_names == CIFAR10


def test_classes_are_read_from_the_data_or_a_file_where_nobody_knows_them(tmp_path: Path) -> None:
    export_legacy(a_set(), tmp_path / "old.pt", "idc")
    common = [tmp_path / "old.pt", "--to", "set", "--dataset", "tinyimagenet", "--factor", "2"]
    result = call(*common, "--out", tmp_path / "a", "--data", tmp_path / "nothing")
    assert result.exit_code == 2 and "--data ROOT" in result.output
    for name in ("n02", "n01"):
        (tmp_path / "root" / "tiny-imagenet-200" / "train" / name).mkdir(parents=True)
    assert call(*common, "--out", tmp_path / "a", "--data", tmp_path / "root").exit_code == 0
    stored = DistilledSet.load(tmp_path / "a")
    assert stored.class_names == ("n01", "n02") and stored.mean == (0.485, 0.456, 0.406)
    (tmp_path / "names.txt").write_text("cat\ndog\n\n")
    arguments = ["--out", tmp_path / "b", "--classes", f"@{tmp_path / 'names.txt'}"]
    assert call(*common, *arguments).exit_code == 0
    assert DistilledSet.load(tmp_path / "b").class_names == ("cat", "dog")


def test_means_and_deviations_can_be_numbers(tmp_path: Path) -> None:
    export_legacy(a_set(), tmp_path / "old.pt", "idc")
    result = call(tmp_path / "old.pt", "--to", "set", "--out", tmp_path / "a", "--factor", "2",
                  "--classes", "a,b", "--normalization", "0.5,0.5,0.5/0.2,0.2,0.2")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert DistilledSet.load(tmp_path / "a").std == pytest.approx((0.2, 0.2, 0.2))


Arguments = Callable[[Path], list[str | Path]]
OLD = ["--classes", "cat,dog", "--normalization", "cifar10"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda p: [p / "none", "--to", "npz", "--out", p / "a.npz"], "There is no"),
        (lambda p: [p, "--to", "npz", "--out", p / "a.npz"], "holds no distilled set"),
        (lambda p: [p / "set", "--to", "npz", "--out", p / "a.zip"], "ends with .npz"),
        (lambda p: [p / "set", "--to", "pt", "--out", p / "a.pt"], "--to pt needs --layout"),
        (lambda p: [p / "set", "--to", "npz", "--layout", "dc", "--out", p / "a.npz"],
         "--layout has no effect"),
        (lambda p: [p / "set", "--to", "npz", "--clip", "--out", p / "a.npz"],
         "--clip has no effect"),
        (lambda p: [p / "set", "--to", "npz", "--learning-rate", "1", "--out", p / "a.npz"],
         "--learning-rate has no effect"),
        (lambda p: [p / "set", "--to", "ddranking", "--views", "--out", p / "dd"],
         "--views has no effect"),
        (lambda p: [p / "set", "--to", "ddranking", "--learning-rate", "0", "--out", p / "dd"],
         "--learning-rate is 0.0; it must be positive"),
        (lambda p: [p / "set", "--to", "ddranking", "--dataset", "cifar10", "--out", p / "dd"],
         "--dataset is 'CIFAR10', which has 10 classes"),
        (lambda p: [p / "set", "--to", "ddranking", "--dataset", "folder", "--out", p / "dd"],
         "--dataset was given, but"),
        (lambda p: [p / "set", "--to", "ddranking", "--data", p, "--out", p / "dd"],
         "--data was given, but"),
        (lambda p: [p / "mixed", "--to", "ddranking", "--out", p / "dd"],
         "classes are in another order than CIFAR-10's"),
        (lambda p: [p / "set", "--to", "pt", "--layout", "dc", "--out", p / "a.pt"],
         "give --views to write decoded views, or --layout idc"),
        (lambda p: [p / "set", "--to", "npz", "--factor", "2", "--out", p / "a.npz"],
         "--factor was given, but"),
        (lambda p: [p / "set", "--to", "npz", "--dataset", "cifar10", "--out", p / "a.npz"],
         "--dataset was given, but"),
        (lambda p: [p / "old.pt", "--to", "npz", "--out", p / "a.npz", *OLD, "--factor", "3"],
         "cannot be taken"),
        (lambda p: [p / "old.pt", "--to", "npz", "--out", p / "a.npz", "--factor", "2",
                    "--classes", "cat", "--normalization", "cifar10"],
         "--classes with one name a class"),
        (lambda p: [p / "old.pt", "--to", "npz", "--out", p / "a.npz", "--factor", "2",
                    "--classes", "cat,dog", "--normalization", "cifer"], "MEAN/STD"),
        (lambda p: [p / "old.pt", "--to", "npz", "--out", p / "a.npz", "--factor", "2",
                    "--classes", "@nofile", "--normalization", "cifar10"], "cannot be read"),
        (lambda p: [p / "free", "--to", "folder", "--out", p / "png"],
         "give --clip to cut them, or use --to npz"),
        (lambda p: [p / "broken.pt", "--to", "npz", "--out", p / "a.npz"], "damaged"),
    ],
)  # fmt: skip
def test_wrong_input_gets_one_message(arguments: Arguments, message: str, tmp_path: Path) -> None:
    a_set().save(tmp_path / "set")
    a_set(scale=3.0).save(tmp_path / "free")
    a_set(n_classes=10, names=CIFAR10[::-1]).save(tmp_path / "mixed")
    export_legacy(a_set(), tmp_path / "old.pt", "idc")
    (tmp_path / "broken.pt").write_bytes(b"nothing")
    before = sorted(tmp_path.iterdir())
    result = call(*arguments(tmp_path))
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert sorted(tmp_path.iterdir()) == before


def test_an_export_is_replaced_only_on_demand(stored: Path, tmp_path: Path) -> None:
    for form, out in (("npz", "a.npz"), ("folder", "png"), ("ddranking", "dd"), ("set", "copy")):
        arguments = [stored, "--to", form, "--out", tmp_path / out]
        assert call(*arguments).exit_code == 0
        refused = call(*arguments)
        assert refused.exit_code == 2 and "--overwrite" in refused.output
        assert call(*arguments, "--overwrite").exit_code == 0
    with Image.open(next((tmp_path / "png").rglob("*.png"))) as image:
        assert image.size == (8, 8)
    assert json.loads((tmp_path / "png" / "export.json").read_text())["class_names"]

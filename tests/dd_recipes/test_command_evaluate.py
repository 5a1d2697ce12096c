from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from dd_core import (
    DistilledSet,
    NetworkSettings,
    SyntheticSettings,
    export_images,
    export_legacy,
    select_random,
)
from dd_recipes.cli import Guarded
from dd_recipes.commands._options import networks
from dd_recipes.commands._students import in_order, resized_from, source_for
from dd_recipes.commands.evaluate import evaluate
from dd_recipes.recipe import DataSource
from dd_recipes.sources import SOURCES, load_data

CONVNET = "depth-3-width-8-and-norm-instance"
PLAIN = ["--device", "cpu", "--precision", "float32", "--compile", "off", "--width", "8",
         "--students", "2", "--steps", "4"]  # fmt: skip


@click.group(cls=Guarded)
def commands() -> None:
    pass


commands.add_command(evaluate)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(commands, ["evaluate", *PLAIN, *map(str, arguments)])


def results(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of three classes that can be told apart by their brightness."""
    root, draws = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for part, n in (("train", 16), ("val", 4)):
        for label, name in enumerate(("ant", "bee", "cow")):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                noise = draws.integers(0, 80, (32, 32, 3)) + 80 * label
                Image.fromarray(noise.astype(np.uint8)).save(root / part / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def stored(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of real images of the tree."""
    data = load_data(DataSource("folder", path=str(tree)), None)
    folder = tmp_path_factory.mktemp("set")
    select_random(data.train, SyntheticSettings(ipc=2, factor=1, init="real"), seed=0).save(folder)
    return folder


def test_students_are_tested_and_the_numbers_kept(stored: Path, tree: Path, tmp_path: Path) -> None:
    result = call(stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2 images a class" in result.output and "12 images of" in result.output
    assert "(n = 2), mean within" in result.output and "last epoch" in result.output
    assert "best epochs, the best of 4 tests on the test images" in result.output
    record = json.loads((tmp_path / "out" / "evaluate.json").read_text())
    (row,) = record["results"]["rows"]
    assert row["n"] == len(row["last"]) == 2
    assert row["network"] == "convnet of depth 3, width 8 and norm instance"
    assert record["asked"]["students"]["steps"] == 4


def test_the_same_command_computes_nothing_again(stored: Path, tree: Path, tmp_path: Path) -> None:
    arguments = [stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out"]
    first = results(*arguments)
    student = tmp_path / "out" / f"convnet-of-{CONVNET}" / "student_000.json"
    written = student.stat().st_mtime_ns
    assert results(*arguments) == first
    assert student.stat().st_mtime_ns == written
    student.unlink()  # as after an interruption
    again = results(*arguments)
    assert again["rows"][0]["last"] == first["rows"][0]["last"]


def test_a_folder_of_other_work_is_refused(stored: Path, tree: Path, tmp_path: Path) -> None:
    arguments = [stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out"]
    results(*arguments)
    result = call(*arguments, "--seed", "7")
    assert result.exit_code == 2
    assert "seed: 0 there, 7 now" in result.output
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    result = call(*arguments[:-1], tmp_path / "mine")
    assert result.exit_code == 2 and "letter.txt" in result.output
    assert [item.name for item in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_without_out_the_folder_follows_from_set_and_settings(
    stored: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [stored, "--dataset", "folder", "--data", tree]
    first, again = results(*arguments), results(*arguments)
    assert first == again
    assert first["folder"].startswith("runs/evaluate-")
    assert results(*arguments, "--seed", "1")["folder"] != first["folder"]


def test_several_architectures(stored: Path, tree: Path, tmp_path: Path) -> None:
    found = results(stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out",
                    "--network", "convnet", "--network", "vgg11")  # fmt: skip
    assert [row["network"].split()[0] for row in found["rows"]] == ["convnet", "vgg11"]


def test_classes_in_another_order_are_the_same_classes(
    stored: Path, tree: Path, tmp_path: Path
) -> None:
    usual = DistilledSet.load(stored)
    turned = replace(usual, labels=2 - usual.labels, class_names=usual.class_names[::-1])
    turned.save(tmp_path / "turned")
    arguments = ["--dataset", "folder", "--data", tree, "--out", tmp_path / "out"]
    assert results(tmp_path / "turned", *arguments)["test_images"] == 12
    test = load_data(DataSource("folder", path=str(tree)), None).test
    ordered = in_order(test, turned.class_names)
    named = [[images.class_names[i] for i in images.labels] for images in (test, ordered)]
    assert named[0] == named[1]


def test_a_set_that_says_its_data_needs_no_options(
    stored: Path, tree: Path, tmp_path: Path
) -> None:
    data = {"source": "folder", "path": str(tree), "size": 0, "held_out": 0.0}
    replace(DistilledSet.load(stored), provenance={"data": data}).save(tmp_path / "set")
    assert results(tmp_path / "set", "--out", tmp_path / "out")["test_images"] == 12


def test_the_data_set_is_known_by_its_classes(tmp_path: Path) -> None:
    data = load_data(DataSource("embedded"), None)
    settings = SyntheticSettings(ipc=1, factor=1, init="real")
    select_random(data.train, settings, seed=0).save(tmp_path / "set")
    found = results(tmp_path / "set", "--out", tmp_path / "out", "--no-content")
    assert (found["data"], found["test_images"]) == ("Fashion-MNIST subset", 2500)


def test_test_images_of_another_size_are_said(tmp_path: Path) -> None:
    data = load_data(DataSource("embedded", size=16), None)
    settings = SyntheticSettings(ipc=1, factor=1, init="real")
    made = select_random(data.train, settings, seed=0)
    replace(made, provenance={}).save(tmp_path / "set")
    arguments = [tmp_path / "set", "--dataset", "embedded", "--no-content"]
    result = call(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "test images of embedded (28 px) resized to 16 px, the size of the set's" in said
    assert "tested on 2,500 images of Fashion-MNIST subset (28 px) resized to 16 px" in said
    found = results(*arguments, "--out", tmp_path / "out")
    assert found["data"] == "Fashion-MNIST subset (28 px) resized to 16 px"


def test_a_size_that_was_asked_for_is_not_said(tmp_path: Path) -> None:
    names = SOURCES["cifar10"].class_names
    source = DataSource("cifar10", size=28)
    bare = DistilledSet(
        torch.zeros(10, 3, 28, 28), torch.arange(10), 1, (0.5,) * 3, (0.2,) * 3, names
    )
    assert resized_from(bare, source) == 32
    assert resized_from(bare, DataSource("cifar10", size=32)) == 0
    assert resized_from(bare, DataSource("imagenette", size=28)) == 0
    assert resized_from(bare, DataSource("folder", size=28, path="x")) == 0
    for size, own in ((28, 0), (0, 32)):
        about = {"data": {"source": "cifar10", "size": size}}
        assert resized_from(replace(bare, provenance=about), source) == own


def test_classes_that_contradict_the_data_set_are_to_be_left_out(
    stored: Path, tree: Path, tmp_path: Path
) -> None:
    export_legacy(DistilledSet.load(stored), tmp_path / "ncfm.pt", "idc")
    result = call(tmp_path / "ncfm.pt", "--dataset", "folder", "--data", tree, "--factor", "1",
                  "--normalization", "imagenet", "--classes", "a,b,c",
                  "--out", tmp_path / "out")  # fmt: skip
    assert result.exit_code == 2
    said = " ".join(result.output.split())
    assert f"--classes names 3 classes (a, b, c, ...), and {tree.name} has 3 (ant, bee," in said
    assert "leave --classes out" in said and "--data." not in said


def test_a_legacy_file(stored: Path, tree: Path, tmp_path: Path) -> None:
    export_legacy(DistilledSet.load(stored), tmp_path / "ncfm.pt", "idc")
    arguments = [tmp_path / "ncfm.pt", "--dataset", "folder", "--data", tree]
    result = call(*arguments, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "--factor" in result.output and "--normalization" in result.output
    said = ["--factor", "1", "--normalization", "imagenet"]
    assert results(*arguments, *said, "--out", tmp_path / "out")["ipc"] == 2


def test_a_folder_of_images(stored: Path, tree: Path, tmp_path: Path) -> None:
    known = DistilledSet.load(stored)
    export_images(known, tmp_path / "ours")
    common = ["--dataset", "folder", "--data", tree]
    ours = results(tmp_path / "ours", *common, "--out", tmp_path / "a")
    assert (ours["ipc"], ours["test_images"]) == (2, 12)
    (tmp_path / "ours" / "export.json").unlink()
    for label, name in enumerate(known.class_names):
        (tmp_path / "ours" / f"00{label}_{name}").rename(tmp_path / "ours" / name)
    result = call(tmp_path / "ours", *common, "--out", tmp_path / "b")
    assert result.exit_code == 2
    assert "--dataset NAME (or --normalization NORM); --factor N" in result.output
    said = ["--factor", "1", "--normalization", f"{numbers(known.mean)}/{numbers(known.std)}"]
    other = results(tmp_path / "ours", *common, *said, "--out", tmp_path / "b")
    assert other["rows"][0]["last"] == ours["rows"][0]["last"]
    (tmp_path / "ours" / "cow").rename(tmp_path / "cow")
    result = call(tmp_path / "ours", *common, *said, "--out", tmp_path / "c")
    assert result.exit_code == 2 and "no folder for class 'cow'" in result.output
    result = call(tmp_path / "ours", *common, *said, "--zca", "--out", tmp_path / "c")
    assert result.exit_code == 2 and "--zca was given, but" in result.output


def numbers(values: tuple[float, ...]) -> str:
    return ",".join(map(str, values))


def test_all_parts_of_an_evaluation(
    stored: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dd_recipes.commands._parts._GRID", ((1, 2, 3), (4,), ("instance",)))
    monkeypatch.setattr("dd_recipes.commands._parts._VALIDATION", 0.34)
    arguments = [stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out"]
    plain = results(*arguments)
    assert not plain.keys() & {"budget", "continual", "search", "scores"}
    more = ["--also", "continual", "--also", "search", "--also", "scores", "--whole-epochs", "1"]
    found = results(*arguments, *more)
    assert found["rows"] == plain["rows"]  # in the same folder, nothing trained again
    assert [step["classes"] for step in found["continual"]["steps"]] == [1, 2, 3]
    assert {each["name"] for each in found["search"]["candidates"]} == {
        f"convnet-d{depth}-w4-instance" for depth in (1, 2, 3)
    }  # fmt: skip
    assert found["scores"]["label_robust"]["value"] > 0
    assert found["content"] == plain["content"] and len(found["content"]["classes"]) == 3
    page = (tmp_path / "out" / "report.html").read_text()
    assert "robust" in page and "data:image/png;base64," in page
    stored_again = results(*arguments, "--no-content")  # keeps what earlier calls measured
    for part in ("continual", "search", "scores", "content"):
        assert stored_again[part] == found[part]
    said = call(*arguments, *more).output
    for words in ("classes seen", "Spearman's rho", "label-robust score", "beside real images"):
        assert words in said, words
    # Asked for again without the whole training set, and with another length of it.
    without = results(*arguments, "--also", "scores", "--also", "search")
    assert without["scores"] == found["scores"] and without["search"] == found["search"]
    trained = {path for path in tmp_path.rglob("student_*.json")}
    longer = results(*arguments, "--also", "scores", "--whole-epochs", "2")["scores"]
    new = {path.parent.name for path in tmp_path.rglob("student_*.json")} - {
        path.parent.name for path in trained
    }
    assert new == {"whole-2"} and longer["whole_epochs"] == 2
    assert {**longer["accuracies"], "whole": None} == {
        **found["scores"]["accuracies"], "whole": None,
    }  # fmt: skip
    assert "plain labels, 2 epochs" in (tmp_path / "out" / "report.html").read_text()


def test_the_length_of_the_training_is_varied(stored: Path, tree: Path, tmp_path: Path) -> None:
    arguments = [
        "evaluate", *PLAIN[:-2], str(stored), "--dataset", "folder", "--data", str(tree), "--json",
        "--out", str(tmp_path / "out"), "--epochs", "10", "--also", "budget", "--no-content",
    ]  # fmt: skip
    result = CliRunner().invoke(commands, arguments)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert [point["epochs"] for point in found["budget"]] == [1, 3, 10]
    assert found["budget"][-1]["last"] == found["rows"][0]["last"]
    assert "content" not in found


def test_too_few_real_images_are_said_and_cost_nothing_else(
    stored: Path, tree: Path, tmp_path: Path
) -> None:
    for path in [*tree.glob("train/*/[0-3].png"), *tree.glob("val/*/*.png")]:
        target = tmp_path / "few" / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    arguments = [stored, "--dataset", "folder", "--data", tmp_path / "few"]
    said = call(*arguments, "--out", tmp_path / "out")
    assert said.exit_code == 0 and "not compared with real images" in said.output
    assert "content" not in results(*arguments, "--out", tmp_path / "out")


def test_a_protocol_is_taken_but_for_what_is_said(stored: Path, tree: Path, tmp_path: Path) -> None:
    found = results(stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out",
                    "--protocol", "dm", "--no-content")  # fmt: skip
    protocol = found["protocol"]
    assert (protocol["name"], protocol["optimizer"], protocol["epochs"]) == ("dm", "sgd", 1000)
    assert (protocol["students"], protocol["steps"]) == (2, 4)


def test_options_without_effect_are_refused(stored: Path, tree: Path) -> None:
    common = [stored, "--dataset", "folder", "--data", tree]
    for options, message in (
        (["--also", "budget"], "--steps does not go with it"),
        (["--whole-epochs", "3"], "no effect without --also scores or search"),
        (["--protocol", "long"], "is not one of"),
    ):
        result = call(*common, *options)
        assert result.exit_code == 2 and message in result.output, result.output


def test_what_an_architecture_does_not_have_makes_no_other_network() -> None:
    assert networks(["alexnet", "resnet18", "convnet"], 64, None, 64, "batch") == [
        NetworkSettings("alexnet"),
        NetworkSettings("resnet18", norm="batch"),
        NetworkSettings("convnet", 4, 64, "batch"),
    ]
    assert networks(["vgg11"], 32, None, None, None) == [NetworkSettings("vgg11")]
    with pytest.raises(click.UsageError, match=r"--norm is of .*, and --network is alexnet"):
        networks(["alexnet"], 32, None, None, "batch")


def test_a_long_tailed_set_is_compared_with_its_long_tail(stored: Path) -> None:
    names = SOURCES["cifar10"].class_names
    images = torch.zeros(10, 3, 32, 32)
    about = {"source": "cifar10", "imbalance_factor": 50.0, "imbalance_seed": 7, "path": ""}
    made = DistilledSet(images, torch.arange(10), 1, (0.5,) * 3, (0.2,) * 3, names, {"data": about})
    found = source_for(made, None, None, None)
    assert (found.imbalance_factor, found.imbalance_seed) == (50.0, 7)
    other = source_for(replace(made, provenance={}), None, None, None)
    assert (other.source, other.imbalance_factor) == ("cifar10", 1.0)


def test_soft_labels_are_used_or_ignored(stored: Path, tree: Path, tmp_path: Path) -> None:
    plain = DistilledSet.load(stored)
    soft = torch.full((len(plain.images), 3), 1 / 3)
    replace(plain, soft_labels=soft).save(tmp_path / "soft")
    common = ["--dataset", "folder", "--data", tree]
    used = results(tmp_path / "soft", *common, "--out", tmp_path / "a")
    ignored = results(
        tmp_path / "soft", *common, "--soft-labels", "ignore", "--out", tmp_path / "b"
    )
    assert used["soft_labels"] and not ignored["soft_labels"]
    hard = results(stored, *common, "--out", tmp_path / "c")
    assert ignored["rows"][0]["last"] == hard["rows"][0]["last"]
    result = call(stored, *common, "--soft-labels", "use")
    assert result.exit_code == 2 and "has none" in result.output


def test_wrong_input_gets_one_message(stored: Path, tree: Path, tmp_path: Path) -> None:
    gray, small = tmp_path / "gray" / "tree", tmp_path / "small"
    for path in tree.rglob("*.png"):
        (gray / path.relative_to(tree)).parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).convert("L").save(gray / path.relative_to(tree))
    white, named = tmp_path / "white", tmp_path / "named"
    known = DistilledSet.load(stored)
    replace(known, provenance={"preprocessing": {"zca": True}}).save(white)
    replace(known, provenance={"data": {"source": "folder", "path": "pets"}}).save(named)
    judged, run, single = tmp_path / "judged", tmp_path / "run", tmp_path / "single"
    for folder in (judged / "figures", run / "figures", run / "sets"):
        folder.mkdir(parents=True)
        Image.new("L", (9, 9)).save(folder / "accuracy.png")
    (judged / "evaluate.json").write_text("{}")
    for path in [*tree.glob("train/*/0.png"), *tree.glob("val/*/*.png")]:
        (single / path.relative_to(tree)).parent.mkdir(parents=True, exist_ok=True)
        (single / path.relative_to(tree)).write_bytes(path.read_bytes())
    data = load_data(DataSource("folder", path=str(tree), size=16), None)
    select_random(data.train, SyntheticSettings(ipc=2, factor=1, init="real"), seed=0).save(small)
    for arguments, message in (
        ([tmp_path / "none"], "There is no"),
        ([stored], "give --dataset, one of embedded"),
        ([stored, "--dataset", "folder"], "--dataset folder with --data TREE"),
        ([stored, "--dataset", "cifar10", "--data", tmp_path], "CIFAR-10 was not found"),
        (
            [stored, "--dataset", "embedded"],
            "The set has 3 classes (ant, bee, cow, ...), and Fashion",
        ),
        ([stored, "--dataset", "cifar10", "--held-out", "0.1"], "--held-out has no effect"),
        ([stored, "--dataset", "folder", "--data", tree, "--epochs", "3"], "not both"),
        ([stored, "--dataset", "folder", "--data", tree, "--factor", "1"], "--factor was given"),
        ([stored, "--dataset", "folder", "--data", gray], "have 3 channels and those of tree 1"),
        ([named], "from a folder of images called 'pets'; give the folder with --data"),
        ([white, "--dataset", "folder", "--data", tree], "has ZCA-whitened images"),
        (
            [
                small,
                "--dataset",
                "folder",
                "--data",
                tree,
                "--network",
                "vgg11",
                "--network",
                "convnet",
            ],
            "at least 32 px",
        ),
        ([stored, "--dataset", "folder", "--data", tree / "none"], "is not a folder"),
        ([judged], "is the folder of an earlier dd-recipes evaluate"),
        ([run], "is a run folder; give one of its sets"),
        (
            [stored, "--dataset", "folder", "--data", tree, "--network", "alexnet", "--depth", "3"],
            "--depth is of convnet, and --network is alexnet",
        ),
        (
            [stored, "--dataset", "folder", "--data", tree, "--network", "alexnet"],
            "--width is of convnet, and --network is alexnet",
        ),
        ([small, "--dataset", "folder", "--data", single, "--also", "search"], "holds one of each"),
    ):
        result = call(*arguments, "--out", tmp_path / "out")
        assert result.exit_code == 2, (arguments, result.output)
        assert message in " ".join(result.output.split()), result.output
        assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_images_without_a_test_part_are_refused_with_the_option(
    stored: Path, tree: Path, tmp_path: Path
) -> None:
    (tmp_path / "bare").symlink_to(tree / "train")
    result = call(stored, "--dataset", "folder", "--data", tmp_path / "bare")
    assert result.exit_code == 2 and "--held-out 0.1" in result.output
    assert "held_out" not in result.output

"""``dd-recipes continual`` and ``dd-recipes search`` on a set of a small tree of images."""

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

from dd_core import DistilledSet, SyntheticSettings, export_legacy, select_random
from dd_recipes.cli import COMMANDS, Guarded
from dd_recipes.commands.continual import continual
from dd_recipes.commands.search import search
from dd_recipes.recipe import DataSource
from dd_recipes.sources import load_data

PLAIN = ["--device", "cpu", "--precision", "float32", "--compile", "off", "--students", "2",
         "--epochs", "2"]  # fmt: skip
CONTINUAL = ["continual", *PLAIN, "--width", "8", "--depth", "1", "--steps", "3"]
SEARCH = ["search", *PLAIN, "--depths", "1,2", "--widths", "4,8", "--norms", "instance",
          "--validation", "0.25"]  # fmt: skip


@click.group(cls=Guarded)
def commands() -> None:
    pass


commands.add_command(continual)
commands.add_command(search)


def call(*arguments: object) -> Result:
    return CliRunner().invoke(commands, [*map(str, arguments)])


def results(*arguments: object) -> dict[str, Any]:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of three classes that can be told apart by their brightness."""
    root, draws = tmp_path_factory.mktemp("tree"), np.random.default_rng(0)
    for part, n in (("train", 8), ("val", 4)):
        for label, name in enumerate(("ant", "bee", "cow")):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                noise = draws.integers(0, 80, (16, 16, 3)) + 80 * label
                Image.fromarray(noise.astype(np.uint8)).save(root / part / name / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def stored(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of real images of the tree."""
    data = load_data(DataSource("folder", path=str(tree)), None)
    folder = tmp_path_factory.mktemp("set")
    select_random(data.train, SyntheticSettings(ipc=2, factor=1, init="real"), seed=0).save(folder)
    return folder


@pytest.fixture
def here(stored: Path, tree: Path, tmp_path: Path) -> list[object]:
    """The set, its data and a folder for the results, as arguments."""
    return [stored, "--dataset", "folder", "--data", tree, "--out", tmp_path / "out"]


def test_the_command_line_knows_both() -> None:
    for name in ("continual", "search"):
        assert COMMANDS[name][0] == f"{name}:{name}"


def test_continual_prints_each_step_and_keeps_the_numbers(
    here: list[object], tmp_path: Path
) -> None:
    result = call(*CONTINUAL, *here)
    assert result.exit_code == 0, result.output
    for n in (1, 2, 3):
        assert f"   {n} class{'es' if n > 1 else ''} seen: " in result.output
    assert "3 steps: average incremental accuracy " in result.output and "(n = 2)" in result.output
    record = json.loads((tmp_path / "out" / "continual.json").read_text())
    assert record["asked"]["steps"] == 3 and record["results"]["test_images"] == 12
    steps = record["results"]["continual"]["steps"]
    assert [step["classes"] for step in steps] == [1, 2, 3] and steps[0]["last"] == [100, 100]
    assert Image.open(tmp_path / "out" / "continual.png").width > 500


def test_search_ranks_without_training_on_real_images(here: list[object], tmp_path: Path) -> None:
    result = call(*SEARCH, *here)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "networks are judged on 6 real training images held out for it; a set" in said
    assert "Of 4 networks the set chooses convnet-d" in said
    assert "; trained on the set, it has " in said and "--whole-epochs N" in said
    assert "has seen these" in said
    record = json.loads((tmp_path / "out" / "search.json").read_text())["results"]
    assert record["whole"] is None and record["search"]["spearman"] is None
    assert Image.open(tmp_path / "out" / "search.png").width > 500


def test_search_compares_with_training_on_real_images(here: list[object], tmp_path: Path) -> None:
    result = call(*SEARCH, *here, "--whole-epochs", "3")
    assert result.exit_code == 0, result.output
    for words in ("Spearman's rho ", "Kendall's tau ", "the set chooses convnet-",
                  "training on real images ", "added over students",
                  "making the set is not counted", "has seen these"):  # fmt: skip
        assert words in result.output
    record = json.loads((tmp_path / "out" / "search.json").read_text())["results"]
    assert (record["whole"]["epochs"], record["whole"]["students"]) == (3, 1)
    assert record["search"]["training_images"] == 18
    assert Image.open(tmp_path / "out" / "search.png").width > 500


@pytest.mark.parametrize(
    ("command", "other"), [(CONTINUAL, ["--steps", "2"]), (SEARCH, ["--validation", "0.5"])]
)
def test_the_same_command_computes_nothing_again_and_another_is_refused(
    command: list[str], other: list[str], here: list[object], tmp_path: Path
) -> None:
    first = results(*command, *here)
    students = sorted((tmp_path / "out").rglob("student_000.json"))
    written = [path.stat().st_mtime_ns for path in students]
    assert results(*command, *here) == first
    assert [path.stat().st_mtime_ns for path in students] == written
    students[-1].unlink()  # as after an interruption
    assert results(*command, *here)["data"] == first["data"]
    result = call(*command, *here, *other)
    assert result.exit_code == 2 and f"holds another {command[0]}" in result.output


@pytest.mark.parametrize("command", [CONTINUAL, SEARCH])
def test_without_out_the_folder_follows_from_what_is_asked(
    command: list[str], here: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, again = results(*command, *here[:-2]), results(*command, *here[:-2])
    assert first == again and first["folder"].startswith(f"runs/{command[0]}-")
    assert results(*command, *here[:-2], "--seed", "1")["folder"] != first["folder"]


@pytest.mark.parametrize("command", [CONTINUAL, SEARCH])
def test_other_kinds_of_sets(command: list[str], stored: Path, tree: Path, tmp_path: Path) -> None:
    """Classes in another order, soft labels, and a file of an earlier paper."""
    usual = DistilledSet.load(stored)
    turned = replace(usual, labels=2 - usual.labels, class_names=usual.class_names[::-1])
    soft = replace(usual, soft_labels=torch.full((len(usual.images), 3), 1 / 3))
    turned.save(tmp_path / "turned")
    soft.save(tmp_path / "soft")
    export_legacy(usual, tmp_path / "ncfm.pt", "idc")
    common = ["--dataset", "folder", "--data", tree, "--out"]
    assert results(*command, tmp_path / "turned", *common, tmp_path / "a")["classes"] == 3
    assert results(*command, tmp_path / "soft", *common, tmp_path / "b")["soft_labels"]
    ignored = ["--soft-labels", "ignore"]
    assert not results(*command, tmp_path / "soft", *common, tmp_path / "c", *ignored)[
        "soft_labels"
    ]
    said = ["--factor", "1", "--normalization", "imagenet"]
    assert results(*command, tmp_path / "ncfm.pt", *common, tmp_path / "d", *said)["ipc"] == 2


@pytest.mark.parametrize(
    ("command", "change", "message"),
    [
        (CONTINUAL, ["--steps", "4"], "n_steps is 4, but there are 3 classes"),
        (CONTINUAL, ["--steps", "0"], "Invalid value for '--steps'"),
        (CONTINUAL, ["--depth", "7"], "depth is 7"),
        (CONTINUAL, ["--soft-labels", "use"], "has none"),
        (SEARCH, ["--depths", "1,x"], "'1,x' is not whole numbers with commas between"),
        (
            SEARCH,
            ["--depths", "0,-1", "--norms", "foo"],
            "--depths has 0; give whole numbers from 1 on."
            " --depths has -1; give whole numbers from 1 on. --norms has 'foo'; give some of ",
        ),
        (SEARCH, ["--depths", "9"], "give a depth of at most 4"),
        (SEARCH, ["--depths", "1", "--widths", "8"], "is the only network of this grid"),
        (SEARCH, ["--norms", "weight"], "--norms has 'weight'; give some of"),
        (SEARCH, ["--validation", "1"], "Invalid value for '--validation'"),
        (SEARCH, ["--validation", "0.99"], "the smallest class has 8 images"),
        (SEARCH, ["--data", "none"], "is not a folder"),
        (SEARCH, ["--factor", "2"], "--factor was given"),
    ],
)
def test_wrong_input_gets_one_message(
    command: list[str], change: list[str], message: str, here: list[object], tmp_path: Path
) -> None:
    result = call(*command, *here, *change)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_missing_set_and_a_whitened_one(stored: Path, tree: Path, tmp_path: Path) -> None:
    known, white = DistilledSet.load(stored), tmp_path / "white"
    replace(known, provenance={"preprocessing": {"zca": True}}).save(white)
    for command in (CONTINUAL, SEARCH):
        result = call(*command, tmp_path / "none")
        assert result.exit_code == 2 and "There is no" in result.output
        result = call(*command, white, "--dataset", "folder", "--data", tree)
        assert result.exit_code == 2 and "ZCA-whitened" in result.output
        result = call(*command, stored, "--dataset", "embedded")
        assert result.exit_code == 2 and "The set has 3 classes (ant, bee, cow" in result.output

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import dd_core
from dd_core import DistilledSet
from dd_core.checkpoint import save_state
from dd_recipes.cli import Guarded
from dd_recipes.commands import _methods
from dd_recipes.commands.distill import distill
from dd_recipes.commands.evaluate import evaluate

PLAIN = ["--device", "cpu", "--precision", "float32", "--compile", "off", "--width", "8"]
TINY = ["--ipc", "1", "--iterations", "4", "--pool-networks", "1", "--pool-epochs", "1",
        "--students", "2", "--student-steps", "3"]  # fmt: skip


@click.group(cls=Guarded)
def commands() -> None:
    pass


commands.add_command(distill)
commands.add_command(evaluate)


def call(tree: Path, out: Path | None, *arguments: str) -> Result:
    where = [] if out is None else ["--out", str(out)]
    return CliRunner().invoke(
        commands, ["distill", "--data", str(tree), *where, *PLAIN, *TINY, *arguments]
    )


def results(tree: Path, out: Path | None, *arguments: str) -> dict[str, Any]:
    result = call(tree, out, *arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, draws = tmp_path_factory.mktemp("data") / "my pets", np.random.default_rng(0)
    for part, n in (("train", 6), ("val", 4)):
        for name in ("cat", "dog"):
            (root / part / name).mkdir(parents=True)
            for i in range(n):
                noise = draws.integers(0, 256, (20, 16, 3), dtype=np.uint8)
                Image.fromarray(noise).save(root / part / name / f"{i}.png")
    return root


def test_a_set_is_distilled_and_loads_in_one_line(tree: Path, tmp_path: Path) -> None:
    result = call(tree, tmp_path / "out", "--size", "16")
    assert result.exit_code == 0, result.output
    assert "2 classes, 1 image a class, each holding 4 views" in result.output
    line = result.output.splitlines()[-1].removeprefix("load it: dataset = ")
    dataset = eval(line, {"dd_core": dd_core})
    assert len(dataset) == 8 and dataset[0][0].shape == (3, 16, 16)
    stored = DistilledSet.load(tmp_path / "out" / "distilled")
    assert stored.class_names == ("cat", "dog")
    assert stored.provenance["data"]["path"] == "my pets"
    assert stored.provenance["method"] == "ncfm"


def test_it_is_judged_beside_real_images(tree: Path, tmp_path: Path) -> None:
    result = call(tree, tmp_path / "out", "--size", "16", "--evaluate")
    assert result.exit_code == 0, result.output
    assert result.output.count("(n = 2)") == 3
    assert "as many random real images" in result.output
    found = results(tree, tmp_path / "out", "--size", "16", "--evaluate")
    assert list(found["accuracy"]) == ["distilled", "random real", "random packed"]
    assert found["accuracy"]["distilled"]["n"] == 2


def test_a_run_that_was_stopped_goes_on_to_the_same_set(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results(tree, tmp_path / "whole", "--size", "16")
    stops = iter([False, False, True])

    def save_and_stop(*arguments: Any, **named: Any) -> None:
        save_state(*arguments, **named)
        if next(stops):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("dd_recipes.commands.distill._CHECKPOINT_SECONDS", 0.0)
        patch.setattr("dd_core.distillation.save_state", save_and_stop)
        stopped = call(tree, tmp_path / "parts", "--size", "16")
    assert stopped.exit_code == 130
    assert (tmp_path / "parts" / "distillation" / "state.safetensors").exists()
    results(tree, tmp_path / "parts", "--size", "16")
    whole, parts = (DistilledSet.load(tmp_path / x / "distilled") for x in ("whole", "parts"))
    assert whole.fingerprint() == parts.fingerprint()


def test_what_is_complete_is_not_computed_again(tree: Path, tmp_path: Path) -> None:
    first = results(tree, tmp_path / "out", "--size", "16")
    network = next((tmp_path / "out" / "pool").glob("network_*"))
    complete = tmp_path / "out" / "distillation" / "complete.json"
    times = network.stat().st_mtime_ns, complete.stat().st_mtime_ns
    again = results(tree, tmp_path / "out", "--size", "16", "--evaluate")
    assert again["seconds"] == first["seconds"]
    assert (network.stat().st_mtime_ns, complete.stat().st_mtime_ns) == times


def test_other_settings_in_the_same_folder_are_refused(tree: Path, tmp_path: Path) -> None:
    results(tree, tmp_path / "out", "--size", "16")
    result = call(tree, tmp_path / "out", "--size", "16", "--iterations", "5")
    assert result.exit_code == 2
    assert "settings.iterations: 4 there, 5 now" in result.output
    assert "Give another folder with --out" in " ".join(result.output.split())


def test_a_tree_without_test_images_keeps_some_back(tree: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(tree / "train", alone)
    result = call(alone, tmp_path / "out", "--size", "16")
    assert result.exit_code == 0, result.output
    assert "0.1 of each class held out" in result.output
    stored = DistilledSet.load(tmp_path / "out" / "distilled")
    assert stored.provenance["data"]["held_out"] == 0.1
    results(alone, tmp_path / "half", "--size", "16", "--held-out", "0.3")
    judged = CliRunner().invoke(commands, [
        "evaluate", str(tmp_path / "half"), "--data", str(alone), *PLAIN, "--students", "1",
        "--steps", "2", "--json", "--out", str(tmp_path / "judged"),
    ])  # fmt: skip
    assert judged.exit_code == 0, judged.output
    assert json.loads(judged.stdout)["test_images"] == 4


@pytest.mark.parametrize("method", list(_methods.METHODS))
def test_every_method_makes_a_set(method: str, tree: Path, tmp_path: Path) -> None:
    found = results(tree, tmp_path / "out", "--size", "16", "--method", method, "--iterations", "2")
    assert found["views"] == 4
    assert (tmp_path / "out" / "pool").exists() == (method in ("ncfm", "csdm"))


def test_one_view_an_image_starts_from_whole_images(tree: Path, tmp_path: Path) -> None:
    found = results(tree, tmp_path / "out", "--size", "16", "--factor", "1", "--method", "dm",
                    "--evaluate")  # fmt: skip
    assert found["views"] == 1
    assert list(found["accuracy"]) == ["distilled", "random real"]


def test_the_folder_has_a_name_by_default(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = results(tree, None, "--size", "16", "--method", "dm")
    assert found["distilled"] == "runs/distill-my-pets-dm-ipc1/distilled"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Give --size PIXELS"),
        (["--size", "16", "--held-out", "0.2"], "has test images; leave it out"),
        (["--size", "16", "--ipc", "2"], "8 real images of each class, but 'cat' has 6"),
        (["--size", "15"], "factor"),
        (["--size", "1"], "--size is 1, and networks halve the images"),
        (["--size", "16", "--depth", "9"], "depth"),
        (["--method", "mtt"], "'mtt' is not one of"),
    ],
)
def test_wrong_input_gets_one_message(
    arguments: list[str], message: str, tree: Path, tmp_path: Path
) -> None:
    result = call(tree, tmp_path / "out", *arguments)
    assert result.exit_code == 2, result.output
    assert message in " ".join(result.output.split()), result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    result = call(tmp_path / "none", tmp_path / "out")
    assert result.exit_code == 2 and "none does not exist" in result.output
    (tmp_path / "none").mkdir()
    result = call(tmp_path / "none", tmp_path / "out")
    assert result.exit_code == 2 and "has no images" in result.output


@pytest.mark.parametrize("given", [[], ["--held-out", "0.2"]])
def test_a_folder_without_test_images_is_said(tree: Path, tmp_path: Path, given: list[str]) -> None:
    shutil.copytree(tree / "train", tmp_path / "pets" / "train")
    (tmp_path / "pets" / "val").mkdir()
    result = call(tmp_path / "pets", tmp_path / "out", "--size", "16", *given)
    assert result.exit_code == 2, result.output
    assert "val is empty: add images as CLASS/*.jpg, or remove the folder" in result.output


@pytest.mark.parametrize(
    ("given", "words"), [([], "0.1 (the default), which"), (["--held-out", "0.2"], "0.2, which")]
)
def test_one_image_a_class_leaves_none_to_hold_out(
    tree: Path, tmp_path: Path, given: list[str], words: str
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        shutil.copy(tree / "train" / name / "0.png", tmp_path / "pets" / name)
    result = call(tmp_path / "pets", tmp_path / "out", "--size", "16", *given)
    assert result.exit_code == 2, result.output
    assert f"--held-out is {words} takes 1 of the 1 images" in result.output


def test_a_size_beyond_the_memory_is_named(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("dd_recipes.sources.load_data", fail)
    result = call(tree, tmp_path / "out", "--size", "100000000")
    assert result.exit_code == 2, result.output
    assert "--size 100000000" in result.output


def test_pools_are_trained_for_as_long_on_small_sets() -> None:
    epochs = [_methods.pool_settings(n, 4, None).epochs for n in (600, 5_000, 50_000, 500_000)]
    assert epochs == [86, 11, 5, 4]
    assert _methods.pool_settings(10, 4, None).epochs == 100
    assert _methods.pool_settings(10, 4, 3).epochs == 3

"""``dd-recipes evaluate``: what a distilled set is worth, by students trained on it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dd_recipes.commands._options import hardware_options, network, network_options
from dd_recipes.commands._stored import Answers, legacy_options, read_set
from dd_recipes.commands._students import accuracy, in_order, source_for, summary

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet
    from dd_core.events import Listener
    from dd_core.images import LabeledImages
    from dd_core.runtime import Runtime
    from dd_core.settings import NetworkSettings, StudentSettings
    from dd_recipes.recipe import DataSource

__all__ = ["evaluate"]

_ARCHITECTURES = ["convnet", "alexnet", "vgg11", "resnet18"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--data", "root", type=click.Path(path_type=Path), metavar="ROOT",
              help="Folder of the data sets, for the test images.  [default: data]")  # fmt: skip
@click.option("--network", "architectures", multiple=True, type=click.Choice(_ARCHITECTURES),
              default=["convnet"], show_default=True,
              help="The students' architecture (repeatable).")  # fmt: skip
@network_options
@click.option("--students", type=click.IntRange(min=1), default=5, show_default=True,
              help="Networks trained from scratch.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1),
              help="Passes of each student over the set.  [default: 2000, as NCFM]")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1),
              help="Optimiser steps of each student, in the place of epochs.")  # fmt: skip
@click.option("--soft-labels", "soft", type=click.Choice(["use", "ignore"]),
              help="Labels of a teacher in the set.  [default: use, if there are any]")  # fmt: skip
@click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              help="With --dataset folder without test images: the share of each class that was "
              "held out.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of states and results; the same command goes on there.  "
              "[default: runs/evaluate-KEY, KEY by set and settings]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@legacy_options
def evaluate(
    path: Path, root: Path | None, architectures: tuple[str, ...], depth: int | None, width: int,
    norm: str, students: int, epochs: int | None, steps: int | None,
    soft: Literal["use", "ignore"] | None, held_out: float | None, seed: int, out: Path | None,
    device: str, precision: str, compile: str, as_json: bool, **answers: Any,
) -> None:  # fmt: skip
    """Train students on a distilled set, and test them on real test images.

    PATH is a distilled set's folder, the folder of a run that made one, or a .pt file that the code
    of an earlier paper wrote. The result is the accuracy after the last epoch; the test images
    choose nothing. The students are trained as NCFM trains them. The same command again goes on
    where it was.
    """
    from dd_core.runtime import choose_runtime
    from dd_core.settings import StudentSettings

    if epochs is not None and steps is not None:
        raise click.UsageError("Give --epochs or --steps, not both.")
    stored = _labelled(read_set(path, Answers(**answers), root), soft, path)
    source = source_for(stored, answers["dataset"], root, held_out)
    runtime = choose_runtime(device, precision, compile)
    settings = StudentSettings(students=students, epochs=epochs or 2000, steps=steps or 0)
    size = int(stored.images.shape[-1])
    networks = {a: network(a, size, depth, width, norm) for a in dict.fromkeys(architectures)}
    results, folder = _run(
        _Asked(stored, source, root, networks, settings, seed, runtime), out, quiet=as_json
    )
    if as_json:
        click.echo(json.dumps({"set": str(path), "folder": str(folder), **results}, indent=2))
        return
    for line in _lines(results):
        click.echo(line)
    click.echo(f"folder: {folder}")


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is evaluated, and how."""

    stored: DistilledSet
    source: DataSource
    root: Path | None
    networks: dict[str, NetworkSettings]
    settings: StudentSettings
    seed: int
    runtime: Runtime

    def identity(self, test: LabeledImages) -> dict[str, Any]:
        """What the results depend on."""
        from dataclasses import asdict

        return {
            "distilled set": self.stored.fingerprint()[:16],
            "test images": test.fingerprint()[:16],
            "networks": {name: asdict(settings) for name, settings in self.networks.items()},
            "students": asdict(self.settings),
            "seed": self.seed,
            "precision": self.runtime.precision,
        }


def _run(asked: _Asked, out: Path | None, *, quiet: bool) -> tuple[dict[str, Any], Path]:
    """The results, and the folder that holds them."""
    from rich.console import Console

    from dd_core.checkpoint import fingerprint
    from dd_core.events import Message
    from dd_recipes.commands._folder import claim, finish
    from dd_recipes.progress import showing
    from dd_recipes.sources import load_data

    with showing(Console(stderr=True, quiet=quiet)) as listen:
        data = load_data(asked.source, asked.root, listen)
        test = in_order(data.test, asked.stored.class_names)
        _check(asked, test, data.name)
        identity = asked.identity(test)
        key = fingerprint(json.dumps(identity, sort_keys=True))
        folder = out or Path("runs") / f"evaluate-{key[:12]}"
        claim(folder, "evaluation", identity)
        listen(Message(f"{asked.runtime.summary}; folder: {folder}"))
        rows = [_one(asked, name, test, folder, listen) for name in asked.networks]
    n_test = len(test)
    results = {"data": data.name, "test_images": n_test, **_about(asked.stored), "rows": rows}
    finish(folder, "evaluation", {"results": results})
    return results, folder


def _one(
    asked: _Asked, name: str, test: LabeledImages, folder: Path, listen: Listener
) -> dict[str, Any]:
    """One row: students of one architecture."""
    from dd_core.evaluation import evaluate
    from dd_core.networks import describe_network

    network = asked.networks[name]
    found = evaluate(
        asked.stored, test, network, asked.settings, folder=folder / name, seed=asked.seed,
        runtime=asked.runtime, listen=listen, phase=f"students {name}",
    )  # fmt: skip
    return {"network": describe_network(network), **summary(found)}


def _about(stored: DistilledSet) -> dict[str, Any]:
    return {
        "classes": stored.n_classes,
        "ipc": stored.ipc,
        "views": int(stored.view_counts.sum()),
        "soft_labels": stored.soft_labels is not None,
    }


def _lines(results: dict[str, Any]) -> list[str]:
    labels = "soft labels" if results["soft_labels"] else "labels"
    images = f"{results['ipc']} image{'s' if results['ipc'] != 1 else ''} a class"
    lines = [
        f"{images}, {results['views']} training images in all with {labels}; tested on "
        f"{results['test_images']:,} images of {results['data']}"
    ]
    for row in results["rows"]:
        lines.append(f"{row['network']}: {accuracy(row['last'])}, after the last epoch")
        lines.append(f"  best epochs, chosen on the test images: {accuracy(row['best'])}")
    return lines


def _labelled(
    stored: DistilledSet, soft: Literal["use", "ignore"] | None, path: Path
) -> DistilledSet:
    """The set with the labels that are wanted; a whitened one is refused."""
    from dataclasses import replace

    from dd_core.errors import UserError

    preprocessing = stored.provenance.get("preprocessing")
    if isinstance(preprocessing, dict) and preprocessing.get("zca"):
        raise UserError(
            f"{path} has ZCA-whitened images, and test images need the same whitening, which no "
            "such file holds; so students of it cannot be tested here."
        )
    if soft == "ignore":
        return replace(stored, soft_labels=None)
    if soft == "use" and stored.soft_labels is None:
        raise UserError(f"--soft-labels use was given, but {path} has none; leave it out.")
    return stored


def _check(asked: _Asked, test: LabeledImages, data: str) -> None:
    """Refuses what does not fit before anything is written.

    Raises:
        UserError: Test images of other classes or channels, or too small for a network.
    """
    from dd_core.errors import DataError
    from dd_core.networks import network_for

    ours, theirs = asked.stored.class_names, test.class_names
    if ours != theirs:
        raise DataError(
            f"The set has {len(ours)} classes ({', '.join(ours[:3])}, ...), and {data} has "
            f"{len(theirs)} ({', '.join(theirs[:3])}, ...); give the data set that it was "
            "distilled from with --dataset and --data."
        )
    channels = int(asked.stored.images.shape[1])
    if channels != test.channels:
        raise DataError(
            f"The set's images have {channels} channels and those of {data} {test.channels}; give "
            "the data set that it was distilled from with --dataset and --data."
        )
    for settings in asked.networks.values():
        network_for(test, settings, 0)

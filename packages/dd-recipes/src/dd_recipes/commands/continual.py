"""``dd-recipes continual``: a distilled set as the memory of class-incremental learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from dd_recipes.commands._evaluation import (
    about,
    claim_folder,
    load_images,
    read_subject,
    require_fit,
    show,
    subject_options,
)
from dd_recipes.commands._options import hardware_options, network_options, networks
from dd_recipes.commands._students import accuracy
from dd_recipes.evaluation_numbers import count
from dd_recipes.evaluation_words import continual as continual_words

__all__ = ["continual"]

_ARCHITECTURES = ["convnet", "alexnet", "vgg11", "resnet18"]


@click.command()
@subject_options
@click.option("--steps", "n_steps", type=click.IntRange(min=1), default=5, show_default=True,
              help="Steps in which the classes come.")  # fmt: skip
@click.option("--network", "architecture", type=click.Choice(_ARCHITECTURES), default="convnet",
              show_default=True, help="The students' architecture.")  # fmt: skip
@network_options
@click.option("--students", type=click.IntRange(min=1), default=5, show_default=True,
              help="Networks trained from scratch at each step.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), default=300, show_default=True,
              help="Passes of each student over the images seen.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of states and results; the same command goes on there.  "
              "[default: runs/continual-KEY, KEY by set and settings]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def continual(
    n_steps: int, architecture: str, depth: int | None, width: int | None, norm: str | None,
    students: int, epochs: int, out: Path | None, device: str, precision: str, compile: str,
    as_json: bool, seed: int, **subject: Any,
) -> None:  # fmt: skip
    """Use a distilled set as the memory of class-incremental learning.

    PATH is a distilled set's folder, the folder of a run that made one, a folder of images, or a
    .pt file that the code of an earlier paper wrote. The classes come in a random order, some at
    each step; after each, students are trained from scratch on the set's images of all classes
    seen, and tested on these classes (GDumb). The same command again goes on where it was.
    """
    from dataclasses import asdict

    from rich.console import Console

    from dd_core.evaluation.classes import classes_seen
    from dd_core.evaluation.continual import evaluate_continual
    from dd_core.events import Message
    from dd_core.networks import describe_network
    from dd_core.runtime import choose_runtime
    from dd_core.settings import StudentSettings
    from dd_recipes.commands._folder import finish
    from dd_recipes.figures_uses import continual_chart
    from dd_recipes.progress import showing

    given = read_subject(**subject)
    stored, runtime = given.stored, choose_runtime(device, precision, compile)
    settings = StudentSettings(students=students, epochs=epochs, evaluations=1)
    (net,) = networks([architecture], int(stored.images.shape[-1]), depth, width, norm)
    classes_seen(stored.n_classes, n_steps, seed=seed)  # says what is wrong
    with showing(Console(stderr=True, quiet=as_json)) as listen:
        data = load_images(given, listen)
        require_fit([net], data)
        identity = {
            "distilled set": stored.fingerprint()[:16], "test images": data.test.fingerprint()[:16],
            "steps": n_steps, "network": asdict(net), "students": asdict(settings), "seed": seed,
            "precision": runtime.precision,
        }  # fmt: skip
        folder = claim_folder("continual", identity, out)
        listen(Message(f"{runtime.summary}; folder: {folder}"))
        found = evaluate_continual(
            stored, data.test, net, settings, n_steps=n_steps, folder=folder / "students",
            seed=seed, runtime=runtime, listen=listen,
        )  # fmt: skip
    results = {
        **about(stored, data), "network": describe_network(net),
        "protocol": {**asdict(settings), "seed": seed}, "continual": found.as_record(),
    }  # fmt: skip
    finish(folder, "continual", {"results": results})
    continual_chart({given.path.name: results["continual"]}, folder / "continual.png")
    last = f"folder: {folder} (continual.png: the accuracies as a curve)"
    show(given, folder, results, [*lines(results), last], as_json)


def lines(results: dict[str, Any]) -> list[str]:
    """The steps and their average, for the terminal.

    Args:
        results: What the command stores; ``network`` and ``continual`` are read.
    """
    record = results["continual"]
    found = [f"{results['network']}:"]
    for step in record["steps"]:
        seen = count(step["classes"], "class", "classes")
        found.append(f"  {seen:>12} seen: {accuracy(step['last'])}")
    return [*found, continual_words(record)]

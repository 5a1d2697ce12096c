"""``dd-recipes evaluate``: what a distilled set is worth, by students trained on it."""

from __future__ import annotations

import shlex
import sys
from dataclasses import asdict
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
from dd_recipes.commands._lines import lines
from dd_recipes.commands._options import hardware_options, network_options, networks
from dd_recipes.commands._parts import Asked, Parts, protocol, together

__all__ = ["evaluate"]

_ARCHITECTURES = ["convnet", "alexnet", "vgg11", "resnet18"]
_PROTOCOLS = ["short", "ncfm-paper", "dm"]
_PARTS = ["architectures", "budget", "continual", "search", "scores", "all"]


@click.command()
@subject_options
@click.option("--protocol", "protocol_name", type=click.Choice(_PROTOCOLS), default="short",
              show_default=True,
              help="How students are trained: short (5 of 300 epochs), ncfm-paper (10 of 2,000) or "
              "dm (5 of 1,000, SGD).")  # fmt: skip
@click.option("--also", multiple=True, type=click.Choice(_PARTS),
              help="What else to measure (repeatable): other architectures; the accuracy against "
              "the length of the training; class-incremental learning; architecture search; "
              "label- and augmentation-robust scores.")  # fmt: skip
@click.option("--network", "architectures", multiple=True, type=click.Choice(_ARCHITECTURES),
              default=["convnet"], show_default=True,
              help="The students' architecture (repeatable); the first is that of all "
              "parts.")  # fmt: skip
@network_options
@click.option("--students", type=click.IntRange(min=1),
              help="Networks trained from scratch, in the place of the protocol's.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1),
              help="Passes of each over the set, in the place of the protocol's.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1),
              help="Optimiser steps of each student, in the place of epochs.")  # fmt: skip
@click.option("--whole-epochs", type=click.IntRange(min=1),
              help="Train on the whole real training set too, for this many passes: the scores and "
              "the search compare with it.  [default: do not]")  # fmt: skip
@click.option("--content/--no-content", default=True, show_default=True,
              help="Compare the images with real training images.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of states and results; the same command goes on there.  "
              "[default: runs/evaluate-KEY, KEY by set and settings]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    protocol_name: str, also: tuple[str, ...], architectures: tuple[str, ...], depth: int | None,
    width: int | None, norm: str | None, students: int | None, epochs: int | None,
    steps: int | None, whole_epochs: int | None, content: bool, out: Path | None, device: str,
    precision: str, compile: str, as_json: bool, seed: int, **subject: Any,
) -> None:  # fmt: skip
    """Train students on a distilled set, and test them on real test images.

    PATH is a distilled set's folder, the folder of a run that made one, a folder of images with one
    folder a class, or a .pt file that the code of an earlier paper wrote. The result is the
    accuracy after the last epoch; the test images choose nothing. The page report.html in the
    folder shows it, with what the images are beside real ones. The same command again goes on where
    it was; more parts (--also) add to the same folder.
    """
    from rich.console import Console

    from dd_core.events import Message
    from dd_core.runtime import choose_runtime
    from dd_recipes.commands._folder import finish, found_before
    from dd_recipes.evaluation_report import write_evaluation_report
    from dd_recipes.progress import showing

    if epochs is not None and steps is not None:
        raise click.UsageError("Give --epochs or --steps, not both.")
    parts = set(_PARTS[:-1]) if "all" in also else set(also)
    if "budget" in parts and steps is not None:
        raise click.UsageError("--also budget compares epochs, so --steps does not go with it.")
    if whole_epochs is not None and not parts & {"scores", "search"}:
        raise click.UsageError("--whole-epochs has no effect without --also scores or search.")
    given = read_subject(**subject)
    runtime = choose_runtime(device, precision, compile)
    settings = protocol(protocol_name, students, epochs, steps)
    size = int(given.stored.images.shape[-1])
    asked = Asked(
        given.stored, networks(architectures, size, depth, width, norm),
        settings, seed, runtime, frozenset(parts), whole_epochs,
    )  # fmt: skip
    with showing(Console(stderr=True, quiet=as_json)) as listen:
        data = load_images(given, listen)
        require_fit(asked.all_networks(), data)
        asked.require_images(data)
        identity = asked.identity(data)
        folder = claim_folder("evaluate", identity, out)
        listen(Message(f"{runtime.summary}; folder: {folder}"))
        made = Parts(asked, data, folder, listen)
        results: dict[str, Any] = {
            **about(given.stored, data), "environment": _environment(),
            "protocol": {"name": protocol_name, **asdict(settings), "seed": seed}, **made.run(),
        }  # fmt: skip
        compared, missing = made.content() if content else (None, "")
        if compared is not None:
            results["content"] = compared.as_record()
        elif missing:
            results["content_missing"] = missing
        results = together(found_before(folder, "evaluate").get("results", {}), results)
        finish(folder, "evaluate", {"results": results})
        page = write_evaluation_report(results, given.stored, compared, folder)
    last = f"page: {page}"
    show(given, folder, results, [*lines(results), last], as_json)


def _environment() -> dict[str, Any]:
    """Versions, hardware and the command, for the page."""
    from dd_core.runtime import environment

    return {**environment(), "command": shlex.join(["dd-recipes", *sys.argv[1:]])}

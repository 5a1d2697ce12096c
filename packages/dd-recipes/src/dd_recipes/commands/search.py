"""``dd-recipes search``: architectures ranked by students of a distilled set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from dd_recipes.commands._evaluation import (
    about,
    claim_folder,
    load_images,
    read_subject,
    show,
    subject_options,
)
from dd_recipes.commands._options import NORMS, hardware_options
from dd_recipes.commands._students import accuracy
from dd_recipes.evaluation_words import search as search_words

__all__ = ["search"]

_SHOWN = 10


def _list_of(kind: Callable[[str], Any], what: str) -> Callable[..., tuple[Any, ...]]:
    """Reads values with commas between, such as 1,2,3."""

    def read(context: click.Context, parameter: click.Parameter, text: str) -> tuple[Any, ...]:
        try:
            return tuple(kind(part.strip()) for part in text.split(","))
        except ValueError:
            raise click.BadParameter(f"{text!r} is not {what} with commas between.") from None

    return read


@click.command()
@subject_options
@click.option("--depths", default="1,2,3", show_default=True, metavar="N,N,...",
              callback=_list_of(int, "whole numbers"), help="Blocks.")  # fmt: skip
@click.option("--widths", default="32,64,128", show_default=True, metavar="N,N,...",
              callback=_list_of(int, "whole numbers"), help="Channels.")  # fmt: skip
@click.option("--norms", default="instance,batch,none", show_default=True, metavar="NORM,...",
              callback=_list_of(str, "norms"),
              help="Their norms: instance, batch, layer, group, none.")  # fmt: skip
@click.option("--students", type=click.IntRange(min=1), default=3, show_default=True,
              help="Networks of each architecture that are trained on the set.")  # fmt: skip
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True,
              help="Passes of each over the set.")  # fmt: skip
@click.option("--validation", type=click.FloatRange(0, 1, min_open=True, max_open=True),
              default=0.1, show_default=True,
              help="Share of the real training images that ranks the networks.")  # fmt: skip
@click.option("--whole-epochs", type=click.IntRange(min=1),
              help="Train them on the other real training images too, for this many passes, and "
              "compare the rankings.  [default: do not]")  # fmt: skip
@click.option("--whole-students", type=click.IntRange(min=1),
              help="Networks of each architecture that are trained on real images.  "
              "[default: 1]")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder of states and results; the same command goes on there.  "
              "[default: runs/search-KEY, KEY by set and settings]")  # fmt: skip
@hardware_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(
    depths: tuple[int, ...], widths: tuple[int, ...], norms: tuple[str, ...], students: int,
    epochs: int, validation: float, whole_epochs: int | None, whole_students: int | None,
    out: Path | None, device: str, precision: str, compile: str, as_json: bool, seed: int,
    **subject: Any,
) -> None:  # fmt: skip
    """Rank ConvNets by what they reach when they are trained on a distilled set.

    PATH is a distilled set's folder, the folder of a run that made one, a folder of images, or a
    .pt file that the code of an earlier paper wrote. The networks are judged on real training
    images that are held out; only what is picked is tested on the test images. With --whole-epochs
    the ranking is compared with that of training on all other real images: rank correlations, what
    the pick costs, and the time of both. The same command again goes on where it was.
    """
    from dataclasses import asdict, replace

    from rich.console import Console

    from dd_core.datasets import split_per_class
    from dd_core.errors import UserError
    from dd_core.evaluation.search import (
        architecture_grid,
        held_out_per_class,
        search_architectures,
    )
    from dd_core.events import Message
    from dd_core.runtime import choose_runtime
    from dd_core.settings import StudentSettings
    from dd_recipes.commands._folder import finish
    from dd_recipes.figures_uses import search_chart
    from dd_recipes.progress import showing

    _check_grid(depths, widths, norms)
    if whole_students is not None and whole_epochs is None:
        raise click.UsageError("--whole-students has no effect without --whole-epochs.")
    given = read_subject(**subject)
    stored, runtime = given.stored, choose_runtime(device, precision, compile)
    settings = StudentSettings(students=students, epochs=epochs, evaluations=1)
    whole = None
    if whole_epochs is not None:
        whole = replace(settings, students=whole_students or 1, epochs=whole_epochs)
    size = int(stored.images.shape[-1])
    networks = architecture_grid(depths, widths, norms, size=size)
    if len(networks) < 2:
        raise UserError(
            f"{next(iter(networks))} is the only network of this grid for images of {size} px; "
            "give more --depths, --widths or --norms."
        )
    with showing(Console(stderr=True, quiet=as_json)) as listen:
        data = load_images(given, listen)
        # Says what is wrong before anything is written.
        split_per_class(data.train, held_out_per_class(data.train, validation), seed)
        identity = {
            "distilled set": stored.fingerprint()[:16],
            "training images": data.train.fingerprint()[:16],
            "test images": data.test.fingerprint()[:16],
            "networks": list(networks), "validation": validation, "students": asdict(settings),
            "whole": None if whole is None else asdict(whole), "seed": seed,
            "precision": runtime.precision,
        }  # fmt: skip
        folder = claim_folder("search", identity, out)
        listen(Message(f"{runtime.summary}; {len(networks)} networks; folder: {folder}"))
        found = search_architectures(
            stored, data.train, data.test, networks, settings, whole, held_out=validation,
            folder=folder / "students", seed=seed, runtime=runtime, listen=listen,
        )  # fmt: skip
    results = {
        **about(stored, data), "protocol": {**asdict(settings), "seed": seed},
        "whole": None if whole is None else asdict(whole),
        "search": {**found.as_record(), "whole_epochs": whole_epochs},
    }  # fmt: skip
    finish(folder, "search", {"results": results})
    search_chart(results["search"], folder / "search.png")
    last = f"folder: {folder} (search.png: all networks)"
    show(given, folder, results, [*lines(results), last], as_json)


def _check_grid(depths: tuple[int, ...], widths: tuple[int, ...], norms: tuple[str, ...]) -> None:
    """Names all values that cannot be at once.

    Raises:
        click.UsageError: There are some.
    """
    mistakes = [
        f"{option} has {value}; give whole numbers from 1 on."
        for option, values in (("--depths", depths), ("--widths", widths))
        for value in values
        if value < 1
    ]
    known = ", ".join(NORMS)
    mistakes += [f"--norms has {n!r}; give some of {known}." for n in norms if n not in NORMS]
    if mistakes:
        raise click.UsageError("\n".join(mistakes))


def lines(results: dict[str, Any]) -> list[str]:
    """The ranking and how far it agrees, for the terminal.

    Args:
        results: What the command stores; ``search`` is read.
    """
    record = results["search"]
    ranked = sorted(record["candidates"], key=lambda each: -each["on_set"]["mean"])
    found = ["networks, ranked by students of the set on validation images:"]
    for each in ranked[:_SHOWN]:
        real = f"; on real images {accuracy(each['on_all']['last'])}" if each["on_all"] else ""
        found.append(f"  {each['name']}: {accuracy(each['on_set']['last'])}{real}")
    if len(ranked) > _SHOWN:
        found.append(f"  and {len(ranked) - _SHOWN} more, in the folder")
    return [*found, *search_words(record)]

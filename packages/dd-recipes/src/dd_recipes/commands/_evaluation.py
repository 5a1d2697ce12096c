"""What the commands share that judge a distilled set: its options, its images, its folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dd_recipes.commands._stored import Answers, legacy_options, read_set
from dd_recipes.commands._students import in_order, resized_from, source_for

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet
    from dd_core.events import Listener
    from dd_core.images import ImageData
    from dd_core.settings import NetworkSettings
    from dd_recipes.recipe import DataSource

__all__ = [
    "Subject", "about", "check_images", "claim_folder", "load_images", "read_subject",
    "require_fit", "show", "subject_options",
]  # fmt: skip

Command = Callable[..., Any]

_OPTIONS = (
    click.argument("path", type=click.Path(path_type=Path)),
    click.option("--data", "root", type=click.Path(path_type=Path), metavar="ROOT",
                 help="Folder of the data sets.  [default: data]"),
    click.option("--soft-labels", "soft", type=click.Choice(["use", "ignore"]),
                 help="Labels of a teacher in the set.  [default: use, if there are any]"),
    click.option("--held-out", type=click.FloatRange(0, 1, min_open=True, max_open=True),
                 help="With --dataset folder without test images: the share of each class that was "
                 "held out."),
    click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True),
)  # fmt: skip


def subject_options(command: Command) -> Command:
    """Adds PATH, --data, --soft-labels, --held-out, --seed and those for files of earlier papers.

    They arrive as ``path``, ``root``, ``soft``, ``held_out``, ``seed`` and the fields of `Answers`.
    """
    for option in reversed((*_OPTIONS, legacy_options)):
        command = option(command)
    return command


@dataclass(frozen=True, slots=True)
class Subject:
    """The set that is judged, and where real images of its classes are.

    Attributes:
        path: What the user gave.
        stored: The set, with the labels that are wanted.
        source: Its data set.
        root: Folder of the data sets, if it was given.
        named: Whether the user named the classes.
    """

    path: Path
    stored: DistilledSet
    source: DataSource
    root: Path | None
    named: bool = False


def read_subject(
    path: Path,
    root: Path | None,
    soft: Literal["use", "ignore"] | None,
    held_out: float | None,
    **answers: Any,
) -> Subject:
    """The set that the options of `subject_options` describe; ``seed`` is not among them.

    Raises:
        UserError: It cannot be read, something is not said, or what is said does not fit.
    """
    stored = _labelled(read_set(path, Answers(**answers), root), soft, path)
    source = source_for(stored, answers["dataset"], root, held_out)
    return Subject(path, stored, source, root, named=answers["classes"] is not None)


def load_images(subject: Subject, listen: Listener) -> ImageData:
    """The real images, with their classes in the order of the set's.

    Their name says so where they were made another size only because the set has it.

    Raises:
        UserError: There are none, or they are of other classes or channels.
    """
    from dd_core.errors import DataError
    from dd_core.events import Message
    from dd_core.images import ImageData
    from dd_recipes.sources import load_data

    if lost := _labels_left_out(subject.stored):
        listen(Message(lost))
    own = resized_from(subject.stored, subject.source)
    change = f" ({own} px) resized to {subject.source.size} px" if own else ""
    if own:
        text = f"images of {subject.source.source}{change}, the size of the set's"
        listen(Message(f"test {text}; results are not those of {own} px", "warning"))
    try:
        data = load_data(subject.source, subject.root, listen)
    except DataError as error:  # by the name that the argument has here
        raise DataError(str(error).replace("held_out=", "--held-out ")) from None
    names = subject.stored.class_names
    train, test = (in_order(part, names) for part in (data.train, data.test))
    data = ImageData(f"{data.name}{change}", train, test)
    check_images(subject.stored, data, named=subject.named)
    return data


def check_images(stored: DistilledSet, data: ImageData, *, named: bool = False) -> None:
    """Refuses images that the set is not of.

    Args:
        stored: The set.
        data: The images.
        named: Whether the user named the set's classes.

    Raises:
        DataError: They are of other classes or channels.
    """
    from dd_core.errors import DataError

    ours, theirs = stored.class_names, data.test.class_names
    way = "give the data set that it was distilled from with --dataset and --data."
    if ours != theirs and named:
        raise DataError(
            f"--classes names {len(ours)} classes ({', '.join(ours[:3])}, ...), and {data.name} "
            f"has {len(theirs)} ({', '.join(theirs[:3])}, ...); leave --classes out, so that the "
            "data set says them, or give these names in the order of the labels."
        )
    if ours != theirs:
        raise DataError(
            f"The set has {len(ours)} classes ({', '.join(ours[:3])}, ...), and {data.name} has "
            f"{len(theirs)} ({', '.join(theirs[:3])}, ...); {way}"
        )
    channels = int(stored.images.shape[1])
    if channels != data.test.channels:
        raise DataError(
            f"The set's images have {channels} channels and those of {data.name} "
            f"{data.test.channels}; {way}"
        )


def claim_folder(kind: str, identity: Mapping[str, Any], out: Path | None) -> Path:
    """The folder for this work: the one given, or one whose name follows from what is asked.

    Args:
        kind: The command.
        identity: What the result depends on.
        out: The folder that was given.

    Raises:
        UserError: It holds something else.
    """
    from dd_core.checkpoint import fingerprint
    from dd_recipes.commands._folder import claim

    key = fingerprint(json.dumps(identity, sort_keys=True))
    folder = out or Path("runs") / f"{kind}-{key[:12]}"
    claim(folder, kind, identity)
    return folder


def about(stored: DistilledSet, data: ImageData) -> dict[str, Any]:
    """What is judged, as JSON has it."""
    return {
        "data": data.name,
        "test_images": len(data.test),
        "classes": stored.n_classes,
        "class_names": list(stored.class_names),
        "ipc": stored.ipc,
        "views": int(stored.view_counts.sum()),
        "soft_labels": stored.soft_labels is not None,
    }


def show(
    subject: Subject, folder: Path, results: Mapping[str, Any], lines: Iterable[str], as_json: bool
) -> None:
    """Prints the results as JSON, with set and folder before them, or as lines."""
    if as_json:
        shown = {"set": str(subject.path), "folder": str(folder), **results}
        lines = [json.dumps(shown, indent=2)]
    for line in lines:
        click.echo(line)


def _labels_left_out(stored: DistilledSet) -> str:
    """A sentence where the set had a teacher's labels that its image files could not hold."""
    imported = stored.provenance.get("imported")
    if isinstance(imported, dict) and imported.get("soft_labels_left_out"):
        return (
            "the set had a teacher's labels, which a folder of images does not hold; students "
            "learn from plain ones"
        )
    return ""


def require_fit(networks: Iterable[NetworkSettings], data: ImageData) -> None:
    """Makes each network once, so that what cannot be made is known before anything is computed.

    Raises:
        SettingsError: The images are too small for one.
    """
    from dd_core.networks import network_for

    for settings in networks:
        network_for(data.test, settings, 0)


def _labelled(
    stored: DistilledSet, soft: Literal["use", "ignore"] | None, path: Path
) -> DistilledSet:
    """The set with the labels that are wanted; a whitened one is refused."""
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

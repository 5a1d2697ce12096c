"""Reading a distilled set of ours, or one that the code of an earlier paper wrote."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dd_recipes.find_data import DEFAULT_ROOT, has_image_folders
from dd_recipes.source_table import SOURCES

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet

__all__ = ["Answers", "class_names_of", "is_ours", "legacy_options", "read_set"]

_KNOWN = [*SOURCES, "folder"]
_JUDGED = ("evaluate", "continual", "search")


@dataclass(frozen=True, slots=True)
class Answers:
    """What the user says of a file that does not say it itself.

    Attributes:
        dataset: Name of the data set that it was distilled from.
        classes: Names of the classes, separated by commas, or @FILE with one a line.
        normalization: A name of dd-core's, or MEAN/STD with commas between channels.
        factor: Multi-formation rho.
        decode: Form of decoding.
        zca: Whether pixels were whitened.
        pixels: What the pixels are, against the layout: ``unit`` or ``normalized``.
        experiment: Which of several experiments.
    """

    dataset: str | None = None
    classes: str | None = None
    normalization: str | None = None
    factor: int | None = None
    decode: Literal["single", "multi", "bound"] | None = None
    zca: bool | None = None
    pixels: Literal["unit", "normalized"] | None = None
    experiment: int | None = None

    @property
    def given(self) -> tuple[str, ...]:
        """The options for legacy files alone that were used."""
        names = ("classes", "normalization", "factor", "decode", "zca", "pixels", "experiment")
        return tuple(f"--{name}" for name in names if getattr(self, name) is not None)


_OPTIONS = (
    click.option("--dataset", type=click.Choice(_KNOWN), metavar="NAME",
                 help="What it was distilled from: says classes and normalisation of a .pt file. A "
                 "name from 'dd-recipes data', or folder: the tree given by --data."),
    click.option("--classes", metavar="NAMES",
                 help="Names of the classes, in the order of the labels: a,b,c or @FILE, one a "
                 "line."),
    click.option("--normalization", metavar="NORM",
                 help="Of the pixels: cifar10, imagenet, ... or MEAN/STD as in "
                 "0.49,0.48,0.45/0.2,0.2,0.2."),
    click.option("--factor", type=click.IntRange(min=1),
                 help="Views along a side of an image (IDC, DANCE, NCFM)."),
    click.option("--decode", type=click.Choice(["single", "multi", "bound"]),
                 help="How images are cut into views.  [default: single]"),
    click.option("--zca/--no-zca", default=None, help="Pixels are ZCA-whitened (MTT, FTD, DATM)."),
    click.option("--pixels", type=click.Choice(["unit", "normalized"]),
                 help="What the pixels are, where the layout is mistaken."),
    click.option("--experiment", type=click.IntRange(min=0),
                 help="Which experiment of a file with several (DC, DSA, DM)."),
)  # fmt: skip


def legacy_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `Answers`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def is_ours(path: Path) -> bool:
    """Whether the path is a distilled set's folder rather than a legacy file."""
    return (path / "manifest.json").exists() or (path / "distilled.safetensors").exists()


def read_set(
    path: Path, answers: Answers, root: Path | None = None, *, refused: tuple[str, ...] = ()
) -> DistilledSet:
    """Reads a distilled set of either kind.

    Args:
        path: A folder that `DistilledSet.save` wrote, a run's folder that holds one, a .pt file,
            the folder of ``images_best.pt``, or a folder of images with one folder a class.
        answers: What a legacy file, or a folder of images, does not say.
        root: Folder of the data sets, for class names that only the data set's folder says.
        refused: Options that were given and say nothing of a set of ours, beside those of
            ``answers``.

    Raises:
        UserError: It is missing or damaged, something is not said, or something is said that a set
            of ours says itself.
    """
    from dd_core.artifact import DistilledSet
    from dd_core.errors import UserError

    if not path.exists():
        raise UserError(f"There is no {path}; give a distilled set's folder, or a .pt file.")
    if not is_ours(path) and is_ours(path / "distilled"):
        path = path / "distilled"
    if not is_ours(path):
        if (path / "sets").is_dir():
            raise UserError(
                f"{path} is a run folder; give one of its sets, {path}/sets/KEY. KEY stands "
                "beside each cell in results.json ('set')."
            )
        if made := [kind for kind in _JUDGED if (path / f"{kind}.json").exists()]:
            raise UserError(
                f"{path} is the folder of an earlier dd-recipes {made[0]}; give the set that it "
                "was given."
            )
        if path.is_dir() and not (path / "images_best.pt").exists():
            if has_image_folders(path):
                return _images(path, answers, root)
            raise UserError(
                f"{path} holds no distilled set: neither manifest.json nor images_best.pt nor "
                "folders of image files are in it. Give the folder that has one of these, or a .pt "
                "file."
            )
        return _legacy(path, answers, root)
    if given := (*answers.given, *refused):
        raise UserError(
            f"{', '.join(given)} was given, but {path} is a distilled set that says this itself; "
            "leave it out. (These options are for .pt files of earlier papers.)"
        )
    return DistilledSet.load(path)


def class_names_of(dataset: str, root: Path | None) -> tuple[str, ...] | None:
    """The classes of a data set in the order of the papers' code; None where nobody says."""
    root = root or DEFAULT_ROOT
    folders = [root]
    if dataset != "folder":
        if SOURCES[dataset].class_names:
            return SOURCES[dataset].class_names
        folders = [root / folder for folder in SOURCES[dataset].layouts]
    for folder in folders:  # labels are those of sorted folders
        train = folder / "train" if (folder / "train").is_dir() else folder
        if train.is_dir() and (train != folder or dataset == "folder"):
            names = (path.name for path in train.iterdir() if path.is_dir())
            return tuple(sorted(name for name in names if not name.startswith("."))) or None
    return None


def _legacy(path: Path, answers: Answers, root: Path | None) -> DistilledSet:
    from dd_core.errors import ArtifactError
    from dd_core.legacy import import_legacy
    from dd_core.legacy_files import read_legacy

    try:
        layout = read_legacy(path, answers.experiment).layout
        names, normalization = _said(answers, layout, root)
        _ask(path, layout, answers, names, normalization)
        return import_legacy(
            path, normalization=normalization, class_names=names, factor=answers.factor,
            zca=answers.zca, space=answers.pixels, experiment=answers.experiment,
            decode=answers.decode or "single",
        )  # fmt: skip
    except ArtifactError as error:
        raise ArtifactError(_as_options(str(error))) from None


def _images(path: Path, answers: Answers, root: Path | None) -> DistilledSet:
    """A set of ours that was exported as images, or images of another code."""
    from dd_core.errors import ArtifactError, UserError
    from dd_core.export import MARK
    from dd_core.import_images import import_images

    unfit = [name for name in ("zca", "pixels", "experiment") if getattr(answers, name) is not None]
    exported = (path / MARK).exists()
    said = answers.given if exported else tuple(f"--{name}" for name in unfit)
    if said:
        why = f"{path / MARK} says it" if exported else f"{path} is a folder of images"
        raise UserError(f"{', '.join(said)} was given, but {why}; leave it out.")
    if exported:
        return import_images(path)
    names, normalization = _said(answers, "images", root)
    missing = []
    if normalization is None:
        missing.append("--dataset NAME (or --normalization NORM)")
    if answers.factor is None:
        missing.append("--factor N (1 where an image is one view; NCFM has 2)")
    if missing:
        raise UserError(
            f"{path} (a folder of images) does not say all that is needed; give "
            f"{'; '.join(missing)}."
        )
    try:
        return import_images(
            path, normalization=normalization, class_names=names, factor=answers.factor,
            decode=answers.decode or "single",
        )  # fmt: skip
    except ArtifactError as error:
        raise ArtifactError(_as_options(str(error))) from None


def _as_options(message: str) -> str:
    """dd-core's message with options in the place of its arguments."""
    message = re.sub(r"space='(\w+)'", r"--pixels \1", message)
    message = message.replace("space is", "--pixels is").replace("zca=True", "--zca")
    return message.replace("experiment=0", "--experiment 0").replace("class_names", "--classes")


def _said(
    answers: Answers, layout: str, root: Path | None
) -> tuple[tuple[str, ...] | None, str | tuple[Sequence[float], Sequence[float]] | None]:
    """Class names and normalisation, from their options or else the data set."""
    names = None if answers.classes is None else _names(answers.classes)
    if answers.dataset is not None and names is None:
        names = class_names_of(answers.dataset, root)
    if answers.normalization is not None:
        return names, _numbers(answers.normalization)
    if answers.zca or answers.dataset is None or answers.dataset == "folder":
        return names, None
    return names, _normalization(answers.dataset, layout)


def _normalization(dataset: str, layout: str) -> str:
    """How the papers' code normalises a data set; they differ for CIFAR-100."""
    if SOURCES[dataset].kind == "embedded":
        return "fashionmnist"
    if SOURCES[dataset].kind != "cifar":
        return "imagenet"
    return dataset if layout in ("dc", "images") else "cifar10"  # MTT, NCFM: CIFAR-10's for both


def _ask(path: Path, layout: str, answers: Answers, names: object, normalization: object) -> None:
    """One message with every option that is missing."""
    from dd_core.errors import UserError
    from dd_core.legacy_files import LAYOUTS

    missing = []
    unsaid = [
        option
        for option, known in (
            ("--classes a,b,c", names is not None),
            ("--normalization NORM", normalization is not None or answers.zca),
        )
        if not known
    ]
    if answers.dataset is None and unsaid:
        missing.append(f"--dataset NAME (or {' and '.join(unsaid)})")
    elif unsaid == ["--classes a,b,c"]:
        missing.append("--data ROOT where the data set is, to read its classes (or --classes)")
    else:
        missing += unsaid
    if layout == "idc" and answers.factor is None:
        missing.append("--factor N (1 where an image is one view; NCFM has 2)")
    if layout == "mtt" and answers.zca is None:
        missing.append("--zca or --no-zca")
    if missing:
        raise UserError(
            f"{path} ({LAYOUTS[layout]}) does not say all that is needed; give "
            f"{'; '.join(missing)}."
        )


def _names(text: str) -> tuple[str, ...]:
    from dd_core.errors import UserError

    if not text.startswith("@"):
        return tuple(name.strip() for name in text.split(","))
    try:
        lines = Path(text[1:]).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"--classes is {text}, and {text[1:]} cannot be read ({error}); give a text file with "
            "one name a line, or the names with commas between."
        ) from None
    return tuple(line.strip() for line in lines if line.strip())


def _numbers(text: str) -> str | tuple[Sequence[float], Sequence[float]]:
    """A name, or mean and deviation of the channels."""
    from dd_core.errors import UserError
    from dd_core.legacy import NORMALIZATIONS

    if text in NORMALIZATIONS:
        return text
    try:
        mean, std = ([float(x) for x in part.split(",")] for part in text.split("/"))
    except ValueError:
        raise UserError(
            f"--normalization is {text!r}; give one of {', '.join(NORMALIZATIONS)}, or MEAN/STD as "
            "in 0.49,0.48,0.45/0.2,0.2,0.2."
        ) from None
    return mean, std

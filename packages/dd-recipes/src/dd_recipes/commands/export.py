"""``dd-recipes export``: a distilled set as other tools read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dd_recipes.commands._stored import Answers, legacy_options, read_set
from dd_recipes.source_table import SOURCES

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet

__all__ = ["export"]

Form = Literal["folder", "npz", "pt", "ddranking", "set"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["folder", "npz", "pt", "ddranking", "set"]),
              required=True,
              help="folder: one PNG an image, a folder a class; npz: arrays; pt: what the code of "
              "earlier papers reads, see --layout; ddranking: a folder of tensors that the tool of "
              "DD-Ranking loads; set: a folder of this package.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="PATH",
              help="The new file or folder.")  # fmt: skip
@click.option("--layout", type=click.Choice(["idc", "dc", "mtt"]),
              help="Of pt: idc (IDC, DANCE, NCFM), dc (DC, DSA, DM) or mtt (MTT, FTD, DATM; a "
              "folder).")  # fmt: skip
@click.option("--views", is_flag=True,
              help="Write every view at full size instead of the stored images.")  # fmt: skip
@click.option("--clip", is_flag=True, help="Of folder: cut pixels outside 0 to 1.")
@click.option("--learning-rate", type=float, metavar="RATE",
              help="Of ddranking: the rate for students of the set; without it the tool seeks one "
              "on its test images.")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option("--data", "root", type=click.Path(path_type=Path), metavar="ROOT",
              help="Folder of the data sets, to read classes from.  [default: data]")  # fmt: skip
@legacy_options
def export(
    path: Path, form: Form, out: Path, layout: Literal["idc", "dc", "mtt"] | None, views: bool,
    clip: bool, learning_rate: float | None, overwrite: bool, root: Path | None, **answers: Any,
) -> None:  # fmt: skip
    """Write a distilled set as images, arrays or a .pt file.

    PATH is a distilled set's folder, the folder of a run that made one, or a .pt file that the code
    of an earlier paper wrote (DC, DSA, DM, IDC, DANCE, NCFM, MTT, FTD, DATM; for the last three
    also the folder of images_best.pt). A .pt file does not say all that using it needs; the last
    options do.
    """
    _check(form, layout, views, clip, learning_rate)
    # DD-Ranking has data sets by their names, which not every set of ours says.
    useful = (None,) if form != "ddranking" else (None, *SOURCES)
    named = answers["dataset"] not in useful
    refused = ["--dataset"] * named + ["--data"] * (root is not None)
    stored = read_set(path, Answers(**answers), root, refused=tuple(refused))
    if form == "ddranking":
        dataset = _in_ddranking(stored, answers["dataset"])
        _write_ddranking(stored, out, dataset, learning_rate, overwrite)
    else:
        dataset = None
        _write(stored, form, out, layout=layout, views=views, clip=clip, overwrite=overwrite)
    views = views or form == "ddranking"
    n = int(stored.view_counts.sum()) if views else len(stored.images)
    what = "views" if views else "images"
    click.echo(f"{out}: {n} {what} of {stored.n_classes} classes")
    if stored.soft_labels is not None and (form == "folder" or layout in ("idc", "dc")):
        click.echo("the teacher's labels are left out: this form holds classes alone")
    if form == "ddranking":
        click.echo(_settings_of_ddranking(stored, dataset))
    click.echo(f"read it: {_how(form, layout, out)}")


def _check(
    form: Form, layout: str | None, views: bool, clip: bool, learning_rate: float | None
) -> None:
    """Refuses options that would change nothing."""
    from dd_core.errors import UserError

    if form == "pt" and layout is None:
        raise UserError("--to pt needs --layout idc, dc or mtt: whose code shall read it?")
    unused = [("--layout", layout is not None, ("pt",)), ("--clip", clip, ("folder",)),
              ("--views", views, ("folder", "npz", "pt")),
              ("--learning-rate", learning_rate is not None, ("ddranking",))]  # fmt: skip
    for name, given, forms in unused:
        if given and form not in forms:
            raise UserError(f"{name} has no effect with --to {form}; leave it out.")


def _write(
    stored: DistilledSet,
    form: Form,
    out: Path,
    *,
    layout: Literal["idc", "dc", "mtt"] | None,
    views: bool,
    clip: bool,
    overwrite: bool,
) -> None:
    from dd_core.errors import ArtifactError
    from dd_core.export import export_images, export_legacy, export_npz

    try:
        if form == "folder":
            export_images(stored, out, views=views, clip=clip, overwrite=overwrite)
        elif form == "npz":
            export_npz(stored, out, views=views, overwrite=overwrite)
        elif layout is not None:
            export_legacy(stored, out, layout, views=views, overwrite=overwrite)
        else:
            _save(stored, out, overwrite)
    except ArtifactError as error:
        raise ArtifactError(_as_options(str(error))) from None


def _as_options(message: str) -> str:
    """dd-core's message with the options of the command in the place of its arguments."""
    for argument in ("overwrite", "clip", "views"):
        message = message.replace(f"{argument}=True", f"--{argument}")
    message = message.replace("layout='idc'", "--layout idc").replace("layout '", "--layout '")
    return message.replace("export_npz", "--to npz").replace("export_images", "--to folder")


def _save(stored: DistilledSet, out: Path, overwrite: bool) -> None:
    from dd_core.errors import ArtifactError

    if out.is_dir() and any(out.iterdir()) and not overwrite:
        raise ArtifactError(f"{out} is not empty; give another folder, or --overwrite.")
    stored.save(out)


def _how(form: Form, layout: str | None, out: Path) -> str:
    if form == "folder":
        return f'torchvision.datasets.ImageFolder("{out}")'
    if form == "npz":
        return f'numpy.load("{out}")["images"]'
    if form == "set":
        return f'dd_core.DistilledSet.load("{out}").as_dataset()'
    if form == "ddranking":
        return f'torch.load("{out / "images.pt"}")'
    return f'torch.load("{out / "images_best.pt" if layout == "mtt" else out}")'


def _in_ddranking(stored: DistilledSet, dataset: str | None) -> str | None:
    """What DD-Ranking calls the set's data: as said, as the set says, or by its classes' names."""
    from dd_core.errors import UserError
    from dd_core.export_ddranking import DDRANKING_DATASETS

    known = stored.provenance.get("data")
    if dataset is None and isinstance(known, dict):
        dataset = str(known.get("source"))
    elif dataset is None:
        same = (s.name for s in SOURCES.values() if set(s.class_names) == set(stored.class_names))
        dataset = next(same, None)
    names = {name.lower(): name for name in DDRANKING_DATASETS}
    if dataset not in names:
        return None
    ours = SOURCES[dataset].class_names
    if ours and stored.class_names != ours and set(stored.class_names) == set(ours):
        raise UserError(
            f"The set's classes are in another order than {SOURCES[dataset].title}'s in "
            "DD-Ranking, whose labels would name other classes; use --to npz."
        )
    return names[dataset]


def _write_ddranking(
    stored: DistilledSet,
    out: Path,
    dataset: str | None,
    learning_rate: float | None,
    overwrite: bool,
) -> None:
    from dd_core.errors import ArtifactError, SettingsError
    from dd_core.export_ddranking import export_ddranking

    try:
        export_ddranking(
            stored, out, dataset=dataset, learning_rate=learning_rate, overwrite=overwrite
        )
    except (ArtifactError, SettingsError) as error:
        message = str(error).replace("learning_rate", "--learning-rate")
        message = message.replace("with views=True", "--views").replace(", or None", "")
        raise type(error)(_as_options(message.replace("dataset is", "--dataset is"))) from None


def _settings_of_ddranking(stored: DistilledSet, dataset: str | None) -> str:
    """What the pixels are, and what the tool's settings must say."""
    views, images = int(stored.view_counts.sum()) // stored.n_classes, stored.ipc
    size = stored.images.shape[-1]
    pixels = f"normalised for {dataset}" if dataset else "normalised with the set's mean and std"
    more = f" (views of {images} stored image{'s' * (images > 1)})" if views > images else ""
    return f"{pixels}; in DD-Ranking give ipc {views}{more} and im_size [{size}, {size}]"

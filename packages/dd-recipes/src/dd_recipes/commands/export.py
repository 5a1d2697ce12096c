"""``dd-recipes export``: a distilled set as other tools read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from dd_recipes.commands._stored import Answers, legacy_options, read_set

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet

__all__ = ["export"]

Form = Literal["folder", "npz", "pt", "set"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--to", "form", type=click.Choice(["folder", "npz", "pt", "set"]), required=True,
              help="folder: one PNG an image, a folder a class; npz: arrays; pt: what the code of "
              "earlier papers reads, see --layout; set: a folder of this package.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), required=True, metavar="PATH",
              help="The new file or folder.")  # fmt: skip
@click.option("--layout", type=click.Choice(["idc", "dc", "mtt"]),
              help="Of pt: idc (IDC, DANCE, NCFM), dc (DC, DSA, DM) or mtt (MTT, FTD, DATM; a "
              "folder).")  # fmt: skip
@click.option("--views", is_flag=True,
              help="Write every view at full size instead of the stored images.")  # fmt: skip
@click.option("--clip", is_flag=True, help="Of folder: cut pixels outside 0 to 1.")
@click.option("--overwrite", is_flag=True, help="Replace an earlier export.")
@click.option("--data", "root", type=click.Path(path_type=Path), metavar="ROOT",
              help="Folder of the data sets, to read classes from.  [default: data]")  # fmt: skip
@legacy_options
def export(
    path: Path, form: Form, out: Path, layout: Literal["idc", "dc", "mtt"] | None, views: bool,
    clip: bool, overwrite: bool, root: Path | None, **answers: Any,
) -> None:  # fmt: skip
    """Write a distilled set as images, arrays or a .pt file.

    PATH is a distilled set's folder, the folder of a run that made one, or a .pt file that the code
    of an earlier paper wrote (DC, DSA, DM, IDC, DANCE, NCFM, MTT, FTD, DATM; for the last three
    also the folder of images_best.pt). A .pt file does not say all that using it needs; the last
    options do.
    """
    _check(form, layout, views, clip)
    refused = [f"--{name}" for name in ("dataset",) if answers[name] is not None]
    refused += ["--data"] if root is not None else []
    stored = read_set(path, Answers(**answers), root, refused=tuple(refused))
    _write(stored, form, out, layout=layout, views=views, clip=clip, overwrite=overwrite)
    n = int(stored.view_counts.sum()) if views else len(stored.images)
    what = "views" if views else "images"
    click.echo(f"{out}: {n} {what} of {stored.n_classes} classes")
    click.echo(f"read it: {_how(form, layout, out)}")


def _check(form: Form, layout: str | None, views: bool, clip: bool) -> None:
    """Refuses options that would change nothing."""
    from dd_core.errors import UserError

    if form == "pt" and layout is None:
        raise UserError("--to pt needs --layout idc, dc or mtt: whose code shall read it?")
    unused = [("--layout", layout is not None, ("pt",)), ("--clip", clip, ("folder",)),
              ("--views", views, ("folder", "npz", "pt"))]  # fmt: skip
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
    return f'torch.load("{out / "images_best.pt" if layout == "mtt" else out}")'

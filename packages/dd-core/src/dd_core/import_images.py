"""A distilled set from a folder of image files, in one folder a class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dd_core._arguments import as_path, as_whole
from dd_core.artifact import DistilledSet
from dd_core.artifact_files import digest_of
from dd_core.datasets._square import as_array
from dd_core.datasets.folder import class_files, class_folders, images_of
from dd_core.decoding import Form
from dd_core.errors import ArtifactError, DataError
from dd_core.export import MARK
from dd_core.legacy import Normalization, statistics_of

__all__ = ["import_images"]


def import_images(
    folder: Path | str,
    *,
    normalization: str | Normalization | None = None,
    class_names: Sequence[str] | None = None,
    factor: int | None = None,
    decode: Form = "single",
    bound: int = 128,
) -> DistilledSet:
    """Reads ``folder/CLASS/*.png`` as a distilled set, whoever made the images.

    What `export_images` wrote says all that is needed in its ``export.json``. Of other folders,
    normalisation and factor are asked for, because a wrong answer trains worse students without
    any error.

    Args:
        folder: One folder a class, with image files of one size: gray or RGB, 8 bits. Where some
            are gray and some RGB, all are made RGB, and the provenance says how many were gray.
        normalization: A name of `NORMALIZATIONS`, such as ``cifar10``, or (mean, std) with one
            number a channel, of pixels from 0 to 1.
        class_names: Names in the order of the labels of the test images. If they are those of the
            folders, each folder is the class of its name; otherwise the folders, by name or by
            number, are the classes in their order. By default the names of the folders.
        factor: Multi-formation rho; 1 where an image is one view.
        decode: Form of decoding; see `dd_core.decoding`.
        bound: Most views of a class, for ``bound``.

    Raises:
        ArtifactError: Something is not said, or said otherwise in ``export.json``; a class has no
            folder; images differ in size or colour, are not square, or cannot be read.
        SettingsError: An argument is of the wrong type.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> for kind in ("cat", "dog"):
        ...     (root / kind).mkdir()
        ...     Image.new("L", (8, 8), 99).save(root / kind / "1.png")
        >>> found = import_images(root, normalization=((0.5,), (0.25,)), factor=2)
        >>> found.class_names, found.decoded()[0].shape
        (('cat', 'dog'), torch.Size([8, 1, 8, 8]))
    """
    folder = as_path("folder", folder)
    factor = None if factor is None else as_whole("factor", factor)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is not a folder; give one with CLASS/*.png.")
    said = {"normalization": normalization, "class_names": class_names, "factor": factor}
    try:
        folders = _numbered(class_folders(folder))
        facts = _facts(folder, said) or _asked(folder, said, folders, decode, bound)
        pixels, labels, gray = _read(folder, _ordered(folder, folders, facts))
    except DataError as error:
        raise ArtifactError(str(error)) from None
    mean, std = statistics_of(facts.normalization, pixels.shape[1], folder)
    try:
        return DistilledSet(
            pixels, labels, facts.factor, mean, std, facts.class_names,
            {**facts.provenance, "imported": _imported(folder, facts, gray)},
            decode=facts.decode, bound=facts.bound,
        )  # fmt: skip
    except ArtifactError as error:
        raise ArtifactError(f"{folder} cannot be taken: {error}") from None


@dataclass(frozen=True)
class _Facts:
    """What the images do not say; ``folders`` in the order of the classes, where it is known."""

    normalization: str | Normalization
    class_names: tuple[str, ...]
    factor: int
    decode: Form
    bound: int
    provenance: dict[str, Any]
    folders: tuple[str, ...] | None = None
    soft_labels: bool = False


def _imported(folder: Path, facts: _Facts, gray: int) -> dict[str, Any]:
    """Where the set comes from; image files hold no soft labels, and gray ones may be made RGB."""
    lost: dict[str, Any] = {"soft_labels_left_out": True} if facts.soft_labels else {}
    made = {"gray_images_made_rgb": gray} if gray else {}
    return {"layout": "images", "folder": folder.name, **lost, **made}


def _facts(folder: Path, said: dict[str, Any]) -> _Facts | None:
    """What ``export.json`` says; None where there is none."""
    try:
        stored = json.loads((folder / MARK).read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{folder / MARK} cannot be read ({error}).") from None
    if given := [name for name, value in said.items() if value is not None]:
        raise ArtifactError(
            f"{', '.join(given)} was given, but {folder / MARK} says it; leave it out, or take "
            "that file away."
        )
    held = stored.get("sha256") if isinstance(stored, dict) else None  # older exports hold none
    if held is not None and held != digest_of(stored, "sha256"):
        raise ArtifactError(
            f"{folder / MARK} is damaged or was changed: its SHA-256 is not the one it holds. "
            "Export the set again, or take that file away and say normalization and factor."
        )
    try:
        views, normal = bool(stored["views"]), stored["normalization"]
        return _Facts(
            (normal["mean"], normal["std"]), tuple(stored["class_names"]),
            1 if views else stored["factor"], "single" if views else stored["decode"],
            stored["bound"], dict(stored["provenance"]), tuple(stored["folders"]),
            bool(stored.get("soft_labels", False)),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{folder / MARK} lacks a field of an export of images ({error})."
        ) from None


def _asked(
    folder: Path, said: dict[str, Any], folders: list[str], decode: Form, bound: int
) -> _Facts:
    """What the caller says, all of it asked for at once."""
    missing = [
        text
        for name, text in (
            ("normalization", "normalization (such as 'cifar10', or ((0.49, ...), (0.20, ...)))"),
            ("factor", "factor (such as factor=2; 1 where an image is one view)"),
        )
        if said[name] is None
    ]
    if missing:
        raise ArtifactError(
            f"{folder} (a folder of images) does not say all that is needed; give "
            f"{'; '.join(missing)}."
        )
    names = folders if said["class_names"] is None else said["class_names"]
    return _Facts(said["normalization"], tuple(names), said["factor"], decode, bound, {})


def _numbered(folders: list[str]) -> list[str]:
    """Folders that are called by numbers in the order of these: 2 before 10."""
    return sorted(folders, key=int) if all(name.isdecimal() for name in folders) else folders


def _ordered(folder: Path, folders: list[str], facts: _Facts) -> list[str]:
    """The folders in the order of the classes.

    Raises:
        ArtifactError: There are more or fewer than classes, or one of an export is missing.
    """
    names = facts.class_names
    wanted = facts.folders or (names if set(names) & set(folders) else None)
    if wanted is None and len(names) == len(folders):
        return folders
    if wanted is None:
        raise ArtifactError(
            f"{folder} has {len(folders)} folders of classes and class_names {len(names)} names; "
            "give one name a folder."
        )
    for what, left in (
        ("has no folder for class", sorted(set(wanted) - set(folders))),
        ("has a folder that is no class:", sorted(set(folders) - set(wanted))),
    ):
        if left:
            raise ArtifactError(
                f"{folder} {what} {left[0]!r} ({len(left)} in all); there must be one folder with "
                "images for each class."
            )
    return list(wanted)


def _read(folder: Path, folders: list[str]) -> tuple[Tensor, Tensor, int]:
    """Pixels from 0 to 1, labels, class by class, and how many gray images were made RGB."""
    listing = class_files(folder, folders)
    part = images_of(listing)
    images = [part.read(i)[0] for i in range(len(listing))]
    n_gray = sum(image.mode in ("1", "L", "LA", "La") for image in images)
    gray = n_gray == len(images)
    arrays = [
        as_array(image, part.describe(i), size=None, gray=gray, strict=False)
        for i, image in enumerate(images)
    ]
    first = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.shape != first or first[1] != first[2]:
            raise ArtifactError(
                f"{part.describe(i)} is {array.shape[2]} x {array.shape[1]} px, and "
                f"{part.describe(0)} {first[2]} x {first[1]}; images must be square and of one "
                "size."
            )
    pixels = torch.stack([torch.from_numpy(array.copy()) for array in arrays])
    labels = torch.tensor([label for _, label in listing])
    return pixels.float() / 255, labels, 0 if gray else n_gray

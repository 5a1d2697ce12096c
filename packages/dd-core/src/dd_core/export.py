"""A `DistilledSet` as other tools read it: a folder of images, an .npz file, or a legacy .pt."""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dd_core._arguments import as_choice, as_path
from dd_core.artifact import DistilledSet
from dd_core.artifact_files import digest_of
from dd_core.augment import normalize
from dd_core.checkpoint import write_atomically
from dd_core.errors import ArtifactError

__all__ = ["MARK", "LegacyLayout", "export_images", "export_legacy", "export_npz", "mark_of"]

LegacyLayout = Literal["dc", "idc", "mtt"]
MARK = "export.json"  # in every folder that this module wrote


def export_images(
    data: DistilledSet,
    folder: Path | str,
    *,
    views: bool = False,
    clip: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes one PNG an image, in one folder a class: the layout of torchvision's ImageFolder.

    A class folder is called by its label and its name (``003_cat``), so that folders in
    alphabetical order are the labels in order; characters that a file system may refuse become
    ``_``. ``export.json`` beside them says what the pixels alone do not, with a checksum of what it
    says. A pixel becomes
    round(255 x), so it comes back within 1/510.

    Args:
        data: The set.
        folder: A new or empty folder, or an earlier export with ``overwrite``.
        views: Write every decoded view instead of every stored image.
        clip: Cut free pixels to [0, 1]; without it they are refused.
        overwrite: Replace an earlier export as a whole.

    Raises:
        ArtifactError: The folder is not empty; pixels are outside [0, 1]; the channels are not 1
            or 3; or Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise ArtifactError(
            "export_images needs Pillow; install it with: python -m pip install pillow"
        ) from None
    channels = data.images.shape[1]
    if channels not in (1, 3):
        raise ArtifactError(f"images have {channels} channels; a PNG takes 1 or 3. Use export_npz.")
    low, high = DistilledSet.range_of(data.images)
    if (low < -1e-3 or high > 1 + 1e-3) and not clip:
        raise ArtifactError(
            f"images run from {low:.4g} to {high:.4g}, and a PNG holds 0 to 1; give clip=True to "
            "cut them, or use export_npz."
        )
    pixels, labels = data.decoded() if views else (data.images, data.labels)
    rounded = (pixels.detach().cpu() * 255).round_().clamp_(0, 255).to(torch.uint8)

    def write(target: Path) -> None:
        names = [_folder_name(i, data) for i in range(data.n_classes)]
        for name in names:
            (target / name).mkdir()
        written = [0] * data.n_classes
        for image, label in zip(rounded, labels.tolist(), strict=True):
            array = image.permute(1, 2, 0).squeeze(-1).contiguous().numpy()
            Image.fromarray(array).save(target / names[label] / f"{written[label]:05d}.png")
            written[label] += 1
        facts = {**facts_of(data), "views": views, "folders": names}
        (target / MARK).write_text(mark_of(facts))

    write_folder(as_path("folder", folder), write, overwrite)


def export_npz(
    data: DistilledSet, path: Path | str, *, views: bool = False, overwrite: bool = False
) -> None:
    """Writes arrays for `numpy.load`, which needs no pickle for them.

    ``images`` float32 of shape (n, channels, size, size), not normalised; ``labels`` int64;
    ``mean``, ``std``, ``class_names``, ``factor``, ``decode``, ``bound``; and ``soft_labels``,
    where the set has them.

    Args:
        data: The set.
        path: The file, ending with ``.npz``.
        views: Write every decoded view; ``factor`` is then 1, and soft labels are those of views.
        overwrite: Replace a file.

    Raises:
        ArtifactError: The file exists, or its name does not end with ``.npz``.
    """
    path = as_path("path", path)
    if path.suffix != ".npz":
        raise ArtifactError(f"path is {path}; give a name that ends with .npz.")
    _refuse_file(path, overwrite)
    if views:
        data = as_views(data)
    arrays: dict[str, Any] = {
        "images": _array(data.images),
        "labels": _array(data.labels),
        "mean": np.array(data.mean),
        "std": np.array(data.std),
        "class_names": np.array(data.class_names, dtype=np.str_),
        "factor": np.array(data.factor),
        "decode": np.array(data.decode),
        "bound": np.array(data.bound),
    }
    if data.soft_labels is not None:
        arrays["soft_labels"] = _array(data.soft_labels)
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_atomically(path, content.getvalue())


def export_legacy(
    data: DistilledSet,
    path: Path | str,
    layout: LegacyLayout,
    *,
    views: bool = False,
    overwrite: bool = False,
) -> None:
    """Writes what the code of an earlier paper reads.

    Args:
        data: The set.
        path: A file for ``dc`` and ``idc``, a folder for ``mtt``.
        layout: ``idc`` (IDC, DANCE, NCFM): a list [images, labels], pixels from 0 to 1. ``dc``
            (DC, DSA, DM): a dictionary with ``data``, a list of one [images, labels], normalised,
            and an empty ``accs_all_exps``. ``mtt`` (MTT, FTD, DATM): ``images_best.pt``,
            normalised, and ``labels_best.pt``, which are log-probabilities where the set has soft
            labels.
        views: Write every decoded view; ``dc`` and ``mtt`` know no factor, so that a set with
            one needs this.
        overwrite: Replace an earlier file, or an earlier export of a folder.

    Raises:
        ArtifactError: The target exists, or the layout cannot hold the set.
    """
    path = as_path("path", path)
    as_choice("layout", layout, ("dc", "idc", "mtt"))
    if views:
        data = as_views(data)
    if layout != "idc" and data.factor > 1:
        raise ArtifactError(
            f"layout {layout!r} knows no factor, and the set has factor {data.factor}; give "
            "views=True to write decoded views, or layout='idc'."
        )
    images, labels = data.images.detach().cpu(), data.labels.cpu()
    if layout == "idc":
        _refuse_file(path, overwrite)
        write_atomically(path, torch_bytes([images.contiguous(), labels]))
        return
    normalised = normalize(images, data.mean, data.std).contiguous()
    if layout == "dc":
        _refuse_file(path, overwrite)
        stored = {"data": [[normalised, labels]], "accs_all_exps": {}}
        write_atomically(path, torch_bytes(stored))
        return
    if data.soft_labels is not None:
        labels = data.soft_targets().cpu().clamp_min(1e-30).log()

    def write(target: Path) -> None:
        (target / "images_best.pt").write_bytes(torch_bytes(normalised))
        (target / "labels_best.pt").write_bytes(torch_bytes(labels))
        (target / MARK).write_text(mark_of(facts_of(data)))

    write_folder(path, write, overwrite)


def as_views(data: DistilledSet) -> DistilledSet:
    """The set with every decoded view as an image of its own, and factor 1."""
    images, labels = data.decoded()
    soft = None if data.soft_labels is None else data.soft_targets()
    return DistilledSet(
        images, labels, 1, data.mean, data.std, data.class_names,
        {**data.provenance, "views_of_factor": data.factor},
        value_range=data.value_range, soft_labels=soft,
    )  # fmt: skip


def facts_of(data: DistilledSet) -> dict[str, Any]:
    """What the pixels alone do not say, for ``export.json``."""
    return {
        "exported_by": "dd-core",
        "factor": data.factor,
        "decode": data.decode,
        "bound": data.bound,
        "normalization": {"mean": list(data.mean), "std": list(data.std)},
        "class_names": list(data.class_names),
        "soft_labels": data.soft_labels is not None,
        "provenance": dict(data.provenance),
    }


def mark_of(facts: Mapping[str, Any]) -> str:
    """What ``export.json`` holds: the facts, and the SHA-256 of these."""
    said = json.loads(json.dumps(facts, default=str))
    return json.dumps({**said, "sha256": digest_of(said)}, indent=2)


def _folder_name(label: int, data: DistilledSet) -> str:
    width = max(3, len(str(data.n_classes - 1)))
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", data.class_names[label]).strip("._")[:80]
    return f"{label:0{width}d}_{safe}" if safe else f"{label:0{width}d}"


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    array: np.ndarray[Any, Any] = tensor.detach().cpu().numpy()
    return array


def torch_bytes(value: object) -> bytes:
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def _refuse_parent(path: Path) -> None:
    """Refuses a path that lies in a file."""
    above = next((parent for parent in path.parents if parent.exists()), None)
    if above is not None and not above.is_dir():
        raise ArtifactError(f"{above} is a file, so {path} cannot be made; give another path.")


def _refuse_file(path: Path, overwrite: bool) -> None:
    _refuse_parent(path)
    if path.is_dir():
        raise ArtifactError(f"{path} is a folder; give the name of a file.")
    if path.exists() and not overwrite:
        raise ArtifactError(f"{path} exists; give another name, or overwrite=True.")


def write_folder(folder: Path, write: Callable[[Path], None], overwrite: bool) -> None:
    """Fills a folder beside the target and moves it into place, so that it is whole or absent."""
    _refuse_parent(folder)
    occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if occupied and not overwrite:
        raise ArtifactError(
            f"{folder} exists and is not empty; give another folder, or overwrite=True."
        )
    if occupied and not (folder / MARK).is_file():
        raise ArtifactError(
            f"{folder} is not an earlier export (it has no {MARK}), so overwrite=True does not "
            "replace it; give another folder."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        new, old = scratch / "new", scratch / "old"
        new.mkdir()
        write(new)
        if folder.exists():
            folder.rename(old)
        try:
            new.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)

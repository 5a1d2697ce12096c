"""Distilled sets in the .pt layouts of earlier papers, as a `DistilledSet`.

Files are read with ``weights_only=True`` always, so that no code in them runs. What a file does
not say (normalisation, factor, class names, whitening) is asked for, and what it contradicts is
refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dd_core._arguments import as_choice, as_flag, as_numbers, as_path, as_whole
from dd_core.artifact import DistilledSet
from dd_core.datasets._normalization import KNOWN
from dd_core.decoding import Form
from dd_core.errors import ArtifactError, SettingsError
from dd_core.legacy_files import LAYOUTS, LegacyFile, read_legacy, sha256_of
from dd_core.synthetic import to_unit

__all__ = ["NORMALIZATIONS", "Normalization", "import_legacy", "statistics_of"]

Normalization = tuple[Sequence[float], Sequence[float]]

NORMALIZATIONS: dict[str, Normalization] = {
    **{name.lower(): known for name, known in KNOWN.items()},
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Channel means and deviations as DC, DSA, DM and MTT set them; also for Tiny-ImageNet and the
ImageNet subsets (``imagenet``). NCFM uses those of ``cifar10`` for CIFAR-100 too."""

_TOLERANCE = 1e-3


def import_legacy(
    path: Path | str,
    *,
    normalization: str | Normalization | None = None,
    class_names: Sequence[str] | None = None,
    factor: int | None = None,
    zca: bool | None = None,
    space: Literal["unit", "normalized"] | None = None,
    experiment: int | None = None,
    decode: Form = "single",
    bound: int = 128,
) -> DistilledSet:
    """Reads a distilled set that the code of an earlier paper wrote; its layout is recognised.

    | layout | found as | pixels | asked for, always `normalization` and `class_names` |
    |---|---|---|---|
    | DC, DSA, DM | a dictionary with ``data`` | normalised | `experiment`, where it holds several |
    | IDC, DANCE, NCFM | a list ``[images, labels]`` | 0 to 1 | `factor` |
    | MTT, FTD, DATM | ``images_best.pt`` and ``labels_best.pt`` | normalised | `zca` |

    Labels of MTT's layout that are numbers a class (DATM, TESLA) are taken as soft labels: as
    they are, where every row is a probability, else through a softmax, as in DATM's loss.
    The labels are then class by class, as these codes begin, where most rows agree with that;
    otherwise each row's largest entry.

    Args:
        path: The file; for MTT's layout the folder of ``images_best.pt``, or one ``images_*.pt``.
        normalization: A name of `NORMALIZATIONS`, or (mean, std) with one number a channel.
        class_names: Names in the order of the labels.
        factor: Multi-formation rho. Only IDC's layout has one; elsewhere it is 1.
        zca: Whether the pixels were ZCA-whitened. A file does not hold the transform, so whitened
            pixels stay as they are, with mean 0 and std 1: test images need the same whitening.
        space: Overrides the layout's pixels: ``unit`` (0 to 1) or ``normalized``.
        experiment: Which entry of ``data`` in DC's layout, counted from 0; no other layout has any.
        decode: Form of decoding of IDC's layout; see `dd_core.decoding`.
        bound: Most views of a class, for ``bound``.

    Returns:
        The set. Pixels that were free keep their values, and ``value_range`` says which; the
        provenance holds layout, file names, SHA-256 and preprocessing.

    Raises:
        ArtifactError: The file is missing, damaged, of no known layout, or holds other pickled
            objects; something must be asked for; or an answer contradicts the file.
        SettingsError: An argument is of the wrong type.
    """
    names = _texts(class_names)
    zca = None if zca is None else as_flag("zca", zca)
    factor = None if factor is None else as_whole("factor", factor)
    experiment = None if experiment is None else as_whole("experiment", experiment)
    legacy = read_legacy(as_path("path", path), experiment)
    labels, soft = _labels(legacy.labels, legacy.files[-1])
    _ask(legacy, labels, normalization, class_names, factor, zca)
    if len(names) != int(labels.max()) + 1 or (soft is not None and soft.shape[1] != len(names)):
        found = int(labels.max()) + 1 if soft is None else soft.shape[1]
        raise ArtifactError(
            f"class_names holds {len(names)} names, but {legacy.files[0]} has {found} "
            "classes; give one name a class."
        )
    mean, std = ((0.0,) * legacy.images.shape[1], (1.0,) * legacy.images.shape[1])
    if not zca:
        mean, std = statistics_of(normalization, legacy.images.shape[1])
    pixels, taken = _pixels(legacy, mean, std, space, bool(zca))
    provenance = {
        "imported": {
            "layout": legacy.layout,
            "files": {file.name: sha256_of(file) for file in legacy.files},
        },
        "preprocessing": {"zca": bool(zca), "pixels_in_file": taken},
    }
    try:
        return DistilledSet(
            pixels, labels, 1 if factor is None else factor, mean, std, names, provenance,
            decode=decode, bound=bound, value_range=DistilledSet.range_of(pixels),
            soft_labels=soft,
        )  # fmt: skip
    except ArtifactError as error:
        raise ArtifactError(f"{legacy.files[0]} cannot be taken: {error}") from None


def _texts(class_names: Sequence[str] | None) -> tuple[str, ...]:
    """The names as a tuple; empty where there are none yet."""
    given: object = () if class_names is None else class_names
    if not isinstance(given, (tuple, list)) or not all(isinstance(name, str) for name in given):
        raise SettingsError(
            f"class_names are {given!r:.80}; give a tuple of texts, such as ('cat', 'dog')."
        )
    return tuple(given)


def _labels(labels: Tensor, file: Path) -> tuple[Tensor, Tensor | None]:
    """Labels as int64, and probabilities where the file has numbers a class."""
    if labels.ndim == 1:
        whole = labels.long()
        if not bool((whole == labels).all()) or int(whole.min()) < 0:
            raise ArtifactError(f"{file} holds labels that are not whole numbers from 0.")
        return whole, None
    soft = labels.float()
    if not bool(torch.isfinite(soft).all()):
        raise ArtifactError(f"{file} holds soft labels that are not finite.")
    sums = bool(((soft.sum(1) - 1).abs() < _TOLERANCE).all())
    if not (sums and float(soft.min()) >= 0):
        soft = soft.softmax(1)
    n, classes = soft.shape
    largest = soft.argmax(1)
    if n % classes == 0:
        in_order = torch.arange(classes).repeat_interleave(n // classes)
        if float((in_order == largest).float().mean()) > 0.5:
            return in_order, soft
    return largest, soft


def _ask(
    legacy: LegacyFile,
    labels: Tensor,
    normalization: str | Normalization | None,
    class_names: Sequence[str] | None,
    factor: int | None,
    zca: bool | None,
) -> None:
    """One message that names every argument that is missing, with an example of each."""
    missing = []
    if normalization is None and not zca:
        missing.append("normalization (such as 'cifar10', or ((0.49, ...), (0.20, ...)))")
    if class_names is None:
        missing.append(f"class_names (such as ('cat', 'dog'); here {int(labels.max()) + 1})")
    if legacy.layout == "idc" and factor is None:
        missing.append("factor (such as factor=2; 1 where an image is one view)")
    if legacy.layout == "mtt" and zca is None:
        missing.append("zca (zca=True where the images were whitened, else zca=False)")
    if missing:
        raise ArtifactError(
            f"{legacy.files[0]} ({LAYOUTS[legacy.layout]}) does not say all that is needed; give "
            f"{'; '.join(missing)}."
        )
    if zca and normalization is not None:
        raise ArtifactError(
            "zca=True and normalization were both given; whitened pixels are used as they are, so "
            "leave normalization out."
        )
    if legacy.layout != "idc" and factor not in (None, 1):
        raise ArtifactError(
            f"factor is {factor}, but {legacy.files[0]} is of a layout without one "
            f"({LAYOUTS[legacy.layout]}); leave factor out."
        )


def statistics_of(
    normalization: str | Normalization | None, channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of a name of `NORMALIZATIONS` or as given.

    Raises:
        ArtifactError: There is no such name, or it is of other channels.
        SettingsError: It is neither a name nor a pair of numbers.
    """
    if isinstance(normalization, str):
        if normalization not in NORMALIZATIONS:
            raise ArtifactError(
                f"normalization is {normalization!r}; choose one of {', '.join(NORMALIZATIONS)}, "
                "or give (mean, std)."
            )
        normalization = NORMALIZATIONS[normalization]
    pair: Sequence[object] = (None, None)  # which are no numbers either
    if isinstance(normalization, (tuple, list)) and len(normalization) == 2:
        pair = normalization
    try:
        mean, std = (as_numbers("normalization", part) for part in pair)
    except SettingsError:
        raise SettingsError(
            f"normalization is {normalization!r:.80}; give (mean, std) with one number a channel, "
            f"or one of {', '.join(NORMALIZATIONS)}."
        ) from None
    if not len(mean) == len(std) == channels:
        raise ArtifactError(
            f"normalization has {len(mean)} and {len(std)} entries, but the images have {channels} "
            "channels; give one a channel."
        )
    return mean, std


def _pixels(
    legacy: LegacyFile,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    space: Literal["unit", "normalized"] | None,
    zca: bool,
) -> tuple[Tensor, str]:
    """Pixels that are not normalised, and the space that they were in; or a contradiction."""
    if space is not None:
        as_choice("space", space, ("unit", "normalized"))
    if zca:
        return legacy.images, "whitened"
    expected = space or ("unit" if legacy.layout == "idc" else "normalized")
    low, high = float(legacy.images.min()), float(legacy.images.max())
    inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    if expected == "unit" and not inside:
        raise ArtifactError(
            f"{legacy.files[0]}: pixels run from {low:.3g} to {high:.3g}, but "
            f"{'space is unit' if space else 'its layout has'} 0 to 1. If they are normalised, "
            "give space='normalized'."
        )
    if expected == "normalized" and space is None and inside:
        raise ArtifactError(
            f"{legacy.files[0]}: pixels run from {low:.3g} to {high:.3g}, but normalised images "
            "have negative ones. Give space='unit' if they are not normalised, or "
            "space='normalized' if they are."
        )
    if expected == "unit":
        return legacy.images, expected
    return to_unit(legacy.images, mean, std, "normalized"), expected

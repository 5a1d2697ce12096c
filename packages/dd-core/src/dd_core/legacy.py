"""Distilled sets in the .pt layouts of earlier papers, as a `DistilledSet`.

Files are read with ``weights_only=True`` always, so that no code in them runs. What a file does
not say (normalisation, factor, class names, whitening) is asked for, and what it contradicts is
refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dd_core._arguments import as_choice, as_flag, as_numbers, as_path, as_whole
from dd_core.artifact import DistilledSet
from dd_core.datasets._normalization import KNOWN
from dd_core.decoding import Form
from dd_core.errors import ArtifactError, SettingsError
from dd_core.legacy_files import LAYOUTS, LegacyFile, place_of, read_legacy, sha256_of
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
_WIDEST = (-5.0, 6.0)  # of un-normalised pixels: room for those that an optimiser moved unclamped
_BYTES = "They look like bytes: divide them by 255, and save them anew."


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

    Labels that are numbers a class are plain labels where every row is one-hot. Others (DATM,
    TESLA) are taken as soft labels: as they are, where every row is a probability, else through a
    softmax, as in DATM's loss. The labels are then each row's largest entry; but in MTT's layout
    class by class, as these codes begin, where most rows agree with that. The provenance says how
    many rows do not.

    Pixels that are far outside 0 to 1 once they are un-normalised (below -5 or above 6) are
    refused: no image is there, and optimisers without a clamp do not go so far.

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
    labels = _labels(legacy)
    _ask(legacy, labels.n_classes, normalization, class_names, factor, zca)
    _refuse_other_classes(legacy.files[-1], labels, names)
    channels = legacy.images.shape[1]
    mean, std = (0.0,) * channels, (1.0,) * channels
    if not zca:
        mean, std = statistics_of(normalization, channels, legacy.files[0])
    pixels, taken = _pixels(legacy, mean, std, space, bool(zca))
    provenance = {
        "imported": {
            "layout": legacy.layout,
            "files": {file.name: sha256_of(file) for file in legacy.files},
            **labels.about,
        },
        "preprocessing": {"zca": bool(zca), "pixels_in_file": taken},
    }
    try:
        return DistilledSet(
            pixels, labels.whole, 1 if factor is None else factor, mean, std, names, provenance,
            decode=decode, bound=bound, value_range=DistilledSet.range_of(pixels),
            soft_labels=labels.soft,
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


@dataclass(frozen=True)
class _Labels:
    """What a file says of its labels.

    Attributes:
        whole: int64 of shape (n,).
        columns: Numbers a row; None where a row is one label.
        soft: Probabilities, where the file has numbers a class that are not one-hot.
        about: For the provenance: how ``whole`` was found, where the file does not say it.
    """

    whole: Tensor
    columns: int | None = None
    soft: Tensor | None = None
    about: Mapping[str, object] = field(default_factory=dict)

    @property
    def n_classes(self) -> int:
        """As many classes as the labels need."""
        return self.columns or int(self.whole.max()) + 1


def _labels(legacy: LegacyFile) -> _Labels:
    """Labels as int64, and probabilities where the file has numbers a class."""
    file, found = legacy.files[-1], legacy.labels
    if found.ndim == 1:
        whole = found.long()
        _refuse_any((whole != found) | (whole < 0), found, file, "are not whole numbers from 0")
        return _Labels(whole)
    rows = found.float()
    _refuse_any(~torch.isfinite(rows), found, file, "are not finite")
    n, classes = rows.shape
    largest = rows.argmax(1)
    if bool((rows == torch.nn.functional.one_hot(largest, classes)).all()):
        return _Labels(largest, classes)
    in_sums = bool(((rows.sum(1) - 1).abs() < _TOLERANCE).all())
    soft = rows if in_sums and float(rows.min()) >= 0 else rows.softmax(1)
    if legacy.layout == "mtt" and n % classes == 0:
        in_order = torch.arange(classes).repeat_interleave(n // classes)
        others = int((in_order != largest).sum())
        if 2 * others < n:
            about: dict[str, object] = {
                "labels": "class by class",
                "rows_with_another_largest_entry": others,
            }
            return _Labels(in_order, classes, soft, about)
    return _Labels(largest, classes, soft, {"labels": "largest entry of each row"})


def _refuse_any(bad: Tensor, labels: Tensor, file: Path, what: str) -> None:
    """An error with the first label that is bad."""
    if bool(bad.any()):
        place = place_of(bad)
        raise ArtifactError(
            f"{file} holds labels that {what}: labels{list(place)} is {labels[place].item():.5g}."
        )


def _refuse_other_classes(file: Path, labels: _Labels, names: tuple[str, ...]) -> None:
    """An error where the labels are not those of the classes that are named."""
    low, high, named = int(labels.whole.min()), int(labels.whole.max()), len(names)
    run = f"labels run from {low} to {high}"
    if low > 0 and high >= named > high - low:
        raise ArtifactError(
            f"{file}: {run}, and {named} classes are named. Labels must begin at 0: subtract {low}."
        )
    if labels.n_classes > named or (labels.columns or named) != named:
        found = f"{labels.columns} numbers a row of labels" if labels.columns else run
        raise ArtifactError(
            f"{file} has {labels.n_classes} classes ({found}), but {named} are named; give the "
            "data set that it is of, or class_names with one name a class."
        )
    absent = sorted(set(range(named)) - set(labels.whole.tolist()))
    if absent:
        more = f" and of {len(absent) - 1} more" if absent[1:] else ""
        raise ArtifactError(
            f"{file}: {run}, and {named} classes are named, but there is no image of "
            f"{names[absent[0]]!r} (label {absent[0]}){more}. Every class needs one; give the "
            "whole set, or the data set that it is of."
        )


def _ask(
    legacy: LegacyFile,
    n_classes: int,
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
        missing.append(f"class_names (such as ('cat', 'dog'); here {n_classes})")
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
    normalization: str | Normalization | None, channels: int, file: Path
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, of a name of `NORMALIZATIONS` or as given.

    Args:
        normalization: The name, or (mean, std).
        channels: Those of the images.
        file: Where the images are, for a message.

    Raises:
        ArtifactError: There is no such name, or it is of other channels.
        SettingsError: It is neither a name nor a pair of numbers.
    """
    called = repr(normalization) if isinstance(normalization, str) else "(mean, std)"
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
            f"{file} holds images with {_counted(channels)}, but the normalization {called} has "
            f"{len(mean)} and {len(std)} entries. Give that of the data set that the images are "
            "of, or (mean, std) with one number a channel."
        )
    return mean, std


def _counted(channels: int) -> str:
    return "1 channel" if channels == 1 else f"{channels} channels"


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
    run = f"{legacy.files[0]}: pixels run from {low:.3g} to {high:.3g}"
    bytes_like = low >= -_TOLERANCE and _WIDEST[1] < high <= 255 + _TOLERANCE
    inside = low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    if expected == "unit" and not inside:
        other = "If they are normalised, give space='normalized'."
        raise ArtifactError(
            f"{run}, but {'space is unit' if space else 'its layout has'} 0 to 1. "
            f"{_BYTES if bytes_like else other}"
        )
    if expected == "normalized" and space is None and inside:
        raise ArtifactError(
            f"{run}, but normalised images have negative ones. Give space='unit' if they are not "
            "normalised, or space='normalized' if they are."
        )
    if expected == "unit":
        return legacy.images, expected
    pixels = to_unit(legacy.images, mean, std, "normalized")
    least, most = float(pixels.min()), float(pixels.max())
    if not (least >= _WIDEST[0] and most <= _WIDEST[1]):
        cause = "They were multiplied, or the normalization is probably another."
        raise ArtifactError(
            f"{run}, which un-normalised is {least:.3g} to {most:.3g}; images are from 0 to 1, and "
            f"optimised ones at most from {_WIDEST[0]:g} to {_WIDEST[1]:g}. "
            f"{_BYTES if bytes_like else cause}"
        )
    return pixels, expected

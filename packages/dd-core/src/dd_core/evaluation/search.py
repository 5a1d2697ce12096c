"""Architecture search: networks ranked by what they reach on a small set, or on all images."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast, get_args

from dd_core._arguments import (
    as_choice,
    as_count,
    as_instance,
    as_number,
    as_path,
    as_seed,
)
from dd_core.artifact import DistilledSet
from dd_core.datasets.parts import split_per_class
from dd_core.errors import DataError, SettingsError
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate, chosen
from dd_core.evaluation.students import Evaluation, evaluate
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.networks import network_for
from dd_core.networks.base import padded_size
from dd_core.runtime import Runtime
from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["architecture_grid", "held_out_per_class", "search_architectures"]

Norm = Literal["instance", "batch", "layer", "group", "none"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def architecture_grid(
    depths: Sequence[int], widths: Sequence[int], norms: Sequence[str], *, size: int
) -> dict[str, NetworkSettings]:
    """ConvNets of all combinations of depth, width and norm that images of a size can pass.

    Each block halves the images, which must leave a pixel: depths above log2(size) are left out
    (images of 28 px are padded to 32). A norm ``group`` takes widths that 4 divides alone; others
    are left out for it.

    Args:
        depths: Numbers of blocks.
        widths: Channels of the blocks.
        norms: Norms of `NetworkSettings`.
        size: Height and width of the images.

    Returns:
        Settings by names such as ``convnet-d3-w64-instance``, by depth, width, norm in the order
        given.

    Raises:
        SettingsError: An argument is of the wrong type, or no combination is left.

    Example:
        >>> list(architecture_grid([2, 3, 4], [16], ["instance", "none"], size=8))
        ['convnet-d2-w16-instance', 'convnet-d2-w16-none', 'convnet-d3-w16-instance', \
'convnet-d3-w16-none']
    """
    axes: dict[str, Sequence[Any]] = {"depths": depths, "widths": widths, "norms": norms}
    for axis, values in axes.items():
        if isinstance(values, str) or not isinstance(values, Sequence) or not values:
            raise SettingsError(f"{axis} is {values!r:.80}; give one value at least, in a list.")
    counts = {
        axis: [as_count(f"{axis}[{i}]", value) for i, value in enumerate(axes[axis])]
        for axis in ("depths", "widths")
    }
    kinds = [
        cast(Norm, as_choice(f"norms[{i}]", norm, get_args(Norm))) for i, norm in enumerate(norms)
    ]
    padded = padded_size(as_count("size", size))
    grid = {
        f"convnet-d{depth}-w{width}-{norm}": NetworkSettings("convnet", depth, width, norm)
        for depth, width, norm in itertools.product(counts["depths"], counts["widths"], kinds)
        if depth < padded.bit_length() and not (norm == "group" and width % 4)
    }
    if not grid:
        raise SettingsError(
            f"depths {counts['depths']}, widths {counts['widths']} and norms {kinds} leave no "
            f"network for images of {size} px; give a depth of at most {padded.bit_length() - 1}, "
            "and for the norm group a width that 4 divides."
        )
    return grid


def search_architectures(
    data: DistilledSet,
    train: LabeledImages,
    test: LabeledImages,
    networks: Mapping[str, NetworkSettings],
    settings: StudentSettings,
    whole: StudentSettings | None,
    *,
    held_out: float = 0.1,
    folder: Path | str,
    whole_folder: Path | str | None = None,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str = "students",
    checkpoint_seconds: float = 5.0,
    workers: int | Literal["auto"] = "auto",
) -> ArchitectureSearch:
    """Ranks networks by students of a small set, and by students of all other training images.

    A part of the training images is held out: these validation images, the same for all, rank
    the networks by both ways and choose one by each. The agreement is Spearman's rho and Kendall's
    tau of the mean accuracies, as DC and DM judge distilled sets (Zhao et al. 2021, Zhao and Bilen
    2023). Only what was chosen sees the test images: the pick of the small set, and the one that
    training on all other images would have picked, both trained on these images. Few students
    make noise, which lowers the correlation.

    **A set that was distilled from all training images has seen the validation images.** Students
    of it are then judged on images that are not new to it, which flatters its accuracies (the
    ranking less, for all networks learn of the same set). To avoid it, distil from the rest alone:
    ``rest, _ = split_per_class(train, held_out_per_class(train, held_out), seed)`` is what is
    trained on here. Recipes of dd-recipes that measure ``search`` do so.

    Args:
        data: A distilled or selected set.
        train: The real training images.
        test: The real test images; they choose nothing.
        networks: Two or more architectures by name; names become folders.
        settings: Number and training of the students of the small set.
        whole: Number and training of those of the real images; None leaves this out, and with it
            the correlation.
        held_out: Validation images, the same number of each class: this share of the smallest.
        folder: Where results and unfinished states are kept; a second call goes on from there.
        whole_folder: Where those of the real images are kept, which do not depend on the small
            set: searches that share it train them once. By default in ``folder``.
        seed: Seed of the validation images, and of the students.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phases in the events; network and way are added.
        checkpoint_seconds: Time between two stored states.
        workers: Students at a time, see `evaluate`.

    Raises:
        SettingsError: An argument is of the wrong type, ``held_out`` is not between 0 and 1, there
            are fewer than two networks, or one does not fit the images.
        DataError: Training and test images are not like the set, or a class has a single image.
        CheckpointError: The folder belongs to another search, another process works in it, or a
            file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    folder, seed = as_path("folder", folder), as_seed(seed)
    whole_folder = folder / "all" if whole_folder is None else as_path("whole_folder", whole_folder)
    as_instance("settings", settings, StudentSettings)
    if whole is not None:
        as_instance("whole", whole, StudentSettings)
    _check_alike(data, train, test)
    parameters = _parameters(networks, train)
    rest, validation = split_per_class(train, held_out_per_class(train, held_out), seed)

    def students(
        images: DistilledSet | LabeledImages, judges: LabeledImages, name: str, part: str
    ) -> Evaluation:
        small = isinstance(images, DistilledSet)
        how = settings if small or whole is None else whole
        return evaluate(
            images, judges, networks[name], how,
            folder=(folder if small else whole_folder) / part / name, seed=seed, runtime=runtime,
            listen=listen, phase=f"{phase}, {name} {'on the set' if small else 'on all images'}",
            checkpoint_seconds=checkpoint_seconds, workers=workers,
        )  # fmt: skip

    on_set = {name: students(data, validation, name, "validation") for name in networks}
    on_all = {
        name: None if whole is None else students(rest, validation, name, "validation")
        for name in networks
    }
    found = tuple(
        Candidate(name, networks[name], parameters[name], on_set[name], on_all[name])
        for name in networks
    )
    pick = chosen(found, list(on_set.values())).name
    if whole is None:
        tested, best = students(data, test, pick, "test"), None
    else:
        every = [each for each in on_all.values() if each is not None]
        tested = students(rest, test, pick, "test")
        best = students(rest, test, chosen(found, every).name, "test")
    return ArchitectureSearch(found, len(validation), len(rest), tested, best)


def held_out_per_class(train: LabeledImages, held_out: float) -> int:
    """Validation images of each class: a share of the smallest class, and one at least.

    Args:
        train: The real training images.
        held_out: The share.

    Raises:
        SettingsError: The share is not between 0 and 1.

    Example:
        >>> import torch
        >>> pixels, labels = torch.zeros(90, 1, 8, 8, dtype=torch.uint8), torch.arange(90) % 3
        >>> images = LabeledImages(pixels, labels, (0.5,), (0.2,), ("ant", "bee", "cow"))
        >>> held_out_per_class(images, 0.1)
        3
    """
    as_instance("train", train, LabeledImages)
    share = as_number("held_out", held_out)
    if not 0 < share < 1:
        raise SettingsError(f"held_out is {share:g}; give a share between 0 and 1, such as 0.1.")
    return max(1, round(share * train.smallest_class))


def _check_alike(data: object, train: object, test: object) -> None:
    """Refuses images that do not go with the set before anything is computed."""
    small = as_instance("data", data, DistilledSet)
    shape = (small.images.shape[1], small.images.shape[-1])
    for name, given in (("train", train), ("test", test)):
        images = as_instance(name, given, LabeledImages)
        if images.class_names != small.class_names:
            raise DataError(
                f"class_names of {name} ({images.n_classes}) are not those of data "
                f"({small.n_classes}), in the same order; give images of the same classes."
            )
        if (images.channels, images.size) != shape:
            raise DataError(
                f"images of {name} have {images.channels} channels and {images.size} px, those of "
                f"data {shape[0]} and {shape[1]} px; give images of the same size and channels."
            )


def _parameters(networks: object, train: LabeledImages) -> dict[str, int]:
    """The number of weights of each network; each is made once, to see that it fits."""
    if not isinstance(networks, Mapping) or len(networks) < 2:
        n = f"{len(networks)} entries" if isinstance(networks, Mapping) else repr(networks)[:80]
        raise SettingsError(
            f"networks has {n}; give two or more by name, such as those of architecture_grid."
        )
    found = {}
    for name, network in networks.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise SettingsError(
                f"networks has the name {name!r:.80}, which becomes a folder; use letters, digits, "
                "'.', '-' and '_', and begin with a letter or digit."
            )
        as_instance(f"networks[{name!r}]", network, NetworkSettings)
        try:
            made = network_for(train, network, 0)
        except SettingsError as error:
            raise SettingsError(f"networks[{name!r}]: {error}") from None
        found[name] = sum(weights.numel() for weights in made.parameters())
    return found

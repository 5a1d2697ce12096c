"""How students are trained and tested: named protocols, and accuracy against their length."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dd_core._arguments import as_choice, as_count, as_instance, as_path
from dd_core.artifact import DistilledSet
from dd_core.errors import SettingsError
from dd_core.evaluation.students import Evaluation, evaluate
from dd_core.images import LabeledImages
from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["PROTOCOLS", "budget_curve", "student_protocol"]

PROTOCOLS: Mapping[str, StudentSettings] = MappingProxyType(
    {
        "ncfm-paper": StudentSettings(students=10, epochs=2000, evaluations=20),
        "dm": StudentSettings(
            students=5, epochs=1000, batch_size=256, optimizer="sgd", learning_rate=0.01,
            weight_decay=5e-4, milestones=(0.5,), gamma=0.1,
            augmentation="color/crop/cutout/flip/scale/rotate", cutmix=0.0,
        ),
        "short": StudentSettings(students=5, epochs=300),
    }
)  # fmt: skip
"""Protocols by name.

``ncfm-paper``: ten students of 2,000 epochs, AdamW with CutMix, as the official code of NCFM trains
them. ``dm``: five students of 1,000
epochs, SGD with siamese augmentation (Zhao & Bilen 2023 and their code). ``short``: the first with
five students of 300 epochs: minutes instead of an hour on a CPU, and lower values.
"""


def student_protocol(name: str, **changes: Any) -> StudentSettings:
    """The settings of a named protocol, with some fields changed.

    Args:
        name: A key of `PROTOCOLS`.
        changes: Fields of `StudentSettings` that shall be otherwise.

    Raises:
        SettingsError: There is no such protocol or field, or a value is impossible.

    Example:
        >>> student_protocol("short", students=3).epochs
        300
    """
    name = as_choice("name", name, tuple(PROTOCOLS))
    known = [field.name for field in fields(StudentSettings)]
    if unknown := sorted(set(changes) - set(known)):
        raise SettingsError(
            f"{', '.join(unknown)} {'is' if len(unknown) == 1 else 'are'} not among the fields of "
            f"StudentSettings; choose from {', '.join(known)}."
        )
    return replace(PROTOCOLS[name], **changes)


def budget_curve(
    data: DistilledSet | LabeledImages,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    epochs: Sequence[int],
    *,
    folder: Path | str,
    phase: str = "students",
    **options: Any,
) -> dict[int, Evaluation]:
    """Accuracy against the length of the training: students trained anew for each length.

    A point inside a longer training is not the same: its learning rate has not fallen yet. The
    i-th student of all lengths starts from the same weights.

    Args:
        data: The set.
        test: Real test images.
        network: The students' architecture.
        settings: The protocol; its epochs are replaced.
        epochs: Lengths, in epochs, each another.
        folder: Each length has a folder in it, so that a second call goes on.
        phase: Name of the phase in the events; the epochs are added to it.
        options: ``seed``, ``runtime`` and what else `evaluate` takes.

    Returns:
        The evaluation of each length, in the order given.

    Raises:
        SettingsError: No or equal lengths, or steps are set, in the place of which epochs would
            not count; and what `evaluate` raises.
    """
    lengths = [as_count("epochs", value) for value in epochs]
    if not lengths or len(set(lengths)) < len(lengths):
        raise SettingsError(f"epochs are {list(epochs)}; give one length at least, each once.")
    if as_instance("settings", settings, StudentSettings).steps:
        raise SettingsError(
            f"settings.steps is {settings.steps}, which sets the length in the place of epochs; "
            "give 0."
        )
    return {
        length: evaluate(
            data, test, network, replace(settings, epochs=length),
            folder=as_path("folder", folder) / f"epochs-{length}",
            phase=f"{phase}, {length} epochs", **options,
        )
        for length in lengths
    }  # fmt: skip

"""Is a set good for other networks than the one it was distilled with?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dd_core._arguments import as_count, as_path
from dd_core.artifact import DistilledSet
from dd_core.errors import SettingsError
from dd_core.evaluation.students import Evaluation, evaluate
from dd_core.images import LabeledImages
from dd_core.networks import large_enough, network_for, usual_depth
from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["cross_architectures", "evaluate_architectures"]


def cross_architectures(size: int) -> dict[str, NetworkSettings]:
    """The architectures that papers test a set on (NCFM, Table 4), and ResNet-18 with batch norm.

    Args:
        size: Height and width of the images; those that need larger images are left out.

    Returns:
        Settings by name: ConvNet, AlexNet, VGG-11 and ResNet-18, with instance norms where they
        have norms, and ResNet-18 with batch norms.

    Example:
        >>> list(cross_architectures(32))
        ['convnet', 'alexnet', 'vgg11', 'resnet18', 'resnet18-batch']
        >>> list(cross_architectures(16))
        ['convnet', 'alexnet', 'resnet18', 'resnet18-batch']
    """
    known = {
        "convnet": NetworkSettings("convnet", depth=usual_depth(as_count("size", size))),
        "alexnet": NetworkSettings("alexnet"),
        "vgg11": NetworkSettings("vgg11"),
        "resnet18": NetworkSettings("resnet18"),
        "resnet18-batch": NetworkSettings("resnet18", norm="batch"),
    }
    return {name: each for name, each in known.items() if large_enough(each, size)}


def evaluate_architectures(
    data: DistilledSet | LabeledImages,
    test: LabeledImages,
    networks: Mapping[str, NetworkSettings],
    settings: StudentSettings,
    *,
    folder: Path | str,
    phase: str = "students",
    **options: Any,
) -> dict[str, Evaluation]:
    """Trains students of several architectures on one set, as in NCFM, Table 4.

    Args:
        data: The set.
        test: Real test images.
        networks: Architectures by name; a name is a folder's.
        settings: The protocol, the same for all.
        folder: Each architecture has a folder in it, so that a second call goes on.
        phase: Name of the phase in the events; the architecture is added to it.
        options: ``seed``, ``runtime`` and what else `evaluate` takes.

    Returns:
        The evaluation of each architecture, in the order given.

    Raises:
        SettingsError: There is no network, or the images are too small for one (before anything
            is trained); and what `evaluate` raises.
    """
    if not networks:
        raise SettingsError("networks is empty; give one at least, as in cross_architectures(32).")
    for network in networks.values():
        network_for(test, network, 0)
    return {
        name: evaluate(
            data, test, network, settings, folder=as_path("folder", folder) / name,
            phase=f"{phase} {name}", **options,
        )
        for name, network in networks.items()
    }  # fmt: skip

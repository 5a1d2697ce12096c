"""Options and small helpers that several commands share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dd_core.settings import NetworkSettings

__all__ = ["depth_for", "hardware_options", "network", "network_options"]

Command = Callable[..., Any]


def hardware_options(command: Command) -> Command:
    """Adds --device, --precision and --compile."""
    for name, choices, text in reversed((
        ("--device", ["auto", "cpu", "cuda"], "Where to compute."),
        ("--precision", ["auto", "float32", "bfloat16"], "Type of activations."),
        ("--compile", ["auto", "on", "off"], "Use torch.compile."),
    )):  # fmt: skip
        option = click.option(
            name, type=click.Choice(choices), default="auto", show_default=True, help=text
        )
        command = option(command)
    return command


def network_options(command: Command) -> Command:
    """Adds --depth, --width and --norm."""
    norms = ["instance", "batch", "layer", "group", "none"]
    for option in reversed((
        click.option("--depth", type=click.IntRange(min=1),
                     help="Blocks of a convnet.  [default: by the images' size, 3 for 32 px]"),
        click.option("--width", type=click.IntRange(min=1), default=128, show_default=True,
                     help="Channels of each block of a convnet."),
        click.option("--norm", type=click.Choice(norms), default="instance", show_default=True,
                     help="Norm of convnet, vgg11 and resnet18."),
    )):  # fmt: skip
        command = option(command)
    return command


def network(
    architecture: str, size: int, depth: int | None, width: int, norm: str
) -> NetworkSettings:
    """The network that the options describe, for images of this size."""
    from dd_core.settings import NetworkSettings

    chosen = depth_for(size) if depth is None else depth
    return NetworkSettings(architecture, chosen, width, norm)  # type: ignore[arg-type]


def depth_for(size: int) -> int:
    """Blocks of a ConvNet for images of this size, as the literature takes them.

    Example:
        >>> [depth_for(size) for size in (8, 28, 32, 64, 128, 224)]
        [1, 3, 3, 4, 5, 6]
    """
    return max(1, round(math.log2(size / 4)))

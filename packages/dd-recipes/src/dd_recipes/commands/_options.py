"""Options and small helpers that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dd_core.settings import NetworkSettings

__all__ = ["hardware_options", "network", "network_options"]

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
    """The network that the options describe, for images of this size.

    What an architecture does not have stays at its default, so that alike networks are equal.
    """
    from dd_core.networks import usual_depth
    from dd_core.settings import NetworkSettings

    if architecture == "convnet":
        chosen = usual_depth(size) if depth is None else depth
        return NetworkSettings("convnet", chosen, width, norm)  # type: ignore[arg-type]
    if depth is not None:
        raise click.UsageError(f"--depth is of a convnet, and --network is {architecture}.")
    if architecture == "alexnet":
        return NetworkSettings("alexnet")
    return NetworkSettings(architecture, norm=norm)  # type: ignore[arg-type]

"""Options and small helpers that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from dd_core.settings import NetworkSettings

__all__ = ["NORMS", "hardware_options", "network_options", "networks"]

NORMS = ("instance", "batch", "layer", "group", "none")
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
    for option in reversed((
        click.option("--depth", type=click.IntRange(min=1),
                     help="Blocks of a convnet.  [default: by the images' size, 3 for 32 px]"),
        click.option("--width", type=click.IntRange(min=1),
                     help="Channels of each block of a convnet.  [default: 128]"),
        click.option("--norm", type=click.Choice(NORMS),
                     help="Norm of convnet, vgg11 and resnet18.  [default: instance]"),
    )):  # fmt: skip
        command = option(command)
    return command


_HAVE = {
    "--depth": ("convnet",),
    "--width": ("convnet",),
    "--norm": ("convnet", "vgg11", "resnet18"),
}


def networks(
    architectures: Sequence[str],
    size: int,
    depth: int | None,
    width: int | None,
    norm: str | None,
) -> list[NetworkSettings]:
    """The networks that the options describe, for images of this size.

    An option is for the architectures that have it; of the others it stays at its default, so that
    alike networks are equal.

    Raises:
        click.UsageError: An option is given that none of the architectures has.
    """
    from dd_core.networks import usual_depth
    from dd_core.settings import NetworkSettings

    given = {"--depth": depth, "--width": width, "--norm": norm}
    for name, having in _HAVE.items():
        if given[name] is not None and not set(having) & set(architectures):
            raise click.UsageError(
                f"{name} is of {' and '.join(having)}, and --network is "
                f"{' and '.join(architectures)}; leave it out."
            )

    def one(architecture: str) -> NetworkSettings:
        said: dict[str, Any] = {
            name.removeprefix("--"): value
            for name, value in given.items()
            if value is not None and architecture in _HAVE[name]
        }
        if architecture == "convnet":
            said.setdefault("depth", usual_depth(size))
        return NetworkSettings(architecture, **said)  # type: ignore[arg-type]

    return [one(architecture) for architecture in architectures]

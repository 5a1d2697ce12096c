"""Torch modules: losses, the frequencies that they look at, and a metric.

The losses are the functions of `cfmetrics` as modules. Losses on characteristic functions take
frequencies as a tensor, or from a module: fixed, drawn anew at every step, or learned (the sampling
network psi of NCFM, in two forms). `CharacteristicFunctionDistance` needs torchmetrics, the extra
`cfmetrics[metrics]`; it is imported when it is asked for.

Example:
    >>> import torch
    >>> from cfmetrics.torch import KernelFrequencies, NCFLoss
    >>> loss = NCFLoss(KernelFrequencies(256, 3, redraw=True))
    >>> y = torch.randn(10, 3, requires_grad=True)
    >>> loss(torch.randn(100, 3), y).backward()
    >>> y.grad.shape
    torch.Size([10, 3])
"""

from typing import TYPE_CHECKING, Any

from cfmetrics.torch.frequency_networks import (
    FixedFrequencies,
    KernelFrequencies,
    ScaleMixtureFrequencies,
    TanhFrequencies,
)
from cfmetrics.torch.losses import CFLoss, NCFLoss, SpectralLoss
from cfmetrics.torch.sample_losses import EnergyLoss, MMDLoss, SlicedWassersteinLoss
from cfmetrics.torch.style_losses import (
    BoundedIntraClassDiversityLoss,
    ChannelMomentsLoss,
    GramLoss,
    IntraClassDiversityLoss,
)

if TYPE_CHECKING:
    from cfmetrics.torch.metric import CharacteristicFunctionDistance

__all__ = [
    "BoundedIntraClassDiversityLoss",
    "CFLoss",
    "ChannelMomentsLoss",
    "CharacteristicFunctionDistance",
    "EnergyLoss",
    "FixedFrequencies",
    "GramLoss",
    "IntraClassDiversityLoss",
    "KernelFrequencies",
    "MMDLoss",
    "NCFLoss",
    "ScaleMixtureFrequencies",
    "SlicedWassersteinLoss",
    "SpectralLoss",
    "TanhFrequencies",
]


def __getattr__(name: str) -> Any:
    if name == "CharacteristicFunctionDistance":
        from cfmetrics.torch.metric import CharacteristicFunctionDistance

        return CharacteristicFunctionDistance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

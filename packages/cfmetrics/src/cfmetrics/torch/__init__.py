"""Modules for torch."""

from cfmetrics.torch.frequency_networks import (
    FixedFrequencies,
    KernelFrequencies,
    ScaleMixtureFrequencies,
    TanhFrequencies,
)

__all__ = [
    "FixedFrequencies",
    "KernelFrequencies",
    "ScaleMixtureFrequencies",
    "TanhFrequencies",
]

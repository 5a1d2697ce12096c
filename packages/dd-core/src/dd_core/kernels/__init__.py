"""Fused kernels for the CPU, compiled once on the user's machine, with a fallback in PyTorch."""

from dd_core.kernels.blocks import (
    amx_in_use,
    conv_block,
    convnet_features,
    kept_bytes,
    kernel_status,
)
from dd_core.kernels.fused import instance_norm_relu_pool
from dd_core.kernels.waves import mean_waves, suits_waves

__all__ = [
    "amx_in_use",
    "conv_block",
    "convnet_features",
    "instance_norm_relu_pool",
    "kept_bytes",
    "kernel_status",
    "mean_waves",
    "suits_waves",
]

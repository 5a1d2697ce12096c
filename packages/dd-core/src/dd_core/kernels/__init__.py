"""Fused kernels for the CPU, compiled once on the user's machine, with a fallback in PyTorch."""

from dd_core.kernels.fused import instance_norm_relu_pool, kernel_status

__all__ = ["instance_norm_relu_pool", "kernel_status"]

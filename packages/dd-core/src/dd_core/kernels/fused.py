"""Instance norm, ReLU and 2x2 average pooling as one operation.

On the CPU this triple takes longer than the convolution before it: PyTorch makes six passes over
the largest tensor of the network. The kernel makes one pass forward and one backward, image by
image, in cache.
"""

from __future__ import annotations

import ctypes
import subprocess
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from dd_core.kernels.build import load_library

__all__ = ["fused_status", "instance_norm_relu_pool"]

EPS = 1e-5
_SUFFIX = {torch.float32: "float32", torch.bfloat16: "bfloat16"}


def instance_norm_relu_pool(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Averages relu(weight * (x - mean) / sqrt(var + 1e-5) + bias) over 2x2 windows.

    Mean and variance are taken over the pixels of one image and one channel. The last row or
    column of an odd size takes part in them, but in no window.

    Args:
        x: Images, float of shape (n, channels, height, width); channels-last is fastest.
        weight: float32 of shape (channels,).
        bias: float32 of shape (channels,).

    Returns:
        Shape (n, channels, height // 2, width // 2), of the type of x.

    Example:
        >>> x = torch.tensor([[[[0.0, 2.0], [0.0, 2.0]]]])
        >>> instance_norm_relu_pool(x, torch.ones(1), torch.zeros(1)).round(decimals=3).item()
        0.5
    """
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype not in _SUFFIX:
        return _reference(x, weight, bias)
    if x.shape[1] % 16 == 0 and _library() is not None:
        return _Fused.apply(x, weight, bias)  # type: ignore[no-any-return]
    return _reference(x, weight, bias)


def fused_status() -> str:
    """One line: whether this compiled kernel is in use, and why not where it is not."""
    _library()
    return _status


_status = "not loaded"


def _reference(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    normed = F.group_norm(x, x.shape[1], weight.to(x.dtype), bias.to(x.dtype), EPS)
    return F.avg_pool2d(F.relu(normed), 2)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        weight, bias = weight.float().contiguous(), bias.float().contiguous()
        n, c, h, w = x.shape
        shape = (n, c, h // 2, w // 2)
        out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        mean, rstd = torch.empty((2, n, c), dtype=torch.float32)
        _call("forward", x.dtype, (x, weight, bias, out, mean, rstd), x.shape, EPS)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return out

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, weight, bias, mean, rstd = ctx.saved_tensors  # type: ignore[attr-defined]
        grad = grads[0].contiguous(memory_format=torch.channels_last)
        dx = torch.empty_like(x)
        dweight, dbias = torch.empty((2, *mean.shape), dtype=torch.float32)
        tensors = (x, grad, weight, bias, mean, rstd, dx, dweight, dbias)
        _call("backward", x.dtype, tensors, x.shape)
        return dx, dweight.sum(0), dbias.sum(0)


def _call(
    name: str, dtype: torch.dtype, tensors: tuple[Tensor, ...], shape: torch.Size, *tail: float
) -> None:
    library = _library()
    assert library is not None
    n, c, h, w = shape
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
    sizes = [ctypes.c_int(size) for size in (n, h, w, c)]
    getattr(library, f"{name}_{_SUFFIX[dtype]}")(*pointers, *sizes, *map(ctypes.c_float, tail))


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be built."""
    global _status
    try:
        library = load_library("instance_norm_relu_pool.cpp")
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _status = f"PyTorch operations ({error})"
        return None
    _status = "compiled kernel"
    return library

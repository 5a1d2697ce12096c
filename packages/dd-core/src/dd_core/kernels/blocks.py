"""Whole ConvNets as one operation: on a processor with AMX, an image never leaves the cache.

A block is convolution 3x3 without bias, instance norm, ReLU and 2x2 average pooling. PyTorch writes
the output of every convolution to memory and reads it again, and it lays out weights anew in each
call. The kernel takes one image through all blocks before it takes the next. Where a gradient will
be needed it keeps, besides the images, the outputs of the convolutions in bfloat16, except the
first one's: of few channels they are cheaper to compute again than to read.

The kernel is for bfloat16 images and gives the gradient of the images only. Everything else
(float32, gradients of parameters, other processors, compilation by PyTorch, unusual shapes) goes
through `torch.nn.functional.conv2d` and `instance_norm_relu_pool`.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from dd_core.kernels.build import load_library
from dd_core.kernels.fused import EPS, fused_status, instance_norm_relu_pool

__all__ = ["amx_in_use", "conv_block", "convnet_features", "kept_bytes", "kernel_status"]

_MOST_PATCH_CHANNELS = 5  # few channels: patches of 9 pixels are gathered, as in the C++ source
_LANES = 16
_SOURCES = (
    "amx_product.hpp",
    "amx_block.hpp",
    "amx_forward.hpp",
    "amx_backward.hpp",
    "convnet_amx.cpp",
)


def convnet_features(
    x: Tensor,
    weights: Sequence[Tensor],
    norms: Sequence[tuple[Tensor, Tensor]],
    paddings: Sequence[int],
) -> Tensor:
    """The flattened output of a stack of blocks.

    Args:
        x: Images, float of shape (n, channels, height, width), in any memory format.
        weights: Convolution weights of each block, float32 of shape (width, channels, 3, 3).
        norms: Scale and offset of each block's norm, float32 of shape (width,).
        paddings: Zero padding of each block's convolution.

    Returns:
        (n, features) of the type of x, channel by channel as in ``maps.flatten(1)``.
        Differentiable in all tensors, once.

    Example:
        >>> x, weight = torch.ones(2, 1, 4, 4), torch.ones(16, 1, 3, 3)
        >>> norm = torch.ones(16), torch.zeros(16)
        >>> convnet_features(x, [weight], [norm], [1]).shape
        torch.Size([2, 64])
    """
    return _stack(x, weights, norms, paddings).flatten(1)


def conv_block(
    x: Tensor, weight: Tensor, norm_weight: Tensor, norm_bias: Tensor, padding: int
) -> Tensor:
    """One block: ``avg_pool2d(relu(group_norm(conv2d(x, weight))), 2)``.

    Args:
        x: Images, float of shape (n, channels, height, width), in any memory format.
        weight: Convolution weights, float32 of shape (width, channels, 3, 3).
        norm_weight: Scale of each channel, float32 of shape (width,).
        norm_bias: Offset of each channel, likewise.
        padding: Zero padding of the convolution.

    Returns:
        (n, width, rows // 2, columns // 2) of the type of x. Differentiable in all tensors, once.

    Example:
        >>> x, one, zero = torch.ones(2, 1, 4, 4), torch.ones(16), torch.zeros(16)
        >>> conv_block(x, torch.ones(16, 1, 3, 3), one, zero, 1).shape
        torch.Size([2, 16, 2, 2])
    """
    return _stack(x, [weight], [(norm_weight, norm_bias)], [padding])


def amx_in_use() -> bool:
    """Whether networks of bfloat16 images run in the AMX kernel."""
    return _library() is not None


def kernel_status() -> str:
    """One line: which compiled kernels are in use, and why not where they are not."""
    _library()
    return f"{fused_status()}; {_status}"


_status = "not loaded"


def _stack(
    x: Tensor,
    weights: Sequence[Tensor],
    norms: Sequence[tuple[Tensor, Tensor]],
    paddings: Sequence[int],
) -> Tensor:
    if _suits(x, weights, norms, paddings):
        parameters = [p for w, (g, b) in zip(weights, norms, strict=True) for p in (w, g, b)]
        return _Network.apply(x, tuple(paddings), *parameters)  # type: ignore[no-any-return]
    x = x.contiguous(memory_format=torch.channels_last)
    for weight, (scale, offset), padding in zip(weights, norms, paddings, strict=True):
        groups = x.shape[1] // weight.shape[1]  # networks side by side, see stack_networks
        x = F.conv2d(x, weight.to(x.dtype), padding=padding, groups=groups)
        x = instance_norm_relu_pool(x, scale, offset)
    return x


def _suits(
    x: Tensor,
    weights: Sequence[Tensor],
    norms: Sequence[tuple[Tensor, Tensor]],
    paddings: Sequence[int],
) -> bool:
    """Whether the AMX kernel can do this; `_stack` has another way for what it cannot."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != torch.bfloat16:
        return False
    if (
        x.ndim != 4
        or not x.numel()
        or not weights
        or not len(weights) == len(norms) == len(paddings)
    ):
        return False
    parameters = [*weights, *(p for norm in norms for p in norm)]
    if torch.is_grad_enabled() and any(p.requires_grad for p in parameters):
        return False
    if any(p.device.type != "cpu" for p in parameters):
        return False
    _, channels, height, width = x.shape
    if channels > _MOST_PATCH_CHANNELS and channels % _LANES:
        return False
    for weight, norm, padding in zip(weights, norms, paddings, strict=True):
        width_out = weight.shape[0]
        height, width = ((size + 2 * padding - 2) // 2 for size in (height, width))
        if weight.shape != (width_out, channels, 3, 3) or width_out % _LANES or padding < 0:
            return False
        if any(p.shape != (width_out,) for p in norm) or height < 1 or width < 1:
            return False
        channels = width_out
    return _library() is not None


class _Network(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, paddings: tuple[int, ...], *parameters: Tensor) -> Tensor:
        kept = None
        if ctx.needs_input_grad[0]:
            widths = [weight.shape[0] for weight in parameters[::3]]
            size = kept_bytes(x.shape[1:], list(zip(widths, paddings, strict=True)))
            kept = torch.empty(len(x), size, dtype=torch.uint8)
            ctx.save_for_backward(x, kept, *parameters)
            ctx.paddings = paddings
        return _run(x, None, kept, paddings, parameters)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, kept, *parameters = ctx.saved_tensors
        return _run(x, grad, kept, ctx.paddings, parameters), None, *(None for _ in parameters)


def kept_bytes(shape: Sequence[int], blocks: Sequence[tuple[int, int]]) -> int:
    """What the AMX kernel keeps of an image for its gradient.

    Args:
        shape: Channels, height and width of the image.
        blocks: Channels and padding of each block.
    """
    library = _library()
    assert library is not None
    sizes = [*shape, *(size for block in blocks for size in block)]
    library.convnet_amx_kept.restype = ctypes.c_int64
    return int(library.convnet_amx_kept(len(blocks), (ctypes.c_int * len(sizes))(*sizes)))


def _run(
    x: Tensor,
    grad: Tensor | None,
    kept: Tensor | None,
    paddings: Sequence[int],
    parameters: Sequence[Tensor],
) -> Tensor:
    """The maps after the last block, or, where their gradient is given, the gradient of x.

    The first call fills ``kept``, if it is given, and the second reads it.
    """
    library = _library()
    assert library is not None
    n, channels, height, width = x.shape
    sizes, tensors = [channels, height, width], []
    for k, padding in enumerate(paddings):
        weight, scale, offset = (p.detach().float() for p in parameters[3 * k : 3 * k + 3])
        channels = weight.shape[0]
        height, width = ((size + 2 * padding - 2) // 2 for size in (height, width))
        sizes += [channels, padding]
        # A weight in channels-last format has this layout already.
        tensors += [weight.permute(0, 2, 3, 1).contiguous(), scale.contiguous()]
        tensors.append(offset.contiguous())
    if grad is None:
        out = torch.empty(n, channels, height, width, dtype=x.dtype)
    else:
        grad = grad.contiguous()
        out = torch.empty(x.shape, dtype=x.dtype)
    library.convnet_amx(
        ctypes.c_void_p(x.data_ptr()),
        ctypes.c_void_p(None if grad is None else grad.data_ptr()),
        ctypes.c_void_p(out.data_ptr()),
        ctypes.c_void_p(None if kept is None else kept.data_ptr()),
        ctypes.c_int(n),
        (ctypes.c_int64 * 4)(*x.stride()),
        ctypes.c_int(len(paddings)),
        (ctypes.c_int * len(sizes))(*sizes),
        (ctypes.c_void_p * len(tensors))(*(t.data_ptr() for t in tensors)),
        ctypes.c_int(torch.get_num_threads()),
        ctypes.c_float(EPS),
    )
    return out


@cache
def _library() -> ctypes.CDLL | None:
    """The compiled kernel, or None where it cannot be built or the processor has no AMX."""
    global _status
    try:
        library = load_library(*_SOURCES)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        _status = f"no AMX kernel ({error})"
        return None
    if not library.amx_available():
        _status = "no AMX kernel (the processor, the system or the compiler has no AMX)"
        return None
    _status = "bfloat16 blocks by AMX"
    return library

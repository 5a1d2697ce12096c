"""Means of cos and sin of the projections of vectors on many frequencies, as one operation.

In PyTorch the angles of all vectors at all frequencies, their cos and their sin go through memory
one after another, and each product lays out the frequencies anew. The kernel lays them out once
for all products with them, takes cos and sin where the product leaves the angles, and keeps these
two, in bfloat16, for the gradient.

The kernel is for bfloat16 vectors on a processor with AMX and frequencies that do not learn.
"""

from __future__ import annotations

import ctypes
import weakref
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from dd_core.kernels.blocks import amx_in_use
from dd_core.kernels.build import load_library

__all__ = ["mean_waves", "suits_waves"]

_TILE = 32
_ROWS = 16


def suits_waves(x: Tensor, frequencies: Tensor) -> bool:
    """Whether `mean_waves` can do this; it has no other way for what it cannot."""
    if torch.compiler.is_compiling() or x.device.type != "cpu" or x.dtype != torch.bfloat16:
        return False
    if frequencies.requires_grad or frequencies.dtype != torch.float32:
        return False
    if x.ndim != 3 or frequencies.ndim != 2 or x.shape[2] != frequencies.shape[1]:
        return False
    whole = x.numel() > 0 and not any(size % _TILE for size in frequencies.shape)
    return whole and frequencies.device.type == "cpu" and amx_in_use()


def mean_waves(x: Tensor, frequencies: Tensor) -> tuple[Tensor, Tensor]:
    """Means over the vectors of a group of cos and of sin of their products with frequencies.

    Args:
        x: Vectors, bfloat16 of shape (groups, n, features).
        frequencies: float32 of shape (F, features), both multiples of 32. They are rounded to
            bfloat16, and laid out only once for calls in a row with the same tensor.

    Returns:
        Two tensors, float32 of shape (groups, F). Differentiable in x, once.
    """
    packed = _packed(frequencies)
    parts = [_Waves.apply(group, packed) for group in x]
    cos, sin = torch.stack(parts, 1).div(x.shape[1]).unbind()
    return cos, sin


@dataclass(frozen=True)
class _Packed:
    """Frequencies as the forward and as the backward product want them."""

    of: weakref.ref[Tensor]
    version: int
    shape: tuple[int, int]
    forward: Tensor
    backward: Tensor


_last: _Packed | None = None


def _packed(frequencies: Tensor) -> _Packed:
    global _last
    version = frequencies._version
    if _last is None or _last.of() is not frequencies or _last.version != version:
        _last = None  # its memory serves the next
        n, features = frequencies.shape
        forward, backward = torch.empty(2, n * features, dtype=torch.bfloat16)
        _call("waves_pack", frequencies.detach().contiguous(), forward, backward, n, features)
        _last = _Packed(weakref.ref(frequencies), version, (n, features), forward, backward)
    return _last


class _Waves(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, packed: _Packed) -> Tensor:
        n, x = len(x), x.contiguous()
        sums, kept = torch.empty(2, packed.shape[0]), None
        if ctx.needs_input_grad[0]:
            rows = -(-n // _ROWS) * _ROWS
            kept = torch.empty(2, rows, packed.shape[0], dtype=x.dtype)
            ctx.save_for_backward(kept)
            ctx.packed, ctx.n = packed, n
        _call("waves_sum", x, packed.forward, sums, kept, n, *packed.shape)
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (kept,), packed = ctx.saved_tensors, ctx.packed
        out = torch.empty(ctx.n, packed.shape[1], dtype=kept.dtype)
        _call("waves_gradient", kept, packed.backward, grad.contiguous(), out, ctx.n, *packed.shape)
        return out, None


def _call(name: str, *arguments: Tensor | int | None) -> None:
    values = [
        ctypes.c_int(a)
        if isinstance(a, int)
        else ctypes.c_void_p(None if a is None else a.data_ptr())
        for a in arguments
    ]
    getattr(_library(), name)(*values, ctypes.c_int(torch.get_num_threads()))


@cache
def _library() -> ctypes.CDLL:
    return load_library("amx_product.hpp", "waves_amx.cpp")

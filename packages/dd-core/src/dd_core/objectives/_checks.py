"""Checks of an objective's options; each error names the option, its value and the way out."""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor

from dd_core.errors import SettingsError

__all__ = ["at_least", "fraction", "one_of", "positive", "unit_length", "unused"]

_LEAST_NORM = 1e-12  # that vectors are divided by, as in torch.nn.functional.normalize


def at_least(name: str, value: int, least: int) -> None:
    """Checks a whole number."""
    if value < least:
        raise SettingsError(f"{name} is {value}; it must be at least {least}.")


def fraction(name: str, value: float) -> None:
    """Checks a number from 0 to 1."""
    if not 0 <= value <= 1:
        raise SettingsError(f"{name} is {value}; give a number from 0 to 1.")


def positive(name: str, value: float) -> None:
    """Checks a finite number above 0."""
    if not 0 < value < math.inf:
        raise SettingsError(f"{name} is {value}; give a positive number.")


def one_of(name: str, value: str, choices: Collection[str]) -> None:
    """Checks one of several names."""
    if value not in choices:
        raise SettingsError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")


def unused(name: str, value: object, default: object, why: str, way: str) -> None:
    """Refuses an option that would change nothing, rather than ignore it."""
    if value != default:
        raise SettingsError(f"{name} is {value}, but {why}; leave it out, or {way}.")


def unit_length(vectors: Tensor) -> Tensor:
    """Vectors (..., d) of L2 norm 1 in their own type; the norm is taken in float32."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True, dtype=torch.float32)
    scaled: Tensor = vectors / norm.clamp_min(_LEAST_NORM)
    return scaled.to(vectors.dtype)

"""What the losses share: precision, reduction, and arguments that become buffers."""

from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfmetrics import _validate

Reduction: TypeAlias = Literal["mean", "sum", "none"]
"""What becomes of the values of a batch."""


def full_precision(x: Tensor) -> torch.autocast:
    """Switch autocast off for the device of `x`."""
    return torch.autocast(x.device.type, enabled=False)


def check_reduction(reduction: Reduction) -> Reduction:
    """Check the name of a reduction."""
    _validate.choice("reduction", reduction, ("mean", "sum", "none"))
    return reduction


def reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """Reduce the values of a batch."""
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


def as_tensor(name: str, values: float | Tensor | NDArray[np.floating]) -> Tensor:
    """Make a tensor for a buffer: a tensor keeps its dtype, others get the default one."""
    _, (array,) = _validate.float_arrays({name: values})
    if isinstance(array, Tensor):
        return array.detach().clone()
    return torch.as_tensor(array, dtype=torch.get_default_dtype())

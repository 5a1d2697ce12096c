"""Moments of features, added up over the processes of torch.distributed."""

import hashlib
from typing import Any

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.two_sample.asymptotic import FeatureMoments


def check_same_everywhere(frequencies: Array, moments: FeatureMoments, group: Any) -> None:
    """Check that all processes can add up: by a digest of what must be equal, and its extremes."""
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        raise RuntimeError(
            "reduce_ needs a process group; call torch.distributed.init_process_group first, or "
            "add up the states of the workers with +"
        )
    points = torch.as_tensor(frequencies)
    values = np.ascontiguousarray(points.cpu().numpy(), dtype=np.float64)
    described = repr((values.shape, moments.scatter is None)).encode() + values.tobytes()
    digest = int.from_bytes(hashlib.sha256(described).digest()[:7], "big")
    extremes = torch.tensor([digest, -digest], device=points.device)
    distributed.all_reduce(extremes, op=distributed.ReduceOp.MAX, group=group)
    if int(extremes[0]) != -int(extremes[1]):
        raise ValueError(
            "the processes hold states with other frequencies or another `covariance`; make all "
            "with the same, for instance by drawing them from one seed"
        )


def add_up(own: FeatureMoments, group: Any) -> FeatureMoments:
    """Combine the moments of all processes as `merge_moments` does, with three sums."""
    import torch

    where = own.mean.device if _validate.is_torch(own.mean) else "cpu"
    n = int(_total(torch.tensor(own.n, device=where), group))
    if n == 0:
        return own
    mean = _total(own.mean * (own.n / n), group)
    if own.scatter is None:
        return FeatureMoments(n, mean, None)
    apart = own.mean - mean
    scatter = _total(own.scatter + own.n * (apart[:, None] * apart[None, :]), group)
    return FeatureMoments(n, mean, scatter)


def _total(values: Array, group: Any) -> Array:
    """Sum over the processes, for an array that nobody else holds."""
    import torch
    from torch import distributed

    tensor = torch.as_tensor(values).contiguous()
    distributed.all_reduce(tensor, group=group)
    return tensor if _validate.is_torch(values) else tensor.numpy()

"""`cf_2samp` on Dask arrays: the blocks stay where they are, and only sums travel.

Needs Dask, which the extra `cfmetrics[dask]` brings. Random relabelings are defined for blocks of
rows, so that a worker draws the labels of its own rows; the sums of all relabelings are added up in
a tree. The same seed gives the same test as for the same data in memory.
"""

import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics.state import CFState
from cfmetrics.two_sample.features import CosSin
from cfmetrics.two_sample.permutation import Statistics, block_sums, pieces
from cfmetrics.two_sample.prepare import NAN_POLICIES, NanPolicy, TwoSamples, centre_step, middle
from cfmetrics.two_sample.relabel import BLOCK_ROWS, Relabelings

_FAN_IN = 8
"""Number of partial sums that one task adds up."""


@dataclass(frozen=True, slots=True)
class DaskSamples(TwoSamples):
    """Two checked Dask arrays of shape (n, d) and (m, d), whose row chunks end with blocks."""

    point: NDArray[np.float64]

    def centre(self) -> NDArray[np.float64]:
        """Give a point amid the pooled sample, of shape (d,)."""
        return self.point


def prepare_dask(x: Any, y: Any, nan_policy: NanPolicy) -> DaskSamples:
    """Check two Dask arrays; reads the data once."""
    from dask.base import compute

    _validate.choice("nan_policy", nan_policy, NAN_POLICIES)
    if nan_policy == "propagate":
        raise ValueError("nan_policy is 'propagate'; for Dask arrays pass 'raise' or 'omit'")
    for name, array in (("x", x), ("y", y)):
        if not _validate.is_dask(array):
            raise TypeError(
                f"{name} is a {type(array).__name__}, the other sample a Dask array; pass "
                f"dask.array.from_array({name})"
            )
    samples = [_blocks(name, array, nan_policy) for name, array in (("x", x), ("y", y))]
    if samples[0].shape[1] != samples[1].shape[1]:
        raise ValueError(
            f"x has {samples[0].shape[1]} features but y has {samples[1].shape[1]}; the last axes "
            f"must be equal"
        )
    step = centre_step(samples[0].shape[0], samples[1].shape[0])
    asked = [sample.sum(axis=0, dtype=np.float64) for sample in samples]
    *sums, some_x, some_y = compute(*asked, *(sample[::step] for sample in samples))
    for name, total in zip(("x", "y"), sums, strict=True):
        if not np.isfinite(total).all():
            raise ValueError(
                f"{name} holds NaN or infinite values; pass nan_policy='omit' to leave out "
                f"observations with NaN, and remove infinite ones"
            )
    some = np.concatenate([some_x, some_y]).astype(np.float64)
    return DaskSamples(samples[0], samples[1], middle(some))


def mean_differences_dask(
    samples: DaskSamples, relabelings: Relabelings, features: CosSin
) -> Statistics:
    """Compute what `mean_differences` computes, block by block on the workers."""
    from dask.delayed import delayed

    n, m = samples.n, samples.m
    remote = delayed(_chunk_sums, pure=False)
    shared = delayed((relabelings, n / (n + m), features), traverse=False)
    tasks, first_block = [], 0
    for sample in (samples.x, samples.y):
        for chunk, rows in zip(sample.to_delayed()[:, 0], sample.chunks[0], strict=True):
            tasks.append(remote(chunk, first_block, shared))
            first_block += -(-rows // BLOCK_ROWS)
    total: Statistics = _tree(tasks).compute()
    return total * ((n + m) / (n * m))


def states_dask(samples: DaskSamples, frequencies: NDArray[np.float64]) -> tuple[CFState, CFState]:
    """Compute the states of both samples, centred, with the covariance of their features."""
    from dask.base import compute
    from dask.delayed import delayed

    remote = delayed(_chunk_state, pure=False)
    trees = [
        _tree([remote(c, frequencies, samples.point) for c in sample.to_delayed()[:, 0]])
        for sample in (samples.x, samples.y)
    ]
    first, second = compute(*trees)
    return first, second


def _blocks(name: str, array: Any, nan_policy: NanPolicy) -> Any:
    """View a Dask array as (n, d), in row chunks that are whole blocks of relabelings."""
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} has shape {array.shape}; pass (n, d), or (n,) for one feature")
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has dtype {array.dtype}; pass real numbers")
    if nan_policy == "omit" and array.dtype.kind == "f":
        array = array[~np.isnan(array).any(axis=1)]
    if np.isnan(array.shape[0]):
        array = array.compute_chunk_sizes()
    if array.shape[0] < 2:
        raise ValueError(
            f"{name} has {array.shape[0]} observations; a two-sample test needs at least 2"
        )
    rows = BLOCK_ROWS * max(1, round(max(array.chunks[0]) / BLOCK_ROWS))
    return array.rechunk({0: rows, 1: -1})


def _chunk_sums(
    chunk: NDArray[Any], first_block: int, shared: tuple[Relabelings, float, CosSin]
) -> Statistics:
    relabelings, share, features = shared
    origin = features(features.centre[None, :])
    total: Any = 0.0
    for offset, rows in enumerate(pieces(slice(0, len(chunk)), BLOCK_ROWS)):
        labels = relabelings.block(first_block + offset)
        total = total + block_sums(chunk[rows], labels, share, features, origin)
    result: Statistics = total
    return result


def _chunk_state(
    chunk: NDArray[Any], frequencies: NDArray[np.float64], centre: NDArray[np.float64]
) -> CFState:
    return CFState(frequencies, covariance=True).update(chunk - centre)


def _tree(tasks: list[Any]) -> Any:
    """Add up delayed values, a few at a time, in a fixed order."""
    from dask.delayed import delayed

    add = delayed(_add, pure=False)
    while len(tasks) > 1:
        tasks = [add(tasks[i : i + _FAN_IN]) for i in range(0, len(tasks), _FAN_IN)]
    return tasks[0]


def _add(parts: list[Any]) -> Any:
    return functools.reduce(operator.add, parts)

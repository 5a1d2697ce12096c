"""Random relabelings of a pooled sample: the one source of permutations of every test.

A permutation test only needs to know which pooled observations are called "x". One relabeling is a
uniformly random subset of n of the N = n + m observations. They are drawn for blocks of rows, so
that a large sample never needs a (resamples, N) array: how many of a block's rows are chosen
follows a multivariate hypergeometric law, and given that number every subset of the block is
equally likely. Every block has its own random stream, so blocks can be visited in any order, by any
worker, with the same result.
"""

import itertools
import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate

BLOCK_ROWS = 16384
"""Rows of a block. Part of the definition of the random streams: not a tuning knob."""


@dataclass(frozen=True, slots=True)
class Relabelings:
    """Relabelings of n + m observations; the first is the observed labeling.

    Where the number of all subsets does not exceed `n_resamples` + 1, all of them are visited once,
    and the test is exact in the sense of leaving nothing to chance. Otherwise `n_resamples` are
    drawn independently.

    Args:
        n: Number of observations in x.
        m: Number of observations in y.
        n_resamples: Number of random relabelings besides the observed one.
        rng: Source of randomness.
    """

    n: int
    m: int
    n_resamples: int
    rng: np.random.Generator = field(repr=False)
    exhaustive: bool = field(init=False)
    _entropy: list[int] = field(init=False, repr=False)
    _counts: NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        total = self.n + self.m
        few = min(self.n, self.m) <= self.n_resamples
        subsets = math.comb(total, self.n) if few and total < 10_000 else None
        exhaustive = subsets is not None and subsets <= self.n_resamples + 1
        sizes = [block.stop - block.start for block in self.blocks()]
        if subsets is not None and exhaustive:
            n_bytes = subsets * total
        else:
            n_bytes = self.n_resamples * (max(sizes) + 8 * len(sizes))
        _validate.affordable("n_resamples", self.n_resamples, n_bytes)
        if exhaustive:
            counts = np.empty((0, len(sizes)), dtype=np.int64)
        else:
            counts = self.rng.multivariate_hypergeometric(sizes, self.n, size=self.n_resamples)
        object.__setattr__(self, "exhaustive", exhaustive)
        object.__setattr__(self, "_entropy", self.rng.integers(0, 2**32, size=4).tolist())
        object.__setattr__(self, "_counts", counts)

    def __len__(self) -> int:
        if self.exhaustive:
            return math.comb(self.n + self.m, self.n)
        return self.n_resamples + 1

    def blocks(self) -> list[slice]:
        """Give the rows of every block, in the pooled order; none holds rows of both samples."""
        ends = {"x": (0, self.n), "y": (self.n, self.n + self.m)}
        return [
            slice(start, min(start + BLOCK_ROWS, stop))
            for first, stop in ends.values()
            for start in range(first, stop, BLOCK_ROWS)
        ]

    def block(self, index: int) -> NDArray[np.bool_]:
        """Give the labels of one block, (len(self), rows): True where a row is called x."""
        rows = self.blocks()[index]
        if self.exhaustive:
            return self._all_subsets()[:, rows]
        labels = np.empty((len(self), rows.stop - rows.start), dtype=np.bool_)
        labels[0] = rows.stop <= self.n
        seed = np.random.SeedSequence(self._entropy, spawn_key=(index,))
        rng = np.random.Generator(np.random.SFC64(seed))
        draw_subsets(rng, self._counts[:, index], out=labels[1:])
        return labels

    def all(self) -> NDArray[np.bool_]:
        """Give the labels of all rows, of shape (len(self), n + m)."""
        _validate.affordable("n_resamples", len(self) - 1, len(self) * (self.n + self.m))
        labels = np.empty((len(self), self.n + self.m), dtype=np.bool_)
        for index, rows in enumerate(self.blocks()):
            labels[:, rows] = self.block(index)
        return labels

    def _all_subsets(self) -> NDArray[np.bool_]:
        total = self.n + self.m
        labels = np.zeros((len(self), total), dtype=np.bool_)
        for row, chosen in enumerate(itertools.combinations(range(total), self.n)):
            labels[row, chosen] = True  # The first combination is the observed labeling.
        return labels


def draw_subsets(
    rng: np.random.Generator, sizes: NDArray[np.int64], out: NDArray[np.bool_]
) -> None:
    """Fill each row of `out` with a uniformly random subset of the given size.

    Every position is first chosen with about the right probability, by one random byte. Given how
    many were chosen, that subset is uniform, and it stays uniform when uniformly random members are
    dropped from it, or others added, until the size is right. That takes a byte and about
    sqrt(columns) corrections a row, several times less than shuffling.
    """
    columns = out.shape[1]
    chunk = max(1, 2**22 // columns)
    for start in range(0, len(sizes), chunk):
        part = out[start : start + chunk]
        wanted = sizes[start : start + chunk]
        threshold = np.rint(wanted * (256 / columns)).astype(np.int16)
        data = np.frombuffer(rng.bytes(part.size), dtype=np.uint8).reshape(part.shape)
        np.less(data, threshold.clip(0, 255).astype(np.uint8)[:, None], out=part)
        part[threshold > 255] = True
        excess = np.count_nonzero(part, axis=1) - wanted
        for row, difference in zip(part, excess.tolist(), strict=True):
            if difference:
                members = np.flatnonzero(row if difference > 0 else ~row)
                row[rng.choice(members, abs(difference), replace=False, shuffle=False)] = (
                    difference < 0
                )

"""From the arguments of a test to two clean samples: checks, missing values, centring."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array, Namespace
from cfmetrics.two_sample.result import TestResult

NanPolicy: TypeAlias = Literal["raise", "omit", "propagate"]
"""What to do with observations that hold NaN."""

NAN_POLICIES = ("raise", "omit", "propagate")


_CENTRE_ROWS = 512
"""Least number of observations, if there are as many, from which the centre is found."""


@dataclass(frozen=True, slots=True)
class TwoSamples(ABC):
    """What a test needs to know of two samples, (n, d) and (m, d), wherever they are."""

    x: Array
    y: Array

    @property
    def n(self) -> int:
        """Number of observations in x."""
        return int(self.x.shape[0])

    @property
    def m(self) -> int:
        """Number of observations in y."""
        return int(self.y.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.x.shape[1])

    @abstractmethod
    def centre(self) -> Array:
        """Give a point amid the pooled sample, of shape (d,)."""


@dataclass(frozen=True, slots=True)
class Samples(TwoSamples):
    """Two checked samples of one library, dtype and device; `has_nan` where NaN was kept."""

    xp: Namespace
    has_nan: bool = False

    def rows(self, block: slice) -> Array:
        """Give rows of the pooled sample, x before y; the block must lie within one of them."""
        if block.stop <= self.n:
            return self.x[block]
        return self.y[block.start - self.n : block.stop - self.n]

    def centre(self) -> Array:
        """Give a point amid the pooled sample, of shape (d,)."""
        step = centre_step(self.n, self.m)
        return middle(self.xp.concat((self.x[::step], self.y[::step])))


def centre_step(n: int, m: int) -> int:
    """Choose the step k; the centre is found from every k-th row of both samples."""
    return max(1, (n + m) // _CENTRE_ROWS)


def middle(rows: Array) -> Array:
    """Give the median of every feature: the lower one, so that it is an observed value.

    Statistics do not depend on the centre, but their rounding does: features are computed in
    float32. A mean lies far from most observations where tails are heavy, a median does not.
    """
    ordered = rows.sort(dim=0).values if _validate.is_torch(rows) else np.sort(rows, axis=0)
    return ordered[(rows.shape[0] - 1) // 2]


def prepare(x: Array, y: Array, nan_policy: NanPolicy, *, test: str) -> Samples:
    """Check two samples of shape (n, d) or (n,), and treat missing values as `nan_policy` says."""
    _validate.choice("nan_policy", nan_policy, NAN_POLICIES)
    if _validate.is_dask(x) or _validate.is_dask(y):
        raise TypeError(
            f"x or y is a Dask array, which {test} does not take; call cf_2samp, which does, "
            f"or pass x.compute() and y.compute()"
        )
    xp, arrays = _validate.float_arrays({"x": x, "y": y}, finite=False)
    if _validate.is_torch(x):
        for name, array in (("x", x), ("y", y)):
            _validate.exact_integers(name, array)
        arrays = [array.detach() for array in arrays]
    first, second = (
        _clean(xp, name, _matrix(name, array), nan_policy)
        for name, array in zip(("x", "y"), arrays, strict=True)
    )
    _validate.same_features(first, second)
    wide = max((first.dtype, second.dtype), key=lambda dtype: int(dtype.itemsize))
    wide = xp.float32 if wide.itemsize < 4 else wide
    first, second = (xp.astype(a, wide, copy=False) for a in (first, second))
    has_nan = nan_policy == "propagate" and any(
        bool(xp.isnan(array).any()) for array in (first, second)
    )
    if has_nan:
        warnings.warn(
            f"x or y holds NaN, so {test} returns NaN; pass nan_policy='omit' to leave out the "
            f"observations with NaN",
            RuntimeWarning,
            stacklevel=3,
        )
    return Samples(first, second, xp, has_nan)


def undefined_result(samples: Samples, *, test: str, method: str) -> TestResult:
    """Give the result for samples that hold NaN, where nan_policy is "propagate"."""
    nan = float("nan")
    return TestResult(
        statistic=nan,
        pvalue=nan,
        test=test,
        method=method,
        n=samples.n,
        m=samples.m,
        n_features=samples.n_features,
    )


def _matrix(name: str, array: Array) -> Array:
    matrix = _validate.samples(name, array)
    if matrix.ndim != 2:
        raise ValueError(
            f"{name} has shape {tuple(array.shape)}; a test takes one sample of shape (n, d) or "
            f"(n,): call it once for each entry of a batch"
        )
    return matrix


def _clean(xp: Namespace, name: str, array: Array, nan_policy: NanPolicy) -> Array:
    if not bool(xp.isfinite(array.sum())):
        if bool(xp.isinf(array).any()):
            raise ValueError(
                f"{name} holds infinite values, which have no characteristic function and no "
                f"distance; remove or clip them"
            )
        missing = xp.isnan(array).any(axis=1)
        if bool(missing.any()) and nan_policy == "raise":
            raise ValueError(
                f"{name} holds NaN in {int(missing.sum())} of its {array.shape[0]} observations; "
                f"pass nan_policy='omit' to leave those out, or impute them"
            )
        if nan_policy == "omit":
            array = array[~missing]
    if array.shape[0] < 2:
        raise ValueError(
            f"{name} has {array.shape[0]} observation{'s' * (array.shape[0] != 1)}"
            f"{' without NaN' * (nan_policy == 'omit')}; a two-sample test needs at least 2"
        )
    return array

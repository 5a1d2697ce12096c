"""Characteristic functions of samples that arrive in batches, or that several workers hold."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.cf import AmplitudePhase, amplitude_phase, cf_distance_parts, ncf_distance_parts
from cfmetrics.characteristic import CharacteristicParts
from cfmetrics.two_sample.asymptotic import (
    FeatureMoments,
    WaldForm,
    feature_moments,
    merge_moments,
    no_moments,
    wald_test,
)

if TYPE_CHECKING:
    from cfmetrics.two_sample.result import TestResult


@final
class CFState:
    """Characteristic function of a sample at fixed frequencies, built batch by batch.

    A state holds a number of observations and the mean of their features cos <t, x> and sin <t, x>,
    and on request the covariance of the features; never the observations. Two states over the same
    frequencies add up to the state of both samples together, so that batches, files, processes and
    machines can be put together in any order and any grouping: addition is associative and
    commutative, and an empty state is its neutral element, up to rounding. The numbers are those of
    the sample in one piece, to about 1e-12 in float64.

    NumPy frequencies make a state for NumPy batches; a torch tensor makes one for tensors on its
    device. Sums are in float64 (float32 on Apple's GPUs) and carry no gradient: for a loss with one
    fixed side use `ncf_distance_parts(state.parts(), characteristic_parts(x, frequencies))`.

    Args:
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature.
        covariance: Whether to keep the covariance of the 2F features, which `test` needs. It
            costs O(n F^2) time and 32 F^2 bytes.

    Raises:
        TypeError: The dtype of the frequencies is not real.
        ValueError: The frequencies have another shape, or they hold NaN or infinity.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import CFState, normal_frequencies
        >>> rng = np.random.default_rng(0)
        >>> t = normal_frequencies(16, 3, rng=1)
        >>> first, second = CFState(t, covariance=True), CFState(t, covariance=True)
        >>> for _ in range(10):
        ...     _ = first.update(rng.normal(size=(100, 3)))
        ...     _ = second.update(rng.normal(loc=0.2, size=(80, 3)))
        >>> first
        CFState(16 frequencies, 3 features, 1000 observations, numpy)
        >>> bool(first.test(second).pvalue < 1e-3)
        True
        >>> (first + second).count
        1800
    """

    def __init__(self, frequencies: Array, *, covariance: bool = False) -> None:
        xp, (points,) = _validate.float_arrays({"frequencies": frequencies})
        points = _validate.frequency_matrix(points, points.shape[1] if points.ndim == 2 else 1)
        if points.shape[1] == 0:
            raise ValueError("frequencies has no feature; pass (F, d) with d >= 1")
        if _validate.is_torch(points):
            points = points.detach()
        dtype = xp.float32 if points.dtype.itemsize < 4 else points.dtype
        self._frequencies = xp.astype(points, dtype, copy=True)
        self._moments = no_moments(xp, self._frequencies, covariance=covariance)

    @property
    def frequencies(self) -> Array:
        """Frequencies, of shape (F, d)."""
        return self._frequencies

    @property
    def count(self) -> int:
        """Number of observations seen."""
        return self._moments.n

    @property
    def n_features(self) -> int:
        """Number of features d of an observation."""
        return int(self._frequencies.shape[1])

    @property
    def has_covariance(self) -> bool:
        """Whether the covariance of the features is kept."""
        return self._moments.scatter is not None

    def update(self, batch: Array) -> Self:
        """Add observations, in place.

        A batch of any size is handled in pieces of a few MiB. If an error is raised the state is as
        before.

        Args:
            batch: Observations of shape (r, d), or (r,) for one feature; r may be 0.

        Returns:
            The state itself.

        Raises:
            TypeError: The batch is of the other library, or its dtype is not real.
            ValueError: The batch has another shape or number of features, lies on another device,
                or, for NumPy, holds NaN or infinity. (NaN in a torch tensor makes the state NaN.)

        Example:
            >>> import numpy as np
            >>> CFState(np.array([1.0])).update(np.array([0.0, np.pi])).parts().real
            array([0.])
        """
        xp, (rows, _) = _validate.float_arrays({"batch": batch, "frequencies": self._frequencies})
        rows = self._observations(rows)
        if rows.shape[0] == 0:
            return self
        wide = max((rows.dtype, self._frequencies.dtype), key=lambda dtype: int(dtype.itemsize))
        points = xp.astype(self._frequencies, wide, copy=False)
        with _as_it_is(rows):
            rows = xp.astype(rows, wide, copy=False)
            added = feature_moments(xp, rows, points, covariance=self.has_covariance)
            self._moments = merge_moments(self._moments, added)
        return self

    def merge(self, other: "CFState") -> "CFState":
        """Make the state of both samples together; `a + b` is the same.

        Args:
            other: State over equal frequencies, of the same library, device and `covariance`.

        Returns:
            A new state; the two are left as they are.

        Raises:
            TypeError: The other is not a state, or one is of NumPy and one of torch.
            ValueError: The states differ in frequencies, device or `covariance`.

        Example:
            >>> import numpy as np
            >>> t = np.array([0.5, 1.0])
            >>> a, b = CFState(t).update(np.arange(4.0)), CFState(t).update(np.arange(3.0))
            >>> a.merge(b).count
            7
        """
        self._check_matches(other)
        if self.has_covariance != other.has_covariance:
            raise ValueError(
                "only one of the states keeps the covariance; make both with covariance=True, or "
                "both without"
            )
        return self._with(merge_moments(self._moments, other._moments))

    def __add__(self, other: "CFState") -> "CFState":
        return self.merge(other) if isinstance(other, CFState) else NotImplemented

    def copy(self) -> "CFState":
        """Make a state that can be updated apart from this one."""
        return self._with(self._moments)

    def parts(self) -> CharacteristicParts:
        """Give the characteristic function, as `characteristic_parts` of the whole sample would.

        Returns:
            Real and imaginary part, each of shape (F,).

        Raises:
            ValueError: The state is empty.
        """
        mean, half = self.mean(), self._frequencies.shape[0]
        return CharacteristicParts(mean[:half], mean[half:])

    def mean(self) -> Array:
        """Give the mean of the features: the F cosines, then the F sines, of shape (2F,).

        Raises:
            ValueError: The state is empty.
        """
        self._check_not_empty()
        return self._moments.mean + 0  # A copy, so that nobody writes into the state.

    def covariance(self) -> Array:
        """Give the biased covariance (divided by n) of the features, of shape (2F, 2F).

        Raises:
            ValueError: The state is empty, or was made without covariance=True.
        """
        self._check_not_empty()
        if self._moments.scatter is None:
            raise ValueError(
                "this state does not keep the covariance of its features; make it with "
                "CFState(frequencies, covariance=True)"
            )
        return self._moments.scatter / self.count

    def amplitude_phase(self, other: "CFState") -> AmplitudePhase:
        """Split the squared difference from another state, as `cfmetrics.amplitude_phase` does.

        Args:
            other: State over equal frequencies.

        Returns:
            Amplitude and phase part, each of shape (F,).

        Raises:
            TypeError: As `merge`.
            ValueError: As `merge`, or a state is empty. `covariance` may differ.
        """
        self._check_matches(other)
        return amplitude_phase(self.parts(), other.parts())

    def cf_distance(
        self, other: "CFState", *, weights: Array | None = None, squared: bool = False
    ) -> Array:
        """Measure the distance from another state, as `cfmetrics.cf_distance` does.

        Args:
            other: State over equal frequencies.
            weights: Weights of the frequencies, of shape (F,), >= 0; 1/F by default.
            squared: Whether to leave out the root.

        Returns:
            The distance, a scalar.

        Raises:
            TypeError: As `merge`.
            ValueError: As `merge`, a state is empty, or the weights do not fit.
        """
        self._check_matches(other)
        return cf_distance_parts(self.parts(), other.parts(), weights=weights, squared=squared)

    def ncf_distance(self, other: "CFState", *, alpha: float = 0.5, beta: float = 0.5) -> Array:
        """Measure the distance from another state, as `cfmetrics.ncf_distance` does.

        Args:
            other: State over equal frequencies.
            alpha: Weight of the amplitude part, >= 0.
            beta: Weight of the phase part, >= 0; not both weights may be 0.

        Returns:
            The distance, a scalar.

        Raises:
            TypeError: As `merge`, or a weight is not a number.
            ValueError: As `merge`, a state is empty, or the weights are negative or both 0.
        """
        self._check_matches(other)
        return ncf_distance_parts(self.parts(), other.parts(), alpha=alpha, beta=beta)

    def test(
        self,
        other: "CFState",
        *,
        form: WaldForm = "hotelling",
        small_sample_correction: bool = True,
    ) -> "TestResult":
        """Test whether both samples have one distribution, without resampling.

        The frequencies must not be chosen by looking at the samples (a bandwidth from the first
        batch of both together is harmless). Looking at the p-value again and again while a stream
        runs, and stopping when it is small, is not a test of the given level.

        Args:
            other: State over equal frequencies. Both must keep the covariance.
            form: "hotelling" (pooled covariance, F distribution), which holds its level with few
                observations per frequency and with very unequal samples, or "epps_singleton"
                (chi-square); see `cfmetrics.two_sample.asymptotic.wald_test`.
            small_sample_correction: Correction of "epps_singleton" for fewer than 25 observations.

        Returns:
            Result with method "asymptotic"; `details` holds "degrees_of_freedom", "form" and
            "n_frequencies".

        Raises:
            TypeError: As `merge`.
            ValueError: As `merge`, a state is empty or keeps no covariance, or there are not more
                observations than 2F + 1 in all.

        Example:
            >>> import numpy as np
            >>> t, rng = np.array([0.5, 1.0]), np.random.default_rng(0)
            >>> a, b = (CFState(t, covariance=True).update(rng.normal(size=n)) for n in (300, 200))
            >>> bool(a.test(b).pvalue > 0.05)
            True
        """
        from cfmetrics.two_sample.result import TestResult

        self._check_matches(other)
        mine, theirs = (
            (_numpy(state.mean()), _numpy(state.covariance()), state.count)
            for state in (self, other)
        )
        statistic, degrees_of_freedom, pvalue = wald_test(
            *mine, *theirs, form=form, small_sample_correction=small_sample_correction
        )
        return TestResult(
            statistic=statistic,
            pvalue=pvalue,
            test="cf_2samp",
            method="asymptotic",
            n=self.count,
            m=other.count,
            n_features=self.n_features,
            details={
                "degrees_of_freedom": degrees_of_freedom,
                "form": form,
                "n_frequencies": int(self._frequencies.shape[0]),
            },
        )

    def reduce_(self, group: Any = None) -> Self:
        """Add up the states of all processes of torch.distributed, in place, on every process.

        Afterwards every process holds the state of all observations. Call it once, at the end, or
        for a result on the way on a copy, `state.copy().reduce_()`: after a second call every
        observation would count once for each process.

        Args:
            group: Process group; by default the one of all processes. Its backend must handle the
                device of the state: gloo for NumPy and CPU tensors, NCCL for CUDA tensors.

        Returns:
            The state itself.

        Raises:
            ImportError: torch is not installed.
            RuntimeError: No process group was made.
            ValueError: The processes differ in frequencies or `covariance`.
        """
        from cfmetrics import _reduce

        _reduce.check_same_everywhere(self._frequencies, self._moments, group)
        self._moments = _reduce.add_up(self._moments, group)
        return self

    def to_dict(self) -> dict[str, Any]:
        """Give the state as plain NumPy arrays, to store it or to send it to another process.

        Returns:
            Dictionary with "frequencies" (F, d), "count", "mean" (2F,), and "scatter" (2F, 2F), the
            covariance times the count, or None.

        Example:
            >>> import numpy as np
            >>> sorted(CFState(np.array([1.0])).to_dict())
            ['count', 'frequencies', 'mean', 'scatter']
        """
        scatter = self._moments.scatter
        return {
            "frequencies": _numpy(self._frequencies),
            "count": self.count,
            "mean": _numpy(self._moments.mean),
            "scatter": None if scatter is None else _numpy(scatter),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, device: Any = None) -> "CFState":
        """Make a state from what `to_dict` gave.

        Args:
            data: The dictionary. Its arrays may also be nested lists.
            device: Torch device; by default the state is one for NumPy.

        Returns:
            The state.

        Raises:
            TypeError: A dtype is not real.
            ValueError: A key is missing, or the shapes do not fit each other.

        Example:
            >>> import numpy as np
            >>> state = CFState(np.array([1.0])).update(np.arange(5.0))
            >>> CFState.from_dict(state.to_dict()).count
            5
        """
        missing = {"count", "frequencies", "mean", "scatter"} - data.keys()
        if missing:
            raise ValueError(f"data has no {', '.join(sorted(missing))}; pass what to_dict gave")
        names = [name for name in ("frequencies", "mean", "scatter") if data[name] is not None]
        _, arrays = _validate.float_arrays({name: np.asarray(data[name]) for name in names})
        if device is not None:
            import torch

            arrays = [torch.as_tensor(array, device=device) for array in arrays]
        state = cls(arrays[0], covariance=len(arrays) == 3)
        empty, count = state._moments, data["count"]
        for name, array, expected in zip(names[1:], arrays[1:], empty[1:], strict=False):
            if array.shape != expected.shape:
                raise ValueError(
                    f"data[{name!r}] has shape {tuple(array.shape)}, but the frequencies ask for "
                    f"{tuple(expected.shape)}"
                )
        n = 0 if count == 0 else _validate.count("data['count']", count)
        wide = [_as_dtype_of(a, b) for a, b in zip(arrays[1:], empty[1:], strict=False)]
        return state._with(FeatureMoments(n, wide[0], wide[1] if len(wide) == 2 else None))

    def __repr__(self) -> str:
        count, features = self._frequencies.shape
        return (
            f"CFState({count} frequencies, {features} features, {self.count} observations, "
            f"{_kind(self._frequencies)})"
        )

    def _with(self, moments: FeatureMoments) -> "CFState":
        state = object.__new__(CFState)
        state._frequencies, state._moments = self._frequencies, moments
        return state

    def _observations(self, rows: Array) -> Array:
        shape = tuple(rows.shape)
        if shape == (0,):  # Such as np.array([]), which cannot say how many features it lacks.
            return rows[:, None]
        matrix = rows[:, None] if rows.ndim == 1 else rows
        if matrix.ndim != 2 or matrix.shape[1] != self.n_features:
            raise ValueError(
                f"batch has shape {shape}; pass (r, {self.n_features})"
                f"{' or (r,)' if self.n_features == 1 else ''}, since the frequencies have "
                f"{self.n_features} feature{'s' if self.n_features > 1 else ''}"
            )
        return matrix

    def _check_not_empty(self) -> None:
        if self.count == 0:
            raise ValueError("the state is empty; call update with observations first")

    def _check_matches(self, other: "CFState") -> None:
        if not isinstance(other, CFState):
            raise TypeError(f"other is a {type(other).__name__}; pass a CFState")
        mine, theirs = self._frequencies, other._frequencies
        if mine is theirs:
            return
        kinds = [_kind(points) for points in (mine, theirs)]
        if kinds[0] != kinds[1]:
            error = TypeError if "numpy" in kinds else ValueError
            raise error(
                f"one state is on {kinds[0]}, the other on {kinds[1]}; convert one with "
                f"CFState.from_dict(state.to_dict(), device=...), without device for numpy"
            )
        if mine.shape != theirs.shape or not bool((mine == theirs).all()):
            raise ValueError(
                f"the states have other frequencies (shapes {tuple(mine.shape)} and "
                f"{tuple(theirs.shape)}); make both with the same frequencies"
            )


def _kind(array: Array) -> str:
    return f"torch {array.device}" if _validate.is_torch(array) else "numpy"


def _numpy(array: Array) -> Any:
    return array.cpu().numpy() if _validate.is_torch(array) else array


def _as_dtype_of(array: Array, like: Array) -> Array:
    return array.to(like.dtype) if _validate.is_torch(array) else array.astype(like.dtype)


def _as_it_is(rows: Array) -> contextlib.AbstractContextManager[Any]:
    """For torch: no gradients, and no lower precision from an enclosing autocast."""
    if not _validate.is_torch(rows):
        return contextlib.nullcontext()
    import torch

    stack = contextlib.ExitStack()
    stack.enter_context(torch.no_grad())
    stack.enter_context(torch.autocast(rows.device.type, enabled=False))
    return stack

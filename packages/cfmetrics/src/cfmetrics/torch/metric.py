"""A torchmetrics metric for characteristic-function distances (needs the extra `metrics`)."""

from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfmetrics import _validate
from cfmetrics.cf import cf_distance_parts, ncf_distance_parts
from cfmetrics.characteristic import CharacteristicParts, characteristic_parts

try:
    from torchmetrics import Metric
except ImportError as error:
    raise ImportError(
        "CharacteristicFunctionDistance needs torchmetrics; install the extra: cfmetrics[metrics]"
    ) from error

__all__ = ["CharacteristicFunctionDistance"]

_SIDES = ("real", "fake")


@final
class CharacteristicFunctionDistance(Metric):
    """Distance of real and generated features by their characteristic functions, as a metric.

    It accumulates the sums of cos <t, x> and sin <t, x> over mini-batches of both sides, in
    float64, so memory does not grow with the number of samples, and the result is that of
    `cf_distance` or `ncf_distance` on everything in one piece, to rounding. The sums of several
    processes are added up by torchmetrics' own synchronisation. Its use is that of torchmetrics'
    `FrechetInceptionDistance`; features come from an extractor of your choice.

    `forward(features, real)` adds a batch, and returns the distance of all that this process has
    added since the last reset, or NaN while one side is missing: a batch has one side only, so it
    has no distance of its own.

    Args:
        frequencies: Frequencies of shape (F, d), such as those of `sample_frequencies`. All
            processes must have the same, so draw them with a seed; others are an error when the
            processes are synchronised.
        distance: "cf" for `cf_distance` or "ncf" for `ncf_distance`.
        squared: Whether "cf" returns the square of the distance.
        alpha: Weight of the amplitude part of "ncf".
        beta: Weight of the phase part of "ncf".
        reset_real_features: Whether `reset` forgets the real side too. With False it is added once
            and compared with several generators.
        **kwargs: Options of torchmetrics' `Metric`, such as `process_group`.

    Raises:
        ImportError: torchmetrics is not installed.
        TypeError: The frequencies are not real numbers, or a weight is not a number.
        ValueError: The shape of the frequencies does not fit, `distance` is unknown, or the weights
            are negative or both 0.

    Example:
        >>> from cfmetrics import sample_frequencies
        >>> metric = CharacteristicFunctionDistance(sample_frequencies(64, 3, rng=0))
        >>> for _ in range(5):
        ...     metric.update(torch.randn(100, 3), real=True)
        ...     metric.update(torch.randn(100, 3) + 2, real=False)
        >>> metric.compute().item() > 0.3
        True
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    frequencies: Tensor
    fingerprint: Tensor
    real_cos: Tensor
    real_sin: Tensor
    real_count: Tensor
    fake_cos: Tensor
    fake_sin: Tensor
    fake_count: Tensor

    def __init__(
        self,
        frequencies: Tensor | NDArray[np.floating],
        *,
        distance: Literal["cf", "ncf"] = "cf",
        squared: bool = False,
        alpha: float = 0.5,
        beta: float = 0.5,
        reset_real_features: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _, (points,) = _validate.float_arrays({"frequencies": frequencies})
        points = _validate.frequency_matrix(points, 1 if points.ndim < 2 else points.shape[-1])
        _validate.choice("distance", distance, ("cf", "ncf"))
        self.distance = distance
        self.squared = squared
        self.alpha, self.beta = _validate.weights(alpha, beta)
        self.reset_real_features = reset_real_features
        self.register_buffer("frequencies", torch.as_tensor(points).detach().clone())
        # Says whether sums belong together; 0 where nothing was added. It is the first state, since
        # older versions of MetricCollection compare only the first ones of two metrics.
        zero = torch.tensor(0.0, dtype=torch.float64)
        self.add_state("fingerprint", zero, dist_reduce_fx=_the_only_one)
        sums = torch.zeros(points.shape[0], dtype=torch.float64)
        for side in _SIDES:
            self.add_state(f"{side}_cos", sums.clone(), dist_reduce_fx="sum")
            self.add_state(f"{side}_sin", sums.clone(), dist_reduce_fx="sum")
            self.add_state(f"{side}_count", torch.tensor(0), dist_reduce_fx="sum")

    def update(self, features: Tensor, real: bool = True) -> None:
        """Add a batch.

        Args:
            features: Features of shape (n, d), or (n,) for one feature. Half precision is computed
                in float32, also under torch autocast.
            real: Whether the features are real or generated.

        Raises:
            TypeError: `features` is not a tensor of real numbers.
            ValueError: The shape does not fit, or the batch is empty.
        """
        if not isinstance(features, Tensor):
            raise TypeError(f"features is a {type(features).__name__}; pass a torch tensor")
        if features.ndim > 2:
            raise ValueError(f"features has shape {tuple(features.shape)}; pass (n, d) or (n,)")
        features = features.float() if features.dtype.itemsize < 4 else features
        points = self.frequencies
        if features.is_floating_point():
            points = points.to(features.dtype)
        with torch.autocast(features.device.type, enabled=False):
            mean = characteristic_parts(features, points)
        side, n = _SIDES[0 if real else 1], features.shape[0]
        # Not in place: metrics of a MetricCollection may share the tensors.
        for name, value in (("cos", mean.real), ("sin", mean.imag)):
            total = getattr(self, f"{side}_{name}")
            setattr(self, f"{side}_{name}", total + n * value.to(total.dtype))
        setattr(self, f"{side}_count", getattr(self, f"{side}_count") + n)
        self.fingerprint = _fingerprint(self.frequencies)

    def compute(self) -> Tensor:
        """Compute the distance of everything added, by all processes.

        Returns:
            A scalar in float64.

        Raises:
            RuntimeError: Real or generated features are missing.
        """
        missing = [side for side in _SIDES if getattr(self, f"{side}_count") == 0]
        if missing:
            raise RuntimeError(
                f"there are no {' and no '.join(missing)} features; call update(features, "
                f"real=...) with real=True for the real and real=False for the fake ones"
            )
        return self._value()

    def forward(self, features: Tensor, real: bool = True) -> Tensor:
        """Add a batch and return the distance of all that this process has added, or NaN."""
        self.update(features, real)
        value = self._value()
        self._forward_cache = value  # type: ignore[assignment]
        return value

    def reset(self) -> None:
        """Forget everything, or the generated side only where `reset_real_features` is False."""
        kept = ("real_cos", "real_sin", "real_count", "fingerprint")
        real = {name: getattr(self, name) for name in kept}
        super().reset()
        if not self.reset_real_features:
            for name, value in real.items():
                setattr(self, name, value)

    def _value(self) -> Tensor:
        real, fake = (
            CharacteristicParts(
                getattr(self, f"{side}_cos") / getattr(self, f"{side}_count"),
                getattr(self, f"{side}_sin") / getattr(self, f"{side}_count"),
            )
            for side in _SIDES
        )
        value: Tensor
        if self.distance == "ncf":
            value = ncf_distance_parts(real, fake, alpha=self.alpha, beta=self.beta)
        else:
            value = cf_distance_parts(real, fake, squared=self.squared)
        return value


def _fingerprint(frequencies: Tensor) -> Tensor:
    """Compute a number that differs between different frequencies, and is not 0."""
    places = torch.arange(1, frequencies.numel() + 1, device=frequencies.device)
    values = frequencies.double().flatten()
    return (values * torch.sin(places.double())).sum() + values.numel()


def _the_only_one(fingerprints: Tensor) -> Tensor:
    """Merge fingerprints (k,): all that are not 0 must agree (up to the sum's order)."""
    used = fingerprints[fingerprints != 0]
    if used.numel() == 0:
        return fingerprints[0]
    if not torch.allclose(used, used[0], rtol=1e-9):
        raise ValueError(
            "the metrics to be merged have different frequencies; make all of them with the same, "
            "for instance by drawing them from one seed"
        )
    return used[0]

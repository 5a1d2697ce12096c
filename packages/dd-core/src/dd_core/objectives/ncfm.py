"""Neural characteristic function matching (NCFM, CVPR 2025), with or without its network psi."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from cfmetrics import CharacteristicParts, ncf_distance, ncf_distance_parts
from cfmetrics.torch import ScaleMixtureFrequencies, TanhFrequencies
from dd_core.errors import SettingsError
from dd_core.kernels import mean_waves, suits_waves
from dd_core.objectives._checks import at_least, fraction, one_of, positive, unit_length, unused
from dd_core.objectives.base import ClassSlice, Features, Objective

__all__ = ["NCFM"]

_REPEATS = 16
_SHARE = 16


@dataclass(frozen=True, slots=True)
class NCFM(Objective):
    """Mean over t of sqrt(alpha A(t) + (1 - alpha) P(t)), NCFM Eq. 5 to 8.

    A and P are the amplitude and phase part of the difference of the empirical characteristic
    functions of L2-normalised features at the frequency t,

        A = (|Phi| - |Phi'|)^2,    P = 2 |Phi| |Phi'| (1 - cos(a - a')),

    see `cfmetrics.ncf_distance`. (Eq. 7 prints |Phi - Phi'|^2 for A; the official code computes
    the above, with which A + P = |Phi - Phi'|^2.) Where the two sides agree the loss is 1e-6, the
    root's floor, and its gradient 0. Official code: times 300, the weight of its `Term`.

    Frequencies are new in every iteration. The sampling network psi is the adversary: it is
    trained to make the loss large, in the same backward pass that the images descend by.

    Attributes:
        n_frequencies: Frequencies F of one iteration.
        alpha: Weight of the amplitude part, from 0 to 1.
        psi: ``none``: t ~ N(0, scale^2 I), the kernel of fixed bandwidth 1 / scale.
            ``scale_mixture``: the network of the paper's text (Sec. 4.2), a learned scale mixture
            of normals. ``tanh``: the network of the official code, whose frequencies lie in
            (-1, 1).
        scale: Standard deviation of the frequencies; for ``scale_mixture``, before training.
        n_components: Components of the scale mixture; 0 means F / 16, as in the paper.
        repeats: The official network repeats every row so often: F / repeats frequencies are
            distinct. The mean over all rows is that over the distinct ones, so only these are
            computed.
        noise_variance: Variance of the tanh network's input (``t_var`` of the official code).

    Raises:
        SettingsError: A value is impossible, or belongs to another psi.

    Example:
        >>> objective = NCFM(n_frequencies=64, psi="tanh")
        >>> psi = objective.adversary(8)
        >>> objective.sample(8, torch.Generator().manual_seed(0), psi).shape
        torch.Size([4, 8])
    """

    n_frequencies: int = 1024
    alpha: float = 0.5
    psi: Literal["none", "scale_mixture", "tanh"] = "none"
    scale: float = 1.0
    n_components: int = 0
    repeats: int = _REPEATS
    noise_variance: float = 1.0

    def __post_init__(self) -> None:
        at_least("n_frequencies", self.n_frequencies, 1)
        fraction("alpha", self.alpha)
        one_of("psi", self.psi, ("none", "scale_mixture", "tanh"))
        positive("scale", self.scale)
        positive("noise_variance", self.noise_variance)
        at_least("n_components", self.n_components, 0)
        at_least("repeats", self.repeats, 1)
        self._check_options_of_psi()

    def _check_options_of_psi(self) -> None:
        why = f"psi is {self.psi!r}, which does not use it"
        if self.psi != "scale_mixture":
            unused("n_components", self.n_components, 0, why, "set psi = 'scale_mixture'")
        if self.psi != "tanh":
            way = "set psi = 'tanh'"
            unused("repeats", self.repeats, _REPEATS, why, way)
            unused("noise_variance", self.noise_variance, 1.0, why, way)
        else:
            unused("scale", self.scale, 1.0, why, "set another psi")
            if self.n_frequencies % self.repeats or self.n_frequencies < 2 * self.repeats:
                raise SettingsError(
                    f"n_frequencies is {self.n_frequencies} and repeats is {self.repeats}; for psi "
                    f"'tanh' give a multiple of repeats, at least {2 * self.repeats} (batch "
                    "normalisation needs two distinct rows)."
                )
        if self.n_components > self.n_frequencies:
            raise SettingsError(
                f"n_components is {self.n_components}, more than n_frequencies = "
                f"{self.n_frequencies}; give at least one frequency for each component."
            )

    def embed(self, features: Features) -> Features:
        """Features of unit length; the norm is taken in float32."""
        return Features(unit_length(features.vectors))

    def adversary(self, n_features: int) -> nn.Module | None:
        """The sampling network psi; its weights come from torch's global generator."""
        if self.psi == "scale_mixture":
            components = self.n_components or max(1, self.n_frequencies // _SHARE)
            return ScaleMixtureFrequencies(
                self.n_frequencies, n_features, n_components=components, scale=self.scale
            )
        if self.psi == "tanh":
            distinct = self.n_frequencies // self.repeats
            return TanhFrequencies(distinct, n_features, variance=self.noise_variance, repeats=1)
        return None

    def sample(
        self, n_features: int, generator: torch.Generator, adversary: nn.Module | None
    ) -> Tensor:
        """Frequencies of shape (n_frequencies, n_features), for ``tanh`` the distinct ones."""
        if adversary is not None:
            drawn: Tensor = adversary(generator)
            return drawn
        shape = (self.n_frequencies, n_features)
        drawn = torch.randn(shape, generator=generator, device=generator.device)
        return drawn if self.scale == 1.0 else drawn.mul_(self.scale)

    def loss_bytes(self, n_real: int, n_synthetic: int) -> int:
        """Angles, cosines and sines of all images at all frequencies, in float32."""
        return 3 * 4 * max(n_real, n_synthetic) * self.n_frequencies

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The distance of each class."""
        alpha, beta = self.alpha, 1 - self.alpha
        x, y = real.vectors, synthetic.vectors
        distance: Tensor
        if suits_waves(x, sample) and suits_waves(y, sample):
            p, q = (CharacteristicParts(*mean_waves(v, sample)) for v in (x, y))
            distance = ncf_distance_parts(p, q, alpha=alpha, beta=beta)
        else:
            distance = ncf_distance(x, y, frequencies=sample.to(x.dtype), alpha=alpha, beta=beta)
        return distance

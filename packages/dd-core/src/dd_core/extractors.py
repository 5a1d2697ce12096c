"""Pools of feature extractors, kept in memory, and the one network that their blend is put in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from dd_core.errors import DataError
from dd_core.images import LabeledImages
from dd_core.networks import ConvNet, build_network, network_for
from dd_core.runtime import generator
from dd_core.settings import NetworkSettings

__all__ = ["Extractor", "ExtractorPool", "frozen_network"]

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class ExtractorPool:
    """Initial and trained weights of several networks of one architecture.

    Attributes:
        initial: One dictionary of parameters a network, before training.
        trained: The same after training.
        seconds: Time of their training, over all attempts.
    """

    initial: tuple[Weights, ...]
    trained: tuple[Weights, ...]
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if not self.initial or len(self.initial) != len(self.trained):
            raise DataError(
                f"the pool has {len(self.initial)} initial and {len(self.trained)} trained "
                "networks; it needs one of each, and at least one network."
            )

    def __len__(self) -> int:
        return len(self.initial)

    @classmethod
    def random(
        cls,
        network: NetworkSettings,
        *,
        channels: int,
        size: int,
        n_classes: int,
        count: int,
        seed: int,
    ) -> ExtractorPool:
        """A pool of untrained networks, for tests and measurements of speed."""

        def weights(part: str, index: int) -> Weights:
            start = generator(seed, part, index).initial_seed()
            return dict(
                build_network(
                    network, channels=channels, size=size, n_classes=n_classes, seed=start
                )
                .requires_grad_(False)
                .named_parameters()
            )

        initial, trained = (
            tuple(weights(part, i) for i in range(count)) for part in ("initial", "trained")
        )
        return cls(initial, trained)

    def fingerprint(self) -> str:
        """SHA-256 of all weights, in hexadecimal."""
        digest = hashlib.sha256()
        for weights in (*self.initial, *self.trained):
            for name, tensor in sorted(weights.items()):
                digest.update(name.encode())
                digest.update(tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


class Extractor:
    """One frozen network whose weights are overwritten in place with a blend or anew.

    NCFM (Sec. 4.2.3): theta = beta * theta_initial + (1 - beta) * theta_trained of one network of
    the pool, beta ~ U(0, 1). DM: theta drawn from the initialisation, no pool.

    Args:
        settings: The architecture.
        images: Gives channels, size, classes and device.
        pool: The weights, or None for random networks.
        seed: Seed of all draws.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        images: LabeledImages,
        pool: ExtractorPool | None,
        seed: int,
    ) -> None:
        self._settings, self._images, self._seed = settings, images, seed
        self.blended = frozen_network(settings, images)
        self.trained = None if pool is None else frozen_network(settings, images)
        device = images.pixels.device
        self._pool = (
            None
            if pool is None
            else tuple(
                [{name: t.to(device) for name, t in weights.items()} for weights in side]
                for side in (pool.initial, pool.trained)
            )
        )

    @torch.no_grad()
    def draw(self, number: int) -> None:
        """Puts the number-th draw of weights in place."""
        draws = generator(self._seed, "extractor", number)
        if self._pool is None or self.trained is None:
            fresh = network_for(self._images, self._settings, draws.initial_seed())
            _copy(self.blended, dict(fresh.named_parameters()))
            return
        initial, trained = self._pool
        index = int(torch.randint(len(initial), (), generator=draws))
        beta = float(torch.rand((), generator=draws))
        for name, parameter in self.blended.named_parameters():
            torch.lerp(trained[index][name], initial[index][name], beta, out=parameter)
        _copy(self.trained, trained[index])


def frozen_network(settings: NetworkSettings, images: LabeledImages) -> ConvNet:
    """A network for these images whose parameters take no gradient."""
    network = network_for(images, settings, 0).requires_grad_(False)
    return network.to(images.pixels.device)


def _copy(network: ConvNet, weights: Weights) -> None:
    for name, parameter in network.named_parameters():
        parameter.copy_(weights[name])

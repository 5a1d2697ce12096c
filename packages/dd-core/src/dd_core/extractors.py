"""Pools of feature extractors, kept in memory, and the one network that their blend is put in."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dd_core._arguments import as_count, as_instance, as_path, as_seed
from dd_core.checkpoint import fingerprint, load_state, save_state
from dd_core.errors import DataError
from dd_core.images import LabeledImages
from dd_core.networks import Network, build_network, describe_network, initialize, network_for
from dd_core.runtime import generator
from dd_core.settings import NetworkSettings

__all__ = [
    "Extractor",
    "ExtractorPool",
    "frozen_network",
    "join_sides",
    "network_file",
    "network_weights",
    "pool_manifest",
    "take_side",
]

Weights = dict[str, Tensor]
_SIDES = ("initial", "trained")
_IMAGES = ("mean", "std", "class_names")  # what a pool knows of its images, beside their shape


@dataclass(frozen=True)
class ExtractorPool:
    """Initial and trained weights of several networks of one architecture.

    Weights are the parameters and, of batch norms, the running statistics.

    Attributes:
        initial: One dictionary of weights a network, before training.
        trained: The same after training.
        network: Their architecture.
        channels: Channels of the images that they were made for.
        size: Height and width of these images.
        n_classes: Their classes.
        seconds: Time of their training, over all attempts.
        mean: Mean of each channel that these images were normalised with; empty where that is not
            known, as for `random`.
        std: Standard deviation of each channel, likewise.
        class_names: Names of the classes, likewise.

    Raises:
        DataError: There is no network, or not as many trained as initial ones.
    """

    initial: tuple[Weights, ...]
    trained: tuple[Weights, ...]
    network: NetworkSettings
    channels: int
    size: int
    n_classes: int
    seconds: float = 0.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    class_names: tuple[str, ...] = ()

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
        """A pool of untrained networks, for tests and measurements of speed.

        Raises:
            SettingsError: A number or the seed is impossible.

        Example:
            >>> pool = ExtractorPool.random(
            ...     NetworkSettings(depth=2, width=16), channels=1, size=16, n_classes=3, count=2,
            ...     seed=0)
            >>> len(pool), pool.size
            (2, 16)
        """
        as_instance("network", network, NetworkSettings)
        sizes = {"channels": channels, "size": size, "n_classes": n_classes, "count": count}
        for name, value in sizes.items():
            as_count(name, value)
        seed = as_seed(seed)

        def weights(part: str, index: int) -> Weights:
            start = generator(seed, part, index).initial_seed()
            return network_weights(
                build_network(
                    network, channels=channels, size=size, n_classes=n_classes, seed=start
                )
            )

        initial, trained = (
            tuple(weights(part, i) for i in range(count)) for part in ("initial", "trained")
        )
        return cls(initial, trained, network, channels, size, n_classes)

    def save(self, folder: Path | str) -> None:
        """Stores the pool for `load`: a safetensors file a network, each with its manifest.

        Raises:
            SettingsError: ``folder`` is no path.
            OSError: The folder cannot be written.
        """
        folder = as_path("folder", folder)
        manifest = pool_manifest(self, self.network, len(self))
        key = fingerprint(self.fingerprint())
        for number, pair in enumerate(zip(self.initial, self.trained, strict=True)):
            facts = {"seconds": self.seconds / len(self), "pool": manifest}
            tensors = join_sides(*pair)
            save_state(network_file(folder, number), tensors, facts, key=key)

    @classmethod
    def load(cls, folder: Path | str) -> ExtractorPool:
        """Reads what `save` stored, or what `pretrain_pool` left in its folder.

        Raises:
            SettingsError: ``folder`` is no path.
            DataError: The folder holds no pool, or not all networks of one pool.
            CheckpointError: A file is damaged.
        """
        folder = as_path("folder", folder)
        paths = sorted(folder.glob("network_*.safetensors"))
        if not paths:
            raise DataError(f"{folder} holds no pool; train one with `pretrain_pool`.")
        read = [_read(path) for path in paths]
        manifest: dict[str, Any] = {}
        for _, facts in read:  # those of an older version say less
            if any(manifest.setdefault(k, v) != v for k, v in facts["pool"].items()):
                raise DataError(f"{folder} holds networks of different pools; keep those of one.")
        if len(paths) != manifest["networks"]:
            raise DataError(
                f"{folder} holds {len(paths)} of the {manifest['networks']} networks of its pool; "
                "finish its pretraining."
            )
        initial, trained = (tuple(take_side(tensors, s) for tensors, _ in read) for s in _SIDES)
        seconds = sum(float(facts["seconds"]) for _, facts in read)
        channels, size, n_classes = (manifest[n] for n in ("channels", "size", "n_classes"))
        network = NetworkSettings(**manifest["network"])
        known = (tuple(manifest.get(name, ())) for name in _IMAGES)
        return cls(initial, trained, network, channels, size, n_classes, seconds, *known)

    def require_fit(self, network: NetworkSettings, images: LabeledImages) -> None:
        """Raises DataError where the pool was made for another network or other images."""
        has = _made_for(self.network, self.channels, self.size, self.n_classes)
        wanted = _made_for(network, images.channels, images.size, images.n_classes)
        if has != wanted:
            raise DataError(
                f"the pool holds networks of the kind {has}, but the run asks for {wanted}; "
                "pretrain a pool for this network and these images."
            )
        for name in _IMAGES:
            trained, asked = getattr(self, name), getattr(images, name)
            if trained and trained != asked:
                here, a, b = _difference(trained, asked)
                raise DataError(
                    f"the pool was trained on images whose {name}{here} is {a!r}, but that of "
                    f"these images is {b!r}; pretrain a pool for these images."
                )

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

    The networks are in evaluation mode, so a batch norm uses running statistics and the features
    of an image do not depend on the images beside it. The statistics are blended like the
    parameters; those of a random network are mean 0 and variance 1.

    Attributes:
        blended: The network that the draws change.
        trained: The trained network of the same draw; None for random networks.

    Args:
        settings: The architecture.
        images: Gives channels, size, classes and device.
        pool: The weights, or None for random networks.
        seed: Seed of all draws.

    Raises:
        DataError: The pool was made for another network or other images.
    """

    def __init__(
        self,
        settings: NetworkSettings,
        images: LabeledImages,
        pool: ExtractorPool | None,
        seed: int,
    ) -> None:
        if pool is not None:
            pool.require_fit(settings, images)
        self._seed = seed
        self._device = images.device
        self.blended = frozen_network(settings, images)
        self.trained = None if pool is None else frozen_network(settings, images)
        self._pool = (
            None
            if pool is None
            else tuple(
                [{name: t.to(self._device) for name, t in weights.items()} for weights in part]
                for part in (pool.initial, pool.trained)
            )
        )

    @torch.no_grad()
    def draw(self, number: int) -> None:
        """Puts the number-th draw of weights in place.

        Nothing is read back from the device, so a GPU goes on with its work meanwhile.
        """
        if self._pool is None or self.trained is None:
            draws = generator(self._seed, "extractor", number, device=self._device)
            initialize(self.blended, draws)
            return
        draws = generator(self._seed, "extractor", number)
        initial, trained = self._pool
        index = int(torch.randint(len(initial), (), generator=draws))
        beta = float(torch.rand((), generator=draws))
        for name, target in network_weights(self.blended).items():
            torch.lerp(trained[index][name], initial[index][name], beta, out=target)
        for name, target in network_weights(self.trained).items():
            target.copy_(trained[index][name])


def frozen_network(settings: NetworkSettings, images: LabeledImages) -> Network:
    """A network for these images, in evaluation mode, whose parameters take no gradient."""
    network = network_for(images, settings, 0).requires_grad_(False).eval()
    return network.to(images.device)


def network_weights(network: Network) -> Weights:
    """Parameters and running statistics by name, without gradient; not copies."""
    return {n: t for n, t in network.state_dict().items() if t.is_floating_point()}


def network_file(folder: Path, number: int) -> Path:
    """Where a pool keeps its number-th network."""
    return folder / f"network_{number:03d}.safetensors"


def pool_manifest(
    images: LabeledImages | ExtractorPool, network: NetworkSettings, networks: int
) -> dict[str, Any]:
    """What is written beside the weights of each network, JSON-able.

    Args:
        images: The images that they were made for, or the pool that knows what these were.
        network: The architecture.
        networks: How many there are in the pool.
    """
    record: dict[str, Any] = {"network": asdict(network), "networks": networks}
    record |= {name: getattr(images, name) for name in ("channels", "size", "n_classes")}
    return record | {name: list(getattr(images, name)) for name in _IMAGES if getattr(images, name)}


def take_side(tensors: Mapping[str, Tensor], name: str) -> Weights:
    """The initial or the trained weights of a network's file."""
    return {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}


def join_sides(*weights: Weights) -> Weights:
    """Initial and trained weights as the tensors of one file."""
    named = zip(_SIDES, weights, strict=True)
    return {f"{s}.{name}": t for s, part in named for name, t in part.items()}


def _read(path: Path) -> tuple[Weights, dict[str, Any]]:
    stored = load_state(path, key=None)
    if stored is None or "pool" not in stored[1]:
        raise DataError(f"{path} is not a network of a pool; pretrain the pool anew.")
    return stored


def _difference(trained: tuple[Any, ...], asked: tuple[Any, ...]) -> tuple[str, Any, Any]:
    """Where two tuples of one length differ first, and both entries."""
    for place, (a, b) in enumerate(zip(trained, asked, strict=True)):
        if a != b:
            return f"[{place}]", a, b
    return "", trained, asked


def _made_for(network: NetworkSettings, channels: int, size: int, n_classes: int) -> str:
    images = f"images of {channels} x {size} x {size} in {n_classes} classes"
    return f"{describe_network(network)}, for {images}"

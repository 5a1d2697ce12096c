"""Feature spaces that stay as they are, so that numbers measured in them can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dd_core._arguments import as_instance, as_path, as_seed
from dd_core.augment import normalize
from dd_core.errors import DataError
from dd_core.extractors import ExtractorPool, frozen_network, network_weights
from dd_core.images import LabeledImages
from dd_core.networks import Network, describe_network, network_for, usual_depth
from dd_core.runtime import Runtime
from dd_core.settings import NetworkSettings

__all__ = ["FeatureSpace"]


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """A fixed map from images to feature vectors, with the normalisation that goes before it.

    All images go the same way: scaled to [0, 1], minus ``mean``, divided by ``std``, and through
    ``function``. Numbers that are measured in one space can be compared with each other; those of
    two spaces cannot.

    Attributes:
        function: Normalised images, float32 of shape (n, channels, size, size), to features of
            shape (n, ...).
        mean: Mean of each channel of pixels scaled to [0, 1].
        std: Standard deviation of each channel.
        description: What the space is, in words, for records.

    Example:
        >>> pixels = torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1)
        >>> space = FeatureSpace(lambda x: x.flatten(1), (0.5,), (0.25,), "normalised pixels")
        >>> space.features(pixels).flatten().round().tolist()
        [-2.0, 2.0]
    """

    function: Callable[[Tensor], Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    description: str

    @classmethod
    def random(
        cls,
        images: LabeledImages,
        *,
        runtime: Runtime,
        seed: int = 0,
        network: NetworkSettings | None = None,
    ) -> FeatureSpace:
        """The features of an untrained network with seeded weights, which needs no pool.

        Random convolutional features see edges, colours and textures. DM (Zhao & Bilen 2023)
        compares images in spaces of this kind.

        Args:
            images: Give channels, size and normalisation.
            runtime: Device and precision of the network.
            seed: Seed of the weights. Keep it: another seed is another space.
            network: The architecture; by default the ConvNet of the field for images of this size
                (depth 3 for 28 and 32 px, 4 for 64, 5 for 128, 6 for 224; width 128).

        Raises:
            SettingsError: An argument is of the wrong type, or the network does not take images
                of this size.
        """
        as_instance("images", images, LabeledImages)
        seed = as_seed(seed)
        chosen = NetworkSettings(depth=usual_depth(images.size)) if network is None else network
        made = network_for(images, as_instance("network", chosen, NetworkSettings), seed)
        words = f"{describe_network(chosen)}, random weights of seed {seed}"
        return _of_network(made.requires_grad_(False).eval(), images, words, runtime)

    @classmethod
    def trained(
        cls, pool: ExtractorPool | Path | str, images: LabeledImages, *, runtime: Runtime
    ) -> FeatureSpace:
        """The features of the first trained network of a pool.

        Args:
            pool: The pool, or the folder that holds one.
            images: Give channels, size and normalisation.
            runtime: Device and precision of the network.

        Raises:
            SettingsError: An argument is of the wrong type.
            DataError: The folder holds no pool, or the pool was made for other images.
            CheckpointError: A file of the pool is damaged.
        """
        as_instance("images", images, LabeledImages)
        if not isinstance(pool, ExtractorPool):
            pool = ExtractorPool.load(as_path("pool", pool))
        pool.require_fit(pool.network, images)
        network = frozen_network(pool.network, images)
        for name, weights in network_weights(network).items():
            weights.copy_(pool.trained[0][name])
        words = f"{describe_network(pool.network)}, trained: the first network of a pool"
        return _of_network(network, images, words, runtime)

    @torch.no_grad()
    def features(self, pixels: Tensor, what: str = "these images") -> Tensor:
        """Features of images, each by itself.

        Args:
            pixels: uint8 from 0 to 255 or float from 0 to 1, of shape (n, channels, size, size).
            what: What the images are, for messages.

        Returns:
            float32 of shape (n, d).

        Raises:
            DataError: The function does not give one row of finite numbers an image.
        """
        rows: object = self.function(normalize(pixels, self.mean, self.std))
        if not isinstance(rows, Tensor) or rows.shape[:1] != (len(pixels),) or not rows.numel():
            found = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
            raise DataError(
                f"function of the feature space ({self.description}) gives {found} for "
                f"{len(pixels)} images; give a function that returns one row an image."
            )
        rows = rows.reshape(len(pixels), -1).float()
        if not bool(torch.isfinite(rows).all()):
            raise DataError(
                f"features of {what} are not finite in the feature space "
                f"({self.description}); give a space that is finite for every image."
            )
        return rows


def _of_network(
    network: Network, images: LabeledImages, words: str, runtime: Runtime
) -> FeatureSpace:
    as_instance("runtime", runtime, Runtime)
    network = network.to(runtime.device)

    def function(normalized: Tensor) -> Tensor:
        return network.features(normalized.to(runtime.device, runtime.dtype))

    return FeatureSpace(function, images.mean, images.std, f"features of {words}")

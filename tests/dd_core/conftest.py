"""Small images and networks that every test can afford."""

from __future__ import annotations

import pytest
import torch

from dd_core import LabeledImages, NetworkSettings, Runtime
from dd_core.extractors import ExtractorPool

torch.set_num_threads(1)  # the tensors are small; threads would only wait for each other


def blobs(n_per_class: int, *, classes: int = 3, size: int = 16, seed: int = 0) -> LabeledImages:
    """Noisy images with a bright square whose place tells the class."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(n_per_class)
    pixels = torch.randint(0, 90, (len(labels), 1, size, size), generator=draws)
    for i, label in enumerate(labels.tolist()):
        start = label * size // classes
        pixels[i, :, start : start + size // classes, start : start + size // classes] += 150
    names = tuple(f"class {c}" for c in range(classes))
    return LabeledImages(pixels.to(torch.uint8), labels, (0.3,), (0.25,), names)


@pytest.fixture
def images() -> LabeledImages:
    return blobs(20)


@pytest.fixture
def test_images() -> LabeledImages:
    return blobs(10, seed=1)


@pytest.fixture
def network() -> NetworkSettings:
    return NetworkSettings(depth=2, width=16)


@pytest.fixture
def pool(network: NetworkSettings) -> ExtractorPool:
    return ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=2, seed=0)


@pytest.fixture
def runtime() -> Runtime:
    return Runtime("cpu", "float32", compile=False, threads=2)

"""What both sides compute: shapes, counts and the pinned random images of a workload."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

CLASSES = 10
SIZE = 32
CHANNELS = 3
DEPTH = 3
WIDTH = 128
RHO = 2
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
AUGMENTATION = "color_crop_cutout"
EXTRACTORS = 20
SEED = 20_250_220


@dataclass(frozen=True, slots=True)
class Workload:
    """One column of work: everything that is not fixed by the CIFAR-10 shapes above.

    Attributes:
        name: The letter that names it on the command line.
        ipc: Synthetic images a class.
        real: Real images a class in one iteration.
        frequencies: Frequency arguments t of the characteristic function.
    """

    name: str
    ipc: int
    real: int
    frequencies: int

    @property
    def title(self) -> str:
        """Say the workload in words.

        >>> WORKLOADS["c"].title
        'IPC 1, 64 real a class, 1024 frequencies'
        """
        return f"IPC {self.ipc}, {self.real} real a class, {self.frequencies} frequencies"


WORKLOADS: "Mapping[str, Workload]" = MappingProxyType(
    {
        "a": Workload("a", ipc=10, real=128, frequencies=1024),
        "b": Workload("b", ipc=10, real=1024, frequencies=4096),
        "c": Workload("c", ipc=1, real=64, frequencies=1024),
    }
)


def random_images(workload: Workload) -> "tuple[NDArray[np.uint8], NDArray[np.int64]]":
    """Draw the real images of a workload: noise, which costs as much as photographs.

    Returns:
        Pixels (classes * real, channels, size, size) and labels (classes * real,), sorted by class;
        the same on every call.

    >>> pixels, labels = random_images(Workload("tiny", ipc=1, real=2, frequencies=8))
    >>> pixels.shape, labels[:4].tolist()
    ((20, 3, 32, 32), [0, 0, 1, 1])
    """
    shape = (CLASSES * workload.real, CHANNELS, SIZE, SIZE)
    pixels = np.random.default_rng(SEED).integers(0, 256, size=shape, dtype=np.uint8)
    labels = np.repeat(np.arange(CLASSES, dtype=np.int64), workload.real)
    return pixels, labels

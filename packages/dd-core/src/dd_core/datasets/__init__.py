"""Data sets from files, folders and torchvision into `ImageData`; what is damaged is said so."""

from __future__ import annotations

from dd_core.datasets.arrays import read_npz
from dd_core.datasets.cifar import read_cifar10, read_cifar100
from dd_core.datasets.folder import read_image_folder
from dd_core.datasets.mapstyle import from_torchvision
from dd_core.datasets.parts import long_tailed, long_tailed_sizes, split_per_class, subset

__all__ = [
    "from_torchvision",
    "long_tailed",
    "long_tailed_sizes",
    "read_cifar10",
    "read_cifar100",
    "read_image_folder",
    "read_npz",
    "split_per_class",
    "subset",
]

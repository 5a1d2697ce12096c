"""The data set that the package carries, and where else images come from."""

from __future__ import annotations

from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING

from dd_core.errors import DataError

if TYPE_CHECKING:
    from dd_core.images import ImageData
    from dd_recipes.recipe import DataSource

__all__ = ["SUBSET_SHA256", "embedded_file", "load_data"]

# Of the file that tools/make_quickstart_data.py writes.
SUBSET_SHA256 = "042eeda378602798bfee5ee5dfc00aff2529499f8636f1df4c68d83ca55350df"


def embedded_file() -> Traversable:
    """The embedded data set: 6,000 training and 2,500 test images of Fashion-MNIST."""
    return files("dd_recipes") / "assets" / "fashion_mnist_subset.npz"


def load_data(source: DataSource, root: Path | None) -> ImageData:
    """Reads the images of a recipe.

    Args:
        source: The recipe's data source.
        root: Folder given by ``--data``; None where none was given.

    Raises:
        DataError: The data are missing or damaged, or a folder was given that is not used.
    """
    from dd_core.datasets import read_cifar10, read_npz

    if source.source == "cifar10":
        return read_cifar10(root or Path("data"))
    if root is not None:
        raise DataError(
            f"--data {root} was given, but this recipe uses the images of the package; "
            "leave --data out."
        )
    with as_file(embedded_file()) as path:
        return read_npz(path, name="Fashion-MNIST subset", sha256=SUBSET_SHA256)

"""The data set that the package carries."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable

__all__ = ["SUBSET_SHA256", "embedded_file"]

# Of the file that tools/make_quickstart_data.py writes.
SUBSET_SHA256 = "042eeda378602798bfee5ee5dfc00aff2529499f8636f1df4c68d83ca55350df"


def embedded_file() -> Traversable:
    """The embedded data set: 6,000 training and 2,500 test images of Fashion-MNIST."""
    return files("dd_recipes") / "assets" / "fashion_mnist_subset.npz"

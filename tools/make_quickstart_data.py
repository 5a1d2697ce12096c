"""Makes the data set that dd-recipes carries: a class-balanced subset of Fashion-MNIST.

Run it from the repository root, with the folder of the four official files::

    python tools/make_quickstart_data.py --source DIR

The four files (``train-images-idx3-ubyte.gz`` and so on) are listed at
https://github.com/zalandoresearch/fashion-mnist; torchvision puts them in
``FashionMNIST/raw``. Their decompressed content is checked, so a copy that was compressed
again is as good as the original.

The choice depends on the seed alone: the images of each class are ordered by the SHA-256 of
``"SEED/SPLIT/INDEX"`` and the first ones are taken. No random generator is involved, so any
version of Python and NumPy makes the same arrays; the file is written with fixed time stamps,
so the same zlib makes the same bytes (another implementation, such as zlib-ng, may compress the
same arrays to other bytes).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SEED = 2017
TRAIN_PER_CLASS = 600
TEST_PER_CLASS = 250
TARGET = Path("packages/dd-recipes/src/dd_recipes/assets/fashion_mnist_subset.npz")

# SHA-256 of the decompressed idx files. They are the content of the official .gz files, whose
# published md5 sums are 8d4fb7e6c68d591d4c3dfef9ec88bf0d, 25c81989df183df01b3e8a0aad5dffbe,
# bef4ecab320f06d8554ea6380940ec79 and bb300cfdad3c16e7a12a480ee83cd310.
SOURCES = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def parse_idx(content: bytes) -> NDArray[np.uint8]:
    """Reads an idx file of unsigned bytes: 0, 0, 8, rank, the big-endian sizes, the values."""
    zeros, kind, rank = struct.unpack(">HBB", content[:4])
    if zeros != 0 or kind != 8:
        raise SystemExit(f"error: not an idx file of unsigned bytes (it begins {content[:4]!r})")
    shape = struct.unpack(f">{rank}I", content[4 : 4 + 4 * rank])
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)


def read_source(folder: Path, name: str) -> NDArray[np.uint8]:
    """Reads and checks one official file, compressed or not."""
    for path in (folder / f"{name}.gz", folder / name):
        if path.exists():
            break
    else:
        raise SystemExit(f"error: no {name}.gz in {folder}; give the folder with --source DIR")
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCES[name]:
        raise SystemExit(f"error: {path} is not the official file: its content has SHA-256 {found}")
    return parse_idx(content)


def choose(labels: NDArray[np.uint8], split: str, per_class: int) -> NDArray[np.intp]:
    """Indices of ``per_class`` images of every class, class after class."""

    def rank(index: int) -> bytes:
        return hashlib.sha256(f"{SEED}/{split}/{index}".encode()).digest()

    chosen = [
        sorted(np.flatnonzero(labels == label).tolist(), key=rank)[:per_class]
        for label in range(len(CLASS_NAMES))
    ]
    return np.array(chosen, dtype=np.intp).ravel()


def make_arrays(source: Path) -> dict[str, NDArray[np.generic]]:
    """The arrays of the subset, as ``dd_core.datasets.read_npz`` takes them."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for split, prefix, per_class in (
        ("train", "train", TRAIN_PER_CLASS),
        ("test", "t10k", TEST_PER_CLASS),
    ):
        labels = read_source(source, f"{prefix}-labels-idx1-ubyte")
        chosen = choose(labels, split, per_class)
        images = read_source(source, f"{prefix}-images-idx3-ubyte")
        arrays[f"{split}_images"] = images[chosen]
        arrays[f"{split}_labels"] = labels[chosen]
    scaled = arrays["train_images"].astype(np.float64) / 255
    arrays["mean"] = np.round(scaled.mean(keepdims=True).ravel(), 6)
    arrays["std"] = np.round(scaled.std(keepdims=True).ravel(), 6)
    arrays["class_names"] = np.array(CLASS_NAMES)
    return arrays


def pack(arrays: dict[str, NDArray[np.generic]]) -> bytes:
    """An .npz archive without the time of day, so that equal arrays give equal bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, array in arrays.items():
            member = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            member.compress_type = zipfile.ZIP_DEFLATED
            member.external_attr = 0o644 << 16
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0))
            archive.writestr(member, buffer.getvalue(), compresslevel=9)
    return target.getvalue()


def main(arguments: list[str] | None = None) -> int:
    """Makes the file and prints its SHA-256, which belongs into ``dd_recipes/assets.py``."""
    parser = argparse.ArgumentParser(description="Make the data set that dd-recipes carries.")
    parser.add_argument("--source", type=Path, required=True, metavar="DIR",
                        help="folder of the four official .gz files")  # fmt: skip
    parser.add_argument("--target", type=Path, default=TARGET, metavar="FILE",
                        help="the .npz file to write (default: %(default)s)")  # fmt: skip
    options = parser.parse_args(arguments)
    content = pack(make_arrays(options.source))
    options.target.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    print(f"{options.target}: {len(content):,} bytes, SHA-256 {digest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

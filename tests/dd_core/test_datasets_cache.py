"""Decoded images in a mapped file: reuse, damage, and how much memory draws take."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from dd_core import DataError
from dd_core.datasets import from_torchvision, long_tailed, read_image_folder
from dd_core.events import Message, PhaseStarted

LABELS = [0, 1, 1, 0, 1, 0]


def items(seed=0, size=8):
    draws = np.random.default_rng(seed)
    return [(draws.integers(0, 256, (size, size, 3), dtype=np.uint8), label) for label in LABELS]


class Read:
    """Reads through a cache, and says what happened."""

    def __init__(self, cache):
        self.cache, self.events = cache, []

    def __call__(self, train, **options):
        self.events.clear()
        listen = self.events.append
        return from_torchvision(train, items(1), cache=self.cache, listen=listen, **options)

    @property
    def decoded(self):
        return any(isinstance(e, PhaseStarted) for e in self.events)

    @property
    def messages(self):
        return [e.text for e in self.events if isinstance(e, Message)]


@pytest.fixture
def read(tmp_path):
    return Read(tmp_path / "cache")


def test_a_cache_holds_what_memory_would_and_is_used_again(read):
    memory = from_torchvision(items(), items(1))
    for again in (False, True):
        mapped = read(items())
        assert read.decoded is not again and not read.messages
        for ours, theirs in ((mapped.train, memory.train), (mapped.test, memory.test)):
            assert torch.equal(ours.pixels, theirs.pixels) and ours.stored and not theirs.stored
            assert torch.equal(ours.labels, theirs.labels)
            assert (ours.mean, ours.std) == (theirs.mean, theirs.std)
            drawn, expected = (
                i.draw_batch(2, torch.Generator().manual_seed(0))[0] for i in (ours, theirs)
            )
            assert torch.equal(drawn, expected)
    assert read(items()).train.fingerprint() == mapped.train.fingerprint()
    assert mapped.test.fingerprint() != mapped.train.fingerprint()
    assert not long_tailed(mapped.train, 2).stored  # in memory


def test_another_source_or_form_is_decoded_anew(read):
    first = read(items())
    for train, options in ((items(2), {}), (items(2), {"channels": 3}), (items()[:5], {})):
        other = read(train, **options)
        assert read.decoded and "has changed" in read.messages[0].replace("have", "has")
        assert torch.equal(other.train.pixels, from_torchvision(train, items(1)).train.pixels)
        read(train, **options)
        assert not read.decoded
    # What was mapped before still shows its own images.
    assert torch.equal(first.train.pixels, from_torchvision(items(), items(1)).train.pixels)


@pytest.mark.parametrize(
    "damage", ["short", "long", "dtype", "shape", "header", "gone", "manifest", "edited", "list"]
)
def test_a_damaged_cache_is_made_anew(read, damage):
    first = read(items())
    pixels, manifest = read.cache / "train.npy", read.cache / "manifest.json"
    content = pixels.read_bytes()
    match damage:
        case "short":
            pixels.write_bytes(content[:-1])
        case "long":
            pixels.write_bytes(content + b"0")
        case "dtype":
            np.save(pixels, np.zeros((6, 3, 8, 8), np.int8))
        case "shape":
            np.save(pixels, np.zeros((6, 3, 8, 4), np.uint8))
        case "header":
            pixels.write_bytes(b"\0" * len(content))
        case "gone":
            pixels.unlink()
        case "manifest":
            manifest.write_bytes(manifest.read_bytes()[:-20])
        case "edited":
            manifest.write_text(manifest.read_text().replace("[0, 1, 1", "[1, 0, 1"))
        case "list":
            manifest.write_text("[]")
    again = read(items())
    assert read.decoded and "is damaged and made anew" in read.messages[0]
    assert again.train.fingerprint() == first.train.fingerprint()
    assert torch.equal(again.train.pixels, from_torchvision(items(), items(1)).train.pixels)


def test_what_fails_leaves_no_file_and_is_decoded_the_next_time(read):
    with pytest.raises(DataError, match="item 5 of train"):
        read([*items()[:5], ("no image", 0)])
    assert list(read.cache.iterdir()) == []
    read(items())
    assert read.decoded


def test_files_of_killed_processes_are_removed_in_time(read):
    read.cache.mkdir()
    old, new = read.cache / ".train.a.part", read.cache / ".train.b.part"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 9999,) * 2)
    read(items())
    assert not old.exists() and new.exists()


def test_other_folders_are_left_alone(read):
    read.cache.mkdir()
    (read.cache / "thesis.doc").write_text("ten years")
    with pytest.raises(DataError, match=r"holds thesis.doc and so is not a cache"):
        read(items())
    assert [p.name for p in read.cache.iterdir()] == ["thesis.doc"]
    read.cache = read.cache / "thesis.doc"
    with pytest.raises(DataError, match="which is a file"):
        read(items())


def test_files_of_a_tree_are_watched(tmp_path):
    image = pytest.importorskip("PIL.Image")
    paths = [tmp_path / "set" / p / c / "1.png" for p in ("train", "val") for c in "ab"]
    for i, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        image.fromarray(items(i)[0][0]).save(path)
    events = []

    def decoded(root=tmp_path / "set", **options):
        events.clear()
        cache = tmp_path / "cache"
        data = read_image_folder(root, cache=cache, listen=events.append, **options)
        memory = read_image_folder(root, **options)
        assert torch.equal(data.train.pixels, memory.train.pixels)
        return any(isinstance(e, PhaseStarted) for e in events)

    assert decoded() and not decoded()
    moved = (tmp_path / "set").rename(tmp_path / "moved")
    assert not decoded(moved)
    image.fromarray(items(9)[0][0]).save(moved / "train" / "a" / "1.png")
    assert decoded(moved) and not decoded(moved)
    os.utime(moved / "val" / "b" / "1.png", (1, 1))
    assert decoded(moved) and not decoded(moved)
    image.fromarray(items(8)[0][0]).save(moved / "train" / "a" / "2.png")
    assert decoded(moved) and decoded(moved, size=4) and not decoded(moved, size=4)
    assert not decoded(moved, size=4, normalization=((0.5,) * 3, (0.2,) * 3))


# The set is 300 MB; what may be allocated beside what is there after the import is 64 MB.
DRAWS = """
import resource, sys
import numpy as np, torch
from dd_core import LabeledImages
from dd_core.datasets._cache import _mapped, map_pixels

labels = torch.arange(2000) % 10
torch.randperm(2000).sort()
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
status = dict(line.split(":") for line in open("/proc/self/status") if ":" in line)
limit = int(status["VmData"].split()[0]) * 1024 + 64 * 2**20
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
before = peak()
pixels = map_pixels(_mapped(sys.argv[1]))
images = LabeledImages(pixels, labels, (0.5,) * 3, (0.2,) * 3, tuple("abcdefghij"), stored="ab")
images.fingerprint()
for seed in range(5):
    images.draw_batch(4, torch.Generator().manual_seed(seed))
print(peak() - before)
try:
    pixels.clone()
except RuntimeError:
    print("The whole does not fit")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory are those of Linux")
def test_draws_from_a_mapped_file_take_the_memory_of_a_batch(tmp_path):
    path = tmp_path / "train.npy"
    with path.open("wb") as file:
        shape = (2000, 3, 224, 224)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + int(np.prod(shape)))  # zeros that take no room
    result = subprocess.run(
        [sys.executable, "-c", DRAWS, str(path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    peak, *words = result.stdout.split(maxsplit=1)
    assert float(peak) < 100  # 200 drawn images of 0.15 MB, mapped and copied, of 300 MB in all
    assert words == ["The whole does not fit\n"]  # the limit is one that counts


def test_what_memory_cannot_hold_is_said_with_a_way_out(read, monkeypatch):
    monkeypatch.setattr("dd_core.datasets._decode._physical_memory", lambda: 1000.0)
    with pytest.raises(DataError, match=r"The 6 images of train take .* give cache=FOLDER"):
        from_torchvision(items(), items(1))
    assert len(read(items()).train) == 6

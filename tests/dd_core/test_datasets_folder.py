"""Trees of image files: layouts, resizing, channels, and what is said of what does not fit."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from dd_core import DataError
from dd_core.datasets import read_image_folder
from dd_core.events import PhaseFinished, PhaseStarted

Image = pytest.importorskip("PIL.Image")


def picture(seed, *, width=12, height=12, mode="RGB"):
    shape = (height, width) if mode == "L" else (height, width, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def tree(root, *, parts=("train", "val"), classes=("cat", "dog"), each=3, **options):
    """Writes images; returns their paths in the order in which they are read."""
    paths = []
    for part in parts:
        for kind in classes:
            folder = root / part / kind
            folder.mkdir(parents=True)
            for i in range(each):
                paths.append(folder / f"{i}.png")
                picture(len(paths), **options).save(paths[-1])
    return paths


def bytes_of(path):
    array = np.asarray(Image.open(path))
    return torch.from_numpy(np.array(array)).view(*array.shape[:2], -1).permute(2, 0, 1)


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3)])
@pytest.mark.parametrize("part", ["val", "test"])
def test_a_tree_is_read_in_order(tmp_path, mode, channels, part):
    paths = tree(tmp_path, parts=("train", part), mode=mode)
    (tmp_path / "train" / ".hidden").mkdir()
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "cat" / ".half.png").write_text("no image")
    data = read_image_folder(tmp_path)
    assert data.name == tmp_path.name and data.train.class_names == ("cat", "dog")
    assert data.train.labels.tolist() == data.test.labels.tolist() == [0] * 3 + [1] * 3
    assert data.train.pixels.shape == (6, channels, 12, 12)
    pixels = torch.cat([data.train.pixels, data.test.pixels])
    assert all(torch.equal(a, bytes_of(p)) for a, p in zip(pixels, paths, strict=True))
    scaled = data.train.pixels.double() / 255
    assert data.train.mean == pytest.approx(scaled.mean((0, 2, 3)).tolist())
    assert data.test.std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist())


def test_torchvision_numbers_classes_and_images_alike(tmp_path):
    datasets = pytest.importorskip("torchvision.datasets")
    tree(tmp_path, classes=("b", "B", "a 1", "10", "9"))
    nested = tmp_path / "train" / "9" / "more"
    nested.mkdir()
    picture(99).save(nested / "0.JPG")
    theirs = datasets.ImageFolder(tmp_path / "train")
    ours = read_image_folder(tmp_path)
    assert list(ours.train.class_names) == theirs.classes
    assert ours.train.labels.tolist() == theirs.targets
    found = {a.numpy().tobytes() for a in ours.train.pixels}
    assert found == {np.asarray(i).transpose(2, 0, 1).tobytes() for i, _ in theirs}


@pytest.mark.parametrize(("width", "height"), [(40, 31), (31, 40), (40, 40), (16, 16), (9, 7)])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_size_is_that_of_torchvisions_resize_and_centre_crop(tmp_path, width, height, mode):
    transforms = pytest.importorskip("torchvision.transforms")
    paths = tree(tmp_path, width=width, height=height, mode=mode, each=1)
    steps = [transforms.Resize(16), transforms.CenterCrop(16), transforms.PILToTensor()]
    expected = [transforms.Compose(steps)(Image.open(path)) for path in paths]
    data = read_image_folder(tmp_path, size=16)
    for pixels, want in zip([*data.train.pixels, *data.test.pixels], expected, strict=True):
        assert torch.equal(pixels, want)


def test_one_colour_image_makes_all_rgb_unless_gray_is_asked_for(tmp_path):
    paths = tree(tmp_path, mode="L")
    picture(50).save(paths[-1])
    data = read_image_folder(tmp_path)
    assert data.train.pixels.shape[1] == data.test.pixels.shape[1] == 3
    assert torch.equal(data.train.pixels[0], bytes_of(paths[0]).expand(3, -1, -1))
    assert torch.equal(data.test.pixels[-1], bytes_of(paths[-1]))
    gray = read_image_folder(tmp_path, channels=1)
    assert gray.test.pixels.shape[1] == 1
    luma = np.asarray(Image.open(paths[-1]).convert("L"))
    assert (gray.test.pixels[-1, 0].numpy() == luma).all()
    with pytest.raises(DataError, match="channels is 2"):
        read_image_folder(tmp_path, channels=2)
    with pytest.raises(DataError, match="size is 0"):
        read_image_folder(tmp_path, size=0)


def test_mixed_sizes_are_named_with_a_way_out(tmp_path):
    paths = tree(tmp_path)
    picture(7, width=15, height=12).save(paths[8])
    with pytest.raises(DataError) as error:
        read_image_folder(tmp_path)
    for part in (str(paths[0]), "12 x 12 px", str(paths[8]), "15 x 12 px", "size=PIXELS"):
        assert part in str(error.value)
    assert read_image_folder(tmp_path, size=12).test.size == 12


def test_oblong_images_need_a_size(tmp_path):
    tree(tmp_path, width=14)
    with pytest.raises(DataError, match=r"14 x 12 px, but images must be square\. Give size"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "deep"])
def test_an_unreadable_image_is_named(tmp_path, damage):
    path = tree(tmp_path)[4]
    if damage == "deep":
        Image.fromarray(np.zeros((12, 12), np.uint16)).save(path)
    else:
        content = path.read_bytes()
        path.write_bytes({"cut": content[:99], "text": b"hello", "empty": b""}[damage])
    words = "mode I;16; give PIL images" if damage == "deep" else "is not a readable image"
    with pytest.raises(DataError, match=f"{path}.*{words}"):
        read_image_folder(tmp_path)


@pytest.mark.parametrize("layout", ["train", "."])
def test_a_share_is_held_out_only_where_asked_for(tmp_path, layout):
    paths = tree(tmp_path, parts=(layout,), each=10)
    with pytest.raises(DataError, match=r"has no test images; .*held_out=0.1"):
        read_image_folder(tmp_path)
    data = read_image_folder(tmp_path, held_out=0.3)
    assert data.test.class_sizes == (3, 3) and data.train.class_sizes == (7, 7)
    both = {p.numpy().tobytes() for p in [*data.train.pixels, *data.test.pixels]}
    assert both == {bytes_of(path).contiguous().numpy().tobytes() for path in paths}
    again, other = (read_image_folder(tmp_path, held_out=0.3, seed=s) for s in (0, 1))
    assert torch.equal(again.test.pixels, data.test.pixels)
    assert not torch.equal(other.test.pixels, data.test.pixels)


def test_layouts_that_do_not_fit_are_named(tmp_path):
    def refused(words, **options):
        with pytest.raises(DataError, match=words):
            read_image_folder(tmp_path, **options)

    with pytest.raises(DataError, match="is not a folder"):
        read_image_folder(tmp_path / "nowhere")
    refused("has no folders of classes", held_out=0.5)
    tree(tmp_path, parts=("train", "val", "test"))
    refused("has both val and test; give test='val'")
    assert len(read_image_folder(tmp_path, test="val").test) == 6
    refused("held_out is 0.5, but .* has test images in val", test="val", held_out=0.5)
    refused("test is 'vla', but", test="vla")
    for path in (tmp_path / "test").rglob("*.png"):
        path.unlink()
    refused("test/cat has no images .* an empty class cannot be distilled", test="test")
    (tmp_path / "val" / "owl").mkdir()
    refused("val/owl is a class that .*train does not have", test="val")


@pytest.mark.parametrize("held_out", [None, 0.5])
def test_an_empty_folder_of_test_images_is_said(tmp_path, held_out):
    tree(tmp_path, parts=("train",), each=4)
    (tmp_path / "val" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=r"val is empty: add images .* or remove the folder"):
        read_image_folder(tmp_path, held_out=held_out)


@pytest.mark.parametrize(
    ("share", "words"), [(0, "between 0 and 1"), (1.5, "0 and 1"), (0.9, "none")]
)
def test_an_impossible_share_is_named(tmp_path, share, words):
    tree(tmp_path, parts=(".",))
    with pytest.raises(DataError, match=f"held_out is {share}.*{words}"):
        read_image_folder(tmp_path, held_out=share)


def test_missing_pillow_is_said(tmp_path, monkeypatch):
    tree(tmp_path)
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(DataError, match="needs Pillow, which is not installed"):
        read_image_folder(tmp_path)


def test_progress_is_told(tmp_path):
    tree(tmp_path)
    events = []
    read_image_folder(tmp_path, listen=events.append)
    started = [e for e in events if isinstance(e, PhaseStarted)]
    assert [(e.phase, e.total, e.unit, e.done) for e in started] == [
        ("read train", 6, "image", 0),
        ("read test", 6, "image", 0),
    ]
    assert sum(isinstance(e, PhaseFinished) for e in events) == 2

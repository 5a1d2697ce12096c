from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dd_core.errors import DataError
from dd_core.events import Event, Message
from dd_recipes.recipe import DataSource
from dd_recipes.sources import SOURCES, find_data, load_data

NETTE = SOURCES["imagenette"]
WNIDS = sorted(NETTE.class_names)
IMAGE_NAMES = {"train": 2, "val": 1}


def draw(path: Path, number: int, shape: tuple[int, ...] = (12, 16, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_tree(folder: Path, classes: list[str], shape: tuple[int, ...] = (12, 16, 3)) -> None:
    """Two training images and one test image a class, by number of the class."""
    for label, name in enumerate(classes):
        for part, n in IMAGE_NAMES.items():
            for i in range(n):
                draw(folder / part / name / f"{part}_{i}.png", 10 * label + i + (part == "val") * 5,
                     shape)  # fmt: skip


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets of images that are complete with very few of them."""
    counts = {"imagenette": (20, 10), "imagefruit": (20, 10), "tinyimagenet": (6, 3)}
    changed = {name: replace(SOURCES[name], counts=(pair,)) for name, pair in counts.items()}
    changed["tinyimagenet"] = replace(changed["tinyimagenet"], classes=3)
    table = {**SOURCES, **changed}
    monkeypatch.setattr("dd_recipes.find_data.SOURCES", table)
    monkeypatch.setattr("dd_recipes.sources.SOURCES", table)


@pytest.fixture
def official(tmp_path: Path) -> Path:
    """Tiny ImageNet of three classes as the official zip unpacks."""
    make_tree(tmp_path / "tree", ["n01", "n02", "n03"], (8, 8, 3))
    folder, lines = tmp_path / "tiny-imagenet-200", list[str]()
    for name in ("n03", "n01", "n02"):
        shutil.copytree(tmp_path / "tree" / "train" / name, folder / "train" / name / "images")
        (folder / "val" / "images").mkdir(parents=True, exist_ok=True)
        image = f"val_{len(lines)}.png"
        shutil.copy(
            tmp_path / "tree" / "val" / name / "val_0.png", folder / "val" / "images" / image
        )
        lines.append(f"{image}\t{name}\t0\t0\t7\t7\n")
    (folder / "val" / "val_annotations.txt").write_text("".join(lines))
    return tmp_path


def test_finding_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path; from dd_recipes.sources import SOURCES, find_data\n"
        "assert all(find_data(name, Path('/nowhere')).state == 'missing'\n"
        "           for name in SOURCES if name != 'embedded')\n"
        "assert not {'torch', 'numpy', 'dd_core'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_every_source_of_a_recipe_is_described() -> None:
    for name, source in SOURCES.items():
        assert DataSource(name).source == source.name  # type: ignore[arg-type]
        assert source.licence and source.obtain and source.title
        assert source.kind == "embedded" or source.layouts
        assert not source.class_names or len(set(source.class_names)) == source.classes


def test_class_names_are_those_that_the_readers_give() -> None:
    from dd_core.datasets import cifar

    assert SOURCES["cifar10"].class_names == cifar._CIFAR10_CLASSES
    assert SOURCES["cifar100"].class_names == cifar._CIFAR100_CLASSES
    embedded = load_data(DataSource("embedded"), None)
    assert SOURCES["embedded"].class_names == embedded.train.class_names
    assert SOURCES["embedded"].counts == ((len(embedded.train), len(embedded.test)),)


def test_mtt_and_ncfm_differ_in_one_class_of_two_subsets() -> None:
    for name in ("imagefruit", "imageyellow"):
        (other,) = SOURCES[name].variants
        assert len(set(other) ^ set(SOURCES[name].class_names)) == 2
    assert not SOURCES["imagewoof"].variants


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "embedded"])
def test_what_is_missing_is_said_with_a_way_to_get_it(name: str, tmp_path: Path) -> None:
    found = find_data(name, tmp_path)
    assert found.state == "missing" and found.path is None
    assert SOURCES[name].layouts[0] in found.problem
    assert str(tmp_path) in found.problem
    with pytest.raises(DataError, match="To get it"):
        load_data(DataSource(name), tmp_path)  # type: ignore[arg-type]


def test_cifar_is_found_in_both_layouts_and_inside_them(tmp_path: Path) -> None:
    for folder, ending in (("cifar-100-python", ""), ("cifar-100-binary", ".bin")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"train{ending}").touch()
        found = find_data("cifar100", tmp_path)
        assert found.state == "incomplete"
        assert f"lacks test{ending}" in found.problem
        os.truncate(tmp_path / folder / f"train{ending}", 50_000 * 3074)
        (tmp_path / folder / f"test{ending}").touch()
        found = find_data("cifar100", tmp_path)
        assert found.state == "incomplete"
        assert f"test{ending} has 0 bytes; a whole one has " in found.problem
        os.truncate(tmp_path / folder / f"test{ending}", 10_000 * 3074)
        for root in (tmp_path, tmp_path / folder):
            found = find_data("cifar100", root)
            assert (found.state, found.train, found.test) == ("found", 50_000, 10_000)
        with pytest.raises(DataError, match="damaged or not the official file"):
            load_data(DataSource("cifar100"), tmp_path)
        shutil.rmtree(tmp_path / folder)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("folder", ["imagenette", "imagenette2", "imagenette2-160"])
def test_a_subset_is_read_from_a_tree(folder: str, tmp_path: Path) -> None:
    make_tree(tmp_path / folder, WNIDS)
    found = find_data("imagenette", tmp_path)
    assert (found.state, found.layout, found.train, found.test) == ("found", "tree", 20, 10)
    assert find_data("imagenette", tmp_path / folder).path == tmp_path / folder
    data = load_data(DataSource("imagenette", size=8), tmp_path)
    assert data.name == "ImageNette"
    assert data.train.pixels.shape == (20, 3, 8, 8)
    assert data.train.class_names == tuple(WNIDS)
    assert data.train.mean == (0.485, 0.456, 0.406)


@pytest.mark.usefixtures("small")
def test_a_subset_is_chosen_from_imagenet_as_from_a_tree_of_its_own(tmp_path: Path) -> None:
    make_tree(tmp_path / "a" / "imagenette", WNIDS)
    shutil.copytree(tmp_path / "a" / "imagenette", tmp_path / "b" / "imagenet")
    for part in IMAGE_NAMES:
        draw(tmp_path / "b" / "imagenet" / part / "n00000001" / "0.png", 1)
    found = find_data("imagenette", tmp_path / "b")
    assert (found.state, found.layout, found.train) == ("found", "imagenet", 20)
    tree, chosen = (load_data(DataSource("imagenette", size=8), tmp_path / x) for x in ("a", "b"))
    assert chosen.train.fingerprint() == tree.train.fingerprint()
    assert chosen.test.fingerprint() == tree.test.fingerprint()
    assert chosen.train.class_names == tree.train.class_names


@pytest.mark.usefixtures("small")
def test_gray_images_of_imagenet_become_rgb(tmp_path: Path) -> None:
    make_tree(tmp_path / "imagenette", WNIDS)
    draw(tmp_path / "imagenette" / "train" / WNIDS[0] / "train_0.png", 3, (12, 16))
    assert load_data(DataSource("imagenette", size=8), tmp_path).train.channels == 3


@pytest.mark.usefixtures("small")
def test_images_are_decoded_once(tmp_path: Path) -> None:
    make_tree(tmp_path / "imagenette", WNIDS)
    source, events = DataSource("imagenette", size=8), list[Event]()
    first = load_data(source, tmp_path, events.append)
    cache = tmp_path / ".dd-cache" / "imagenette-8"
    written = (cache / "train.npy").stat().st_mtime_ns
    assert load_data(source, tmp_path).train.fingerprint() == first.train.fingerprint()
    assert (cache / "train.npy").stat().st_mtime_ns == written
    assert events


@pytest.mark.usefixtures("small")
def test_without_a_place_for_the_cache_images_stay_in_memory(tmp_path: Path) -> None:
    make_tree(tmp_path / "imagenette", WNIDS)
    (tmp_path / ".dd-cache").write_text("a file in the way")
    events: list[Event] = []
    data = load_data(DataSource("imagenette", size=8), tmp_path, events.append)
    assert not data.train.stored
    assert any(isinstance(e, Message) and "cannot be written" in e.text for e in events)


@pytest.mark.usefixtures("small")
def test_tiny_imagenet_is_the_same_from_the_zip_and_from_a_tree(official: Path) -> None:
    found = find_data("tinyimagenet", official)
    assert (found.state, found.layout, found.train, found.test) == ("found", "tiny-zip", 6, 3)
    zipped = load_data(DataSource("tinyimagenet"), official)
    (official / "tree").rename(official / "tinyimagenet")
    (official / "tinyimagenet" / "test" / "images").mkdir(parents=True)  # without labels
    shutil.rmtree(official / "tiny-imagenet-200")
    tree = load_data(DataSource("tinyimagenet"), official)
    assert find_data("tinyimagenet", official).layout == "tree"
    assert tree.train.class_names == zipped.train.class_names == ("n01", "n02", "n03")
    assert zipped.train.fingerprint() == tree.train.fingerprint()
    assert zipped.test.fingerprint() == tree.test.fingerprint()


Damage = Callable[[Path], object]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: (d / "val" / "images" / "val_0.png").unlink(), r"names val_0\.png, which"),
        (lambda d: shutil.rmtree(d / "train" / "n02"), r"names n02, which train does not have"),
        (lambda d: (d / "train" / "n02" / "images" / "train_1.png").unlink(),
         r"has 5 training and 3 test images; expected are 6 and 3"),
        (lambda d: draw(d / "train" / "n04" / "images" / "0.png", 1),
         r"has 4 folders of classes; expected are 3"),
    ],
)  # fmt: skip
def test_a_tiny_imagenet_that_is_not_whole(damage: Damage, message: str, official: Path) -> None:
    damage(official / "tiny-imagenet-200")
    assert find_data("tinyimagenet", official).state == "incomplete"
    with pytest.raises(DataError, match=message):
        load_data(DataSource("tinyimagenet"), official)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda d: shutil.rmtree(d / "val"), "has 20 training and 0 test images; expected are 20"),
        (lambda d: (d / "train" / WNIDS[0]).rename(d / "train" / "tench"),
         r"10 classes \(tench\); expected are the folders n01440764, "),
        (lambda d: shutil.rmtree(d / "train" / WNIDS[0]),
         r"has 9 classes; expected are the folders n01440764, "),
        (lambda d: draw(d / "val" / "n0" / "1.png", 1), "folder n0, which train does not have"),
        (lambda d: (d / "train" / WNIDS[0] / "train_0.png").write_bytes(b"no image"),
         r"train_0\.png is not a readable image"),
    ],
)  # fmt: skip
def test_a_subset_that_is_not_whole(damage: Damage, message: str, tmp_path: Path) -> None:
    make_tree(tmp_path / "imagenette", WNIDS)
    damage(tmp_path / "imagenette")
    with pytest.raises(DataError, match=message):
        load_data(DataSource("imagenette", size=8), tmp_path)


def test_imagenet_counts_are_accepted_whatever_the_archive_of_fastai_has(tmp_path: Path) -> None:
    for name in WNIDS:
        for part, n in (("train", 732), ("val", 50)):
            (tmp_path / "imagenet" / part / name).mkdir(parents=True)
            for i in range(n):
                (tmp_path / "imagenet" / part / name / f"{i}.JPEG").touch()
    assert find_data("imagenette", tmp_path).state == "found"
    (tmp_path / "imagenet" / "val" / WNIDS[3] / "7.JPEG").unlink()
    found = find_data("imagenette", tmp_path)
    assert found.state == "incomplete"
    assert "or ImageNet's own, 732 to 1,300 and 50 of each class" in found.problem
    shutil.rmtree(tmp_path / "imagenet" / "val" / WNIDS[3])
    assert f"no images of {WNIDS[3]} in train and val" in find_data("imagenette", tmp_path).problem


@pytest.mark.usefixtures("small")
def test_a_tree_may_have_the_classes_of_mtt(tmp_path: Path) -> None:
    make_tree(tmp_path / "imagefruit", sorted(SOURCES["imagefruit"].variants[0]))
    assert find_data("imagefruit", tmp_path).state == "found"


def test_of_cifar_the_copy_counts_that_is_read(tmp_path: Path) -> None:
    for folder, ending, size in (("python", "", 9), ("binary", ".bin", 3074)):
        (tmp_path / f"cifar-100-{folder}").mkdir()
        for part, n in (("train", 50_000), ("test", 10_000)):
            (tmp_path / f"cifar-100-{folder}" / f"{part}{ending}").touch()
            os.truncate(tmp_path / f"cifar-100-{folder}" / f"{part}{ending}", n * size)
    found = find_data("cifar100", tmp_path)
    assert (found.state, found.path) == ("incomplete", tmp_path / "cifar-100-python")


@pytest.mark.usefixtures("small")
def test_a_complete_copy_is_taken_before_a_broken_one(tmp_path: Path) -> None:
    make_tree(tmp_path / "imagenette", WNIDS[:3])
    make_tree(tmp_path / "imagenette2", WNIDS)
    assert find_data("imagenette", tmp_path).path == tmp_path / "imagenette2"


def test_sizes_are_brought_to_what_is_asked() -> None:
    whole = load_data(DataSource("embedded"), None)
    small = load_data(DataSource("embedded", size=14), None)
    assert small.train.pixels.shape == (6000, 1, 14, 14)
    assert torch.equal(small.train.labels, whole.train.labels)
    assert small.train.mean == whole.train.mean
    assert load_data(DataSource("embedded", size=28), None).train.fingerprint() == (
        whole.train.fingerprint()
    )


def test_long_tailed_sets_keep_the_test_images() -> None:
    whole = load_data(DataSource("embedded"), None)
    tail = load_data(DataSource("embedded", imbalance_factor=10), None)
    assert tail.train.class_sizes[0] == 600 and tail.train.class_sizes[-1] == 60
    assert tail.test.fingerprint() == whole.test.fingerprint()
    assert tail.name == "Fashion-MNIST subset-LT, imbalance factor 10"
    other = load_data(DataSource("embedded", imbalance_factor=10, imbalance_seed=1), None)
    assert other.train.fingerprint() != tail.train.fingerprint()


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    make_tree(tmp_path / "pets", ["cat", "dog"])
    data = load_data(DataSource("folder", path=str(tmp_path / "pets"), size=8), None)
    assert data.train.class_names == ("cat", "dog") and len(data.test) == 2
    alone = DataSource("folder", path="pets/train", size=8, held_out=0.5)
    assert load_data(alone, tmp_path).test.class_sizes == (1, 1)
    found = find_data(alone, tmp_path)
    assert (found.state, found.train) == ("found", 4)
    nothing = DataSource("folder", path=str(tmp_path / "none"))
    assert find_data(nothing, None).state == "missing"
    with pytest.raises(DataError, match="is not a folder"):
        load_data(nothing, None)
    (tmp_path / "pets" / "test").mkdir()
    with pytest.raises(DataError, match="both val and test; rename one"):
        load_data(DataSource("folder", path=str(tmp_path / "pets"), size=8), None)


def test_a_folder_that_would_not_be_used_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave --data out"):
        load_data(DataSource("embedded"), tmp_path)

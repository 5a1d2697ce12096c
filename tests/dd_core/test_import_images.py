"""Sets from folders of image files."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from dd_core import ArtifactError, SyntheticSettings, export_images, select_random
from dd_core.import_images import import_images

NORM = ((0.3,), (0.25,))


@pytest.fixture
def data(images):
    return select_random(images, SyntheticSettings(ipc=2, factor=2), seed=0)


@pytest.fixture
def tree(tmp_path):
    """Two images of each of three classes, gray, 8 px, of one value each."""
    for label, name in enumerate(("ant", "bee", "cat")):
        (tmp_path / "tree" / name).mkdir(parents=True)
        for number in range(2):
            value = 50 * label + number
            Image.new("L", (8, 8), value).save(tmp_path / "tree" / name / f"{number}.png")
    return tmp_path / "tree"


@pytest.mark.parametrize("views", [False, True])
def test_an_export_comes_back_as_it_was(data, tmp_path, views):
    export_images(data, tmp_path / "x", views=views)
    found = import_images(tmp_path / "x")
    assert found.class_names == data.class_names
    assert (found.mean, found.std) == (data.mean, data.std)
    assert found.factor == (1 if views else 2)
    (before, labels), (after, again) = data.decoded(), found.decoded()
    order = torch.argsort(labels, stable=True)
    assert again.tolist() == labels[order].tolist()
    assert (after - before[order]).abs().max() <= 1 / 255
    assert found.provenance["method"] == data.provenance["method"]
    assert found.provenance["imported"]["layout"] == "images"


def test_other_folders_are_read_with_what_is_said(tree):
    found = import_images(tree, normalization=NORM, factor=1)
    assert found.class_names == ("ant", "bee", "cat") and found.labels.tolist() == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]
    values = (found.images[:, 0, 0, 0] * 255).round().int().tolist()
    assert values == [0, 1, 50, 51, 100, 101]


def test_classes_follow_the_names_given(tree):
    found = import_images(tree, normalization=NORM, factor=1, class_names=("cat", "ant", "bee"))
    values = (found.images[:, 0, 0, 0] * 255).round().int().tolist()
    assert values == [100, 101, 0, 1, 50, 51] and found.class_names[0] == "cat"
    renamed = import_images(tree, normalization=NORM, factor=1, class_names=("x", "y", "z"))
    assert renamed.labels.tolist() == [0, 0, 1, 1, 2, 2] and renamed.class_names == ("x", "y", "z")


def test_numbered_folders_are_in_the_order_of_their_numbers(tmp_path):
    for number in range(11):
        (tmp_path / str(number)).mkdir()
        Image.new("L", (8, 8), 10 * number).save(tmp_path / str(number) / "0.png")
    for names in (None, [f"class {i}" for i in range(11)], [str(i) for i in range(11)]):
        found = import_images(tmp_path, normalization=NORM, factor=1, class_names=names)
        values = (found.images[:, 0, 0, 0] * 255).round().int().tolist()
        assert values == [10 * label for label in found.labels.tolist()]


def test_soft_labels_that_images_cannot_hold_are_remembered(data, tmp_path):
    soft = replace(data, soft_labels=torch.full((len(data.images), 3), 1 / 3))
    export_images(soft, tmp_path / "x")
    found = import_images(tmp_path / "x")
    assert found.soft_labels is None
    assert found.provenance["imported"]["soft_labels_left_out"] is True
    export_images(data, tmp_path / "y")
    assert "soft_labels_left_out" not in import_images(tmp_path / "y").provenance["imported"]


def test_colour_makes_all_of_them_rgb(tree):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tree / "bee" / "9.png")
    found = import_images(tree, normalization="cifar10", factor=1)
    assert found.images.shape == (7, 3, 8, 8)
    assert found.images[4, :, 0, 0].tolist() == [1, 0, 0]
    assert found.provenance["imported"]["gray_images_made_rgb"] == 6


def test_images_of_one_kind_are_not_said_to_be_made_rgb(tree, tmp_path):
    gray = import_images(tree, normalization=NORM, factor=1)
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "1.png")
    for file in list(tree.rglob("*.png")):
        file.write_bytes((tmp_path / "1.png").read_bytes())
    for found in (gray, import_images(tree, normalization="cifar10", factor=1)):
        assert "gray_images_made_rgb" not in found.provenance["imported"]


def test_what_is_not_said_is_asked_for_at_once(tree):
    with pytest.raises(ArtifactError, match=r"normalization \(such as.*factor \(such as"):
        import_images(tree)
    with pytest.raises(ArtifactError, match=r"give factor"):
        import_images(tree, normalization=NORM)


def test_what_an_export_says_cannot_be_said_again(data, tmp_path):
    export_images(data, tmp_path / "x")
    with pytest.raises(ArtifactError, match=r"factor was given, but .*export.json says it"):
        import_images(tmp_path / "x", factor=2)


def test_a_missing_class_is_named(data, tree, tmp_path):
    export_images(data, tmp_path / "x")
    for file in (tmp_path / "x" / "001_class_1").iterdir():
        file.unlink()
    with pytest.raises(ArtifactError, match="001_class_1 has no images"):
        import_images(tmp_path / "x")
    (tmp_path / "x" / "001_class_1").rmdir()
    with pytest.raises(ArtifactError, match="no folder for class '001_class_1'"):
        import_images(tmp_path / "x")
    options = {"normalization": NORM, "factor": 1}
    with pytest.raises(ArtifactError, match="no folder for class 'dog'"):
        import_images(tree, class_names=("ant", "bee", "cat", "dog"), **options)
    with pytest.raises(ArtifactError, match="a folder that is no class: 'cat'"):
        import_images(tree, class_names=("ant", "bee"), **options)
    with pytest.raises(ArtifactError, match="3 folders of classes and class_names 2 names"):
        import_images(tree, class_names=("x", "y"), **options)


def test_images_that_are_no_set_are_refused(tree, tmp_path):
    options = {"normalization": NORM, "factor": 1}
    with pytest.raises(ArtifactError, match="is not a folder"):
        import_images(tmp_path / "nowhere", **options)
    with pytest.raises(ArtifactError, match=r"tree holds images with 1 channel, but .* 'cifar10'"):
        import_images(tree, normalization="cifar10", factor=1)
    with pytest.raises(ArtifactError, match="factor"):
        import_images(tree, normalization=NORM, factor=3)
    Image.new("L", (9, 9), 1).save(tree / "bee" / "0.png")
    with pytest.raises(ArtifactError, match=r"bee.0.png is 9 x 9 px, and .*ant.0.png 8 x 8"):
        import_images(tree, **options)
    (tree / "bee" / "0.png").write_bytes(b"not an image")
    with pytest.raises(ArtifactError, match="not a readable image"):
        import_images(tree, **options)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"views": false, "normalization": 3}'])
def test_a_damaged_export_file_is_named(data, tmp_path, content):
    export_images(data, tmp_path / "x")
    (tmp_path / "x" / "export.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"export\.json"):
        import_images(tmp_path / "x")


def test_a_changed_export_file_is_refused_and_one_without_checksum_read(data, tmp_path):
    export_images(data, tmp_path / "x")
    path = tmp_path / "x" / "export.json"
    said = json.loads(path.read_text())
    path.write_text(json.dumps(said, sort_keys=True))
    assert import_images(tmp_path / "x").factor == 2
    said["factor"] = 4
    path.write_text(json.dumps(said))
    with pytest.raises(ArtifactError, match=r"export\.json is damaged or was changed: its SHA-256"):
        import_images(tmp_path / "x")
    del said["sha256"]
    path.write_text(json.dumps(said))
    assert import_images(tmp_path / "x").factor == 4


def test_free_pixels_that_were_clipped_come_back_clipped(data, tmp_path):
    wide = replace(data, images=data.images * 3 - 1, value_range=(-1.0, 2.0))
    export_images(wide, tmp_path / "x", clip=True)
    found = import_images(tmp_path / "x")
    order = torch.argsort(data.labels, stable=True)
    expected = wide.images.clamp(0, 1)[order]
    assert np.abs((found.images - expected).numpy()).max() <= 1 / 255
    assert json.loads((tmp_path / "x" / "export.json").read_text())["factor"] == 2

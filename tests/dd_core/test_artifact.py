"""Distilled sets on disk."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch.utils.data import DataLoader

from dd_core import ArtifactError, DistilledSet
from dd_core.augment import normalize
from dd_core.decoding import decode


def example() -> DistilledSet:
    pixels = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    names = ("cat", "dog")
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)
    return DistilledSet(
        pixels, torch.tensor([0, 0, 1, 1]), 2, mean, std, names, {"method": "ncfm", "seed": 1}
    )


def test_round_trip(tmp_path):
    example().save(tmp_path)
    loaded = DistilledSet.load(tmp_path)
    assert torch.equal(loaded.images, example().images)
    assert torch.equal(loaded.labels, example().labels)
    assert (loaded.factor, loaded.mean, loaded.std) == (2, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2))
    assert loaded.class_names == ("cat", "dog") and loaded.provenance["seed"] == 1
    assert loaded.ipc == 2


def test_decoded_labels_belong_to_their_views():
    images, labels = example().decoded()
    assert images.shape == (16, 3, 8, 8) and labels.tolist() == [0] * 8 + [1] * 8
    # All views of the first image come before those of the second.
    corner = example().images[1, :, :4, :4]
    torch.testing.assert_close(images[4, :, 0, 0], corner[:, 0, 0])


def test_manifest_says_what_using_it_needs(tmp_path):
    example().save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for name in ("normalization", "factor", "decode", "class_names", "value_range", "sha256"):
        assert name in manifest


def test_flipped_byte_is_seen(tmp_path):
    example().save(tmp_path)
    path = tmp_path / "distilled.safetensors"
    for position in (0, 50, -1):
        content = bytearray(path.read_bytes())
        content[position] ^= 1
        path.write_bytes(bytes(content))
        with pytest.raises(ArtifactError, match="SHA-256"):
            DistilledSet.load(tmp_path)
        content[position] ^= 1
        path.write_bytes(bytes(content))


@pytest.mark.parametrize("name", ["manifest.json", "distilled.safetensors"])
def test_missing_file_is_named(tmp_path, name):
    example().save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}.* is missing"):
        DistilledSet.load(tmp_path)


def test_truncated_manifest_and_other_format(tmp_path):
    example().save(tmp_path)
    path = tmp_path / "manifest.json"
    content = path.read_text()
    path.write_text(content[:100])
    with pytest.raises(ArtifactError, match="damaged"):
        DistilledSet.load(tmp_path)
    path.write_text(content.replace('"format": 2', '"format": 7'))
    with pytest.raises(ArtifactError, match="format 7"):
        DistilledSet.load(tmp_path)


def test_a_changed_manifest_is_refused_but_not_its_layout(tmp_path):
    example().save(tmp_path)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(manifest, indent=7, sort_keys=True))
    assert DistilledSet.load(tmp_path).class_names == ("cat", "dog")
    manifest["class_names"] = ["dog", "cat"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="damaged or was changed"):
        DistilledSet.load(tmp_path)


def write_format_1(folder):
    """What the version before wrote."""
    data = example()
    content = save({"images": data.images, "labels": data.labels})
    manifest = {
        "format": 1,
        "sha256": hashlib.sha256(content).hexdigest(),
        "factor": 2,
        "normalization": {"mean": list(data.mean), "std": list(data.std)},
        "class_names": list(data.class_names),
        "provenance": {"seed": 1},
    }
    (folder / "distilled.safetensors").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return manifest


def test_the_format_before_is_read(tmp_path):
    write_format_1(tmp_path)
    loaded = DistilledSet.load(tmp_path)
    assert torch.equal(loaded.images, example().images) and loaded.mean == example().mean
    assert (loaded.decode, loaded.value_range, loaded.soft_labels) == ("single", (0, 1), None)


@pytest.mark.parametrize("field", ["normalization", "factor", "class_names", "provenance"])
@pytest.mark.parametrize("value", [None, 7.5, "x"])
def test_a_lacking_or_senseless_field_is_one_error(tmp_path, field, value):
    manifest = write_format_1(tmp_path)
    manifest[field] = value
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError):
        DistilledSet.load(tmp_path)
    del manifest[field]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=rf"lacks a field.*{field}.*\(images, labels, .*save\("):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize("length", [0, 4, 100, -8])
def test_damaged_tensors_are_called_so_though_their_checksum_fits(tmp_path, length):
    manifest = write_format_1(tmp_path)
    content = (tmp_path / "distilled.safetensors").read_bytes()[:length]
    (tmp_path / "distilled.safetensors").write_bytes(content)
    manifest["sha256"] = hashlib.sha256(content).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match=r"distilled\.safetensors is damaged .*Copy it again"):
        DistilledSet.load(tmp_path)


@pytest.mark.parametrize("form", ["single", "multi", "bound"])
def test_everything_comes_back(tmp_path, form):
    views = {"single": 16, "multi": 20, "bound": 10}[form]
    soft = torch.rand(views, 2).softmax(1)
    whole = replace(
        example(), images=example().images * 3 - 1, value_range=(-1.0, 2.0), decode=form, bound=6,
        soft_labels=soft,
    )  # fmt: skip
    whole.save(tmp_path)
    loaded = DistilledSet.load(str(tmp_path))
    assert torch.equal(loaded.images, whole.images) and torch.equal(loaded.soft_labels, soft)
    assert (loaded.decode, loaded.bound, loaded.value_range) == (form, 6, (-1.0, 2.0))


@pytest.mark.parametrize("form", ["single", "multi", "bound"])
def test_views_are_those_of_decoding_class_by_class(form):
    """Also where the images are not sorted by class, and classes are of different sizes."""
    labels = torch.tensor([1, 0, 1, 1, 0])
    pixels = torch.rand(5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    data = DistilledSet(pixels, labels, 2, (0.5,), (0.2,), ("a", "b"), decode=form, bound=6)
    views, of = data.decoded()
    assert len(views) == len(of) == int(data.view_counts.sum())
    for c in (0, 1):
        expected = decode(pixels[labels == c][None], 2, form, 6)[0]
        assert torch.equal(views[of == c], expected)


def test_dataset_items_are_normalised_views_and_labels():
    data = example()
    views, labels = data.decoded()
    dataset = data.as_dataset()
    assert len(dataset) == 16
    image, label = dataset[5]
    assert torch.equal(image, normalize(views, data.mean, data.std)[5])
    assert label.dtype == torch.int64 and label == labels[5]
    batch, of = next(iter(DataLoader(dataset, batch_size=16)))
    assert batch.shape == (16, 3, 8, 8) and torch.equal(of, labels)


def test_soft_labels_of_images_are_shared_by_their_views():
    soft = torch.tensor([[0.7, 0.3], [0.6, 0.4], [0.1, 0.9], [0.2, 0.8]])
    by_image = replace(example(), soft_labels=soft)
    assert torch.equal(by_image.soft_targets(), soft.repeat_interleave(4, 0))
    by_view = replace(example(), soft_labels=soft.repeat_interleave(4, 0))
    assert torch.equal(by_view.soft_targets(), by_image.soft_targets())
    assert torch.equal(by_view.as_dataset(soft=True)[6][1], soft[1])


def test_soft_dataset_needs_soft_labels():
    with pytest.raises(ArtifactError, match="no soft_labels"):
        example().as_dataset(soft=True)


CIRCLE: dict[str, object] = {}
CIRCLE["self"] = CIRCLE


@pytest.mark.parametrize(
    "value", [None, [1], "text", {"x": object()}, {(1, 2): 3}, {"x": {1, 2}}, CIRCLE]
)
def test_provenance_that_json_cannot_say_is_refused_at_once(value):
    with pytest.raises(ArtifactError, match="provenance"):
        replace(example(), provenance=value)


def test_provenance_is_from_the_beginning_what_comes_back(tmp_path):
    given = {"folder": Path("runs") / "a", "sizes": (1, 2), 10: {9: "x"}, 9: None, "z": {"b": 1.5}}
    data = replace(example(), provenance=given)
    plain = {"folder": "runs/a", "sizes": [1, 2], "10": {"9": "x"}, "9": None, "z": {"b": 1.5}}
    assert data.provenance == plain
    given["z"]["b"] = 2  # a copy was taken
    data.save(tmp_path)
    assert data.provenance == plain == DistilledSet.load(tmp_path).provenance


def test_lists_are_taken_for_tuples():
    data = replace(example(), mean=[0.5, 0.4, 0.3], class_names=["cat", "dog"])
    assert data.mean == (0.5, 0.4, 0.3) and data.class_names == ("cat", "dog")
    assert data.fingerprint() == example().fingerprint()
    numbers = replace(example(), mean=tuple(np.array([0.5, 0.4, 0.3])), value_range=(0, 1))
    assert numbers.fingerprint() == example().fingerprint()
    assert {type(value) for value in (*numbers.mean, *numbers.value_range)} == {float}


CHANGES = [
    {"images": example().images.flip(3)},
    {"labels": torch.tensor([0, 1, 0, 1])},
    {"factor": 4},
    {"decode": "multi"},
    {"decode": "bound", "bound": 6},
    {"decode": "bound", "bound": 7},
    {"mean": (0.5, 0.4, 0.31)},
    {"std": (0.2, 0.2, 0.21)},
    {"class_names": ("dog", "cat")},
    {"soft_labels": torch.full((4, 2), 0.5)},
    {"soft_labels": torch.full((16, 2), 0.5)},
    {"soft_labels": torch.tensor([[0.5, 0.5]] * 3 + [[0.25, 0.75]])},
]


def test_the_fingerprint_says_all_that_decides_a_training(tmp_path):
    found = [replace(example(), **change).fingerprint() for change in CHANGES]
    assert len({example().fingerprint(), *found}) == len(CHANGES) + 1
    assert replace(example(), provenance={"seed": 9}).fingerprint() == example().fingerprint()
    example().save(tmp_path)
    assert DistilledSet.load(tmp_path).fingerprint() == example().fingerprint()
    free = replace(example(), images=example().images.clone().requires_grad_())
    assert free.fingerprint() == example().fingerprint()


@pytest.mark.parametrize("place", ["file", "file/sub"])
def test_a_file_in_the_place_of_the_folder_is_one_error(tmp_path, place):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ArtifactError, match="is a file, or lies in one"):
        example().save(tmp_path / place)
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(ArtifactError, match=r"is a file; give the folder.*import_legacy"):
        DistilledSet.load(tmp_path / place)


@pytest.mark.parametrize("inner", ["distilled", "methods/ncfm/distilled"])
def test_the_folder_of_a_run_is_told_from_its_set(tmp_path, inner):
    example().save(tmp_path / inner)
    with pytest.raises(ArtifactError, match=f"is missing.*It holds one: load .*{inner}\\.$"):
        DistilledSet.load(tmp_path)


NAN = float("nan")
FAULTS = [
    ({"images": torch.zeros(4, 8, 8)}, "images have shape"),
    ({"images": torch.zeros(0, 3, 8, 8), "labels": torch.zeros(0).long()}, "not empty"),
    ({"images": torch.zeros(4, 3, 8, 6)}, "square"),
    ({"images": torch.zeros(4, 3, 8, 8).double()}, "images are torch.float64"),
    ({"labels": torch.tensor([0, 0, 1])}, "images have shape"),
    ({"labels": torch.tensor([0.0, 0, 1, 1])}, "labels torch.float32"),
    ({"labels": torch.tensor([0, 0, 1, 2])}, "labels run from 0 to 2"),
    ({"labels": torch.tensor([0, -1, 1, 1])}, "labels run from -1"),
    ({"labels": torch.zeros(4).long()}, "class 'dog' \\(label 1\\) has no image"),
    ({"mean": (0.5,)}, "mean and std have 1 and 3"),
    ({"std": (0.2, 0.0, 0.2)}, "positive std"),
    ({"mean": (0.2, NAN, 0.2)}, "finite numbers"),
    ({"images": torch.full((4, 3, 8, 8), NAN)}, "images hold NaN"),
    ({"images": torch.full((4, 3, 8, 8), 1.5)}, "outside value_range"),
    ({"images": torch.full((4, 3, 8, 8), -0.5)}, "images run from -0.5"),
    ({"value_range": (0.0, NAN)}, "value_range"),
    ({"factor": 3}, "factor is 3"),
    ({"factor": 0}, "factor is 0"),
    ({"factor": 2.0}, "factor is 2.0; give a whole number"),
    ({"factor": "2"}, "factor is '2'; give a whole number"),
    ({"factor": True}, "factor is True; give a whole number"),
    ({"bound": 0}, "bound is 0; give a whole number"),
    ({"images": np.zeros((4, 3, 8, 8), np.float32)}, "images are of type ndarray"),
    ({"images": torch.zeros(4, 3, 8, 8).to_sparse()}, "give a dense torch.Tensor"),
    ({"images": torch.zeros(4, 3, 8, 8, device="meta")}, "give a dense torch.Tensor"),
    ({"labels": [0, 0, 1, 1]}, "labels are of type list"),
    ({"soft_labels": np.full((4, 2), 0.5)}, "soft_labels are of type ndarray"),
    ({"mean": 0.5}, "mean is 0.5; give a tuple"),
    ({"std": torch.ones(3)}, "std is tensor.*; give a tuple"),
    ({"mean": ("a",) * 3}, "finite numbers"),
    ({"mean": (True,) * 3}, "finite numbers"),
    ({"std": (10**400,) * 3}, "finite numbers"),
    ({"class_names": "ab"}, "class_names are 'ab'; give a tuple of texts"),
    ({"class_names": None}, "class_names are None"),
    ({"class_names": ("cat", "cat")}, "class_names hold 'cat' 2 times"),
    ({"value_range": None}, "value_range is None"),
    ({"value_range": "01"}, "value_range is '01'"),
    ({"decode": "zoom"}, "decode is 'zoom'"),
    ({"decode": "bound", "bound": 1}, "bound is 1, fewer than the 2 images"),
    ({"class_names": ("cat", 2)}, "class_names"),
    ({"soft_labels": torch.full((3, 2), 0.5)}, "soft_labels have shape"),
    ({"soft_labels": torch.full((4, 3), 1 / 3)}, "soft_labels have shape"),
    ({"soft_labels": torch.full((4, 2), 0.4)}, "not probabilities"),
    ({"soft_labels": torch.tensor([[1.5, -0.5]] * 4)}, "not probabilities"),
    ({"soft_labels": torch.full((4, 2), NAN)}, "not finite"),
]


@pytest.mark.parametrize(("changes", "message"), FAULTS)
def test_each_fault_has_its_message(changes, message):
    with pytest.raises(ArtifactError, match=message):
        replace(example(), **changes)


def test_free_pixels_are_kept_with_their_range(tmp_path):
    pixels = example().images * 4 - 2
    free = replace(example(), images=pixels, value_range=DistilledSet.range_of(pixels))
    free.save(tmp_path)
    assert torch.equal(DistilledSet.load(tmp_path).images, pixels)
    assert DistilledSet.range_of(example().images) == (0.0, 1.0)


def test_factor_must_divide():
    with pytest.raises(ArtifactError, match="factor is 3"):
        DistilledSet(torch.zeros(1, 1, 8, 8), torch.tensor([0]), 3, (0.5,), (0.2,), ("a",))

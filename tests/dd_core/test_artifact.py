"""Distilled sets on disk."""

from __future__ import annotations

import json

import pytest
import torch

from dd_core import ArtifactError, DistilledSet


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
    path.write_text(content.replace('"format": 1', '"format": 7'))
    with pytest.raises(ArtifactError, match="format 7"):
        DistilledSet.load(tmp_path)
    manifest = json.loads(content)
    del manifest["normalization"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="lacks a field"):
        DistilledSet.load(tmp_path)


def test_factor_must_divide():
    with pytest.raises(ArtifactError, match="factor is 3"):
        DistilledSet(torch.zeros(1, 1, 8, 8), torch.tensor([0]), 3, (0.5,), (0.2,), ("a",))

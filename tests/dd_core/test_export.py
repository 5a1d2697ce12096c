"""Exports come back as they were, and replace nothing unasked."""

from __future__ import annotations

import builtins
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dd_core import ArtifactError, DistilledSet, SettingsError
from dd_core.artifact_files import digest_of
from dd_core.export import export_images, export_legacy, export_npz
from dd_core.legacy import import_legacy

NAMES = ("cat", "dog/wolf: ..")
NORMALIZATION = ((0.5, 0.4, 0.3), (0.2, 0.2, 0.3))


def example(channels: int = 3, factor: int = 2) -> DistilledSet:
    pixels = torch.rand(6, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    mean, std = (part[:channels] for part in NORMALIZATION)
    labels = torch.tensor([0, 0, 1, 1, 0, 1])
    return DistilledSet(pixels, labels, factor, mean, std, NAMES, {"method": "ncfm"})


def soft(rows: int) -> torch.Tensor:
    return torch.rand(rows, 2, generator=torch.Generator().manual_seed(1)).softmax(1)


def read_folder(folder):
    """Images and labels as torchvision's ImageFolder orders them: folders, then files, sorted."""
    image = pytest.importorskip("PIL.Image")
    folders = sorted(p for p in folder.iterdir() if p.is_dir())
    pixels, labels = [], []
    for label, name in enumerate(folders):
        for file in sorted(name.iterdir()):
            with image.open(file) as opened:
                array = np.asarray(opened)
            pixels.append(torch.tensor(array.reshape(*array.shape[:2], -1)).permute(2, 0, 1))
            labels.append(label)
    return torch.stack(pixels), torch.tensor(labels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("views", [False, True])
def test_image_folders_hold_every_pixel_rounded(tmp_path, channels, views):
    pytest.importorskip("PIL")
    data = example(channels)
    export_images(data, tmp_path / "new" / "png", views=views)
    pixels, labels = read_folder(tmp_path / "new" / "png")
    own, of = data.decoded() if views else (data.images, data.labels)
    order = torch.argsort(of, stable=True)
    assert torch.equal(labels, of[order])
    assert torch.equal(pixels, (own[order] * 255).round().to(torch.uint8))
    assert (pixels / 255 - own[order]).abs().max() <= 1 / 510 + 1e-6
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["png"]


def test_folder_names_are_safe_and_sorted_like_labels(tmp_path):
    pytest.importorskip("PIL")
    names = ("../up", "a\\b\0c", "zebra", "zebra?", "", "ünï", "CON", "x" * 300, ".", "b", "a")
    data = DistilledSet(
        torch.zeros(11, 1, 2, 2), torch.arange(11), 1, (0.5,), (0.2,), names
    )  # fmt: skip
    export_images(data, tmp_path / "png")
    folders = sorted(p.name for p in (tmp_path / "png").iterdir() if p.is_dir())
    facts = json.loads((tmp_path / "png" / "export.json").read_text())
    assert folders == facts["folders"] and len(folders) == 11
    assert all(len(name) < 100 and name.isascii() and ".." not in name for name in folders)
    assert facts["class_names"] == list(names)
    assert [p.name for p in tmp_path.iterdir()] == ["png"]


def test_free_pixels_are_cut_only_where_asked(tmp_path):
    pytest.importorskip("PIL")
    pixels = example().images * 3 - 1
    free = replace(example(), images=pixels, value_range=DistilledSet.range_of(pixels))
    with pytest.raises(ArtifactError, match="clip=True"):
        export_images(free, tmp_path / "png")
    assert not (tmp_path / "png").exists()
    export_images(free, tmp_path / "png", clip=True)
    found, _ = read_folder(tmp_path / "png")
    own = pixels[torch.argsort(free.labels, stable=True)].clamp(0, 1)
    assert torch.equal(found, (own * 255).round().to(torch.uint8))


def test_two_channels_are_no_png(tmp_path):
    pytest.importorskip("PIL")
    with pytest.raises(ArtifactError, match="2 channels"):
        export_images(example(2), tmp_path / "png")


def test_missing_pillow_is_said(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.split(".")[0] == "PIL":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ArtifactError, match="needs Pillow; install"):
        export_images(example(), tmp_path / "png")


def test_npz_holds_everything_without_pickle(tmp_path):
    data = replace(example(), soft_labels=soft(6))
    export_npz(data, tmp_path / "set.npz")
    with np.load(tmp_path / "set.npz", allow_pickle=False) as stored:
        again = DistilledSet(
            torch.tensor(stored["images"]), torch.tensor(stored["labels"]), int(stored["factor"]),
            tuple(stored["mean"].tolist()), tuple(stored["std"].tolist()),
            tuple(stored["class_names"].tolist()), decode=str(stored["decode"]),
            bound=int(stored["bound"]), soft_labels=torch.tensor(stored["soft_labels"]),
        )  # fmt: skip
    for name in ("images", "labels", "soft_labels"):
        assert torch.equal(getattr(again, name), getattr(data, name))
    for name in ("factor", "mean", "std", "class_names", "decode", "bound"):
        assert getattr(again, name) == getattr(data, name)


def test_npz_of_views_is_decoded(tmp_path):
    data = replace(example(), soft_labels=soft(6), decode="multi")
    export_npz(data, tmp_path / "set.npz", views=True)
    views, labels = data.decoded()
    with np.load(tmp_path / "set.npz") as stored:
        assert np.array_equal(stored["images"], views) and np.array_equal(stored["labels"], labels)
        assert stored["factor"] == 1
        assert np.array_equal(stored["soft_labels"], data.soft_targets())


@pytest.mark.parametrize("layout", ["dc", "idc", "mtt"])
@pytest.mark.parametrize("views", [False, True])
def test_legacy_layouts_come_back(tmp_path, layout, views):
    data = example(factor=2 if views or layout == "idc" else 1)
    target = tmp_path / "old"
    export_legacy(data, target, layout, views=views)
    again = import_legacy(
        target, normalization=NORMALIZATION, class_names=NAMES,
        factor={"idc": 1 if views else 2}.get(layout), zca=False if layout == "mtt" else None,
    )  # fmt: skip
    pixels, labels = data.decoded() if views else (data.images, data.labels)
    assert torch.equal(again.labels, labels)
    if layout == "idc":
        assert torch.equal(again.images, pixels)
    torch.testing.assert_close(again.images, pixels, rtol=0, atol=1e-6)
    assert again.factor == (2 if layout == "idc" and not views else 1)


def test_legacy_soft_labels_come_back(tmp_path):
    data = replace(example(factor=1), soft_labels=soft(6), labels=torch.tensor([0, 0, 0, 1, 1, 1]))
    export_legacy(data, tmp_path / "old", "mtt")
    again = import_legacy(
        tmp_path / "old", normalization=NORMALIZATION, class_names=NAMES, zca=False
    )
    torch.testing.assert_close(again.soft_labels, data.soft_labels)


@pytest.mark.parametrize("layout", ["dc", "mtt"])
def test_a_layout_without_factor_takes_no_grid(tmp_path, layout):
    with pytest.raises(ArtifactError, match="views=True"):
        export_legacy(example(), tmp_path / "old", layout)


@pytest.mark.parametrize("kind", ["images", "mtt"])
def test_what_export_json_says_has_a_checksum(tmp_path, kind):
    if kind == "images":
        pytest.importorskip("PIL")
    WRITERS[kind](replace(example(), provenance={"folder": Path("x"), "n": (1, 2)}), tmp_path / "o")
    said = json.loads((tmp_path / "o" / "export.json").read_text())
    assert said["sha256"] == digest_of(said, "sha256")
    assert said["sha256"] != digest_of({**said, "bound": 7}, "sha256")


def test_unknown_layout_and_suffix_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="layout is 'dd'"):
        export_legacy(example(), tmp_path / "old", "dd")
    with pytest.raises(ArtifactError, match=r"ends with \.npz"):
        export_npz(example(), tmp_path / "set.np")


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


WRITERS = {
    "images": export_images,
    "mtt": lambda data, path, **k: export_legacy(data, path, "mtt", views=True, **k),
    "idc": lambda data, path, **k: export_legacy(data, path, "idc", **k),
    "dc": lambda data, path, **k: export_legacy(data, path, "dc", views=True, **k),
    "npz": lambda data, path, **k: export_npz(data, path.with_suffix(".npz"), **k),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_nothing_is_replaced_unasked(tmp_path, kind):
    if kind == "images":
        pytest.importorskip("PIL")
    write, target = WRITERS[kind], tmp_path / "out"
    write(example(), target)
    before = files_of(tmp_path)
    other = replace(example(), images=1 - example().images)
    with pytest.raises(ArtifactError, match="overwrite=True"):
        write(other, target)
    assert files_of(tmp_path) == before
    write(other, target, overwrite=True)
    after = files_of(tmp_path)
    assert after.keys() == before.keys() and after != before


@pytest.mark.parametrize("kind", ["images", "mtt"])
def test_a_folder_of_something_else_is_never_replaced(tmp_path, kind):
    if kind == "images":
        pytest.importorskip("PIL")
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="not an earlier export"):
        WRITERS[kind](example(), tmp_path, overwrite=True)
    assert files_of(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("kind", ["idc", "dc"])
def test_a_folder_is_no_file(tmp_path, kind):
    with pytest.raises(ArtifactError, match="is a folder"):
        WRITERS[kind](example(), tmp_path, overwrite=True)


def test_a_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    export_images(example(), tmp_path / "png")
    before = files_of(tmp_path)

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image.Image, "save", full)
    with pytest.raises(OSError, match="No space"):
        export_images(example(), tmp_path / "png", overwrite=True)
    assert files_of(tmp_path) == before and [p.name for p in tmp_path.iterdir()] == ["png"]


@pytest.mark.parametrize("inside", ["x", "sub/x"])
def test_a_path_that_lies_in_a_file_is_one_error(tmp_path, inside):
    pytest.importorskip("PIL")
    (tmp_path / "file").write_text("mine")
    place = tmp_path / "file" / inside
    for call in (
        lambda: export_images(example(), place),
        lambda: export_npz(example(), place.with_suffix(".npz")),
        lambda: export_legacy(example(), place, "idc"),
        lambda: export_legacy(example(factor=1), place, "mtt"),
    ):
        with pytest.raises(ArtifactError, match=r"file is a file, so .* cannot be made"):
            call()
    assert (tmp_path / "file").read_text() == "mine"
    with pytest.raises(SettingsError, match="path is 5"):
        export_npz(example(), 5)


def test_the_how_to_does_what_it_says(tmp_path, monkeypatch, capsys):
    pytest.importorskip("PIL")
    page = Path(__file__).parents[2] / "docs" / "how-to" / "use-a-distilled-set.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
    assert len(blocks) == 9
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)
    assert capsys.readouterr().out == "16 torch.Size([3, 32, 32]) torch.float32 0\n"
    imported, stored = DistilledSet.load("imported"), DistilledSet.load("distilled")
    assert torch.equal(imported.images, stored.images) and imported.factor == 2
    again = names["again"]
    assert isinstance(again, DistilledSet) and again.fingerprint() == stored.fingerprint()
    assert DistilledSet.load("renamed").class_names == ("kitten", "puppy")
    assert len(list(Path("png-views").glob("*/*.png"))) == 16
    manifest = json.loads(Path("labelled", "manifest.json").read_text())
    assert set(re.findall(r"`(\w+)`", page.read_text())) >= manifest.keys()

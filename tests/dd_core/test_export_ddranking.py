"""Files for DD-Ranking hold what its loaders take: every view, class by class, normalised."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dd_core import ArtifactError, DistilledSet, SettingsError
from dd_core.export_ddranking import DDRANKING_DATASETS, export_ddranking

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.2, 0.3)


def example(classes: int = 2, channels: int = 3, factor: int = 2, **changes) -> DistilledSet:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(classes).repeat(2).flip(0)  # not class by class
    pixels = torch.rand(len(labels), channels, 8, 8, generator=draws)
    names = tuple(f"class {c}" for c in range(classes))
    made = DistilledSet(pixels, labels, factor, MEAN[:channels], STD[:channels], names)
    return replace(made, **changes)


def soft(rows: int, classes: int = 2) -> torch.Tensor:
    return torch.rand(rows, classes, generator=torch.Generator().manual_seed(1)).softmax(1)


def read(folder):
    """All tensors of a folder, by name."""
    return {path.stem: torch.load(path, weights_only=True) for path in folder.glob("*.pt")}


def column(values):
    return torch.tensor(values).view(3, 1, 1)


@pytest.mark.parametrize("decode", ["single", "multi"])
def test_images_are_all_views_class_by_class(tmp_path, decode):
    data = example(decode=decode)
    export_ddranking(data, tmp_path / "out")
    found = read(tmp_path / "out")
    assert set(found) == {"images", "hard_labels"}
    views, labels = data.decoded()
    by_class = [views[labels == c] for c in range(2)]
    expected = (torch.cat(by_class) - column(MEAN)) / column(STD)
    torch.testing.assert_close(found["images"], expected)
    assert found["images"].dtype == torch.float32 and found["hard_labels"].dtype == torch.int64
    ipc = json.loads((tmp_path / "out" / "export.json").read_text())["ddranking"]["ipc"]
    assert ipc == len(by_class[0]) == {"single": 8, "multi": 10}[decode]
    assert found["hard_labels"].tolist() == [0] * ipc + [1] * ipc  # as the tool makes of ipc


@pytest.mark.parametrize("rows", ["images", "views"])
def test_a_softmax_of_the_labels_gives_the_probabilities_back(tmp_path, rows):
    data = example(soft_labels=soft(4 if rows == "images" else 16))
    export_ddranking(data, tmp_path)
    found = read(tmp_path)["labels"]
    order = torch.argsort(data.decoded()[1], stable=True)
    torch.testing.assert_close(found.softmax(1), data.soft_targets()[order])
    student = torch.randn(16, 2, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(  # the tool's soft cross-entropy, and ours
        F.cross_entropy(student, found.softmax(1)),
        F.cross_entropy(student, data.soft_targets()[order]),
    )


def test_labels_that_are_sure_stay_finite(tmp_path):
    certain = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    export_ddranking(example(soft_labels=certain), tmp_path)
    found = read(tmp_path)["labels"]
    assert torch.isfinite(found).all()
    order = torch.argsort(example().decoded()[1], stable=True)
    expected = certain.repeat_interleave(4, 0)[order]
    torch.testing.assert_close(found.softmax(1), expected, rtol=0, atol=1e-20)


@pytest.mark.parametrize("name", ["CIFAR10", "ImageNette"])
def test_a_named_data_set_says_the_normalisation(tmp_path, name):
    """DD-Ranking's test images decide, not how the set's own students saw it."""
    data = example(10, factor=1)
    export_ddranking(data, tmp_path, dataset=name)
    _, mean, std = DDRANKING_DATASETS[name]
    order = torch.argsort(data.labels, stable=True)
    back = read(tmp_path)["images"] * column(std) + column(mean)
    torch.testing.assert_close(back, data.images[order])
    facts = json.loads((tmp_path / "export.json").read_text())
    assert facts["normalization"] == {"mean": list(mean), "std": list(std)}
    assert facts["ddranking"] == {"dataset": name, "ipc": 2, "use_zca": False}


def test_cifar100_is_normalised_as_cifar10_there():
    assert DDRANKING_DATASETS["CIFAR100"][1:] == DDRANKING_DATASETS["CIFAR10"][1:]
    assert DDRANKING_DATASETS["CIFAR100"][0] == 100


def test_whitened_pixels_stay_as_they_are(tmp_path):
    pixels = example(10, factor=1).images * 4 - 2
    data = example(
        10, factor=1, images=pixels, mean=(0.0,) * 3, std=(1.0,) * 3,
        value_range=DistilledSet.range_of(pixels), provenance={"preprocessing": {"zca": True}},
    )  # fmt: skip
    export_ddranking(data, tmp_path, dataset="CIFAR10")
    order = torch.argsort(data.labels, stable=True)
    assert torch.equal(read(tmp_path)["images"], pixels[order])
    assert json.loads((tmp_path / "export.json").read_text())["ddranking"]["use_zca"] is True


def test_a_learning_rate_is_one_number(tmp_path):
    export_ddranking(example(), tmp_path, learning_rate=0.01)
    assert read(tmp_path)["lr"].item() == pytest.approx(0.01)


def uneven() -> DistilledSet:
    data = example()
    return replace(data, images=data.images[:3], labels=data.labels[:3])


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (example(channels=1), {}, ArtifactError, "images have 1 channels.*take 3"),
        (example(), {"dataset": "CIFAR10"}, ArtifactError, "has 10 classes in DD-Ranking.* has 2"),
        (example(), {"dataset": "cifar10"}, SettingsError, "dataset is 'cifar10'; choose one of"),
        (example(), {"learning_rate": 0}, SettingsError, "learning_rate is 0; it must be positive"),
        (example(), {"learning_rate": "1"}, SettingsError, "learning_rate is '1'"),
        (uneven(), {}, ArtifactError, "classes have 4 to 8 views"),
        (None, {}, SettingsError, "data is None; give a DistilledSet"),
    ],
)
def test_what_the_tool_cannot_take_is_refused(tmp_path, data, options, error, message):
    with pytest.raises(error, match=message):
        export_ddranking(data, tmp_path / "out", **options)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_replaced_unasked(tmp_path):
    export_ddranking(example(soft_labels=soft(4)), tmp_path / "out")
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    other = example(images=1 - example().images)
    with pytest.raises(ArtifactError, match="overwrite=True"):
        export_ddranking(other, tmp_path / "out")
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    export_ddranking(other, tmp_path / "out", overwrite=True)
    after = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    assert "labels.pt" in before and "labels.pt" not in after  # the set has no soft labels now
    assert after["images.pt"] != before["images.pt"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match="not an earlier export"):
        export_ddranking(other, tmp_path / "thesis", overwrite=True)

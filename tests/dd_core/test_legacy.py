"""Imports of earlier papers' files, built here as their code writes them."""

from __future__ import annotations

import copy
import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from dd_core import ArtifactError, SettingsError
from dd_core.legacy import NORMALIZATIONS, import_legacy

NAMES = ("a", "b", "c")
CIFAR = {"normalization": "cifar10", "class_names": NAMES}


def unit(n=6, channels=3, seed=0):
    return torch.rand(n, channels, 8, 8, generator=torch.Generator().manual_seed(seed))


def labels(n=6):
    return torch.arange(3).repeat_interleave(n // 3)


def normalised(pixels):
    mean, std = (torch.tensor(part).view(-1, 1, 1) for part in NORMALIZATIONS["cifar10"])
    return (pixels - mean) / std


def dc_file(path, runs=1):
    """DC, DSA, DM: clones of parameters, and accuracies as NumPy numbers."""
    data = [
        [copy.deepcopy(normalised(unit(seed=run)).requires_grad_().detach()), labels()]
        for run in range(runs)
    ]
    accuracies = {"ConvNet": [np.float64(0.25), np.float32(0.5), np.int64(3)]}
    torch.save({"data": data, "accs_all_exps": accuracies}, path)


def test_dc(tmp_path):
    dc_file(tmp_path / "res.pt")
    data = import_legacy(tmp_path / "res.pt", **CIFAR)
    torch.testing.assert_close(data.images, unit(), rtol=0, atol=1e-6)
    assert torch.equal(data.labels, labels()) and data.factor == 1
    assert data.mean == NORMALIZATIONS["cifar10"][0] and data.class_names == NAMES
    assert data.provenance["imported"]["layout"] == "dc"


def test_numbers_of_both_numpys_are_read(tmp_path):
    """NumPy 1 and 2 call the module of their numbers differently."""
    torch.save(
        {"data": [[normalised(unit()), labels()]], "accs_all_exps": {"m": [np.float64(1)]}},
        tmp_path / "old.pt",
        _use_new_zipfile_serialization=False,
    )
    content = (tmp_path / "old.pt").read_bytes()
    first, second = b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"
    assert content.count(first) + content.count(second) == 1
    for name in (first, second):
        written = content.replace(first, name).replace(second, name)
        (tmp_path / "old.pt").write_bytes(written)
        assert import_legacy(tmp_path / "old.pt", **CIFAR).factor == 1


def test_several_experiments_are_asked_for(tmp_path):
    dc_file(tmp_path / "res.pt", runs=2)
    with pytest.raises(ArtifactError, match="2 experiments; give experiment=0 to 1"):
        import_legacy(tmp_path / "res.pt", **CIFAR)
    second = import_legacy(tmp_path / "res.pt", **CIFAR, experiment=1)
    torch.testing.assert_close(second.images, unit(seed=1), rtol=0, atol=1e-6)
    with pytest.raises(ArtifactError, match=r"experiment is 2, but .*experiment=0 to 1\."):
        import_legacy(tmp_path / "res.pt", **CIFAR, experiment=2)
    dc_file(tmp_path / "res.pt")
    with pytest.raises(ArtifactError, match=r"experiment is 1, but .*holds one, experiment=0\."):
        import_legacy(tmp_path / "res.pt", **CIFAR, experiment=1)


@pytest.mark.parametrize("container", [list, tuple])
@pytest.mark.parametrize("form", ["single", "multi", "bound"])
def test_idc(tmp_path, container, form):
    torch.save(container([unit(), labels()]), tmp_path / "data_20000.pt")
    data = import_legacy(tmp_path / "data_20000.pt", **CIFAR, factor=2, decode=form, bound=6)
    assert torch.equal(data.images, unit()) and torch.equal(data.labels, labels())
    assert (data.factor, data.decode, data.value_range) == (2, form, (0.0, 1.0))


def test_parameters_and_the_old_file_format_are_read(tmp_path):
    content = [torch.nn.Parameter(unit()), labels().int()]
    torch.save(content, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    data = import_legacy(tmp_path / "old.pt", **CIFAR, factor=1)
    assert torch.equal(data.images, unit()) and not data.images.requires_grad
    assert data.labels.dtype == torch.int64


@pytest.mark.parametrize("name", ["best", "5000"])
def test_mtt_with_free_pixels(tmp_path, name):
    free = unit() * 2 - 0.5
    torch.save(normalised(free), tmp_path / f"images_{name}.pt")
    torch.save(labels().float(), tmp_path / f"labels_{name}.pt")
    path = tmp_path if name == "best" else tmp_path / "images_5000.pt"
    data = import_legacy(path, **CIFAR, zca=False)
    torch.testing.assert_close(data.images, free, rtol=0, atol=1e-6)
    low, high = data.value_range
    assert low == data.images.min() < 0 and high == data.images.max() > 1
    assert data.soft_labels is None and torch.equal(data.labels, labels())


def test_whitened_pixels_stay_as_they_are(tmp_path):
    whitened = torch.randn(6, 3, 8, 8)
    torch.save(whitened, tmp_path / "images_best.pt")
    torch.save(labels(), tmp_path / "labels_best.pt")
    data = import_legacy(tmp_path, class_names=NAMES, zca=True)
    image, _ = data.as_dataset()[2]
    assert torch.equal(image, whitened[2])
    assert data.provenance["preprocessing"] == {"zca": True, "pixels_in_file": "whitened"}
    with pytest.raises(ArtifactError, match="leave normalization out"):
        import_legacy(tmp_path, **CIFAR, zca=True)


def test_datm_logits_become_soft_labels(tmp_path):
    logits = torch.eye(3).repeat_interleave(2, 0) * 4
    logits[1] = torch.tensor([0.0, 1.0, 0.0])  # its own class is no longer the first choice
    torch.save(normalised(unit()), tmp_path / "images_best.pt")
    torch.save(logits, tmp_path / "labels_best.pt")
    data = import_legacy(tmp_path, **CIFAR, zca=False)
    torch.testing.assert_close(data.soft_labels, logits.softmax(1))
    assert torch.equal(data.labels, labels())
    imported = data.provenance["imported"]
    assert imported["labels"] == "class by class"
    assert imported["rows_with_another_largest_entry"] == 1
    order = torch.tensor([4, 2, 0, 3, 5, 1])
    torch.save(logits[order], tmp_path / "labels_best.pt")
    assert torch.equal(import_legacy(tmp_path, **CIFAR, zca=False).labels, logits[order].argmax(1))
    torch.save(logits.softmax(1), tmp_path / "labels_best.pt")
    again = import_legacy(tmp_path, **CIFAR, zca=False)
    torch.testing.assert_close(again.soft_labels, data.soft_labels)


@pytest.mark.parametrize("kind", [torch.int64, torch.float32, torch.bool])
@pytest.mark.parametrize("layout", ["idc", "mtt"])
def test_one_hot_rows_are_the_labels_and_nothing_else(tmp_path, kind, layout):
    """Most rows agree with class by class here, and those that do not are right all the same."""
    own = torch.tensor([1, 0, 0, 1, 2, 2])
    rows = torch.nn.functional.one_hot(own, 3).to(kind)
    if layout == "idc":
        torch.save([unit(), rows], tmp_path / "idc.pt")
        data = import_legacy(tmp_path / "idc.pt", **CIFAR, factor=1)
    else:
        torch.save(normalised(unit()), tmp_path / "images_best.pt")
        torch.save(rows, tmp_path / "labels_best.pt")
        data = import_legacy(tmp_path, **CIFAR, zca=False)
    assert torch.equal(data.labels, own) and data.soft_labels is None


def test_soft_labels_of_other_layouts_are_not_put_in_order(tmp_path):
    own = torch.tensor([1, 0, 1, 1, 2, 2])
    soft = torch.nn.functional.one_hot(own, 3) * 0.7 + 0.1
    torch.save([unit(), soft], tmp_path / "idc.pt")
    data = import_legacy(tmp_path / "idc.pt", **CIFAR, factor=1)
    assert torch.equal(data.labels, own)
    torch.testing.assert_close(data.soft_labels, soft)
    assert data.provenance["imported"]["labels"] == "largest entry of each row"


@pytest.mark.parametrize("kind", [torch.int64, torch.float32])
def test_a_column_of_labels_is_read_as_labels(tmp_path, kind):
    torch.save([unit(), labels().view(-1, 1).to(kind)], tmp_path / "idc.pt")
    assert torch.equal(import_legacy(tmp_path / "idc.pt", **CIFAR, factor=1).labels, labels())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (torch.tensor([0, 0, 1, 1, 1, 0]), "from 0 to 1, and 3 classes .* of 'c' \\(label 2\\)"),
        (torch.tensor([0, 0, 2, 2, 2, 0]), "from 0 to 2, and 3 classes .* of 'b' \\(label 1\\)"),
        (torch.zeros(6), "no image of 'b' \\(label 1\\) and of 1 more"),
        (labels() + 1, "labels run from 1 to 3, and 3 .*begin at 0: subtract 1"),
        (labels() + 0.5, "not whole numbers from 0: labels\\[0\\] is 0.5"),
        (-labels(), "not whole numbers from 0: labels\\[2\\] is -1"),
        (labels()[:, None] + 0.5, "labels\\[0\\] is 0.5"),
        (torch.eye(4)[labels()], "has 4 classes \\(4 numbers a row of labels\\), but 3 are named"),
        (torch.eye(3)[labels()] / torch.tensor([1.0, 1, 0]), "finite: labels\\[0, 2\\] is nan"),
    ],
)
def test_labels_that_do_not_fit_say_why(tmp_path, given, message):
    torch.save([unit(), given], tmp_path / "idc.pt")
    with pytest.raises(ArtifactError, match=message):
        import_legacy(tmp_path / "idc.pt", **CIFAR, factor=1)


@pytest.mark.parametrize(
    ("content", "answers", "message"),
    [
        ([unit() * 255, labels()], {"factor": 1}, "from 0.* to 25.*divide them by 255"),
        (
            [unit() * 255, labels()],
            {"factor": 1, "space": "normalized"},
            "un-normalised is .* optimised ones at most from -5 to 6.*divide them by 255",
        ),
        ({"data": [[normalised(unit()) * 255, labels()]]}, {}, "normalization is probably another"),
        ({"data": [[normalised(unit()) * 1e6, labels()]]}, {}, "optimised ones at most"),
        ({"data": [[normalised(unit() * 12 - 5.5), labels()]]}, {}, "optimised ones at most"),
        ([unit().double() * 1e300, labels()], {"factor": 1}, "no finite float32: images"),
    ],
)
def test_pixels_where_no_image_can_be_are_refused(tmp_path, content, answers, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=rf"x\.pt.*{message}"):
        import_legacy(tmp_path / "x.pt", **CIFAR, **answers)


def test_pixels_that_an_optimiser_moved_are_read(tmp_path):
    free = unit() * 10 - 4.5
    torch.save({"data": [[normalised(free), labels()]]}, tmp_path / "dc.pt")
    data = import_legacy(tmp_path / "dc.pt", **CIFAR)
    torch.testing.assert_close(data.images, free, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([unit().permute(0, 2, 3, 1), labels()], r"\(6, 8, 8, 3\).*images\.permute\(0, 3, 1, 2\)"),
        ([unit().byte(), labels()], r"Convert them to float and divide by 255\."),
        ({"images": unit(), "labels": labels()}, r"no layout.*; save \[images, labels\]\."),
        ({"data": [], "accs_all_exps": {}}, r"holds no set: its 'data' is empty\."),
    ],
)
def test_what_is_no_set_is_told_the_way_out(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=message):
        import_legacy(tmp_path / "x.pt", **CIFAR)


def test_the_first_pixel_that_is_not_finite_is_named(tmp_path):
    pixels = unit()
    pixels[3, 2, 1, 0] = float("nan")
    torch.save([pixels, labels()], tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=r"images\[3, 2, 1, 0\] is nan"):
        import_legacy(tmp_path / "x.pt", **CIFAR, factor=1)


def test_all_that_is_missing_is_asked_for_at_once(tmp_path):
    torch.save([unit(), labels()], tmp_path / "idc.pt")
    with pytest.raises(ArtifactError) as caught:
        import_legacy(tmp_path / "idc.pt")
    for part in ("normalization (such as 'cifar10'", "class_names (such as", "here 3", "factor=2"):
        assert part in str(caught.value)
    assert "zca" not in str(caught.value)
    torch.save(unit(), tmp_path / "images_best.pt")
    torch.save(labels(), tmp_path / "labels_best.pt")
    with pytest.raises(ArtifactError, match="zca=True where"):
        import_legacy(tmp_path, **CIFAR)


def test_contradictions_are_refused(tmp_path):
    idc, dc = tmp_path / "idc.pt", tmp_path / "dc.pt"
    torch.save([normalised(unit()), labels()], idc)
    with pytest.raises(ArtifactError, match=r"its layout has 0 to 1.*space='normalized'"):
        import_legacy(idc, **CIFAR, factor=1)
    with pytest.raises(ArtifactError, match="space is unit 0 to 1"):
        import_legacy(idc, **CIFAR, factor=1, space="unit")
    data = import_legacy(idc, **CIFAR, factor=1, space="normalized")
    torch.testing.assert_close(data.images, unit(), rtol=0, atol=1e-6)
    torch.save({"data": [[unit(), labels()]], "accs_all_exps": {}}, dc)
    with pytest.raises(ArtifactError, match="normalised images have negative ones"):
        import_legacy(dc, **CIFAR)
    assert torch.equal(import_legacy(dc, **CIFAR, space="unit").images, unit())
    with pytest.raises(ArtifactError, match="layout without one"):
        import_legacy(dc, **CIFAR, space="unit", factor=2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": "cifar"}, "normalization is 'cifar'; choose one of"),
        ({"normalization": "mnist"}, r"idc\.pt holds images with 3 channels.*'mnist' has 1 and 1"),
        ({"normalization": ((0.5,), (0.2,))}, r"3 channels.*\(mean, std\) has 1 and 1"),
        ({"class_names": ("a", "b")}, r"idc\.pt has 3 classes \(labels run from 0 to 2\), but 2"),
        ({"factor": 3}, "factor is 3; give a whole number that divides the images' 8 px"),
        ({"factor": 0}, "factor is 0"),
        ({"experiment": 0}, "experiment is 0, but .* without experiments"),
    ],
)
def test_answers_that_do_not_fit_are_refused(tmp_path, changes, message):
    torch.save([unit(), labels()], tmp_path / "idc.pt")
    with pytest.raises(ArtifactError, match=message):
        import_legacy(tmp_path / "idc.pt", **{**CIFAR, "factor": 2, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"normalization": ((0.5,) * 3,)}, r"give \(mean, std\)"),
        ({"normalization": 5}, r"normalization is 5; give \(mean, std\)"),
        ({"normalization": ("a", "b")}, "normalization is"),
        ({"normalization": ((0.5,) * 3, ("x",) * 3)}, "normalization is"),
        ({"class_names": 5}, "class_names are 5; give a tuple of texts"),
        ({"class_names": "abc"}, "class_names are 'abc'"),
        ({"class_names": (1, 2, 3)}, "class_names are"),
        ({"experiment": "0"}, "experiment is '0'; give a whole number"),
        ({"factor": "2"}, "factor is '2'; give a whole number"),
        ({"factor": True}, "factor is True"),
        ({"zca": "no"}, "zca is 'no'; give True or False"),
        ({"space": "byte"}, "space is 'byte'"),
        ({"path": 5}, "path is 5; give a path"),
    ],
)
def test_arguments_of_a_wrong_type_are_refused(tmp_path, changes, message):
    torch.save([unit(), labels()], tmp_path / "idc.pt")
    arguments = {"path": tmp_path / "idc.pt", **CIFAR, "factor": 2, **changes}
    with pytest.raises(SettingsError, match=message):
        import_legacy(**arguments)


def test_every_flipped_byte_of_the_pixels_is_seen(tmp_path):
    """torch.load compares no checksum, so that a changed pixel would pass."""
    path = tmp_path / "x.pt"
    torch.save([unit(), labels()], path)
    content = path.read_bytes()
    pixels = unit().numpy().tobytes()
    start = content.index(pixels)
    for place in range(start, start + len(pixels), 97):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ArtifactError, match=r"damaged: the checksum of \S*data/0 in it"):
            import_legacy(path, **CIFAR, factor=2)
    path.write_bytes(content)
    with zipfile.ZipFile(path) as members:
        assert members.testzip() is None
    assert torch.equal(import_legacy(path, **CIFAR, factor=2).images, unit())


class Evil:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class Plain:
    """Harmless, and still refused."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kind", ["evil", "plain"])
def test_other_pickled_objects_are_refused_and_not_run(tmp_path, zipped, kind):
    made = tmp_path / "made"
    content = [unit(), Evil(made) if kind == "evil" else Plain()]
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtifactError, match=r"pickled objects other than tensors.*could run code"):
        import_legacy(tmp_path / "x.pt", **CIFAR, factor=1)
    assert not made.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_other_pickles_are_refused_and_not_run_without_a_warning(tmp_path, protocol, recwarn):
    made = tmp_path / "made"
    (tmp_path / "y.pt").write_bytes(pickle.dumps([1, Evil(made)], protocol=protocol))
    with pytest.raises(ArtifactError, match=r"y\.pt holds pickled objects.*could run code"):
        import_legacy(tmp_path / "y.pt", **CIFAR, factor=1)
    assert not made.exists() and not recwarn.list


@pytest.mark.parametrize("content", [b"hello", b"", b"cat\ndog\n"])
def test_a_file_of_another_kind_is_no_file_of_torch(tmp_path, content):
    (tmp_path / "y.pt").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"is damaged, or no file of torch\.save\.$"):
        import_legacy(tmp_path / "y.pt", **CIFAR, factor=1)


@pytest.mark.parametrize(
    "content",
    [
        [unit()],
        [unit(), labels(), labels()],
        {"images": unit()},
        OrderedDict(weight=unit()),
        7,
        "text",
        [unit(), "labels"],
        [unit().byte(), labels()],
        [unit()[0], labels()],
        [unit(), labels()[:5]],
        [unit(), labels() - 1],
        [unit(), labels() + 0.5],
        [unit(), torch.full((6, 3), float("nan"))],
        [unit() / 0, labels()],
        [unit()[:0], labels()[:0]],
        [unit().to_sparse(), labels()],
        [unit().to("meta"), labels()],
        [unit(), labels().to("meta")],
        [unit(), labels().to(torch.complex64)],
        [unit(), torch.quantize_per_tensor(labels().float(), 0.1, 0, torch.qint8)],
        [unit(), torch.zeros(6, 0)],
        {"data": [], "accs_all_exps": {}},
        {"data": [unit()], "accs_all_exps": {}},
        unit(),
    ],
)
def test_what_is_no_distilled_set_is_one_error(tmp_path, content):
    torch.save(content, tmp_path / "x.pt")
    with pytest.raises(ArtifactError, match=r"x\.pt"):
        import_legacy(tmp_path / "x.pt", **CIFAR, factor=1)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"images_best\.pt is missing"):
        import_legacy(tmp_path, **CIFAR, zca=False)
    torch.save(normalised(unit()), tmp_path / "images_best.pt")
    with pytest.raises(ArtifactError, match=r"labels_best\.pt is missing"):
        import_legacy(tmp_path, **CIFAR, zca=False)

"""Soft labels: every form against its definition, and a teacher's opinion of a whole set."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dd_core import ArtifactError, DistilledSet, SettingsError
from dd_core.augment import normalize
from dd_core.soft_labels import label_with_teacher, soft_cross_entropy, teacher_probabilities


def logits_and_labels(n=64, classes=5, seed=0):
    draws = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, classes, generator=draws) * 3
    return logits, torch.randint(classes, (n,), generator=draws)


@given(seed=st.integers(0, 1000), shift=st.floats(-50, 50))
@settings(max_examples=10, deadline=None)
@pytest.mark.parametrize("form", ["paper", "code", "code26"])
def test_rows_are_probabilities(form, seed, shift):
    logits, labels = logits_and_labels(seed=seed)
    rows = teacher_probabilities(logits + shift, labels, form=form)
    assert (rows > 0).all()
    torch.testing.assert_close(rows.sum(1), torch.ones(64))
    torch.testing.assert_close(rows, teacher_probabilities(logits, labels, form=form),
                               rtol=1e-3, atol=1e-4)  # fmt: skip


def test_paper_and_code_agree_where_the_teacher_is_right():
    logits, labels = logits_and_labels()
    right = logits.argmax(1) == labels
    assert 0 < right.sum() < 64
    paper, code = (teacher_probabilities(logits, labels, form=f) for f in ("paper", "code"))
    assert torch.equal(paper[right], code[right])
    e = math.e
    for row, label in zip(code[~right], labels[~right], strict=True):
        expected = torch.full((5,), 1 / (e + 4))
        expected[label] = e / (e + 4)
        torch.testing.assert_close(row, expected)


def test_the_code_of_2026_is_flatter_but_keeps_the_order():
    logits, labels = logits_and_labels()
    twice = teacher_probabilities(logits, labels, form="code26")
    assert torch.equal(twice.argsort(1), logits.softmax(1).argsort(1))
    assert (twice.amax(1) / twice.amin(1)).max() <= math.e + 1e-5


def test_no_gradient_flows_to_the_teacher():
    logits, labels = logits_and_labels()
    assert not teacher_probabilities(logits.requires_grad_(), labels).requires_grad


def test_soft_cross_entropy_is_torchs_and_least_at_the_target():
    logits, labels = logits_and_labels()
    targets = teacher_probabilities(logits, labels)
    student = torch.randn(64, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(soft_cross_entropy(student, targets),
                               F.cross_entropy(student, targets))  # fmt: skip
    hard = F.one_hot(labels, 5).float()
    torch.testing.assert_close(soft_cross_entropy(student, hard), F.cross_entropy(student, labels))
    entropy = -(targets * targets.log()).sum(1).mean()
    torch.testing.assert_close(soft_cross_entropy(logits, targets), entropy)
    assert soft_cross_entropy(student, targets) > entropy


class Teacher(nn.Module):
    """Logits from channel means, and a dropout that would show outside evaluation mode."""

    def __init__(self, classes=3):
        super().__init__()
        self.layer = nn.Linear(2, classes)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        return self.dropout(self.layer(x.mean((2, 3))))


def small_set(form="single"):
    pixels = torch.rand(6, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    return DistilledSet(pixels, labels, 2, (0.4, 0.5), (0.2, 0.3), ("a", "b", "c"), {"seed": 1},
                        decode=form)  # fmt: skip


@pytest.mark.parametrize("form", ["single", "multi"])
def test_a_set_is_labelled_view_by_view(form, tmp_path):
    data, teacher = small_set(form), Teacher()
    labelled = label_with_teacher(data, teacher, form="code", batch=7)
    assert teacher.training
    views, labels = data.decoded()
    with torch.no_grad():
        logits = teacher.eval()(normalize(views, data.mean, data.std))
    expected = teacher_probabilities(logits, labels, form="code")
    torch.testing.assert_close(labelled.soft_labels, expected)
    assert labelled.provenance == {"seed": 1, "soft_labels": {"form": "code", "rows": "views"}}
    labelled.save(tmp_path)
    assert torch.equal(DistilledSet.load(tmp_path).soft_labels, labelled.soft_labels)


def test_a_teacher_of_other_classes_is_refused():
    with pytest.raises(SettingsError, match=r"shape \(24, 4\) for 24 images of 3 classes"):
        label_with_teacher(small_set(), Teacher(4))


def test_unknown_form_and_shapes_are_refused():
    logits, labels = logits_and_labels()
    with pytest.raises(SettingsError, match="form is 'soft'"):
        teacher_probabilities(logits, labels, form="soft")
    with pytest.raises(SettingsError, match="logits have shape"):
        teacher_probabilities(logits, labels[:3])


@pytest.mark.parametrize("form", ["paper", "code", "code26"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda labels: labels.float(), "labels torch.float32"),
        (lambda labels: labels - 1, r"labels run from -1 to \d"),
        (lambda labels: labels + 1, "to 5, but the logits have 5 classes"),
        (lambda labels: labels.tolist(), r"labels is \[.*; give a Tensor"),
    ],
)
def test_labels_that_are_no_classes_are_refused(form, change, message):
    logits, labels = logits_and_labels()
    with pytest.raises(SettingsError, match=message):
        teacher_probabilities(logits, change(labels), form=form)


@pytest.mark.parametrize("shape", [(64,), (64, 1), (1, 5), (5,), (63, 5)])
def test_targets_of_another_shape_are_refused(shape):
    """Some of them would be broadcast."""
    logits, _ = logits_and_labels()
    with pytest.raises(SettingsError, match=r"targets have shape .*give \(n, n_classes\) both"):
        soft_cross_entropy(logits, torch.full(shape, 0.2))


class Odd(nn.Module):
    """A teacher that answers with anything."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return self.answer(x)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"teacher": nn.Conv2d(3, 3, 3)}, SettingsError, r"images of shape \(2, 8, 8\)"),
        ({"teacher": nn.Sequential(nn.Flatten(), nn.Linear(9, 3))}, SettingsError, "not take"),
        ({"teacher": nn.Linear(8, 3)}, SettingsError, r"returns shape \(24, 2, 8, 3\) for 24"),
        ({"teacher": Odd(lambda x: (x, x))}, SettingsError, "returns tuple for 24"),
        ({"teacher": Odd(lambda x: x[:, 0, 0, :3] / 0)}, ArtifactError, "not finite"),
        ({"teacher": "resnet"}, SettingsError, "teacher is 'resnet'; give a Module"),
        ({"batch": 0}, SettingsError, "batch is 0; it must be at least 1"),
        ({"batch": "9"}, SettingsError, "batch is '9'"),
        ({"form": "soft"}, SettingsError, "form is 'soft'"),
        ({"data": None}, SettingsError, "data is None; give a DistilledSet"),
    ],
)
def test_what_cannot_label_a_set_is_one_error(arguments, kind, message):
    with pytest.raises(kind, match=message):
        label_with_teacher(**{"data": small_set(), "teacher": Teacher(), **arguments})

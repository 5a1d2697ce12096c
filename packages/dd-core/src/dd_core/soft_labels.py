"""Soft labels: a trained teacher's opinion in place of the class alone.

NCFM (Wang et al. 2025, section 4.1) trains some of its students on the softmax of a pretrained
network's outputs. Its code does so in two further ways; all three are forms here. A helper labels
a `DistilledSet` once; a training that asks its teacher anew for every augmented batch calls
`teacher_probabilities` and `soft_cross_entropy` itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core._arguments import as_choice, as_count, as_instance
from dd_core.artifact import DistilledSet
from dd_core.augment import normalize
from dd_core.errors import ArtifactError, SettingsError

__all__ = ["TeacherForm", "label_with_teacher", "soft_cross_entropy", "teacher_probabilities"]

TeacherForm = Literal["paper", "code", "code26"]
_FORMS = ("paper", "code", "code26")


def teacher_probabilities(logits: Tensor, labels: Tensor, *, form: TeacherForm = "paper") -> Tensor:
    """What a student is trained towards, from a teacher's outputs for the same images.

    Args:
        logits: Teacher's outputs, of shape (n, n_classes).
        labels: int64 of shape (n,), 0 to n_classes - 1; only ``code`` reads them.
        form: ``paper`` is softmax(logits). ``code`` is the official code of 2025: where the
            teacher's first choice is not the label, its logits are first replaced by the one-hot
            label, so that such a row becomes softmax(one-hot), which is far from one-hot: e / (e
            + n_classes - 1) for the label. The official loop takes the teacher's outputs on the
            augmented batch and uses plain labels in its last evaluation interval. ``code26`` is
            the code of 2026, whose loss takes a softmax of what is a softmax already:
            softmax(softmax(logits)).

    Returns:
        Probabilities of shape (n, n_classes), in the type of the logits; no gradient flows back.

    Raises:
        SettingsError: An unknown form, shapes or types that do not fit, or a label that is none
            of the classes.

    Example:
        >>> logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
        >>> (1000 * teacher_probabilities(logits, labels, form="code")).round().tolist()
        [[881.0, 119.0], [269.0, 731.0]]
    """
    as_choice("form", form, _FORMS)
    _check_rows(as_instance("logits", logits, Tensor), as_instance("labels", labels, Tensor))
    logits = logits.detach()
    if form == "paper":
        return logits.softmax(1)
    if form == "code26":
        return logits.softmax(1).softmax(1)
    wrong = logits.argmax(1, keepdim=True) != labels[:, None]
    certain = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(wrong, certain, logits).softmax(1)


def _check_rows(logits: Tensor, labels: Tensor) -> None:
    """Refuses labels that are not one class of the logits' for each row."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise SettingsError(
            f"logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; give "
            "(n, n_classes) and (n,)."
        )
    if not logits.is_floating_point() or labels.dtype != torch.int64:
        raise SettingsError(
            f"logits are {logits.dtype} and labels {labels.dtype}; give floating-point numbers and "
            "int64."
        )
    if not labels.numel():
        return
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= logits.shape[1]:
        raise SettingsError(
            f"labels run from {low} to {high}, but the logits have {logits.shape[1]} classes, "
            "counted from 0; give labels of the same classes."
        )


def soft_cross_entropy(student_logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of -sum_c p_c log softmax(z)_c.

    Args:
        student_logits: z, of shape (n, n_classes).
        targets: p, probabilities of the same shape.

    Returns:
        A scalar in nats; differentiable. Its least value is the mean entropy of the targets.

    Raises:
        SettingsError: The shapes are not the same, of two dimensions.

    Example:
        >>> z = torch.tensor([[1.0, 3.0]])
        >>> round(soft_cross_entropy(z, torch.tensor([[0.0, 1.0]])).item(), 4)
        0.1269
    """
    if student_logits.ndim != 2 or targets.shape != student_logits.shape:
        raise SettingsError(
            f"targets have shape {tuple(targets.shape)} and student_logits "
            f"{tuple(student_logits.shape)}; give (n, n_classes) both. For labels use "
            "torch.nn.functional.cross_entropy."
        )
    return -(targets * student_logits.log_softmax(1)).sum(1).mean()


@torch.no_grad()
def label_with_teacher(
    data: DistilledSet, teacher: nn.Module, *, form: TeacherForm = "paper", batch: int = 256
) -> DistilledSet:
    """The same set with soft labels of every decoded view, asked once, without augmentation.

    Args:
        data: The set; soft labels that it has are replaced.
        teacher: Takes normalised images and returns logits; used in evaluation mode, on the
            device of its parameters, and left as it was.
        form: See `teacher_probabilities`.
        batch: Views a forward.

    Returns:
        A set with ``soft_labels`` of shape (views, n_classes), and the form in its provenance.

    Raises:
        SettingsError: The teacher does not take the images, or its outputs are not of shape (n,
            n_classes); ``form`` or ``batch`` is no such thing.
        ArtifactError: The teacher's outputs are not finite.
    """
    as_choice("form", form, _FORMS)
    batch = as_count("batch", batch)
    views, labels = as_instance("data", data, DistilledSet).decoded()
    as_instance("teacher", teacher, nn.Module)
    device = next((p.device for p in teacher.parameters()), torch.device("cpu"))
    training = teacher.training
    teacher.eval()
    try:
        rows = []
        for part, own in zip(views.split(batch), labels.split(batch), strict=True):
            logits = _asked(teacher, normalize(part, data.mean, data.std).to(device), data)
            rows.append(teacher_probabilities(logits, own.cpu(), form=form))
    finally:
        teacher.train(training)
    provenance = {**data.provenance, "soft_labels": {"form": form, "rows": "views"}}
    return replace(data, soft_labels=torch.cat(rows), provenance=provenance)


def _asked(teacher: nn.Module, images: Tensor, data: DistilledSet) -> Tensor:
    """The teacher's outputs as float32 on the CPU, or one error."""
    shape = tuple(images.shape[1:])
    try:
        logits = teacher(images)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # how torch's layers say that shapes do not fit
        raise SettingsError(
            f"teacher does not take images of shape {shape} (channels, height, width): "
            f"{(str(error).splitlines() or [''])[0][:200]}. Give a network of the same channels "
            "and size."
        ) from None
    wanted = (len(images), data.n_classes)
    if not isinstance(logits, Tensor) or logits.shape != wanted:
        found = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise SettingsError(
            f"teacher returns {'shape ' if isinstance(logits, Tensor) else ''}{found} for "
            f"{len(images)} images of {data.n_classes} classes; give a network of the same classes."
        )
    if not bool(torch.isfinite(logits).all()):
        raise ArtifactError(
            "teacher's outputs are not finite; give a network that is trained, in float32."
        )
    return logits.float().cpu()

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

from dd_core.artifact import DistilledSet
from dd_core.augment import normalize
from dd_core.errors import SettingsError

__all__ = ["TeacherForm", "label_with_teacher", "soft_cross_entropy", "teacher_probabilities"]

TeacherForm = Literal["paper", "code", "code26"]
_FORMS = ("paper", "code", "code26")


def teacher_probabilities(logits: Tensor, labels: Tensor, *, form: TeacherForm = "paper") -> Tensor:
    """What a student is trained towards, from a teacher's outputs for the same images.

    Args:
        logits: Teacher's outputs, of shape (n, n_classes).
        labels: int64 of shape (n,); only ``code`` reads them.
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
        SettingsError: An unknown form, or shapes that do not fit.

    Example:
        >>> logits, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0]]), torch.tensor([0, 1])
        >>> (1000 * teacher_probabilities(logits, labels, form="code")).round().tolist()
        [[881.0, 119.0], [269.0, 731.0]]
    """
    if form not in _FORMS:
        raise SettingsError(f"form is {form!r}; choose one of {', '.join(_FORMS)}.")
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise SettingsError(
            f"logits have shape {tuple(logits.shape)} and labels {tuple(labels.shape)}; give "
            "(n, n_classes) and (n,)."
        )
    logits = logits.detach()
    if form == "paper":
        return logits.softmax(1)
    if form == "code26":
        return logits.softmax(1).softmax(1)
    wrong = logits.argmax(1, keepdim=True) != labels[:, None]
    certain = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return torch.where(wrong, certain, logits).softmax(1)


def soft_cross_entropy(student_logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over the rows of -sum_c p_c log softmax(z)_c.

    Args:
        student_logits: z, of shape (n, n_classes).
        targets: p, probabilities of the same shape.

    Returns:
        A scalar in nats; differentiable. Its least value is the mean entropy of the targets.

    Example:
        >>> z = torch.tensor([[1.0, 3.0]])
        >>> round(soft_cross_entropy(z, torch.tensor([[0.0, 1.0]])).item(), 4)
        0.1269
    """
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
        SettingsError: The teacher's outputs are not of shape (n, n_classes).
        ArtifactError: The teacher's outputs are not finite.
    """
    views, labels = data.decoded()
    device = next((p.device for p in teacher.parameters()), torch.device("cpu"))
    training = teacher.training
    teacher.eval()
    try:
        rows = []
        for part, own in zip(views.split(batch), labels.split(batch), strict=True):
            logits = teacher(normalize(part, data.mean, data.std).to(device)).float().cpu()
            if logits.shape != (len(part), data.n_classes):
                raise SettingsError(
                    f"teacher returns shape {tuple(logits.shape)} for {len(part)} images of "
                    f"{data.n_classes} classes; give a network of the same classes."
                )
            rows.append(teacher_probabilities(logits, own.cpu(), form=form))
    finally:
        teacher.train(training)
    provenance = {**data.provenance, "soft_labels": {"form": form, "rows": "views"}}
    return replace(data, soft_labels=torch.cat(rows), provenance=provenance)

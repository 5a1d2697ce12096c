"""Intra-class diversity (ICD) of decomposed distribution matching (DDM, WACV 2025)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from cfmetrics import bounded_intra_class_diversity, intra_class_diversity
from dd_core.errors import SettingsError
from dd_core.objectives._checks import at_least, one_of, unused
from dd_core.objectives.base import ClassSlice, Features, Objective

__all__ = ["IntraClassDiversity"]

_RANK = 16


@dataclass(frozen=True, slots=True)
class IntraClassDiversity(Objective):
    """A loss that falls as the synthetic images of a class become more diverse.

    ``kl`` (published; the formula is that of the authors' 2024 code): with p_i = softmax(f(x_i))
    over the features and q_i = softmax of the mean features of the k nearest other images of the
    class,

        -(1/n) sum_i KL(p_i || q_i).

    It does not look at real images and is *unbounded below*: alone it has no optimum, so it is
    added to an objective that holds the class together, such as ``dm``, with a weight that must be
    tuned (10 in the official configuration, for the mean form).

    ``bounded`` (the authors' 2026 code): with v_j the top principal directions of the real class,

        mean_j (std(S v_j) - std(R v_j))^2 / mean_j std(R v_j)^2,

    which is 0 where the spread along them is that of the real class. It costs an eigenvalue
    decomposition of the real features in every iteration.

    n is the number of synthetic images that the network sees: those of multi-formation count each.

    Attributes:
        form: ``kl`` or ``bounded``.
        reduction: ``kl``: ``mean`` over the images (2024 code) or ``sum``, n times as strong (2026
            code; one weight does not suit both).
        k: ``kl``: nearest neighbours; 0 means round(0.2 n), at least 1. A single image has no
            neighbour: its loss and gradient are 0.
        rank: ``bounded``: the largest number of directions; never more than n - 1.

    Raises:
        SettingsError: A value is impossible, or of the other form; or, when the loss is computed,
            a class has no k other images.

    Example:
        >>> IntraClassDiversity(k=2).reduction
        'mean'
    """

    form: Literal["kl", "bounded"] = "kl"
    reduction: Literal["mean", "sum"] = "mean"
    k: int = 0
    rank: int = _RANK

    def __post_init__(self) -> None:
        one_of("form", self.form, ("kl", "bounded"))
        one_of("reduction", self.reduction, ("mean", "sum"))
        at_least("k", self.k, 0)
        at_least("rank", self.rank, 1)
        why = f"form {self.form!r} does not use it"
        if self.form == "kl":
            unused("rank", self.rank, _RANK, why, "set form = 'bounded'")
        else:
            unused("k", self.k, 0, why, "set form = 'kl'")
            unused("reduction", self.reduction, "mean", why, "set form = 'kl'")

    def loss(
        self, real: Features, synthetic: Features, sample: Tensor, classes: ClassSlice
    ) -> Tensor:
        """The loss of each class."""
        vectors = synthetic.vectors.float()
        value: Tensor
        if self.form == "bounded":
            value = bounded_intra_class_diversity(vectors, real.vectors, rank=self.rank)
            return value
        n = vectors.shape[1]
        if self.k >= n and self.k > 0:
            raise SettingsError(
                f"k is {self.k}, but each of the {n} synthetic images of a class has {n - 1} "
                f"others; give a smaller k, or 0 for a fifth of them."
            )
        value = intra_class_diversity(vectors, self.k or None, reduction=self.reduction)
        return value

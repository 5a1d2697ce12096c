"""What commands say of students, and the test images that students of a set are tested on."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dd_core.artifact import DistilledSet
    from dd_core.images import LabeledImages
    from dd_recipes.recipe import DataSource

__all__ = ["accuracy", "in_order", "resized_from", "source_for"]

_LONG_TAIL = ("imbalance_factor", "imbalance_seed")


def accuracy(values: Sequence[float]) -> str:
    """Mean, deviation and number.

    Example:
        >>> accuracy([48.0, 50.0]), accuracy([48.0])
        ('49.0 ± 1.4 % (n = 2)', '48.0 % (n = 1)')
    """
    mean, n = statistics.fmean(values), len(values)
    deviation = f" ± {statistics.stdev(values):.1f}" if n > 1 else ""
    return f"{mean:.1f}{deviation} % (n = {n})"


def source_for(
    stored: DistilledSet, dataset: str | None, root: Path | None, held_out: float | None
) -> DataSource:
    """Where the test images come from: as said, as the set says, or by the names of the classes."""
    from dd_core.errors import UserError
    from dd_recipes.recipe import DataSource
    from dd_recipes.source_table import SOURCES

    size = int(stored.images.shape[-1])
    known = stored.provenance.get("data")
    if dataset is None and isinstance(known, dict) and known.get("source") == "folder":
        path = str(root) if root is not None else str(known.get("path"))
        if root is None and not Path(path).is_absolute():
            raise UserError(
                f"The set was distilled from a folder of images called {path!r}; give the folder "
                "with --data, for its test images."
            )
        share = held_out if held_out is not None else float(known.get("held_out", 0.0))
        return DataSource("folder", size=size, path=str(Path(path).resolve()), held_out=share)
    if dataset is None and isinstance(known, dict) and known.get("source") in SOURCES:
        dataset = str(known["source"])
    if dataset is None:
        same = [s.name for s in SOURCES.values() if set(s.class_names) == set(stored.class_names)]
        dataset = same[0] if same else None
    if dataset == "folder" and root is not None:
        path = str(root.resolve())
        return DataSource("folder", size=size, path=path, held_out=held_out or 0.0)
    if dataset is None or dataset == "folder":
        shown = ", ".join(stored.class_names[:3])
        raise UserError(
            f"The set does not say which data set it is of (its classes: {shown}, ...); give "
            f"--dataset, one of {', '.join(SOURCES)}, or --dataset folder with --data TREE."
        )
    if held_out is not None:
        raise UserError(f"--held-out has no effect with {dataset}, which has test images.")
    long_tail = {}
    if isinstance(known, dict) and known.get("source") == dataset:
        long_tail = {name: known[name] for name in _LONG_TAIL if name in known}
    return DataSource(dataset, size=size, **long_tail)  # type: ignore[arg-type]


def resized_from(stored: DistilledSet, source: DataSource) -> int:
    """Pixels along a side of the data set's own images, where no one asked for those of the set.

    Returns:
        0 where both are the same, where the data set has no size of its own, or where the set's
        provenance names the size that it has.
    """
    from dd_recipes.source_table import SOURCES

    known = stored.provenance.get("data")
    asked = known.get("size") if isinstance(known, dict) else None
    own = SOURCES[source.source].px if source.source in SOURCES else 0
    return 0 if source.size in (own, asked) else own


def in_order(test: LabeledImages, names: tuple[str, ...]) -> LabeledImages:
    """The test images with their classes in the order of the set's, where they are the same."""
    import torch

    if test.class_names == names or set(test.class_names) != set(names):
        return test
    place = torch.tensor([names.index(name) for name in test.class_names])
    return replace(test, labels=place[test.labels], class_names=names)

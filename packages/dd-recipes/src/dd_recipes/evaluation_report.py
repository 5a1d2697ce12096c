"""The page of ``dd-recipes evaluate``: one HTML file that needs no other.

All is read from the results, which are JSON, and from the set; so a page can be written anew at any
time. Pictures of nearest real images need these, so they are there only with the comparison itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_core.artifact import DistilledSet
from dd_core.evaluation.set_content import ClassContent, SetContent
from dd_recipes import evaluation_figures as pictures
from dd_recipes import evaluation_numbers as numbers
from dd_recipes import evaluation_words as words
from dd_recipes.figures import image_grid
from dd_recipes.figures_uses import continual_chart, search_chart
from dd_recipes.pages import render
from dd_recipes.report import Picture
from dd_recipes.rows import duration

__all__ = ["write_evaluation_report"]

_SHOWN, _MOST_CLASSES = 10, 20  # images a class, and classes, of the grid
_NEAREST, _NEAREST_CLASSES = 5, 10  # the same of views with their nearest real images
_MOST_CURVES, _MOST_CONFUSIONS = 8, 4
_OPEN = 20  # classes up to which their table is not folded


def write_evaluation_report(
    results: Mapping[str, Any], stored: DistilledSet, content: SetContent | None, folder: Path
) -> Path:
    """Writes ``report.html`` into a folder, and its pictures into ``figures`` in it.

    Args:
        results: What ``evaluate.json`` has under ``results``.
        stored: The set that was evaluated.
        content: The comparison with real images, for pictures of the nearest ones; its numbers
            are read from ``results["content"]`` where that is there.
        folder: The evaluation's folder.

    Returns:
        Path of the page.

    Raises:
        OSError: The folder cannot be written.
    """
    target = folder / "figures"
    target.mkdir(parents=True, exist_ok=True)
    if content is not None and not results.get("content"):
        results = {**results, "content": content.as_record()}
    context: dict[str, Any] = {
        "results": results,
        "title": f"A distilled set of {results['data']}",
        "about": _about(results, stored),
        "found": list(words.found(results)),
        "protocol": words.protocol(results["protocol"], results["soft_labels"]),
        "training": _training(results, target),
        "confusions": list(_confusions(results, target)),
        "budget": _budget(results, target),
        "continual": _continual(results, target),
        "search": _search(results, target),
        "scores": _scores(results.get("scores")),
        "grid": _grid(stored, target),
        "content": _content(results.get("content")),
        "nearest": None if content is None else _nearest(content, stored, target),
        "count": numbers.count,
        "interval": numbers.interval,
        "percent": numbers.percent,
        "duration": duration,
    }
    return render("evaluation.html.j2", context, folder / "report.html")


def _about(results: Mapping[str, Any], stored: DistilledSet) -> list[tuple[str, str]]:
    """What the set is, as pairs of a name and words."""
    method = stored.provenance.get("method")
    counts = stored.class_counts
    least, most = int(counts.min()), int(counts.max())
    a_class = f"{most}" if least == most else f"{least} to {most}"
    classes = numbers.count(stored.n_classes, "class", "classes")
    images = f"{len(stored.images):,}, {a_class} a class in {classes}"
    views = f"{results['views']:,}, each an image of {stored.images.shape[-1]} px to train on"
    if results["views"] != len(stored.images):
        views += f" (decoding {stored.decode}, factor {stored.factor})"
    tested = numbers.count(results["test_images"], "test image")
    return [
        ("method", str(method) if method else "not said"),
        ("stored images", images),
        ("views", views),
        ("labels", "soft: a teacher's probabilities" if results["soft_labels"] else "the classes"),
        ("tested on", f"{tested} of {results['data']}"),
    ]


def _training(results: Mapping[str, Any], target: Path) -> Picture | None:
    rows = [row for row in results["rows"] if row.get("curves")]
    if not any(len(curve) > 1 for row in rows for curve in row["curves"]):
        return None
    pictures.training_chart(rows[:_MOST_CURVES], target / "training.png")
    return Picture(
        target / "training.png", "Accuracy while the students train",
        "Mean, and range over the students. The result is the last point, not the best one.",
    )  # fmt: skip


def _confusions(results: Mapping[str, Any], target: Path) -> Iterator[Picture]:
    rows = [row for row in results["rows"] if row.get("confusion")]
    for number, row in enumerate(rows[:_MOST_CONFUSIONS]):
        path = target / f"confusion-{number}.png"
        names = results["class_names"]
        pictures.confusion_chart(row["confusion"], names, path)
        often = words.confused(row["confusion"], names)
        yield Picture(
            path, row["network"],
            "Where the test images of each class went, in percent of the class, over all students "
            f"after the last epoch. {f'Most often: {often}.' if often else ''}".strip(),
        )  # fmt: skip


def _budget(results: Mapping[str, Any], target: Path) -> Picture | None:
    if not (points := results.get("budget")):
        return None
    pictures.budget_chart(points, target / "budget.png")
    return Picture(
        target / "budget.png", "Accuracy and the length of the training",
        "Every point is students trained anew for that many epochs, with the learning rate falling "
        "over them. Line: mean and standard deviation. Circles: single students.",
    )  # fmt: skip


def _continual(results: Mapping[str, Any], target: Path) -> Picture | None:
    if not (record := results.get("continual")):
        return None
    continual_chart({"the set": record}, target / "continual.png")
    return Picture(
        target / "continual.png", "Class-incremental learning",
        f"Classes come in {numbers.count(record['n_steps'], 'step')}; after each, new students are "
        "trained on the set's images of all classes seen so far and tested on these. Mean, and "
        "range over the students.",
    )  # fmt: skip


def _search(results: Mapping[str, Any], target: Path) -> dict[str, Any] | None:
    """The picture, and sentences on both choices."""
    if not (record := results.get("search")):
        return None
    search_chart(record, target / "search.png")
    compared = record["spearman"] is not None
    caption = (
        "Each point is a network: its accuracy trained on the set, and trained on "
        f"{numbers.count(record['training_images'], 'real image')}; mean and standard deviation."
        if compared
        else "The networks, ranked by students of the set."
    )
    picture = Picture(target / "search.png", "Architecture search", caption)
    lines = list(words.search(record))
    return {"picture": picture, "lines": lines, "candidates": record["candidates"]}


def _scores(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Scores and the accuracies that they are made of."""
    if not record:
        return None
    kinds = (
        ("label-robust (LRS)", "label_robust"),
        ("augmentation-robust (ARS)", "augmentation_robust"),
    )
    parts = [(text, numbers.percent(part)) for text, part in words.score_parts(record)]
    return {
        "scores": [(name, *numbers.score(record[key])) for name, key in kinds],
        "parts": parts,
        "note": words.score_labels(record),
    }


def _grid(stored: DistilledSet, target: Path) -> Picture:
    image_grid(
        stored.images.clamp(0, 1).cpu().numpy(), stored.labels.cpu().numpy(),
        stored.class_names[:_MOST_CLASSES], target / "images.png", most=_SHOWN,
    )  # fmt: skip
    parts = []
    if stored.ipc > _SHOWN:
        parts.append(f"{_SHOWN} of {stored.ipc} images a class")
    if stored.n_classes > _MOST_CLASSES:
        parts.append(f"{_MOST_CLASSES} of {stored.n_classes} classes")
    return Picture(
        target / "images.png", "Images of the set",
        f"The stored images, before they are cut into views. Shown: {', '.join(parts) or 'all'}.",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _ContentRow:
    """One row of the table; pairs are of the set and of random real images."""

    name: str
    views: int
    distance: tuple[str, str]
    amplitude: tuple[str, str]
    pvalues: tuple[str, ...]
    coverage: tuple[str, str]
    density: tuple[str, str]
    nearest: tuple[str, str]


def _content(record: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not record:
        return None
    n = len(record["classes"])
    return {
        **record,
        "rows": [_content_row(one) for one in record["classes"]],
        "mean": _compared("mean over classes", record["summary"], sum(
            one["views"] for one in record["classes"]), ("", "", ""), ("", "")),
        "open": n <= _OPEN,
        "warning": "" if words.can_differ(record) else words.differing(record),
        "few": [one["name"] for one in record["classes"] if one["coverage"]["real"] is None],
    }  # fmt: skip


def _content_row(one: Mapping[str, Any]) -> _ContentRow:
    tests = tuple(numbers.pvalue(one["adjusted"][k]) for k in ("distance", "amplitude", "phase"))
    closest = f"{min(one['nearest']['feature_distance']):#.3g}"
    typical = f"{one['typical_distance']:#.3g}"
    return _compared(one["name"], one, one["views"], tests, (closest, typical))


def _compared(
    name: str,
    entry: Mapping[str, Any],
    views: int,
    tests: tuple[str, ...],
    nearest: tuple[str, str],
) -> _ContentRow:
    return _ContentRow(
        name, views, numbers.beside(entry["distance"]),
        numbers.share(entry["amplitude"], entry["phase"]), tests,
        numbers.beside(entry["coverage"], 1, 100), numbers.beside(entry["density"], 2), nearest,
    )  # fmt: skip


def _nearest(content: SetContent, stored: DistilledSet, target: Path) -> Picture:
    views, _ = stored.decoded()
    shown = content.classes[:_NEAREST_CLASSES]
    pictures.nearest_chart([_pair(content, one, views) for one in shown], target / "nearest.png")
    parts = [f"{_NEAREST} views a class"] * any(one.views > _NEAREST for one in shown)
    if len(content.classes) > len(shown):
        parts.append(f"{len(shown)} of {len(content.classes)} classes")
    some = f" Shown: {', '.join(parts)}." if parts else ""
    return Picture(
        target / "nearest.png", "Nearest real images",
        "Above: views of the set. Below each: the training image of the class that is nearest in "
        "the feature space, and the root mean square difference of the pixels, which run from 0 to "
        f"1. A frame marks a view that is a training image unchanged.{some}",
    )  # fmt: skip


def _pair(content: SetContent, one: ClassContent, views: Any) -> pictures.Neighbourhood:
    nearest: Sequence[Any] = one.nearest[:_NEAREST]
    return pictures.Neighbourhood(
        one.name,
        views[[each.view for each in nearest]].clamp(0, 1).cpu().numpy(),
        content.nearest_pixels(nearest).numpy(),
        [each.pixel_distance for each in nearest],
        [each.is_copy for each in nearest],
    )

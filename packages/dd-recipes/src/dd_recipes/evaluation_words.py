"""Results of an evaluation in words: the same sentences for the terminal and for the page.

It needs no torch. Numbers are as `evaluation_numbers` writes them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dd_recipes.evaluation_numbers import (
    accuracy,
    beside,
    count,
    deviation,
    interval,
    length,
    pvalue,
    score,
)

__all__ = [
    "can_differ", "confused", "content", "continual", "differing", "found", "protocol",
    "score_labels", "score_parts", "scores", "search",
]  # fmt: skip

_LEVEL = 0.05
_FEWEST_RANKED = 3
_PARTS = {
    "own": "the set, trained as above",
    "hard": "the set with plain labels",
    "plain": "the set without augmentation",
    "random": "random real images, trained as the set",
    "random_plain": "random real images without augmentation",
    "whole": "the whole training set with plain labels",
}


def protocol(settings: Mapping[str, Any], soft_labels: bool) -> str:
    """How the students were trained, in a sentence."""
    s = settings
    optimizer = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}[s["optimizer"]]
    labels = "the soft labels of the set" if soft_labels and s["labels"] == "stored" else "labels"
    falls = ", ".join(f"{100 * m:g} %" for m in s["milestones"])
    rate = f", times {s['gamma']:g} after {falls} of the training" if falls else ""
    mixed = f", CutMix with probability {s['cutmix']:g}" if s["cutmix"] else ""
    augmentation = "" if s["augmentation"] in ("", "none") else f"augmentation {s['augmentation']}"
    return (
        f"Each student is trained from scratch for {length(s)} on {labels}: {optimizer}, learning "
        f"rate {s['learning_rate']:g}{rate}, at most {count(s['batch_size'], 'image')} a step, "
        f"{augmentation or 'no augmentation'}{mixed}. Seed {s.get('seed', 0)}."
    )


def confused(matrix: Sequence[Sequence[int]], names: Sequence[str], most: int = 3) -> str:
    """The pairs of classes that are taken for each other most often.

    Example:
        >>> confused([[90, 10], [0, 100]], ("cat", "dog"))
        'cat taken for dog (10 %)'
    """
    pairs = [
        (images / max(sum(row), 1), names[true], names[seen])
        for true, row in enumerate(matrix)
        for seen, images in enumerate(row)
        if true != seen and images
    ]
    pairs.sort(key=lambda pair: -pair[0])
    return ", ".join(f"{a} taken for {b} ({100 * s:.0f} %)" for s, a, b in pairs[:most])


def found(results: Mapping[str, Any]) -> Iterator[str]:
    """What the evaluation found, a sentence each."""
    for row in results["rows"][:1]:
        sure = f"; 95 % interval {interval(row['interval'])}" if row.get("interval") else ""
        yield (
            f"Students of the set ({row['network']}) reach {row['mean']:.1f}{deviation(row)} % on "
            f"{count(results['test_images'], 'test image')} after the last epoch (n = {row['n']}"
            f"{sure})."
        )
    others = results["rows"][1:]
    if len(others) == 1:
        row = others[0]
        yield f"Of another architecture ({row['network']}): {row['mean']:.1f}{deviation(row)} %."
    elif others:
        means = [row["mean"] for row in others]
        yield (
            f"Of {len(others)} other architectures: {statistics.fmean(means):.1f} % on average, "
            f"from {min(means):.1f} to {max(means):.1f} %."
        )
    if record := results.get("continual"):
        yield continual(record)
    if record := results.get("search"):
        yield _choice(record)
        yield from _agreement(record)
    if record := results.get("scores"):
        yield from scores(record)
    yield from content(results)


def continual(record: Mapping[str, Any]) -> str:
    """What class-incremental learning came to."""
    return (
        f"Class-incremental in {count(record['n_steps'], 'step')}: average incremental accuracy "
        f"{accuracy(record)}{_orders(record)}."
    )


def _orders(record: Mapping[str, Any]) -> str:
    """What the deviation covers; nothing for results of before each student had an order."""
    return ", each student with its own order of the classes" if record.get("orders") else ""


def search(record: Mapping[str, Any]) -> Iterator[str]:
    """What an architecture search found, a sentence each."""
    yield _choice(record)
    yield (
        "The networks are judged on "
        f"{count(record['validation_images'], 'real training image')} held out for it; a set that "
        "was distilled from all training images has seen these."
    )
    if record["spearman"] is None:
        yield "--whole-epochs N compares this ranking with that of training on real images."
        return
    yield from _agreement(record)
    yield from _times(record)


def _choice(record: Mapping[str, Any]) -> str:
    """The network that the set chooses, and what it reaches on the test images."""
    pick, best, regret = record["pick"], record["best"], record["regret"]
    text = f"Of {len(record['candidates'])} networks the set chooses {pick}"
    tested = "the test images"
    if regret is None:
        return f"{text}; trained on the set, it has {accuracy(record['pick_test'])} on {tested}."
    epochs = record.get("whole_epochs")
    real = "real images" + (f" for {count(epochs, 'epoch')}" if epochs else "")
    if pick == best:
        return (
            f"{text}, as training on real images does; trained on {real}, it has "
            f"{accuracy(record['pick_test'])} on {tested}."
        )
    side = "less" if regret > 0 else "more"
    lost = f": {abs(regret):.1f} points {side} for the set's choice." if round(regret, 1) else "."
    return (
        f"{text}, and training on real images {best}; trained on {real}, they have "
        f"{accuracy(record['pick_test'])} and {accuracy(record['best_test'])} on {tested}{lost}"
    )


def _agreement(record: Mapping[str, Any]) -> Iterator[str]:
    """How far the rankings by both ways agree; nothing where there is one."""
    if record["spearman"] is None:
        return
    if len(record["candidates"]) < _FEWEST_RANKED:
        yield "How far two rankings of two networks agree is no correlation; give more networks."
        return
    rho, tau = record["spearman"], record["kendall"]
    if rho["value"] is None:
        yield (
            "Spearman's rho and Kendall's tau are undefined: all accuracies of one ranking are "
            "equal."
        )
        return
    yield (
        f"The rankings agree with Spearman's rho {rho['value']:.2f} (p = {pvalue(rho['pvalue'])}) "
        f"and Kendall's tau {tau['value']:.2f} (p = {pvalue(tau['pvalue'])})."
    )


def _times(record: Mapping[str, Any]) -> Iterator[str]:
    """The cost of both rankings; students run side by side, so it is not time on the clock."""
    from dd_recipes.rows import duration

    ours, real = record["seconds_on_set"], record["seconds_on_all"]
    part = 100 * ours / max(real, 1e-9)
    yield (
        f"Training on the set took {duration(ours)}, {part:.{0 if part > 9 else 1}f} % of the "
        f"added time on real images ({duration(real)}). Times are added over students, which may "
        "run at the same time; making the set is not counted."
    )


def scores(record: Mapping[str, Any]) -> Iterator[str]:
    """The scores, and what they hold that they should not."""
    label, augmentation = (
        value + (f" (95 % interval {ends})" if ends else "")
        for value, ends in (score(record["label_robust"]), score(record["augmentation_robust"]))
    )
    yield (
        f"The label-robust score is {label}, the augmentation-robust score {augmentation}; scores "
        "are from 0 to 1."
    )
    if note := score_labels(record):
        yield note


def score_labels(record: Mapping[str, Any]) -> str:
    """What the scores hold where the set alone had soft labels; empty where it had not."""
    if record["labels_alike"]:
        return ""
    return (
        "The set had soft labels and the random images plain ones, so both scores are too high by "
        "what soft labels do; --soft-labels ignore compares plain labels."
    )


def score_parts(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The accuracies that the scores are made of, each with what was trained."""
    parts = []
    for name, text in _PARTS.items():
        if (part := record["accuracies"].get(name)) is not None:
            epochs = record.get("whole_epochs") if name == "whole" else None
            parts.append((text + (f", {count(epochs, 'epoch')}" if epochs else ""), part))
    return parts


def content(results: Mapping[str, Any]) -> Iterator[str]:
    """The set beside real images, a sentence each, or why this is missing."""
    record = results.get("content")
    if not record:
        if why := results.get("content_missing"):
            yield f"The images are not compared with real images: {why.rstrip('.')}."
        return
    summary = record["summary"]
    yield differing(record)
    distance = _brackets(beside(summary["distance"]))
    coverage = _brackets(beside(summary["coverage"], 1, 100), " %")
    known = "; in brackets, as many random real images" if summary["distance"]["real"] else ""
    yield (
        f"The views beside real images of their class: mean distance {distance}, mean coverage "
        f"{coverage}{known}."
    )
    views = sum(one["views"] for one in record["classes"])
    are = "is a training image" if summary["copies"] == 1 else "are training images"
    yield f"{summary['copies']:,} of {count(views, 'view')} {are} unchanged."


def differing(record: Mapping[str, Any]) -> str:
    """In how many classes the views differ from real images, or why this is not tested.

    Args:
        record: What `SetContent.as_record` gives.
    """
    views = "the set's views differ from real images of their class"
    tested = _tested(record)
    if not tested:
        return f"Whether {views} is not tested: one view a class."
    if (least := _least_pvalue(record)) > _LEVEL:
        return (
            f"Whether {views} is not tested: with {record['n_resamples']:,} relabelings and "
            f"{count(tested, 'class', 'classes')} no adjusted p-value can be below {least:.2g}."
        )
    return (
        f"T{views[1:]} in {record['summary']['differing']:,} of "
        f"{count(tested, 'tested class', 'tested classes')} (adjusted p ≤ {_LEVEL})."
    )


def _least_pvalue(record: Mapping[str, Any]) -> float:
    """Below this no adjusted p-value of a comparison can be; 1 where nothing is tested."""
    tested = _tested(record)
    return min(1.0, tested / (record["n_resamples"] + 1)) if tested else 1.0


def can_differ(record: Mapping[str, Any]) -> bool:
    """Whether a class could be found to differ from real images."""
    return _least_pvalue(record) <= _LEVEL


def _tested(record: Mapping[str, Any]) -> int:
    return sum(one["adjusted"]["distance"] is not None for one in record["classes"])


def _brackets(pair: tuple[str, str], unit: str = "") -> str:
    """A number of the set, with that of random real images in brackets."""
    value, real = pair
    return f"{value}{unit}" + (f" ({real}{unit})" if real else "")

"""Results of an evaluation in words, for its page."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["beside", "confused", "found", "percent", "protocol", "pvalue", "share"]

_LEVEL = 0.05


def percent(record: Mapping[str, Any] | None) -> str:
    """Mean, deviation and number of accuracies.

    Example:
        >>> percent({"mean": 49.0, "std": 1.414, "n": 2}), percent({"mean": 86.3, "n": 0})
        ('49.0 ± 1.4 (2)', '86.3')
        >>> percent({"mean": 48.0, "std": None, "n": 1}), percent(None)
        ('48.0 (1)', '–')
    """
    if record is None:
        return "–"
    std, n = record.get("std"), record["n"]
    deviation = "" if std is None else f" ± {std:.1f}"
    return f"{record['mean']:.1f}{deviation}" + (f" ({n})" if n else "")


def beside(entry: Mapping[str, Any], digits: int = 3, scale: float = 1.0) -> tuple[str, str]:
    """A number of the set, and that of as many random real images; empty where there is none.

    Example:
        >>> beside({"value": 0.0184, "real": 0.0197, "deviation": 0.0016}, 1, 100)
        ('1.8', '2.0 ± 0.2')
    """
    value = f"{scale * entry['value']:.{digits}f}"
    if entry["real"] is None:
        return value, ""
    real, deviation = scale * entry["real"], scale * entry["deviation"]
    return value, f"{real:.{digits}f} ± {deviation:.{digits}f}"


def share(amplitude: Mapping[str, Any], phase: Mapping[str, Any]) -> tuple[str, str]:
    """The amplitude part in percent of both, of the set and of random real images.

    Example:
        >>> share({"value": 0.1, "real": 0.3}, {"value": 0.3, "real": None})
        ('25', '')
    """

    def part(name: str) -> str:
        a, p = amplitude[name], phase[name]
        return "" if a is None or p is None or not a + p else f"{100 * a / (a + p):.0f}"

    return part("value"), part("real")


def pvalue(p: float | None) -> str:
    """A p-value, to two digits or about so.

    Example:
        >>> pvalue(0.00021), pvalue(0.01), pvalue(0.5), pvalue(None)
        ('0.00021', '0.010', '0.50', '–')
    """
    if p is None:
        return "–"
    return f"{p:.2f}" if p >= 0.1 else f"{p:.3f}" if p >= 0.001 else f"{p:.2g}"


def protocol(settings: Mapping[str, Any], soft_labels: bool) -> str:
    """How the students were trained, in a sentence."""
    s = settings
    length = f"{s['steps']:,} steps" if s["steps"] else f"{s['epochs']:,} epochs"
    optimizer = {"adamw": "AdamW", "adam": "Adam", "sgd": "SGD"}[s["optimizer"]]
    labels = "the soft labels of the set" if soft_labels and s["labels"] == "stored" else "labels"
    falls = ", ".join(f"{100 * m:g} %" for m in s["milestones"])
    rate = f", times {s['gamma']:g} after {falls} of the training" if falls else ""
    mixed = f", CutMix with probability {s['cutmix']:g}" if s["cutmix"] else ""
    augmentation = "" if s["augmentation"] in ("", "none") else f"augmentation {s['augmentation']}"
    return (
        f"Each student is trained from scratch for {length} on {labels}: {optimizer}, learning "
        f"rate {s['learning_rate']:g}{rate}, at most {s['batch_size']} images a step, "
        f"{augmentation or 'no augmentation'}{mixed}. Seed {s.get('seed', 0)}."
    )


def confused(matrix: Sequence[Sequence[int]], names: Sequence[str], most: int = 3) -> str:
    """The pairs of classes that are taken for each other most often.

    Example:
        >>> confused([[90, 10], [0, 100]], ("cat", "dog"))
        'cat taken for dog (10 %)'
    """
    pairs = [
        (count / max(sum(row), 1), names[true], names[seen])
        for true, row in enumerate(matrix)
        for seen, count in enumerate(row)
        if true != seen and count
    ]
    pairs.sort(key=lambda pair: -pair[0])
    return ", ".join(f"{a} taken for {b} ({100 * s:.0f} %)" for s, a, b in pairs[:most])


def found(results: Mapping[str, Any]) -> Iterator[str]:
    """What the evaluation found, a sentence each."""
    for row in results["rows"][:1]:
        interval = row.get("interval")
        sure = f"; 95 % interval {interval[0]:.1f} to {interval[1]:.1f}" if interval else ""
        yield (
            f"Students of the set ({row['network']}) reach {row['mean']:.1f}{_deviation(row)} % on "
            f"{results['test_images']:,} test images after the last epoch (n = {row['n']}{sure})."
        )
    others = results["rows"][1:]
    if len(others) == 1:
        row = others[0]
        yield f"Of another architecture ({row['network']}): {row['mean']:.1f}{_deviation(row)} %."
    elif others:
        means = [row["mean"] for row in others]
        yield (
            f"Of {len(others)} other architectures: {statistics.fmean(means):.1f} % on average, "
            f"from {min(means):.1f} to {max(means):.1f} %."
        )
    if continual := results.get("continual"):
        yield (
            f"Class-incremental in {continual['n_steps']} steps: "
            f"{continual['mean']:.1f}{_deviation(continual)} % on average over the steps."
        )
    yield from _search(results.get("search"))
    yield from _scores(results.get("scores"))
    yield from _content(results.get("content"))


def _search(search: Mapping[str, Any] | None) -> Iterator[str]:
    if not search:
        return
    rho = (search["spearman"] or {}).get("value")
    agreement = "" if rho is None else f" The ranks agree with a Spearman correlation of {rho:.2f}."
    yield f"Of {len(search['candidates'])} networks the set chooses {search['pick']}.{agreement}"


def _scores(scores: Mapping[str, Any] | None) -> Iterator[str]:
    if not scores:
        return
    label, augmentation = scores["label_robust"], scores["augmentation_robust"]
    first = f"label-robust score {100 * label['value']:.1f}, " if label else ""
    text = f"{first}augmentation-robust score {100 * augmentation['value']:.1f}"
    yield f"{text[0].upper()}{text[1:]}; both are from 0 to 100."


def _content(content: Mapping[str, Any] | None) -> Iterator[str]:
    if not content:
        return
    summary, n = content["summary"], len(content["classes"])
    distance, real = beside(summary["distance"])
    yardstick = f"; as many random real images are at {real}" if real else ""
    yield (
        f"The set's views differ from real images of their class in {summary['differing']} of "
        f"{_n(n, 'class', 'classes')} (adjusted p ≤ {_LEVEL}). Mean distance {distance}{yardstick}."
    )
    if summary["copies"]:
        views = sum(one["views"] for one in content["classes"])
        yield f"{summary['copies']:,} of {views:,} views are training images unchanged."


def _n(count: int, one: str, many: str = "") -> str:
    return f"{count} {one if count == 1 else many or one + 's'}"


def _deviation(record: Mapping[str, Any]) -> str:
    return "" if record["std"] is None else f" ± {record['std']:.1f}"

"""Numbers of an evaluation as text; the sentences that hold them are in `evaluation_words`.

Accuracies, coverage and intervals are in percent, scores fractions from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = [
    "accuracy", "beside", "count", "deviation", "interval", "length", "percent", "pvalue", "score",
    "share",
]  # fmt: skip

_UNKNOWN = "not known without --whole-epochs"


def count(number: int, one: str, many: str = "") -> str:
    """A number of things.

    Example:
        >>> count(1, "epoch"), count(2000, "epoch"), count(2, "class", "classes")
        ('1 epoch', '2,000 epochs', '2 classes')
    """
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def length(settings: Mapping[str, Any]) -> str:
    """How long a student is trained.

    Example:
        >>> length({"steps": 0, "epochs": 300}), length({"steps": 1, "epochs": 300})
        ('300 epochs', '1 step')
    """
    steps = settings["steps"]
    return count(steps, "step") if steps else count(settings["epochs"], "epoch")


def interval(ends: Sequence[float] | None) -> str:
    """The ends of an interval of accuracies; what lies outside 0 to 100 % is cut off.

    Example:
        >>> interval((49.52, 74.9)), interval((88.1, 104.3)), interval(None)
        ('49.5 to 74.9', '88.1 to 100.0', '')
    """
    if ends is None:
        return ""
    low, high = (min(max(end, 0.0), 100.0) for end in ends)
    return f"{low:.1f} to {high:.1f}"


def accuracy(record: Mapping[str, Any]) -> str:
    """Mean, deviation and number of accuracies, in a sentence.

    Example:
        >>> accuracy({"mean": 49.0, "std": 1.414, "n": 2}), accuracy({"mean": 86.3, "n": 0})
        ('49.0 ± 1.4 % (n = 2)', '86.3 %')
    """
    n = f" (n = {record['n']})" if record["n"] else ""
    return f"{record['mean']:.1f}{deviation(record)} %{n}"


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
    n = record["n"]
    return f"{record['mean']:.1f}{deviation(record)}" + (f" ({n})" if n else "")


def beside(entry: Mapping[str, Any], digits: int = 3, scale: float = 1.0) -> tuple[str, str]:
    """A number of the set, and that of as many random real images; empty where there is none.

    Example:
        >>> beside({"value": 0.0184, "real": 0.0197, "deviation": 0.0016}, 1, 100)
        ('1.8', '2.0 ± 0.2')
        >>> beside({"value": 0.5, "real": 0.4, "deviation": None})
        ('0.500', '0.400')
    """
    value = f"{scale * entry['value']:.{digits}f}"
    if entry["real"] is None:
        return value, ""
    real, deviation = scale * entry["real"], entry["deviation"]
    spread = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
    return value, f"{real:.{digits}f}{spread}"


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


def score(record: Mapping[str, Any] | None) -> tuple[str, str]:
    """A score and its interval, each from 0 to 1.

    Example:
        >>> score({"value": 0.2689, "interval": [0.25, 0.2881]})
        ('0.269', '0.250 to 0.288')
        >>> score({"value": 0.2689, "interval": None}), score(None)[0]
        (('0.269', ''), 'not known without --whole-epochs')
    """
    if record is None:
        return _UNKNOWN, ""
    ends = record["interval"]
    return f"{record['value']:.3f}", f"{ends[0]:.3f} to {ends[1]:.3f}" if ends else ""


def deviation(record: Mapping[str, Any]) -> str:
    """The deviation with its sign; empty where there is none."""
    std = record.get("std")
    return "" if std is None else f" ± {std:.1f}"

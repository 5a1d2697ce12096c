"""What ``dd-recipes evaluate`` found, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dd_recipes.commands._students import accuracy

__all__ = ["lines"]


def lines(results: Mapping[str, Any]) -> list[str]:
    """All that was measured, for the terminal."""
    found = [_subject(results)]
    for row in results["rows"]:
        found.append(f"{row['network']}: {accuracy(row['last'])}{_interval(row)}, last epoch")
        found.append(f"  best epochs, chosen on the test images: {accuracy(row['best'])}")
    if "budget" in results:
        found.append("trained anew for each length:")
        for point in results["budget"]:
            found.append(f"  {point['epochs']:>5} epochs: {accuracy(point['last'])}")
    if "continual" in results:
        from dd_recipes.commands.continual import lines as continual_lines

        found += continual_lines({**results, "network": results["rows"][0]["network"]})
    if "search" in results:
        from dd_recipes.commands.search import lines as search_lines

        found += search_lines(dict(results))
    if "scores" in results:
        found += _score_lines(results["scores"])
    if "content" in results:
        found += _content_lines(results["content"])
    return found


def _subject(results: Mapping[str, Any]) -> str:
    labels = "soft labels" if results["soft_labels"] else "labels"
    images = f"{results['ipc']} image{'s' if results['ipc'] != 1 else ''} a class"
    training = results["protocol"]
    length = f"{training['steps']} steps" if training["steps"] else f"{training['epochs']} epochs"
    return (
        f"{images}, {results['views']} training images in all with {labels}; "
        f"{training['students']} students of {length} (protocol {training['name']}); tested on "
        f"{results['test_images']:,} images of {results['data']}"
    )


def _interval(row: Mapping[str, Any]) -> str:
    if row["interval"] is None:
        return ""
    low, high = row["interval"]
    return f", mean within {low:.1f} to {high:.1f} (95 %)"


def _score_lines(scores: Mapping[str, Any]) -> list[str]:
    def said(record: Mapping[str, Any]) -> str:
        if record["interval"] is None:
            return f"{record['value']:.3f}"
        low, high = record["interval"]
        return f"{record['value']:.3f} ({low:.3f} to {high:.3f})"

    label = scores["label_robust"]
    missing = "not known without --whole-epochs" if label is None else said(label)
    parts = scores["accuracies"]
    found = [
        f"label-robust score: {missing}; augmentation-robust score: "
        f"{said(scores['augmentation_robust'])}",
        f"  the set {parts['own']['mean']:.1f}, without augmentation {parts['plain']['mean']:.1f}; "
        f"random images {parts['random']['mean']:.1f} and {parts['random_plain']['mean']:.1f}",
    ]
    if not scores["labels_alike"]:
        found.append("  random images had plain labels, the set soft ones: the former scores less")
    return found


def _content_lines(content: Mapping[str, Any]) -> list[str]:
    summary: Mapping[str, Mapping[str, Any]] = content["summary"]

    def beside(name: str) -> str:
        entry = summary[name]
        real = "" if entry["real"] is None else f" (random real images {entry['real']:.3f})"
        return f"{entry['value']:.3f}{real}"

    classes: Sequence[Any] = content["classes"]
    return [
        f"beside real images, in the features of a {content['space']}:",
        f"  distance {beside('distance')}; coverage {beside('coverage')}; differs from real images "
        f"in {summary['differing']} of {len(classes)} classes (5 %, adjusted)",
    ]

"""What ``dd-recipes evaluate`` found, as lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dd_recipes import evaluation_numbers as numbers
from dd_recipes import evaluation_words as words
from dd_recipes.commands._students import accuracy

__all__ = ["lines"]


def lines(results: Mapping[str, Any]) -> list[str]:
    """All that was measured, for the terminal; the sentences are those of the page."""
    found = [_subject(results)]
    for row in results["rows"]:
        ends = numbers.interval(row["interval"])
        sure = f", mean within {ends} (95 %)" if ends else ""
        found.append(f"{row['network']}: {numbers.accuracy(row)}{sure}, last epoch")
        looks = numbers.count(max(map(len, row["curves"])), "test")
        found.append(
            f"  best epochs, the best of {looks} on the test images: {accuracy(row['best'])}"
        )
    if "budget" in results:
        found.append("trained anew for each length:")
        for point in results["budget"]:
            epochs = numbers.count(point["epochs"], "epoch")
            found.append(f"  {epochs:>12}: {numbers.accuracy(point)}")
    if "continual" in results:
        from dd_recipes.commands.continual import lines as continual_lines

        network = results.get("network", results["rows"][0]["network"])
        found += continual_lines({**results, "network": network})
    if "search" in results:
        from dd_recipes.commands.search import lines as search_lines

        found += search_lines(dict(results))
    if "scores" in results:
        found += words.scores(results["scores"])
        parts = words.score_parts(results["scores"])
        found += [f"  {name}: {numbers.accuracy(part)}" for name, part in parts]
    found += words.content(results)
    if "content" in results:
        found.append(f"  feature space: {results['content']['space']}")
    return found


def _subject(results: Mapping[str, Any]) -> str:
    labels = "soft labels" if results["soft_labels"] else "labels"
    training = results["protocol"]
    return (
        f"{numbers.count(results['ipc'], 'image')} a class, "
        f"{numbers.count(results['views'], 'training image')} in all with {labels}; "
        f"{numbers.count(training['students'], 'student')} of {numbers.length(training)} (protocol "
        f"{training['name']}); tested on {numbers.count(results['test_images'], 'image')} of "
        f"{results['data']}"
    )

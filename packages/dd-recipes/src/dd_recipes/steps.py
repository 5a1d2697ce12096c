"""What was done, step by step, in plain words from the settings of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dd_recipes.results import Results
from dd_recipes.rows import Row, duration

__all__ = ["done_steps"]

_NETWORKS = {"alexnet": "AlexNet", "vgg11": "VGG-11", "resnet18": "ResNet-18"}
_MOST_TOLD = 8
_MOST_TERMS = 12


def done_steps(results: Results, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A name and plain words for each step; where cells differ, the range over them.

    Args:
        results: The run's measurements.
        config: The recipe's tables, as ``config.json`` has them.
    """
    cells = {cell["name"]: cell["set"] for cell in config["cells"]}
    done = [row for row in results.done if row.name in cells]
    settings = [cells[row.name] for row in done]
    steps: list[tuple[str, str]] = []
    if results.pool_seconds is not None and settings:
        steps.append(("Extractors", _extractors(results, done, settings)))
    if len(done) <= _MOST_TOLD:
        for row in done:
            took = f" It took {duration(row.distill_seconds)}." if row.kind == "distill" else ""
            if row.about:
                steps.append((row.row, f"{row.about}{took}"))
    made = [(row, s) for row, s in zip(done, settings, strict=True) if row.kind == "distill"]
    if made and (len(done) > _MOST_TOLD or not all(row.about for row, _ in made)):
        steps.append(("Distillation", _distillation(made)))
    if any(row.unit == "%" for row in done):
        steps.append(("Students", _students(done, settings)))
    return steps


def _extractors(
    results: Results, done: Sequence[Row], settings: Sequence[Mapping[str, Any]]
) -> str:
    pools = [s["pretrain"] for s in settings]
    networks = _range(pool["networks"] for pool in pools)
    epochs = _range(pool["epochs"] for pool in pools)
    shapes = ", ".join(dict.fromkeys(_shape(s["network"]) for s in settings))
    images = _range(row.train_images for row in done)
    users = list(dict.fromkeys(
        row.row for row, s in zip(done, settings, strict=True)
        if s.get("distill", {}).get("extractor") == "blend"
    ))  # fmt: skip
    compare = f" Distilled through their features: {', '.join(users[:4])}." if users else ""
    return (
        f"{_plural(networks, 'network')} ({shapes}) {_was(networks)} trained on the {images} real "
        f"training images for {_plural(epochs, 'epoch')}, in {duration(results.pool_seconds)} "
        f"altogether.{compare}"
    )


def _distillation(made: Sequence[tuple[Row, Mapping[str, Any]]]) -> str:
    """How the sets were distilled; which terms each row's loss has."""
    how = [s["distill"] for _, s in made]
    iterations = _range(d["iterations"] for d in how)
    batches = _range(d["batch_real"] for d in how)
    hold = _range(d["hold"] for d in how)
    held = f", each extractor, batch and augmentation held for {hold}" if hold != "1" else ""
    terms = dict.fromkeys(
        f"{row.row}: " + " + ".join(
            f"{term['weight']:g} {name}" for name, term in d["objectives"].items()
        )
        for (row, _), d in zip(made, how, strict=True)
    )  # fmt: skip
    more = f"; and {len(terms) - _MOST_TERMS} more" if len(terms) > _MOST_TERMS else ""
    return (
        f"{_plural(str(len(made)), 'set')} {_was(str(len(made)))} distilled in "
        f"{_plural(iterations, 'iteration')} with {batches} real images a class{held}, in "
        f"{duration(sum(row.distill_seconds or 0.0 for row, _ in made))} altogether. Terms of the "
        f"loss, with their weights: {'; '.join(list(terms)[:_MOST_TERMS])}{more}."
    )


def _students(done: Sequence[Row], settings: Sequence[Mapping[str, Any]]) -> str:
    students = [s["students"] for s in settings]
    number = _range(s["students"] for s in students)
    lengths = list(dict.fromkeys(
        _plural(f"{s['steps']:,}", "step") if s["steps"] else _plural(f"{s['epochs']:,}", "epoch")
        for s in students
    ))  # fmt: skip
    shapes = ", ".join(
        dict.fromkeys(_shape(s.get("student_network", s["network"])) for s in settings)
    )
    images = _range(row.test_images for row in done)
    return (
        f"On each small set, {_plural(number, 'new network')} ({shapes}, each with its own seed) "
        f"{_was(number)} trained for {' or '.join(lengths)} and then judged on the {images} test "
        "images. No other step sees these."
    )


def _shape(network: Mapping[str, Any]) -> str:
    """The architecture in words; the norm where it is not the field's usual one."""
    convnet = f"ConvNet-{network['depth']} of width {network['width']}"
    shape, norm = _NETWORKS.get(network["architecture"], convnet), network["norm"]
    words = {"instance": "", "none": " without norm"}.get(norm, f" with {norm} norm")
    return f"{shape}{words}"


def _range(values: Iterator[int] | Any) -> str:
    """Numbers of several cells as text: one, or from the least to the largest."""
    found = sorted(set(values))
    return f"{found[0]:,}" if len(found) == 1 else f"{found[0]:,} to {found[-1]:,}"


def _plural(n: str, noun: str) -> str:
    return f"{n} {noun}{'s' if n != '1' else ''}"


def _was(n: str) -> str:
    return "was" if n == "1" else "were"

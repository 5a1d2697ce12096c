"""The report of a run folder: Markdown, and one HTML page that needs no other file.

Everything is read from the folder, so a report can be written anew at any time.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from dd_core.artifact import DistilledSet
from dd_core.checkpoint import write_atomically
from dd_recipes import figures
from dd_recipes.results import Results, Row, duration, findings
from dd_recipes.runfolder import read_json
from dd_recipes.toml import dump

__all__ = ["Picture", "write_report"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure of the report.

    Attributes:
        path: PNG file in the run folder.
        title: Heading.
        caption: What it shows; also the text for those who do not see it.
    """

    path: Path
    title: str
    caption: str

    @property
    def data_uri(self) -> str:
        """The file as an address that holds its content."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}"


def write_report(results: Results, folder: Path) -> Path:
    """Writes figures, ``report.md`` and ``report.html`` into a run folder.

    Args:
        results: The run's measurements.
        folder: The run folder, with its configuration, curves and distilled sets.

    Returns:
        Path of the HTML page.

    Raises:
        UserError: A file of the folder is missing or damaged.
    """
    config = read_json(folder / "config.json")
    environment = read_json(folder / "environment.json")
    (folder / "figures").mkdir(exist_ok=True)
    context: dict[str, Any] = {
        "results": results,
        "config": config,
        "settings": dump(config),
        "environment": environment,
        "findings": findings(results),
        "steps": list(_steps(results, config)),
        "charts": list(_charts(results, folder)),
        "grids": list(_grids(results, folder)),
        "published": any(row.published for row in results.rows),
        "duration": duration,
    }
    _render("report.md.j2", context, folder / "report.md")
    return _render("report.html.j2", context, folder / "report.html")


def _render(template: str, context: dict[str, Any], target: Path) -> Path:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dd_recipes"),
        autoescape=jinja2.select_autoescape(("html.j2", "html")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    write_atomically(target, environment.get_template(template).render(context).encode())
    return target


def _steps(results: Results, config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was done: a name and plain words for each step, from the settings."""
    network, pool, students = config["network"], config["pretrain"], config["students"]
    shape = _shape(network)
    if results.pool_seconds is not None:
        users = [m["label"] for m in config["methods"] if m["settings"].get("extractor") == "blend"]
        words = (
            f"{_plural(pool['networks'], 'network')} ({shape}) {_was(pool['networks'])} trained on "
            f"the {results.train_images:,} real training images for "
            f"{_plural(pool['epochs'], 'epoch')}, in {duration(results.pool_seconds)} altogether. "
            f"Through their features {' and '.join(users)} compare{'s' if len(users) == 1 else ''} "
            "synthetic and real images."
        )
        yield "Extractors", words
    for row in results.rows:
        took = f" It took {duration(row.distill_seconds)}." if row.kind == "distill" else ""
        yield row.label, f"{row.about}{took}"
    epochs, steps = students["epochs"], students["steps"]
    length = _plural(steps, "step") if steps else _plural(epochs, "epoch")
    words = (
        f"On each small set, {_plural(students['students'], 'new network')} ({shape}, each with "
        f"its own seed) {_was(students['students'])} trained for {length} and then judged on the "
        f"{results.test_images:,} test images. No other step sees these."
    )
    yield "Students", words


_NETWORKS = {"alexnet": "AlexNet", "vgg11": "VGG-11", "resnet18": "ResNet-18"}


def _shape(network: Mapping[str, Any]) -> str:
    """The architecture in words; the norm where it is not the field's usual one."""
    convnet = f"ConvNet-{network['depth']} of width {network['width']}"
    shape, norm = _NETWORKS.get(network["architecture"], convnet), network["norm"]
    words = {"instance": "", "none": " without norm"}.get(norm, f" with {norm} norm")
    return f"{shape}{words}"


def _charts(results: Results, folder: Path) -> Iterator[Picture]:
    target = folder / "figures"
    curves = {row.label: read_json(folder / "methods" / row.slug / "curves.json")
              for row in results.rows}  # fmt: skip
    figures.accuracy_chart(results.rows, target / "accuracy.png")
    yield Picture(
        target / "accuracy.png", "Accuracy",
        "Bars: mean over the students. Whiskers: standard deviation. Circles: single students.",
    )  # fmt: skip
    histories = {label: c["losses"] for label, c in curves.items() if any(c["losses"].values())}
    if histories:
        figures.loss_curves(histories, target / "losses.png")
        yield Picture(
            target / "losses.png", "Losses while distilling",
            "Losses in each iteration (thin) and their moving mean over a twentieth of the run. "
            "The matching loss of one method cannot be compared with that of another.",
        )  # fmt: skip
    trained = {label: c["students"] for label, c in curves.items()}
    figures.student_curves(results.rows, trained, target / "students.png")
    yield Picture(
        target / "students.png", "Accuracy while the students train",
        "Mean, and range over the students. The result "
        "is the last point, not the best one.",
    )  # fmt: skip


def _grids(results: Results, folder: Path) -> Iterator[Picture]:
    for row in results.rows:
        stored = DistilledSet.load(folder / "methods" / row.slug / "distilled")
        path = folder / "figures" / f"images-{row.slug}.png"
        figures.image_grid(
            stored.images.numpy(), stored.labels.numpy(), results.class_names, path, most=_SHOWN
        )
        yield Picture(path, row.label, f"{row.about} {_views(row)}{_shown(row)}")


def _views(row: Row) -> str:
    if row.training_images == row.ipc:
        return ""
    even = row.training_images == row.ipc * row.factor**2
    subject = f"Each stored image holds {row.factor**2} views" if even else "Images hold views"
    return (
        f"{subject}, which are enlarged to full size for training: {row.training_images} training "
        f"images a class from {row.ipc} stored. "
    )


def _shown(row: Row) -> str:
    return f"Shown: {_SHOWN} of {row.ipc} a class." if row.ipc > _SHOWN else ""


def _plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' if n != 1 else ''}"


def _was(n: int) -> str:
    return "was" if n == 1 else "were"

"""The report of a run folder: Markdown, and one HTML page that needs no other file.

Everything is read from the folder, so a report can be written anew at any time.
"""

from __future__ import annotations

import base64
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_core.errors import UserError
from dd_recipes import figures
from dd_recipes.figures_uses import search_chart
from dd_recipes.pages import render
from dd_recipes.paper import Paper
from dd_recipes.results import Results, findings
from dd_recipes.rows import Row, duration
from dd_recipes.runfiles import read_json, read_text, readable
from dd_recipes.sets import load_set, read_record
from dd_recipes.steps import done_steps
from dd_recipes.toml import dump

__all__ = ["Entry", "Picture", "write_report"]

_SHOWN = 5
_MOST_BARS, _MOST_CURVES, _MOST_GRIDS = 24, 9, 12


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
    def least(self) -> int:
        """The width in pixels from which its words can be read: half that of the file."""
        with self.path.open("rb") as file:
            return int.from_bytes(file.read(20)[16:], "big") // 2

    @property
    def data_uri(self) -> str:
        """The file as an address that holds its content."""
        return f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One place of the table.

    Attributes:
        measured: What was measured; empty where it was not.
        published: The paper's value; empty where there is none.
        note: Why nothing was measured; empty where it was.
    """

    measured: str = ""
    published: str = ""
    note: str = ""


def write_report(
    results: Results, folder: Path, *, warn: Callable[[str], None] = lambda _: None
) -> Path:
    """Writes figures, ``report.md`` and ``report.html`` into a run folder.

    Args:
        results: The run's measurements.
        folder: The run folder, with its configuration, curves and distilled sets.
        warn: Receives what is left out, in words.

    Returns:
        Path of the HTML page.

    Raises:
        UserError: A file of the folder is missing or damaged.
    """
    config, environment = _config(folder, results), _environment(folder)
    (folder / "figures").mkdir(exist_ok=True)
    try:
        paper = Paper(**config["paper"]) if config.get("paper") else None
        steps, settings = done_steps(results, config), _settings(folder, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        why = "it does not say all that was done"
        raise _damaged(folder / "config.json", why) from error
    context: dict[str, Any] = {
        "results": results,
        "config": config,
        "paper": paper,
        "settings": settings,
        "environment": environment,
        "findings": findings(results),
        "table": table(results),
        "data": list(
            dict.fromkeys((row.data, row.train_images, row.test_images) for row in results.done)
        ),
        "steps": steps,
        "charts": list(_charts(results, folder, config.get("x_label", ""))),
        "grids": list(_grids(results, folder, warn)),
        "published": any(row.published for row in results.rows),
        "duration": duration,
    }
    render("report.md.j2", context, folder / "report.md")
    return render("report.html.j2", context, folder / "report.html")


def _config(folder: Path, results: Results) -> dict[str, Any]:
    """The recipe's tables, of these results."""
    path = folder / "config.json"
    config = read_json(path)
    cells = config.get("cells") if isinstance(config, dict) else None
    if not isinstance(cells, list) or not all(map(_is_cell, cells)):
        raise _damaged(path, "it does not name the run's cells with their settings")
    there = (config.get("name"), config.get("variants"), config.get("budget", "full"),
             config.get("seed"))  # fmt: skip
    if there != (results.recipe, [results.variant], results.budget, results.seed):
        raise _damaged(path, "it is not of the recipe, variant, budget and seed of results.json")
    return {"summary": "", **config}


def _settings(folder: Path, config: Mapping[str, Any]) -> str:
    """``config.toml``, in the order of a recipe; where it was changed, what the run had."""
    whole = dump(config)
    with suppress(UserError, tomllib.TOMLDecodeError):
        text = read_text(folder / "config.toml")
        if tomllib.loads(text) == tomllib.loads(whole):
            return text
    return f"# dd-recipes reproduce config.toml\n{whole}\n"


def _is_cell(cell: object) -> bool:
    if not isinstance(cell, dict):
        return False
    return isinstance(cell.get("name"), str) and isinstance(cell.get("set"), dict)


def _environment(folder: Path) -> dict[str, Any]:
    """What the run was computed with."""
    path = folder / "environment.json"
    environment = read_json(path)
    if not isinstance(environment, dict) or not isinstance(environment.get("command"), str):
        raise _damaged(path, "it does not name the run's command")
    return environment


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged or of another version: {why}. Delete it and give the run's command "
        "again, which writes it anew."
    )


def table(results: Results) -> dict[str, dict[str, Entry]]:
    """Rows by name, each with its places by column: first what was measured, then references."""
    rows: dict[str, dict[str, Entry]] = {}
    for row in results.rows:
        published = row.published.text if row.published else ""
        measured, note = (row.value, "") if row.done else ("", row.status)
        rows.setdefault(row.row, {})[row.column] = Entry(measured, published, note)
    for each in results.references:
        places = rows.setdefault(each.row, {})
        if each.column not in places:
            places[each.column] = Entry(published=each.text)
    return rows


def _charts(results: Results, folder: Path, x_label: str) -> Iterator[Picture]:
    target = folder / "figures"
    yield from _search_charts(results, folder)
    shown = [row for row in results.done if row.unit == "%"]
    if not shown:
        return
    on_axis = [row for row in shown if row.x is not None]
    if len({row.x for row in on_axis}) > 1:
        figures.axis_chart(on_axis, target / "axis.png", x_label)
        yield Picture(
            target / "axis.png", f"Accuracy over {x_label or 'x'}",
            "Mean and standard deviation over the students." + _dashed(on_axis),
        )  # fmt: skip
    if curved := [row for row in shown if row.curve]:
        figures.progress_chart(curved, target / "progress.png")
        yield Picture(
            target / "progress.png", "Accuracy on the way",
            "Mean, and range over the students, each trained from scratch at that point.",
        )  # fmt: skip
    if len(shown) <= _MOST_BARS:
        figures.accuracy_chart(shown, target / "accuracy.png")
        yield Picture(
            target / "accuracy.png", "Accuracy",
            "Bars: mean over the students. Whiskers: standard deviation. Circles: single students."
            + _dashed(shown),
        )  # fmt: skip
    yield from _loss_chart(shown, folder)
    curves = {row.name: readable(folder / "cells" / row.name / "curves.json") for row in shown}
    # Students that were tested once have no curve.
    trained = {name: s for name, c in curves.items() if (s := c.get("students")) and len(s[0]) > 1}
    few = [row for row in shown if row.name in trained][:_MOST_CURVES]
    if few:
        figures.student_curves(few, trained, target / "students.png")
        yield Picture(
            target / "students.png", "Accuracy while the students train",
            "Mean, and range over the students. The result is the last point, not the best one."
            + _first(len(few), len(shown)),
        )  # fmt: skip


def _search_charts(results: Results, folder: Path) -> Iterator[Picture]:
    searched = [row for row in results.done if row.measure == "search"]
    for row in searched[:_MOST_CURVES]:
        record = readable(folder / "cells" / row.name / "curves.json").get("search")
        if record:
            path = folder / "figures" / f"search-{row.name}.png"
            search_chart(record, path)
            yield Picture(
                path, f"Architecture search: {figures.label(row, searched)}",
                "Each point is a network: its accuracy on images that are held out of the training "
                f"images, trained on the small set and trained on real images. {row.also}",
            )  # fmt: skip


def _loss_chart(shown: list[Row], folder: Path) -> Iterator[Picture]:
    histories: dict[str, Mapping[str, list[float]]] = {}
    for row in shown:
        losses = read_record(folder / "sets" / row.set).get("losses") if row.set else None
        if losses and any(map(any, losses.values())) and len(histories) < _MOST_CURVES:
            histories[figures.label(row, shown)] = losses
    if histories:
        path = folder / "figures" / "losses.png"
        figures.loss_curves(histories, path)
        distilled = sum(row.kind == "distill" for row in shown)
        yield Picture(
            path, "Losses while distilling",
            "Losses in each iteration (thin) and their moving mean over a twentieth of the run. "
            "The matching loss of one method cannot be compared with that of another."
            + _first(len(histories), distilled),
        )  # fmt: skip


def _dashed(shown: list[Row]) -> str:
    return " Dashed: the paper's values." if any(row.published for row in shown) else ""


def _first(shown: int, there: int) -> str:
    return f" The first {shown} of {there} cells." if shown < there else ""


def _grids(results: Results, folder: Path, warn: Callable[[str], None]) -> Iterator[Picture]:
    seen: set[str] = set()
    for row in results.done:
        if row.set is None or row.set in seen or len(seen) >= _MOST_GRIDS:
            continue
        seen.add(row.set)
        found = load_set(folder / "sets" / row.set)
        if found is None:  # the numbers stay as they are
            warn(
                f"set {row.set} is missing, damaged or was changed, so its images are not shown; "
                f"--rerun {row.name} makes it anew"
            )
            continue
        stored = found[0]
        path = folder / "figures" / f"images-{row.name}.png"
        figures.image_grid(
            stored.images.clamp(0, 1).numpy(), stored.labels.numpy(),
            stored.class_names[:_MOST_CLASSES], path, most=_SHOWN,
        )  # fmt: skip
        caption = f"{row.about} {_views(row)}{_shown(row, stored.n_classes)}".strip()
        yield Picture(path, figures.label(row, results.rows), caption)


_MOST_CLASSES = 20


def _views(row: Row) -> str:
    if row.training_images == row.ipc:
        return ""
    even = row.training_images == row.ipc * row.factor**2
    subject = f"Each stored image holds {row.factor**2} views" if even else "Images hold views"
    return (
        f"{subject}, which are enlarged to full size for training: {row.training_images} training "
        f"images a class from {row.ipc} stored. "
    )


def _shown(row: Row, n_classes: int) -> str:
    parts = []
    if row.ipc > _SHOWN:
        parts.append(f"{_SHOWN} of {row.ipc} a class")
    if n_classes > _MOST_CLASSES:
        parts.append(f"{_MOST_CLASSES} of {n_classes} classes")
    return f"Shown: {', '.join(parts)}." if parts else ""

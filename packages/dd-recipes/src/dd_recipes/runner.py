"""Runs a recipe in a folder, phase by phase; every phase goes on where it was stopped.

The order is: pool of extractors, then for each method its small set and the students. Each
phase owns a sub-folder and goes on from there; what a complete method measured is not computed
again.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dd_core.artifact import DistilledSet
from dd_core.checkpoint import write_atomically
from dd_core.distillation import distill
from dd_core.errors import UserError
from dd_core.evaluation import evaluate
from dd_core.events import Event, Listener, Message, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import ImageData
from dd_core.pretrain import pretrain_pool
from dd_core.runtime import Runtime, choose_runtime, environment
from dd_core.selection import select_random
from dd_core.settings import DistillSettings
from dd_core.synthetic import initial_pixels
from dd_recipes.assets import load_data
from dd_recipes.recipe import Method, Recipe
from dd_recipes.results import Results, Row
from dd_recipes.runfolder import (
    EventLog,
    RunFolder,
    open_folder,
    read_json,
    write_json,
)
from dd_recipes.toml import dump

__all__ = ["Hardware", "reproduce"]


@dataclass(frozen=True, slots=True)
class Hardware:
    """What the user asks of the hardware; ``auto`` leaves the choice to dd-core.

    Attributes:
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        compile: ``auto``, ``on`` or ``off``.
    """

    device: str = "auto"
    precision: str = "auto"
    compile: str = "auto"


@dataclass(frozen=True, slots=True)
class _Run:
    """What every phase of one run shares."""

    recipe: Recipe
    folder: RunFolder
    data: ImageData
    runtime: Runtime
    listen: Listener
    checkpoint_seconds: float

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that all phase functions take alike."""
        return {
            "seed": self.recipe.seed,
            "runtime": self.runtime,
            "listen": self.listen,
            "checkpoint_seconds": self.checkpoint_seconds,
        }


def reproduce(
    recipe: Recipe,
    out: Path,
    *,
    data_root: Path | None = None,
    hardware: Hardware | None = None,
    listen: Listener = ignore,
    command: Sequence[str] = (),
    checkpoint_seconds: float = 5.0,
) -> Results:
    """Runs a recipe, or goes on with it.

    Args:
        recipe: The recipe.
        out: Run folder; new, empty, or that of the same recipe, seed, settings and data.
        data_root: Folder of the data set, for recipes that need one.
        hardware: Wishes for device, precision and compile; a run that goes on keeps its own.
        listen: Receives every event.
        command: The command line, for the report.
        checkpoint_seconds: Time between two stored states inside a phase.

    Raises:
        UserError: The folder, the data or a wish does not fit.
        RunError: A phase failed; what was complete is kept.
    """
    with open_folder(out) as folder:
        data = load_data(recipe.data, data_root)
        identity = {
            "recipe": recipe.name,
            "seed": recipe.seed,
            "images": f"{data.train.fingerprint()[:16]}/{data.test.fingerprint()[:16]}",
            **recipe.computation(),
        }
        for method in recipe.methods:
            # What cannot be made is found out before anything is computed.
            initial_pixels(data.train, method.synthetic, recipe.seed)
        runtime = _runtime(folder, identity, hardware or Hardware())
        _write_settings(folder, recipe, command)
        with _logged(folder, listen) as both:
            both(Message(runtime.summary))
            return _phases(_Run(recipe, folder, data, runtime, both, checkpoint_seconds))


def _phases(run: _Run) -> Results:
    rows = {m.slug: row for m in run.recipe.methods if (row := _stored_row(run, m)) is not None}
    missing = [method for method in run.recipe.methods if method.slug not in rows]
    if rows and missing:
        done = ", ".join(row.label for row in rows.values())
        run.listen(Message(f"already complete: {done}"))
    pool = _pool(run) if any(_needs_pool(method) for method in missing) else None
    for method in missing:
        rows[method.slug] = _measure(run, method, pool)
        write_json(run.folder.path / "results.json", _results(run, rows).as_json())
    results = _results(run, rows)
    write_json(run.folder.path / "results.json", results.as_json())
    return results


def _needs_pool(method: Method) -> bool:
    settings = method.settings
    return isinstance(settings, DistillSettings) and settings.extractor == "blend"


def _pool(run: _Run) -> ExtractorPool:
    pool = pretrain_pool(
        run.data.train, run.recipe.network, run.recipe.pretrain,
        folder=run.folder.path / "pool", phase="pool", **run.common,
    )  # fmt: skip
    write_json(run.folder.path / "pool.json", {"seconds": pool.seconds})
    return pool


def _measure(run: _Run, method: Method, pool: ExtractorPool | None) -> Row:
    """Makes one method's small set, trains students on it and stores what was measured."""
    folder = run.folder.method(method.slug)
    small, seconds, history = _small_set(run, method, pool)
    students = evaluate(
        small, run.data.test, run.recipe.network, run.recipe.students,
        folder=folder / "students", phase=f"students {method.label}", **run.common,
    )  # fmt: skip
    write_json(folder / "curves.json", {"losses": history, "students": students.curves})
    measured = {
        "last": students.last,
        "best": students.best,
        "distill_seconds": seconds,
        "student_seconds": students.seconds,
    }
    write_json(folder / "measured.json", measured)
    return _row(method, measured)


def _stored_row(run: _Run, method: Method) -> Row | None:
    """The row of a complete method; what is damaged is derived anew from its phases' results."""
    folder = run.folder.method(method.slug)
    measured = _readable(folder / "measured.json")
    if not measured.keys() >= _MEASURED or not _readable(folder / "curves.json"):
        return None
    return _row(method, measured)


_MEASURED = {"last", "best", "distill_seconds", "student_seconds"}


def _readable(path: Path) -> dict[str, Any]:
    """The tables of a JSON file that can be written anew; empty where it is absent or damaged."""
    try:
        content = read_json(path)
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}


def _row(method: Method, measured: dict[str, Any]) -> Row:
    return Row(
        label=method.label, slug=method.slug, kind=method.kind, about=method.about,
        ipc=method.synthetic.ipc, factor=method.factor, training_images=method.views,
        published=method.published,
        last=tuple(measured["last"]), best=tuple(measured["best"]),
        distill_seconds=measured["distill_seconds"],
        student_seconds=measured["student_seconds"],
    )  # fmt: skip


def _small_set(
    run: _Run, method: Method, pool: ExtractorPool | None
) -> tuple[DistilledSet, float | None, dict[str, list[float]]]:
    """The small set, the seconds of its distillation and the losses on the way."""
    folder = run.folder.method(method.slug)
    settings = method.settings
    if isinstance(settings, DistillSettings):
        result = distill(
            run.data.train, settings, run.recipe.network,
            pool=pool if settings.extractor == "blend" else None,
            folder=folder / "distillation", phase=f"distill {method.label}", **run.common,
        )  # fmt: skip
        small, seconds, history = result.distilled, result.seconds, result.history
    else:
        small = select_random(run.data.train, settings, seed=run.recipe.seed)
        seconds, history = None, {}
    small.save(folder / "distilled")
    return small, seconds, dict(history)


def _results(run: _Run, rows: dict[str, Row]) -> Results:
    recipe, data = run.recipe, run.data
    pool = _readable(run.folder.path / "pool.json")
    return Results(
        recipe=recipe.name, title=recipe.title, seed=recipe.seed, data=data.name,
        class_names=data.train.class_names, train_images=len(data.train),
        test_images=len(data.test), runtime=run.runtime.summary, pool_seconds=pool.get("seconds"),
        rows=tuple(rows[m.slug] for m in recipe.methods if m.slug in rows),
        methods=len(recipe.methods),
    )  # fmt: skip


def _runtime(folder: RunFolder, identity: dict[str, Any], wish: Hardware) -> Runtime:
    """Chooses the runtime of a new run, or takes that of the run in the folder."""
    stored = folder.stored_runtime(identity)
    if stored is None:
        runtime = choose_runtime(wish.device, wish.precision, wish.compile)
        folder.create(identity, runtime.as_record())
        return runtime
    began = Runtime.from_record(stored)
    compile_ = "on" if began.compile else "off"
    # Not the record alone: this also applies the number of threads to the process.
    fresh = choose_runtime(began.device_name, began.precision, compile_, began.threads)
    if fresh.compile != began.compile:
        raise UserError(
            f"{folder.path} holds a run that used torch.compile, which does not work here now. "
            "Mend the compiler, or give another folder with --out."
        )
    wished_compile = wish.compile
    if wished_compile == "on" and not choose_runtime(began.device_name, compile="on").compile:
        wished_compile = "auto"  # where no compiler works, "on" means eager too
    for name, wished, there in (
        ("--device", wish.device, began.device_name),
        ("--precision", wish.precision, began.precision),
        ("--compile", wished_compile, compile_),
    ):
        if wished not in ("auto", there):
            raise UserError(
                f"{folder.path} holds a run with {name} {there}, and {wished} was asked for; "
                f"leave {name} out to go on, or give another folder with --out."
            )
    return began


def _write_settings(folder: RunFolder, recipe: Recipe, command: Sequence[str]) -> None:
    """Writes what ran: settings (also as TOML, which runs again) and the environment."""
    write_json(folder.path / "config.json", recipe.tables())
    write_atomically(folder.path / "config.toml", (dump(recipe.tables()) + "\n").encode())
    record = {**environment(), "command": shlex.join(command)}
    began = _readable(folder.path / "environment.json")
    write_json(folder.path / "environment.json", {**record, **began})


@contextmanager
def _logged(folder: RunFolder, listen: Listener) -> Iterator[Listener]:
    log = EventLog(folder.path / "events.jsonl")

    def both(event: Event) -> None:
        log(event)
        listen(event)

    try:
        yield both
    finally:
        log.close()

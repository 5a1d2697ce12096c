"""Measures one cell and stores what came of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from dd_core.evaluation import Evaluation
from dd_recipes import continual, search
from dd_recipes.dynamics import measure_dynamics
from dd_recipes.measured import write_measured
from dd_recipes.phases import Bench, SmallSet, make_set, train_students
from dd_recipes.rows import Curve
from dd_recipes.speed import measure_speed
from dd_recipes.work import Work

__all__ = ["measure"]


def measure(bench: Bench, work: Work) -> None:
    """Runs all phases of a cell and writes ``curves.json`` and ``measured.json`` in its folder.

    Args:
        bench: The run.
        work: The cell with its images; its folder is held by this process.
    """
    cell = work.cell
    if cell.measure == "speed":
        curves, found = _speed(bench, work)
    elif cell.measure == "dynamics":
        curves, found = _accuracy(*measure_dynamics(bench, work))
    elif cell.measure == "continual":
        curves, found = _continual(bench, work)
    elif cell.measure == "search":
        curves, found = _search(bench, work)
    else:
        small = make_set(bench, work)
        students = train_students(bench, cell, small.distilled, work.data.test)
        curves, found = _accuracy(small, [students], ())
    about: dict[str, Any] = {
        "time": time.time(),
        "data": work.data.name,
        "train_images": len(work.data.train),
        "test_images": len(work.data.test),
    }
    write_measured(bench.folder.cell(cell.name), curves, {**about, **found})


def _accuracy(
    small: SmallSet, trained: Sequence[Evaluation], curve: Curve
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result is that of the last students; the time is that of all."""
    last = trained[-1]
    curves = {"students": last.curves, "curve": curve}
    return curves, {
        "unit": "%",
        "last": last.last,
        "best": last.best,
        "curve": curve,
        "set": small.key,
        "distill_seconds": small.seconds,
        "student_seconds": sum(each.seconds for each in trained),
    }


def _continual(bench: Bench, work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result is that of the last step, with all classes."""
    small, steps = continual.measure_continual(bench, work)
    curves, found = _accuracy(small, [step.students for step in steps.steps], steps.curve)
    record = {"continual": steps.as_record()}
    return {**curves, **record}, {**found, "also": continual.also(steps)}


def _search(bench: Bench, work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
    """The result is Spearman's rank correlation."""
    small, ranked = search.measure_search(bench, work)
    assert ranked.spearman is not None
    return {"search": ranked.as_record()}, {
        "unit": "rho",
        "last": [ranked.spearman.value],
        "best": [],
        "also": search.also(ranked),
        "set": small.key,
        "distill_seconds": small.seconds,
        "student_seconds": ranked.seconds_on_set,
        "whole_seconds": ranked.seconds_on_all,
        "train_images": ranked.training_images,  # the others are held out
    }


def _speed(bench: Bench, work: Work) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both figures; the one in the unit of the published value, or seconds, is the value."""
    speed = measure_speed(bench, work)
    published = work.cell.published
    unit = published.unit if published is not None and published.unit != "%" else "s"
    return {"times": speed.times}, {
        "unit": unit,
        "last": [speed.seconds if unit == "s" else speed.gigabytes],
        "best": [],
        "iteration_seconds": speed.seconds,
        "gigabytes": speed.gigabytes,
        "set": None,
        "distill_seconds": None,
        "student_seconds": None,
    }

"""What a recipe would do here: cells, data, and an estimate of time and memory."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dd_core.datasets import long_tailed_sizes
from dd_core.errors import SettingsError
from dd_core.memory import plan_memory
from dd_core.runtime import Runtime
from dd_core.settings import DistillSettings
from dd_core.training import total_steps
from dd_recipes.dynamics import moments
from dd_recipes.find_data import Found, State, find_data
from dd_recipes.pace import Shape, blank_images, iteration_seconds, relative_cost, training_seconds
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.source_table import SOURCES
from dd_recipes.work import Keys

__all__ = ["Estimate", "Plan", "make_plan"]

_SPEED_STEPS = 11  # about as many iterations as a cell of measure "speed" takes
_PATIENCE = 2.5
"""Seconds of trials; what is left is estimated from the trials that are most alike."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one cell needs.

    Attributes:
        name: The cell.
        row: Its row of the table.
        column: Its column.
        data: Name of its data set.
        state: Whether the images are there: ``found``, ``incomplete`` or ``missing``.
        problem: What is wrong with them, and how to get them.
        pool_seconds: Training of the extractors; 0 where an earlier cell has them.
        set_seconds: The distillation; 0 where an earlier cell has its set.
        student_seconds: Training of the students.
        memory: Bytes at the peak; None where nothing is distilled.
        measured: Whether the pace of its distillation was tried here, or scaled from another's.
    """

    name: str
    row: str
    column: str
    data: str
    state: State
    problem: str
    pool_seconds: float
    set_seconds: float
    student_seconds: float
    memory: int | None
    measured: bool

    @property
    def found(self) -> bool:
        """Whether the images are there."""
        return self.state == "found"

    @property
    def seconds(self) -> float:
        """All its phases."""
        return self.pool_seconds + self.set_seconds + self.student_seconds


@dataclass(frozen=True, slots=True)
class Plan:
    """The estimates of a recipe's cells.

    Attributes:
        recipe: Name of the recipe.
        variant: Its variant.
        budget: Its budget.
        runtime: Device and precision, one line.
        cells: One estimate a cell.
    """

    recipe: str
    variant: str
    budget: str
    runtime: str
    cells: tuple[Estimate, ...]

    @property
    def seconds(self) -> float:
        """All cells whose data are there, one after the other."""
        return sum(cell.seconds for cell in self.cells if cell.found)

    def as_json(self) -> dict[str, Any]:
        """JSON-able form."""
        cells = [
            {**asdict(cell), "found": cell.found, "seconds": cell.seconds} for cell in self.cells
        ]
        return {**asdict(self), "seconds": self.seconds, "cells": cells}


def make_plan(recipe: Recipe, cells: Sequence[Cell], root: Path | None, runtime: Runtime) -> Plan:
    """Estimates the cells of a recipe from a few steps on this machine.

    Args:
        recipe: The recipe.
        cells: Those of its cells that would run.
        root: Folder given by ``--data``.
        runtime: Device and precision.
    """
    trials = _Trials(runtime)
    estimates = tuple(_estimates(cells, root, trials))
    return Plan(recipe.name, recipe.variant, recipe.budget, runtime.summary, estimates)


def _estimates(cells: Sequence[Cell], root: Path | None, trials: _Trials) -> Iterator[Estimate]:
    pools: set[str] = set()
    sets: set[str] = set()
    whole: set[str] = set()
    looked = {source: find_data(source, root) for source in dict.fromkeys(c.data for c in cells)}
    for cell in cells:
        found = looked[cell.data]
        if found.state != "found":
            yield _unknown(cell, found)
            continue
        work = _Work(cell, found)
        pool = sets_of = 0.0
        if cell.measure == "speed" and cell.distill is not None:
            pace, measured = trials.iteration(work, cell.distill)
            yield replace(
                _unknown(cell, found), set_seconds=pace * _SPEED_STEPS,
                memory=trials.memory(work), measured=measured,
            )  # fmt: skip
            continue
        if cell.needs_pool and work.keys.pool_key not in pools:
            pools.add(work.keys.pool_key)
            pool = work.pool_images * trials.training(work, cell.pretrain)
        measured = True
        if cell.distill is not None and work.keys.plain_key not in sets:
            sets.add(work.keys.plain_key)
            pace, measured = trials.iteration(work, cell.distill)
            sets_of = pace * cell.distill.iterations
        pace = trials.training(work, cell.students)
        students = work.student_images * pace * _rounds(cell)
        if cell.measure == "search":
            students = pace * work.search_images(real=work.whole_key not in whole)
            whole.add(work.whole_key)
        yield Estimate(
            name=cell.name, row=cell.row, column=cell.column, data=cell.data.source,
            state="found", problem="", pool_seconds=pool,
            set_seconds=sets_of, student_seconds=students, memory=trials.memory(work),
            measured=measured,
        )  # fmt: skip


def _rounds(cell: Cell) -> float:
    """How often the students of a cell are trained, in trainings on the whole set."""
    if cell.measure == "dynamics" and cell.distill is not None:
        return float(len(moments(cell.distill.iterations)))
    if cell.measure != "continual":
        return 1.0
    # After each of K steps on the share of the classes that were seen: 1/K + 2/K + ... + 1.
    steps = cell.continual.steps
    return float(steps) if cell.students.steps else (steps + 1) / 2


def _unknown(cell: Cell, found: Found) -> Estimate:
    """The estimate of a cell whose data are missing: nothing is tried for it."""
    return Estimate(
        name=cell.name, row=cell.row, column=cell.column, data=cell.data.source, state=found.state,
        problem=found.problem, pool_seconds=0.0, set_seconds=0.0, student_seconds=0.0, memory=None,
        measured=True,
    )  # fmt: skip


class _Work:
    """How much a cell computes, from its settings and what is known of its data set."""

    def __init__(self, cell: Cell, found: Found) -> None:
        self.cell = cell
        source = SOURCES.get(cell.data.source)
        self.n_classes = (source.classes if source else None) or 10
        counts = source.counts[0] if source and source.counts else (10_000, 1_000)
        self.n_train, self.n_test = found.train or counts[0], found.test or counts[1]
        size = cell.data.size or (source.px if source else 0) or 32
        channels = 1 if cell.data.source == "embedded" else 3
        self.shape = Shape(cell.network, channels, size, self.n_classes)
        # The source stands for its images, which are not read.
        self.keys = Keys(cell, json.dumps(asdict(cell.data)), seed=0)

    @property
    def images(self) -> int:
        """Training images, of a long-tailed set those that are left."""
        factor = self.cell.data.imbalance_factor
        if factor == 1:
            return self.n_train
        return sum(long_tailed_sizes(self.n_train // self.n_classes, self.n_classes, factor))

    @property
    def pool_images(self) -> int:
        """Images that the pool's training goes through."""
        return self.images * self.cell.pretrain.epochs * self.cell.pretrain.networks

    @property
    def student_images(self) -> float:
        """Images that the students' training goes through; each test image counts a third."""
        s, views = self.cell.students, self.cell.views * self.n_classes
        trained = total_steps(views, s) * min(s.batch_size, views)
        tests = min(s.evaluations, total_steps(views, s))
        return s.students * (trained + tests * self.n_test / 3)

    @property
    def whole_key(self) -> str:
        """What the training on real images of a search depends on; cells share it."""
        c = self.cell
        return repr((c.data, c.search, c.search.whole(c.students)))

    def search_images(self, *, real: bool) -> float:
        """Images that the students of a search go through, in the cost of the cell's own students.

        Args:
            real: Whether those on the real images are trained too, or an earlier cell has them.
        """
        search, rest = self.cell.search, self.images * (1 - self.cell.search.held_out)
        try:
            networks = search.networks(self.shape.size)
        except SettingsError:
            return 0.0
        shape = replace(self.shape, network=self.cell.student_network)
        costs = [relative_cost(shape, network) for network in networks.values()]
        images = self.student_images * sum(costs)
        if real:
            s = search.whole(self.cell.students)
            each = total_steps(round(rest), s) * s.batch_size * s.students
            images += each * (sum(costs) + 2 * max(costs))  # two are trained for the test
        return images


class _Trials:
    """Paces that were tried, each once, as long as there is patience."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self._began = time.perf_counter()
        self._training: dict[tuple[Shape, int], float] = {}
        self._iteration: dict[tuple[Any, ...], tuple[float, float]] = {}
        self._memory: dict[tuple[Any, ...], int] = {}

    @property
    def patient(self) -> bool:
        return time.perf_counter() - self._began < _PATIENCE

    def training(self, work: _Work, how: Any) -> float:
        """Seconds an image of training the cell's network, as extractor or student."""
        student = hasattr(how, "students")
        network = work.cell.student_network if student else work.cell.network
        shape = replace(work.shape, network=network)
        batch = max(1, min(how.batch_size, 128, work.cell.views * work.n_classes))
        key = (shape, batch)
        alike = [  # an image costs the same among few classes and many, and about so in all batches
            (abs(n - batch), pace)
            for (other, n), pace in self._training.items()
            if replace(other, n_classes=shape.n_classes) == shape
        ]
        if key not in self._training and alike and not self.patient:
            return min(alike)[1]
        if key not in self._training:
            self._training[key] = training_seconds(
                shape, batch, how.augmentation, how.cutmix, self.runtime
            )
        return self._training[key]

    def iteration(self, work: _Work, settings: DistillSettings) -> tuple[float, bool]:
        """Seconds an iteration, and whether they were tried for settings of this cost."""
        key, load = _cost_key(work, settings), _load(work, settings)
        alike = [
            (abs(other - load), pace, other)
            for known, (pace, other) in self._iteration.items()
            if known[0] == key[0]
        ]
        if key in self._iteration:
            return self._iteration[key][0], True
        if alike and not self.patient:
            _, pace, other = min(alike)
            return pace * load / other, False
        pace = iteration_seconds(work.shape, settings, self.runtime, warm=bool(alike))
        self._iteration[key] = (pace, load)
        return pace, True

    def memory(self, work: _Work) -> int | None:
        """Peak bytes of the cell's distillation."""
        settings = work.cell.distill
        if settings is None:
            return None
        key = (_cost_key(work, settings), work.n_train, work.cell.pretrain.networks)
        if key not in self._memory:
            images = blank_images(work.shape, max(1, round(work.n_train / work.n_classes)))
            self._memory[key] = plan_memory(
                images, settings, work.cell.network, self.runtime,
                networks=work.cell.pretrain.networks,
            ).total  # fmt: skip
        return self._memory[key]


def _cost_key(work: _Work, s: DistillSettings) -> tuple[Any, ...]:
    """What the cost of an iteration depends on; the first entry is what its pace scales within."""
    terms = tuple((t.name, json.dumps(_costly(t.options))) for t in s.objectives)
    return (
        (work.shape, tuple(t.name for t in s.objectives), s.step, s.extractor),
        terms, s.synthetic, s.batch_real, s.hold, s.augmentation, s.calibration > 0,
        s.frequency_draws,
    )  # fmt: skip


def _costly(options: Any) -> dict[str, Any]:
    """Options that change the cost: not the weights."""
    return {k: v for k, v in options.items() if not isinstance(v, float)}


def _load(work: _Work, s: DistillSettings) -> float:
    """Images an iteration, a forward pass alone counting a third."""
    real = min(s.batch_real, work.images / work.n_classes)
    passes = 2.0 if s.calibration > 0 else 1.0
    return work.n_classes * (real / s.hold / 3 + passes * work.cell.views)

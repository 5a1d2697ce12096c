"""A recipe: one table or figure of a paper, as cells that are measured one by one.

The settings of each phase are dd-core's own dataclasses; a recipe adds where the images come from,
the place of a number in the table, and what the paper says. `dd_recipes.reader` reads one from
TOML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from dd_core.settings import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
)
from dd_core.synthetic import n_views
from dd_recipes.layers import Origin
from dd_recipes.measure_settings import ContinualSettings, SearchSettings
from dd_recipes.paper import Claim, Paper, PublishedValue, Reference

__all__ = ["Cell", "DataSource", "Kind", "Measure", "Recipe"]

Kind = Literal["distill", "random", "herding", "kmeans"]
Measure = Literal["accuracy", "speed", "dynamics", "continual", "search"]
SoftLabels = Literal["none", "paper", "code", "code26"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where the images of a cell come from.

    Attributes:
        source: ``embedded`` (the Fashion-MNIST subset of this package), a data set by name (in
            the folder given by ``--data``), or ``folder`` (a tree of image folders at ``path``).
        size: Height and width in pixels that images are brought to; 0 keeps their own.
        imbalance_factor: Images of the largest class by those of the smallest; 1 keeps the
            balanced set, more takes a long-tailed subset of the training images.
        imbalance_seed: Which images that subset takes.
        path: The tree, for ``folder``.
        held_out: Share of each class that is kept for the test, for a ``folder`` without test
            images; 0 where there are some.
    """

    source: Literal[
        "embedded", "cifar10", "cifar100", "tinyimagenet", "imagenette", "imagewoof",
        "imagefruit", "imagemeow", "imagesquawk", "imageyellow", "folder",
    ]  # fmt: skip
    size: int = 0
    imbalance_factor: float = 1.0
    imbalance_seed: int = 42
    path: str = ""
    held_out: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"size is {self.size}; give pixels, or 0 for the images' own size.")
        if self.imbalance_factor < 1:
            raise ValueError(f"imbalance_factor is {self.imbalance_factor}; give 1 or more.")
        if self.imbalance_seed < 0:
            raise ValueError(f"imbalance_seed is {self.imbalance_seed}; it must not be negative.")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"held_out is {self.held_out}; give a share from 0 to below 1.")
        if (self.source == "folder") != bool(self.path):
            raise ValueError(
                f"source is {self.source!r} and path is {self.path!r}; give a path with source = "
                "'folder', and only there."
            )


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of a table, with everything that it depends on.

    Attributes:
        name: Its folder, and its name for ``--cells``.
        row: Row of the table: the method.
        column: Column of the table: data set and size, or the like.
        about: One sentence for the report.
        kind: How the small set is made: ``distill``, or a choice of real images.
        measure: What is measured: ``accuracy`` of students; ``speed`` of an iteration and its
            memory; ``dynamics``, the accuracy on the way; ``continual``, class by class;
            ``search``, how well the set ranks networks.
        data: Where the images come from.
        network: Architecture of the extractors.
        pretrain: How the extractors are trained.
        synthetic: Size and form of the small set.
        distill: The distillation; None for a choice of real images.
        students: How the students are trained.
        student_network: Architecture of the students.
        soft_labels: ``none``, or the form of a teacher's labels (the pool's first network).
        continual: The steps, for measure ``continual`` only.
        search: The search, for measure ``search`` only.
        x: Place on the axis of a figure.
        published: The paper's value.
        origins: Where each setting comes from, by its dotted path.
    """

    name: str
    row: str
    column: str
    kind: Kind
    data: DataSource
    network: NetworkSettings
    pretrain: PretrainSettings
    synthetic: SyntheticSettings
    distill: DistillSettings | None
    students: StudentSettings
    student_network: NetworkSettings
    measure: Measure = "accuracy"
    soft_labels: SoftLabels = "none"
    continual: ContinualSettings = field(default_factory=ContinualSettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    about: str = ""
    x: float | None = None
    published: PublishedValue | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict, hash=False, compare=False)

    @property
    def factor(self) -> int:
        """Views along a side of a stored image, at most; real images as they are have one."""
        return 1 if self._whole else self.synthetic.factor

    @property
    def views(self) -> int:
        """Training images a class: the views of all stored images."""
        return self.synthetic.ipc if self._whole else n_views(self.synthetic)

    @property
    def _whole(self) -> bool:
        return self.kind != "distill" and self.synthetic.init == "real"

    @property
    def looks_through_pool(self) -> bool:
        """Whether the set, before it gets soft labels, is made by means of trained networks."""
        if self.distill is not None:
            return self.distill.extractor == "blend"
        return self.kind in ("herding", "kmeans")

    @property
    def needs_pool(self) -> bool:
        """Whether trained extractors take part."""
        return self.looks_through_pool or self.soft_labels != "none"

    def settings(self) -> dict[str, Any]:
        """All settings as tables of plain values, as a recipe file holds them."""
        distill: dict[str, Any] | None = None
        if self.distill is not None:
            distill = _plain(self.distill)
            del distill["synthetic"]
            distill["objectives"] = {
                term["name"]: {"weight": term["weight"], "options": term["options"]}
                for term in distill["objectives"]
            }
        tables = {
            "kind": self.kind,
            "measure": self.measure,
            "soft_labels": self.soft_labels,
            "data": _plain(self.data),
            "network": _plain(self.network),
            "pretrain": _plain(self.pretrain),
            "synthetic": _plain(self.synthetic),
            "distill": distill,
            "students": _plain(self.students),
            "student_network": _plain(self.student_network),
            "continual": _plain(self.continual) if self.measure == "continual" else None,
            "search": _plain(self.search) if self.measure == "search" else None,
        }
        return {key: value for key, value in tables.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Recipe:
    """A complete, checked recipe, for one variant and one budget.

    Attributes:
        name: Name of the file, without .toml.
        title: One line.
        summary: What the run shows, in plain words, and what cannot be compared.
        seed: Seed of every random choice.
        variants: The variants that the file has; the first is the default.
        variant: The one that the cells are of.
        budget: ``full``, ``cpu`` or ``smoke``.
        cells: The cells, in the order of the file.
        columns: Order of the table's columns.
        x_label: What the cells' ``x`` is, for a figure.
        references: Published rows that are shown beside and not measured.
        claims: Claims of the paper in words.
        paper: The paper.
        changed: What ``--set`` changed, as it was given; more students change nothing.
    """

    name: str
    title: str
    summary: str
    seed: int
    variants: tuple[str, ...]
    variant: str
    budget: Literal["full", "cpu", "smoke"]
    cells: tuple[Cell, ...]
    columns: tuple[str, ...] = ()
    x_label: str = ""
    references: tuple[Reference, ...] = ()
    claims: tuple[Claim, ...] = ()
    paper: Paper | None = None
    changed: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """The rows of the table that are measured, in order."""
        return tuple(dict.fromkeys(cell.row for cell in self.cells))

    def tables(self) -> dict[str, Any]:
        """The recipe as a file would hold it, without layers: it reads back to the same cells."""
        references: dict[str, dict[str, list[float]]] = {}
        for r in self.references:
            value = [r.mean] if r.std is None else [r.mean, r.std]
            references.setdefault(r.row, {})[r.column] = value
        tables: dict[str, Any] = {
            "format": 2,
            "name": self.name,
            "title": self.title,
            "summary": self.summary,
            "variants": [self.variant],
            "budget": None if self.budget == "full" else self.budget,
            "changed": list(self.changed),
            "columns": list(self.columns),
            "x_label": self.x_label,
            "seed": self.seed,
            "paper": _plain(self.paper) if self.paper else None,
            "references": references,
            "claims": [_plain(claim) for claim in self.claims],
            "cells": [_cell(cell) for cell in self.cells],
        }
        return {key: value for key, value in tables.items() if value not in (None, "", [], {})}


def _cell(cell: Cell) -> dict[str, Any]:
    published = _plain(cell.published) if cell.published else {}
    table = {
        "name": cell.name,
        "row": cell.row,
        "column": cell.column,
        "about": cell.about,
        "x": cell.x,
        "published": {key: v for key, v in published.items() if v is not None},
        "set": cell.settings(),
    }
    return {key: value for key, value in table.items() if value not in (None, "", {})}


def _plain(settings: Any) -> dict[str, Any]:
    """A dataclass as JSON has it: lists for tuples."""
    tables: dict[str, Any] = json.loads(json.dumps(asdict(settings)))
    return tables

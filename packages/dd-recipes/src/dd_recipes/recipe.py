"""A recipe: everything that one run needs to know.

The settings of each phase are dd-core's own dataclasses; a recipe adds the data source, the
order of the methods and what the paper says. `dd_recipes.reader` reads one from TOML.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dd_core.settings import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
)
from dd_core.synthetic import n_views
from dd_recipes.overrides import slug
from dd_recipes.paper import Paper, PublishedValue

__all__ = ["DataSource", "Method", "Recipe"]


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where the images come from.

    Attributes:
        source: ``embedded`` (the Fashion-MNIST subset in the package) or ``cifar10`` (a folder
            given by ``--data``).
    """

    source: Literal["embedded", "cifar10"]


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the table: a way to obtain a small set.

    Attributes:
        label: Name in the table.
        about: One sentence for the report.
        settings: A SyntheticSettings (real images, no distillation) or a DistillSettings.
        published: The paper's value for this row.
    """

    label: str
    about: str
    settings: SyntheticSettings | DistillSettings
    published: PublishedValue | None = None

    @property
    def slug(self) -> str:
        """Folder name, and key for ``--set``."""
        return slug(self.label)

    @property
    def kind(self) -> Literal["random", "distill"]:
        """``random`` (real images) or ``distill``."""
        return "distill" if isinstance(self.settings, DistillSettings) else "random"

    @property
    def synthetic(self) -> SyntheticSettings:
        """Size and packing of the small set."""
        settings = self.settings
        return settings.synthetic if isinstance(settings, DistillSettings) else settings

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
        return self.kind == "random" and self.synthetic.init == "real"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A complete, checked recipe.

    Attributes:
        name: Name of the file, without .toml.
        title: One line.
        summary: What the run shows, in plain words.
        seed: Seed of every random choice.
        data: Where the images come from.
        network: Architecture of extractors and students.
        pretrain: How the extractors are trained.
        students: How the students are trained.
        methods: The rows of the table, in their order.
        paper: The paper that it reproduces.
    """

    name: str
    title: str
    summary: str
    seed: int
    data: DataSource
    network: NetworkSettings
    pretrain: PretrainSettings
    students: StudentSettings
    methods: tuple[Method, ...]
    paper: Paper | None = None

    def tables(self) -> dict[str, Any]:
        """The recipe as tables of plain values: JSON-able, and TOML that reads back."""
        whole: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        methods = whole.pop("methods")
        for table, method in zip(methods, self.methods, strict=True):
            table["kind"] = method.kind
        return {**whole, "methods": methods}

    def computation(self) -> dict[str, Any]:
        """The part of the tables that the numbers depend on; titles and notes do not count."""
        tables = self.tables()
        kept = {key: tables[key] for key in ("data", "network", "pretrain", "students")}
        kept["methods"] = {
            m.slug: {"kind": m.kind, "settings": table["settings"]}
            for m, table in zip(self.methods, tables["methods"], strict=True)
        }
        return kept

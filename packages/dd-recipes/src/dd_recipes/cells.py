"""A cell's merged settings into dd-core's dataclasses, with where each value comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from dd_core.settings import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
)
from dd_recipes.checks import check, unknown
from dd_recipes.layers import Merged, Origin
from dd_recipes.measure_settings import ContinualSettings, SearchSettings
from dd_recipes.overrides import slug
from dd_recipes.paper import PublishedValue
from dd_recipes.recipe import Cell, DataSource, Kind, Measure, SoftLabels
from dd_recipes.terms import term_mistakes

__all__ = ["DEFAULT", "SECTIONS", "RawCell", "build_cell"]

DEFAULT = Origin("default", "dd-core's default; no layer of the recipe sets it")

SECTIONS: Mapping[str, type[Any]] = {
    "data": DataSource,
    "network": NetworkSettings,
    "pretrain": PretrainSettings,
    "synthetic": SyntheticSettings,
    "distill": DistillSettings,
    "students": StudentSettings,
    "student_network": NetworkSettings,
    "continual": ContinualSettings,
    "search": SearchSettings,
}
_OF_MEASURE = ("continual", "search")  # sections that count for the measure of their name alone
_WORDS: Mapping[str, tuple[str, ...]] = {
    "kind": get_args(Kind),
    "measure": get_args(Measure),
    "soft_labels": get_args(SoftLabels),
}
_WORD_DEFAULTS = {"measure": "accuracy", "soft_labels": "none"}


@dataclass(frozen=True, slots=True)
class RawCell:
    """A cell's table before its layers are laid."""

    name: str
    row: str
    column: str
    about: str = ""
    x: float | None = None
    use: list[str] = field(default_factory=list)
    published: PublishedValue | None = None
    set: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if slug(self.name) != self.name or not self.name:
            raise ValueError(f"name is {self.name!r}; use small letters, digits and hyphens.")


def build_cell(raw: RawCell, merged: Merged, mistakes: list[str]) -> Cell | None:
    """Checks a cell's settings.

    Args:
        raw: Name, row, column and so on.
        merged: Its settings.
        mistakes: Receives ``PATH: what is wrong``, with paths within the cell.

    Returns:
        The cell; None where something is wrong.
    """
    table = merged.table
    known = [*_WORDS, *SECTIONS]
    mistakes += [f"{key}: {unknown(key, known)}" for key in table if key not in known]
    words = {key: _word(key, table, mistakes) for key in _WORDS}
    data = _section("data", table, mistakes)
    network = _section("network", table, mistakes)
    pretrain = _section("pretrain", table, mistakes)
    synthetic = _section("synthetic", table, mistakes)
    students = _section("students", table, mistakes)
    own = "student_network" in table
    student_network = _section("student_network", table, mistakes) if own else network
    if words["kind"] != "distill" and synthetic and synthetic.init in ("noise", "file"):
        mistakes.append(f"synthetic.init: {synthetic.init} is no choice of real images")
    distill = _distill(table, mistakes) if _is_distilled(words["kind"], table) else None
    own_sections = {
        name: _section(name, table, mistakes) for name in _OF_MEASURE if name == words["measure"]
    }
    if mistakes:
        return None
    cell = Cell(
        name=raw.name, row=raw.row, column=raw.column, about=raw.about, x=raw.x,
        published=None if _is_another(merged) else raw.published,
        data=data, network=network, pretrain=pretrain,
        synthetic=synthetic, distill=distill, students=students, student_network=student_network,
        **words, **own_sections,
    )  # fmt: skip
    return _with_origins(cell, merged)


def _is_distilled(kind: object, table: Mapping[str, Any]) -> bool:
    """Whether a cell is, or by a slip in its kind is not, one of a distillation."""
    if kind in get_args(Kind):
        return kind == "distill"
    distill = table.get("distill")
    return isinstance(distill, Mapping) and "objectives" in distill


def _is_another(merged: Merged) -> bool:
    """Whether ``--set`` or a budget made of a cell another one than the paper's.

    Fewer steps are a cheaper measurement of the same cell; other images, or more of them a class,
    are another cell, beside which the paper's value would mislead.
    """
    last = ("--set", "smoke budget")
    moved = [path for path, origin in merged.origins.items() if origin.layer in last]
    return any(path == "synthetic.ipc" or path.startswith("data.") for path in moved)


def _word(key: str, table: Mapping[str, Any], mistakes: list[str]) -> Any:
    value = table.get(key, _WORD_DEFAULTS.get(key))
    if value not in _WORDS[key]:
        given = "missing" if value is None else f"{value!r} was given"
        mistakes.append(f"{key}: {given}; it must be one of {', '.join(_WORDS[key])}")
    return value


def _section(name: str, table: Mapping[str, Any], mistakes: list[str]) -> Any:
    data = table.get(name, {})
    return check(SECTIONS[name], data, name, mistakes)


def _distill(table: Mapping[str, Any], mistakes: list[str]) -> Any:
    """The distillation's settings, with the synthetic set's and the terms in their places."""
    data = table.get("distill", {})
    if not isinstance(data, Mapping):
        mistakes.append(f"distill: {data!r} was given; it must be a table")
        return None
    rest = {key: value for key, value in data.items() if key != "objectives"}
    if "synthetic" in rest:
        mistakes.append("distill.synthetic: write [synthetic] instead")
        return None
    objectives = data.get("objectives", {})
    wrong = list(_terms(objectives))
    mistakes += wrong
    if not wrong and isinstance(objectives, Mapping):
        rest["objectives"] = [{"name": name, **term} for name, term in objectives.items()]
        rest["synthetic"] = table.get("synthetic", {})
    found: list[str] = []
    settings = check(DistillSettings, rest, "distill", found)
    # What is wrong with [synthetic] has been said of that section already.
    mistakes += [text for text in found if not text.startswith("distill.synthetic")]
    return settings


def _terms(objectives: object) -> Iterator[str]:
    """The mistakes of the terms, each with the name of its objective in its path."""
    if not isinstance(objectives, Mapping):
        yield f"distill.objectives: {objectives!r} was given; write [distill.objectives.NAME]"
        return
    for name, term in objectives.items():
        here = f"distill.objectives.{name}"
        if not isinstance(term, Mapping):
            yield f"{here}: {term!r} was given; it must be a table with weight and options"
            continue
        yield from (
            f"{here}.{key}: {unknown(key, ('weight', 'options'))}"
            for key in term
            if key not in ("weight", "options")
        )
        weight, options = term.get("weight", 1.0), term.get("options", {})
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            yield f"{here}.weight: {weight!r} was given; it must be a number"
        elif not isinstance(options, Mapping):
            yield f"{here}.options: {options!r} was given; it must be a table"
        else:
            judged = term_mistakes(name, float(weight), dict(options))
            yield from (f"{here}{words}" for words in judged)


def _with_origins(cell: Cell, merged: Merged) -> Cell:
    """The cell with where each of its settings comes from."""
    paths = list(_leaves(cell.settings(), ""))
    return replace(cell, origins={path: _origin(path, merged) for path in paths})


def _origin(path: str, merged: Merged) -> Origin:
    while path:
        if path in merged.origins:
            return merged.origins[path]
        if path.startswith("student_network.") and "student_network" not in merged.table:
            return _origin(path.removeprefix("student_"), merged)
        path = path.rpartition(".")[0]
    return DEFAULT


def _leaves(table: Mapping[str, Any], path: str) -> Iterator[str]:
    for key, value in table.items():
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, here)
        elif not isinstance(value, Mapping):
            yield here

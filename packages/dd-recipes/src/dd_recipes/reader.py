"""Reads recipes from TOML and checks them strictly.

All mistakes of a file are reported together, each with the path that ``--set`` would take.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any, Literal

from dd_core.errors import SettingsError
from dd_recipes.catalog import Entry, find_shared
from dd_recipes.cells import RawCell, build_cell
from dd_recipes.checks import Place, check, count, mend, unknown
from dd_recipes.layers import Layer, Merged, check_layer, layers_for, merge
from dd_recipes.overrides import Override, parse_overrides, slug, smoke_layer
from dd_recipes.paper import Claim, Paper, Reference
from dd_recipes.recipe import Cell, Recipe

__all__ = ["FORMAT", "Budget", "load_recipe", "read_recipe"]

FORMAT = 2
Budget = Literal["full", "cpu", "smoke"]
# What the settings of all cells, and of one, are made of.
_LAYERS: set[Place] = {("variants",), ("base",), ("presets",), ("shared",)}
_LAYERS_OF_CELL: set[Place] = {("use",), ("set",)}


@dataclass(frozen=True, slots=True)
class _RawRecipe:
    """The tables of a file before the settings in them are checked."""

    format: int
    name: str
    title: str
    summary: str
    cells: list[dict[str, Any]]
    shared: str = ""
    variants: list[str] = field(default_factory=lambda: ["best"])
    columns: list[str] = field(default_factory=list)
    x_label: str = ""
    seed: int = 0
    budget: Budget = "full"
    changed: list[str] = field(default_factory=list)
    base: dict[str, Any] = field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)
    references: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    paper: Paper | None = None

    def __post_init__(self) -> None:
        if slug(self.name) != self.name or not self.name:
            raise ValueError(f"name is {self.name!r}; use small letters, digits and hyphens.")
        if not self.cells:
            raise ValueError("there is no [[cells]] table; a recipe needs at least one.")
        if not self.variants:
            raise ValueError("variants is empty; name at least one, such as 'best'.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")


@dataclass(frozen=True, slots=True)
class _Shared:
    """What the recipes of a paper have in common."""

    paper: Paper | None = None
    base: dict[str, Any] = field(default_factory=dict)
    presets: dict[str, dict[str, Any]] = field(default_factory=dict)


# The recipe, what it shares, and the variant, budget and overrides that were chosen.
_Layered = tuple[_RawRecipe, _Shared, str, Budget, Sequence[Override]]


def load_recipe(
    entry: Entry,
    *,
    variant: str | None = None,
    budget: Budget = "full",
    overrides: Sequence[str] = (),
    seed: int | None = None,
) -> Recipe:
    """Reads a recipe of the catalog, for a variant and a budget, with overrides.

    Args:
        entry: The recipe file.
        variant: One of the file's variants; None takes the first.
        budget: ``full``, ``cpu``, or ``smoke``, which shrinks everything to a run of seconds.
        overrides: ``key=value`` pairs, applied last.
        seed: Another seed than the recipe's.

    Raises:
        SettingsError: The file or an override is wrong; the message lists every mistake.
    """
    raw = _tables(entry)
    if seed is not None:
        raw["seed"] = seed
    return read_recipe(
        raw, name=entry.name, variant=variant, budget=budget, overrides=overrides
    )  # fmt: skip


def read_recipe(
    raw: Mapping[str, Any],
    *,
    name: str,
    variant: str | None = None,
    budget: Budget = "full",
    overrides: Sequence[str] = (),
) -> Recipe:
    """Checks a recipe's raw tables and lays the layers of each cell.

    Args:
        raw: Tables as read from TOML.
        name: What error messages call the recipe.
        variant: One of its variants; None takes the first.
        budget: Its budget.
        overrides: ``key=value`` pairs, applied last.

    Raises:
        SettingsError: One or more values are missing, unknown, of the wrong type or impossible.
    """
    _check_format(raw, name)
    mistakes: list[str] = []
    top, wrong = mend(_RawRecipe, raw, "", mistakes)
    if top is None:
        raise _refusal(name, mistakes)
    chosen = variant or top.variants[0]
    if not mistakes:
        _check_choice(top, name, chosen, budget)
    shared = _shared(top.shared, mistakes)
    # A file of one budget holds its settings already.
    layers_of = budget if top.budget == "full" else "full"
    parsed = parse_overrides(overrides)
    cells: list[Cell] = []
    if ("cells",) not in wrong:
        # Without its layers a cell would have mistakes that are not its own.
        whole = shared is not None and wrong.isdisjoint(_LAYERS) and chosen in top.variants
        layered = (top, shared or _Shared(), chosen, layers_of, parsed) if whole else None
        cells = _cells(top.cells, layered, mistakes)
    columns = tuple(dict.fromkeys((*top.columns, *_texts(top.cells, "column"))))
    references = tuple(_references(top, columns, mistakes) if ("columns",) not in wrong else ())
    _check_claims(top, wrong, mistakes)
    if mistakes or shared is None:
        raise _refusal(name, mistakes)
    return Recipe(
        name=top.name, title=top.title, summary=top.summary, seed=top.seed,
        variants=tuple(top.variants), variant=chosen,
        budget=budget if top.budget == "full" else top.budget, cells=tuple(cells),
        changed=(*top.changed, *_changed(overrides)), columns=columns, x_label=top.x_label,
        references=references, claims=tuple(top.claims), paper=top.paper or shared.paper,
    )  # fmt: skip


def _check_choice(top: _RawRecipe, name: str, variant: str, budget: Budget) -> None:
    """Refuses a variant or a budget that the file does not have."""
    if top.budget != "full" and budget not in ("full", top.budget):
        raise SettingsError(
            f"Recipe {name} was written at the {top.budget} budget, and {budget} was asked for; "
            "leave --budget out, or take the recipe that it comes from."
        )
    if variant not in top.variants:
        raise SettingsError(
            f"Recipe {name} has no variant {variant!r}; it has {', '.join(top.variants)}."
        )


def _texts(tables: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    """What tables that may be wrong say of a key."""
    return [value for table in tables if isinstance(value := table.get(key), str)]


def _changed(overrides: Sequence[str]) -> Iterator[str]:
    """Overrides that make the result another one: the number of students does not."""
    for override in parse_overrides(overrides):
        if override.path != ("students", "students"):
            yield override.text.partition("=")[0].strip()


def _refusal(name: str, mistakes: Sequence[str]) -> SettingsError:
    each = dict.fromkeys(mistakes)
    shown = "".join(f"\n  {mistake}" for mistake in each)
    return SettingsError(f"Recipe {name} has {count(len(each))}:{shown}")


def _tables(entry: Entry) -> dict[str, Any]:
    try:
        return tomllib.loads(entry.text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"Recipe {entry.name} is not TOML: {error}.") from None


def _check_format(raw: Mapping[str, Any], name: str) -> None:
    found = raw.get("format")
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT:
        raise SettingsError(
            f"Recipe {name} is of format {found}, newer than this version of dd-recipes reads "
            f"({FORMAT}); install a newer dd-recipes."
        )
    if found != FORMAT:
        told = "says no format" if found is None else f"is of format {found!r}"
        raise SettingsError(
            f"Recipe {name} {told}; this version reads format {FORMAT}. 'dd-recipes show "
            "quickstart --file' prints a recipe to start from."
        )


def _shared(name: str, mistakes: list[str]) -> _Shared | None:
    if not name:
        return _Shared()
    entry = find_shared(name)
    if entry is None:
        mistakes.append(f"shared: there is no {name!r}; leave it out, or name a paper's folder")
        return None
    return check(_Shared, _tables(entry), f"shared {name}", mistakes)


def _cells(
    tables: Sequence[Mapping[str, Any]], layered: _Layered | None, mistakes: list[str]
) -> list[Cell]:
    """The cells without mistakes; without layers their own tables alone are checked."""
    found: list[Cell] = []
    used: set[str] = set()
    by_cell: dict[str, list[str]] = {}
    for index, table in enumerate(tables):
        label = table.get("name")
        name = label if isinstance(label, str) and label else str(index + 1)
        raw, wrong = mend(RawCell, table, f"cells.{name}", mistakes)
        if name in by_cell:
            mistakes.append(f"cells.{name}: two cells have this name")
        own = by_cell.setdefault(name, [])
        if raw is None or layered is None or not wrong.isdisjoint(_LAYERS_OF_CELL):
            continue
        merged = _merged(raw, name, layered, used, own)
        cell = build_cell(raw, merged, own)
        if cell is not None and not own:
            found.append(cell)
    mistakes += _grouped(by_cell)
    if layered is not None:
        overrides = layered[-1]
        mistakes += [_misplaced(o, list(by_cell)) for o in overrides if o.text not in used]
    return found


def _merged(
    raw: RawCell, name: str, layered: _Layered, used: set[str], mistakes: list[str]
) -> Merged:
    """The settings of a cell, with all layers laid.

    Args:
        raw: The cell's table.
        name: Its name in the file, which may be wrong.
        layered: What its layers are chosen by.
        used: Receives the overrides that it takes.
        mistakes: Receives what is wrong with its layers.
    """
    top, shared, variant, budget, overrides = layered
    layers = list(_layers(top, shared, raw, mistakes))
    merged = merge(laid := layers_for(layers, variant, budget))
    if budget == "smoke":
        laid.append(smoke_layer(merged.table))
        merged = merge(laid)
    places = _places(merged.table)
    for each in overrides:
        if each.cell in ("", name) and each.fits(places):
            used.add(each.text)
            laid.append(each.layer)
    return merge(laid)


def _places(table: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings that count: real images are not distilled, and a measure has its section."""
    unused = {name for name in ("continual", "search") if name != table.get("measure")}
    if table.get("kind") != "distill":
        unused.add("distill")
    return {key: value for key, value in table.items() if key not in unused}


def _layers(
    top: _RawRecipe, shared: _Shared, cell: RawCell, mistakes: list[str]
) -> Iterator[Layer]:
    known = {**shared.presets, **top.presets}
    mistakes += check_layer("base", top.base, top.variants)
    mistakes += check_layer("shared base", shared.base, ())
    mistakes += check_layer("set", cell.set, top.variants)
    yield Layer("shared base", shared.base)
    yield Layer("base", top.base)
    for name in cell.use:
        if name in known:
            mistakes += check_layer(f"presets.{name}", known[name], top.variants)
            yield Layer(f"preset {name}", known[name])
        else:
            mistakes.append(f"use: {name!r}: {unknown(name, list(known), 'preset')}")
    yield Layer("cell", cell.set)


def _grouped(by_cell: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Each mistake once, with the cells that have it."""
    cells: dict[str, list[str]] = {}
    for name, mistakes in by_cell.items():
        for mistake in dict.fromkeys(mistakes):
            cells.setdefault(mistake, []).append(name)
    for mistake, names in cells.items():
        if len(names) == 1 < len(by_cell) or len(by_cell) == 1:
            yield f"cells.{names[0]}.{mistake}"
        else:
            shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
            yield f"{mistake} (in {len(names)} cells: {shown})"


def _misplaced(override: Override, cells: Sequence[str]) -> str:
    if override.cell and override.cell not in cells:
        return f"--set {override.text}: {unknown(override.cell, cells, 'cell')}"
    parent = ".".join(override.path[:-1])
    return f"--set {override.text}: no cell has {parent or override.path[0]!r}"


def _references(
    top: _RawRecipe, columns: Sequence[str], mistakes: list[str]
) -> Iterator[Reference]:
    for row, values in top.references.items():
        for column, numbers in values.items():
            path = f"references.{row}.{column}"
            if column not in columns:
                mistakes.append(f"{path}: {unknown(column, columns, 'column')}")
            elif len(numbers) not in (1, 2):
                mistakes.append(f"{path}: give [mean] or [mean, std]")
            else:
                yield Reference(row, column, *numbers)


def _check_claims(top: _RawRecipe, wrong: Set[Place], mistakes: list[str]) -> None:
    """Looks whether there is what claims speak of; what is wrong was said already."""
    cells = _texts(top.cells, "name")
    for index, claim in enumerate(top.claims):
        kind, _, row = claim.against.partition(":")
        known = {"cell": (claim.cell, cells, "cell"), "against": (claim.against, cells, "cell")}
        if kind == "references":
            known["against"] = (row, ["", *top.references], "row")
        for key, (name, names, what) in known.items():
            if name not in names and not {("cells",), ("claims", index, key)} & wrong:
                shown = unknown(name, [n for n in names if n], what)
                mistakes.append(f"claims.{index + 1}.{key}: {name!r}: {shown}")

"""Reads recipes from TOML and checks them strictly.

All mistakes of a file are reported together, each with the path that ``--set`` would take.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, Literal, TypeVar, get_type_hints

from pydantic import ConfigDict, ValidationError, create_model

from dd_core.errors import SettingsError
from dd_core.settings import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    StudentSettings,
    SyntheticSettings,
)
from dd_recipes.catalog import Entry
from dd_recipes.overrides import apply_overrides, slug, smoke
from dd_recipes.paper import Paper, PublishedValue
from dd_recipes.recipe import DataSource, Method, Recipe
from dd_recipes.terms import term_mistakes

__all__ = ["load_recipe", "read_recipe"]

T = TypeVar("T")
_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class _RawMethod:
    """A method's table before its settings are checked against its kind."""

    label: str
    kind: Literal["random", "distill"]
    settings: dict[str, Any]
    about: str = ""
    published: PublishedValue | None = None

    def __post_init__(self) -> None:
        if not slug(self.label):
            raise ValueError(f"label is {self.label!r}; it needs a letter or a digit.")


@dataclass(frozen=True, slots=True)
class _RawTerm:
    """A term's table before its options are checked against its objective."""

    name: str
    weight: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _RawRecipe:
    """The tables of a file before the settings in them are checked."""

    name: str
    title: str
    summary: str
    data: DataSource
    network: dict[str, Any]
    students: dict[str, Any]
    methods: list[dict[str, Any]]
    pretrain: dict[str, Any] = field(default_factory=dict)
    paper: Paper | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if slug(self.name) != self.name:
            raise ValueError(f"name is {self.name!r}; use small letters, digits and hyphens.")
        if not self.methods:
            raise ValueError("there is no [[methods]] table; a recipe needs at least one.")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative.")


def load_recipe(
    entry: Entry, *, budget: Literal["full", "smoke"] = "full", overrides: Sequence[str] = ()
) -> Recipe:
    """Reads a recipe of the catalog, with a budget and overrides.

    Args:
        entry: The recipe file.
        budget: ``smoke`` shrinks everything to a run of seconds.
        overrides: ``key=value`` pairs, applied last.

    Raises:
        SettingsError: The file or an override is wrong; the message lists every mistake.
    """
    try:
        raw = tomllib.loads(entry.text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"Recipe {entry.name} is not TOML: {error}.") from None
    if budget == "smoke":
        raw = smoke(raw)
    return read_recipe(apply_overrides(raw, overrides), name=entry.name)


def read_recipe(raw: Mapping[str, Any], *, name: str) -> Recipe:
    """Checks a recipe's raw tables.

    Args:
        raw: Tables as read from TOML.
        name: What error messages call the recipe.

    Raises:
        SettingsError: One or more values are missing, unknown, of the wrong type or impossible.
    """
    mistakes: list[str] = []
    top = _check(_RawRecipe, raw, "", mistakes)
    # Where the top is wrong, the tables inside are looked at all the same.
    tables = raw if top is None else {f.name: getattr(top, f.name) for f in fields(top)}
    network = _section(NetworkSettings, tables, "network", mistakes)
    pretrain = _section(PretrainSettings, tables, "pretrain", mistakes)
    students = _section(StudentSettings, tables, "students", mistakes)
    methods = _methods(tables.get("methods"), mistakes)
    if mistakes or not (top and network and pretrain and students):
        shown = "".join(f"\n  {mistake}" for mistake in mistakes)
        raise SettingsError(f"Recipe {name} has {_count(len(mistakes))}:{shown}")
    return Recipe(
        name=top.name, title=top.title, summary=top.summary, seed=top.seed, data=top.data,
        network=network, pretrain=pretrain, students=students, methods=tuple(methods),
        paper=top.paper,
    )  # fmt: skip


def _section(type_: type[T], tables: Mapping[str, Any], key: str, mistakes: list[str]) -> T | None:
    data = tables.get(key, {})
    # A section that is no table is a mistake of the top already.
    return _check(type_, data, key, mistakes) if isinstance(data, dict) else None


def _methods(raw: object, mistakes: list[str]) -> list[Method]:
    found: list[Method] = []
    seen: set[str] = set()
    for index, table in enumerate(raw if isinstance(raw, list) else []):
        label = table.get("label") if isinstance(table, dict) else None
        path = f"methods.{slug(label) if isinstance(label, str) else index + 1}"
        if path in seen:
            mistakes.append(f"{path}: two methods have this name; change a label")
        seen.add(path)
        checked = _check(_RawMethod, table, path, mistakes)
        if checked is None:
            continue
        settings = _settings(checked, f"{path}.settings", mistakes)
        if settings is not None:
            found.append(Method(checked.label, checked.about, settings, checked.published))
    return found


def _settings(
    method: _RawMethod, path: str, mistakes: list[str]
) -> DistillSettings | SyntheticSettings | None:
    data = method.settings
    if method.kind == "random":
        chosen = _check(SyntheticSettings, data, path, mistakes)
        if chosen is not None and chosen.init in ("noise", "file"):
            mistakes.append(f"{path}.init: {chosen.init} is no choice of real images")
        return chosen
    wrong = list(_terms(data.get("objectives"), f"{path}.objectives"))
    mistakes += wrong
    if wrong:
        # Without the wrong terms, the other settings can be judged.
        data = {key: value for key, value in data.items() if key != "objectives"}
    return _check(DistillSettings, data, path, mistakes)


def _terms(raw: object, path: str) -> Iterator[str]:
    """The mistakes of the terms, each with the name of its objective in its path."""
    for index, table in enumerate(raw if isinstance(raw, list) else []):
        name = table.get("name") if isinstance(table, dict) else None
        here = f"{path}.{name if isinstance(name, str) and name else index + 1}"
        mistakes: list[str] = []
        term = _check(_RawTerm, table, here, mistakes)
        yield from mistakes
        if term is not None:
            judged = term_mistakes(term.name, term.weight, term.options)
            yield from (f"{here}{words}" for words in judged)


def _check(type_: type[T], data: object, path: str, mistakes: list[str]) -> T | None:
    """Builds a dataclass from plain data, or adds to the mistakes.

    Through JSON, pydantic's strict mode takes a list for a tuple and a table for a dataclass,
    yet neither "3" nor 3.0 nor true for an integer.
    """
    model = create_model("Section", __config__=_STRICT, value=(type_, ...))
    try:
        checked = model.model_validate_json(json.dumps({"value": data}, default=str))
    except ValidationError as error:
        for item in error.errors():
            inner = [str(part) for part in item["loc"][1:]]
            where = ".".join([*([path] if path else []), *inner])
            mistakes.append(f"{where or 'recipe'}: {_explain(type_, inner, dict(item))}")
        wrong = {item["loc"][1] for item in error.errors() if len(item["loc"]) > 1}
        if isinstance(data, dict) and wrong and wrong <= data.keys() - _required(type_):
            # Without the wrong entries, the dataclass itself can judge the others' values.
            _check(type_, {k: v for k, v in data.items() if k not in wrong}, path, mistakes)
    except SettingsError as error:
        mistakes.append(f"{path}: {error}")
    else:
        value: T = checked.value  # type: ignore[attr-defined]
        return value
    return None


def _required(type_: Any) -> set[str]:
    return {f.name for f in fields(type_) if f.default is f.default_factory is MISSING}


def _explain(type_: type[Any], inner: list[str], item: Mapping[str, Any]) -> str:
    """One mistake in words, with the value found and what would be right."""
    kind = item["type"]
    if kind == "unexpected_keyword_argument":
        known = _names_at(type_, inner[:-1])
        close = difflib.get_close_matches(inner[-1], known, n=1, cutoff=0.65)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
        return f"unknown setting; {hint}"
    if kind == "missing":
        return "missing"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    message = str(item["msg"]).replace("Input should be", "it must be")
    return f"{item['input']!r} was given; {message}"


def _names_at(type_: type[Any], inner: Sequence[str]) -> list[str]:
    """Names of the settings of the dataclass that a path leads to."""
    for name in inner:
        hint = get_type_hints(type_).get(name)
        options = [t for t in (hint, *getattr(hint, "__args__", ())) if is_dataclass(t)]
        if not options or not isinstance(options[0], type):
            return []
        type_ = options[0]
    return [f.name for f in fields(type_)]


def _count(n: int) -> str:
    return "a mistake" if n == 1 else f"{n} mistakes"

"""Layers of settings: tables laid over one another, with a note of where each value comes from.

A layer is a table of settings. Its tables ``variants.NAME`` and ``budgets.NAME`` are layers that
hold for one variant or budget only. ``_source`` says in words where the values of a table and of
the tables in it come from, and ``_sources`` says it of single values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Layer", "Merged", "Origin", "check_layer", "layers_for", "merge"]

_VARIANTS, _BUDGETS, _SOURCE, _SOURCES = "variants", "budgets", "_source", "_sources"
_USUAL, _BUDGET_NAMES = ("paper", "code", "best"), ("full", "cpu")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from.

    Attributes:
        layer: The layer that set it, such as ``presets.cifar10`` or ``--set``.
        source: Why it is so, in words, such as ``text`` or ``own choice``; empty where unknown.
    """

    layer: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A table of settings with a name.

    Attributes:
        name: What `Origin.layer` calls it.
        table: The settings; tables in tables, with ``_source`` and ``_sources``.
    """

    name: str
    table: Mapping[str, Any]


@dataclass(slots=True)
class Merged:
    """What comes of laying layers over one another.

    Attributes:
        table: Settings, without sources; a value False that took the place of a table is gone.
        origins: Where each value comes from, by its dotted path.
    """

    table: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Origin] = field(default_factory=dict)


def layers_for(layers: Sequence[Layer], variant: str, budget: str) -> list[Layer]:
    """The layers that hold for a variant and a budget, in the order in which they are laid.

    First all layers themselves, then what they say of the variant, then what they say of the
    budget, and last what they say of the budget within the variant.

    Example:
        >>> base = {"a": 1, "variants": {"code": {"a": 2}}, "budgets": {"cpu": {"a": 3}}}
        >>> found = layers_for([Layer("base", base)], "code", "cpu")
        >>> [(layer.name, dict(layer.table)) for layer in found]
        [('base', {'a': 1}), ('base, code', {'a': 2}), ('base, cpu budget', {'a': 3})]
    """
    of_variant = list(_inner(layers, _VARIANTS, variant, variant))
    of_budget = list(_inner(layers, _BUDGETS, budget, f"{budget} budget"))
    of_both = list(_inner(of_variant, _BUDGETS, budget, f"{budget} budget"))
    return [
        Layer(layer.name, _without(layer.table))
        for layer in (*layers, *of_variant, *of_budget, *of_both)
    ]


def merge(layers: Sequence[Layer]) -> Merged:
    """Lays tables over one another: tables are merged, other values take the earlier one's place.

    Example:
        >>> one = Layer("base", {"_source": "text", "a": {"x": 1, "y": 2}})
        >>> two = Layer("preset", {"a": {"x": 3}})
        >>> merged = merge([one, two])
        >>> merged.table
        {'a': {'x': 3, 'y': 2}}
        >>> merged.origins["a.x"].layer, merged.origins["a.y"].source
        ('preset', 'text')
    """
    merged = Merged()
    for layer in layers:
        _lay(merged, merged.table, layer, layer.table, "", "")
    return merged


def check_layer(name: str, table: Mapping[str, Any], variants: Sequence[str]) -> list[str]:
    """The mistakes in a layer's variants and budgets, whose names would else mean nothing.

    Args:
        name: Path of the layer, for the messages.
        table: The layer.
        variants: Variants of the recipe, besides the usual ones.

    Example:
        >>> check_layer("base", {"budgets": {"cpuu": {}}}, [])
        ['base.budgets.cpuu: unknown budget; known are full, cpu']
    """
    known = [*dict.fromkeys((*variants, *_USUAL))]
    mistakes = [
        f"{name}.{_VARIANTS}.{each}: unknown variant; known are {', '.join(known)}"
        for each in _tables(table, _VARIANTS)
        if each not in known
    ]
    for each, inner in _tables(table, _BUDGETS).items():
        if each not in _BUDGET_NAMES:
            shown = ", ".join(_BUDGET_NAMES)
            mistakes.append(f"{name}.{_BUDGETS}.{each}: unknown budget; known are {shown}")
        if _VARIANTS in inner:
            mistakes.append(
                f"{name}.{_BUDGETS}.{each}.{_VARIANTS}: write {name}.{_VARIANTS}.NAME.{_BUDGETS}."
                f"{each} instead"
            )
    for each, inner in _tables(table, _VARIANTS).items():
        if _VARIANTS in inner:
            mistakes.append(f"{name}.{_VARIANTS}.{each}.{_VARIANTS}: a variant has no variants")
        mistakes += check_layer(
            f"{name}.{_VARIANTS}.{each}", {_BUDGETS: _tables(inner, _BUDGETS)}, ()
        )
    return mistakes


def _tables(table: Mapping[str, Any], key: str) -> dict[str, Mapping[str, Any]]:
    inner = table.get(key)
    found = inner if isinstance(inner, Mapping) else {}
    return {name: value for name, value in found.items() if isinstance(value, Mapping)}


def _inner(layers: Sequence[Layer], key: str, name: str, words: str) -> Iterator[Layer]:
    for layer in layers:
        table = layer.table.get(key)
        inner = table.get(name) if isinstance(table, Mapping) else None
        if isinstance(inner, Mapping):
            source = {_SOURCE: layer.table[_SOURCE]} if _SOURCE in layer.table else {}
            yield Layer(f"{layer.name}, {words}", {**source, **inner})


def _without(table: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in table.items() if key not in (_VARIANTS, _BUDGETS)}


def _lay(
    merged: Merged, below: dict[str, Any], layer: Layer, table: Mapping[str, Any],
    path: str, source: str,
) -> None:  # fmt: skip
    """Lays one table over the one below it, and notes the origins."""
    source = str(table.get(_SOURCE, source))
    own = table.get(_SOURCES)
    sources: Mapping[str, Any] = own if isinstance(own, Mapping) else {}
    for key, value in table.items():
        if key in (_SOURCE, _SOURCES):
            continue
        here = f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            if not isinstance(below.get(key), dict):
                below[key] = {}
            _lay(merged, below[key], layer, value, here, str(sources.get(key, source)))
        elif value is False and isinstance(below.get(key), dict):
            del below[key]
            _forget(merged, here)
        else:
            below[key] = deepcopy(value)
            merged.origins[here] = Origin(layer.name, str(sources.get(key, source)))


def _forget(merged: Merged, path: str) -> None:
    for known in [p for p in merged.origins if p.startswith(f"{path}.")]:
        del merged.origins[known]

"""What is wrong with the terms of a sum of objectives, each mistake with its place."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from dd_core.errors import SettingsError
from dd_core.objectives import build_objective
from dd_core.settings import Term

__all__ = ["term_mistakes"]


def term_mistakes(name: str, weight: float, options: Mapping[str, Any]) -> Iterator[str]:
    """The mistakes of one term, for example ``.options.alpha: nan was given; ...``.

    Weight and objective are the judges. A mistake that one option alone makes is put down to it;
    one of several options together to ``options``, and any other one to the term.

    Args:
        name: Name of the objective.
        weight: Factor of its loss.
        options: Its options as read from TOML.

    Example:
        >>> list(term_mistakes("ncfm", 300.0, {"alpha": 0.5}))
        []
        >>> [mistake.split(";")[1] for mistake in term_mistakes("ncfm", 1.0, {"alhpa": 0.5})]
        [' did you mean alpha?']
    """
    try:
        Term("dm", weight)  # an objective that is there, so that only the weight is judged
    except SettingsError as error:
        yield f".weight: {error}"
    plain = {option: words for option, value in options.items() if (words := _not_plain(value))}
    left = {option: value for option, value in options.items() if option not in plain}
    yield from (f".options.{option}: {words}" for option, words in plain.items())
    missing = _judged(name, {})
    while (words := _judged(name, left)) is not None:
        alone = [option for option in left if _judged(name, {option: left[option]}) == words]
        if words == missing or not alone:
            if not (plain or len(left) < len(options)):
                yield f"{'' if words == missing else '.options'}: {words}"
            return
        yield f".options.{alone[0]}: {words}"
        del left[alone[0]]


def _judged(name: str, options: Mapping[str, Any]) -> str | None:
    """What the objective says against the options."""
    try:
        build_objective(name, options)
    except SettingsError as error:
        return str(error).removeprefix(f"objective {name!r}: ")  # the path says it
    return None


def _not_plain(value: object) -> str | None:
    """What is wrong with the value of any option, whatever its objective."""
    if not isinstance(value, bool | int | float | str):
        return f"{value!r} was given; it must be a number, a string, true or false"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value!r} was given; it must be a finite number"
    return None

"""From settings to the weighted sum of objectives that they name."""

from __future__ import annotations

from dd_core.errors import SettingsError
from dd_core.objectives.matching import Matching
from dd_core.objectives.registry import build_objective
from dd_core.settings import DistillSettings

__all__ = ["build_matching"]


def build_matching(settings: DistillSettings) -> Matching:
    """The weighted sum of objectives that the settings name.

    Raises:
        SettingsError: The objectives do not fit together.
    """
    terms = settings.objectives
    try:
        return Matching(
            tuple(build_objective(term.name, term.options) for term in terms),
            tuple(term.weight for term in terms),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None

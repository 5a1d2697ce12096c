"""Errors with one clear message: what is wrong, the value, and the way out."""

from __future__ import annotations

__all__ = [
    "ArtifactError",
    "CheckpointError",
    "DataError",
    "DistillationError",
    "NonFiniteError",
    "RunError",
    "SettingsError",
    "UserError",
]


class DistillationError(Exception):
    """Base of every error that dd-core raises on purpose; ``str(error)`` is the whole message."""


class UserError(DistillationError):
    """The caller can mend it: an argument, a file or a folder (command lines exit with 2)."""


class DataError(UserError):
    """A data set is missing, damaged or does not fit."""


class SettingsError(UserError, ValueError):
    """A setting is unknown, of the wrong type or impossible."""


class ArtifactError(UserError):
    """A distilled set's file is missing, damaged or of another version."""


class CheckpointError(UserError):
    """A checkpoint is damaged, of another version, or belongs to other settings."""


class RunError(DistillationError):
    """A run failed although it was asked for correctly (command lines exit with 1)."""


class NonFiniteError(RunError):
    """A loss became NaN or infinite; the last good state has been saved."""

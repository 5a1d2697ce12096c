"""Impossible settings are refused with their name and value."""

from __future__ import annotations

import math

import pytest

from dd_core import (
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
)


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        (NetworkSettings, {"architecture": "vit"}),
        (NetworkSettings, {"depth": 0}),
        (NetworkSettings, {"norm": "batch"}),
        (PretrainSettings, {"networks": 0}),
        (PretrainSettings, {"learning_rate": -0.1}),
        (PretrainSettings, {"milestones": (0.9, 0.5)}),
        (PretrainSettings, {"cutmix": 1.5}),
        (PretrainSettings, {"augmentation": "crp"}),
        (DistillSettings, {"augmentation": "color_crp"}),
        (StudentSettings, {"augmentation": "colour"}),
        (SyntheticSettings, {"ipc": 0}),
        (SyntheticSettings, {"init": "zeros"}),
        (DistillSettings, {"method": "mtt"}),
        (DistillSettings, {"alpha": 1.2}),
        (DistillSettings, {"hold": 0}),
        (DistillSettings, {"learning_rate": math.nan}),
        (DistillSettings, {"calibration": -1.0}),
        (StudentSettings, {"students": 0}),
        (StudentSettings, {"weight_decay": -1.0}),
        (StudentSettings, {"evaluations": 0}),
    ],
)
def test_impossible_values(settings, change):
    (name,) = change
    with pytest.raises(SettingsError, match=f"{name} (is|are) "):
        settings(**change)


def test_random_extractors_cannot_calibrate():
    with pytest.raises(SettingsError, match="calibration is"):
        DistillSettings(extractor="random", calibration=1.0)

"""Impossible settings are refused with their name and value, whatever their type."""

from __future__ import annotations

import math
from dataclasses import asdict, fields, replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dd_core import (
    AscentSettings,
    DistillSettings,
    NetworkSettings,
    PretrainSettings,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    Term,
)
from dd_core.checkpoint import fingerprint

ALL = (
    AscentSettings(),
    DistillSettings(),
    NetworkSettings(),
    PretrainSettings(),
    StudentSettings(),
    SyntheticSettings(),
    Term("ncfm"),
)
FIELDS = [(value, field.name) for value in ALL for field in fields(value)]


@pytest.mark.parametrize(
    ("settings", "change"),
    [
        (NetworkSettings, {"architecture": "vit"}),
        (NetworkSettings, {"depth": 0}),
        (NetworkSettings, {"norm": "spectral"}),
        (PretrainSettings, {"networks": 0}),
        (PretrainSettings, {"learning_rate": -0.1}),
        (PretrainSettings, {"momentum": 1}),
        (PretrainSettings, {"gamma": 0.0}),
        (PretrainSettings, {"milestones": (0.9, 0.5)}),
        (PretrainSettings, {"cutmix": 1.5}),
        (PretrainSettings, {"augmentation": "crp"}),
        (AscentSettings, {"momentum": -0.5}),
        (AscentSettings, {"weight_decay": -0.5}),
        (DistillSettings, {"augmentation": "color_crp"}),
        (StudentSettings, {"augmentation": "colour"}),
        (SyntheticSettings, {"ipc": 0}),
        (SyntheticSettings, {"init": "zeros"}),
        (SyntheticSettings, {"init_file": Path("set")}),
        (DistillSettings, {"objectives": ()}),
        (DistillSettings, {"objectives": (Term("dm"), Term("dm"))}),
        (DistillSettings, {"schedule": "linear"}),
        (DistillSettings, {"gamma": 0}),
        (DistillSettings, {"momentum": 1.5}),
        (DistillSettings, {"hold": 0}),
        (DistillSettings, {"learning_rate": 0}),
        (DistillSettings, {"calibration": -1.0}),
        (StudentSettings, {"students": 0}),
        (StudentSettings, {"gamma": -1}),
        (StudentSettings, {"weight_decay": -1.0}),
        (StudentSettings, {"momentum": 1.0}),
        (StudentSettings, {"optimizer": "lion"}),
        (StudentSettings, {"evaluations": 0}),
    ],
)
def test_impossible_values(settings, change):
    (name,) = change
    with pytest.raises(SettingsError, match=f"{name} (is|are) "):
        settings(**change)


WRONG = (
    None, "3", "", b"flip", 2.5j, Decimal(3), object(), {}, {1: 2}, {"n_frequencies"}, [None],
    ("a",), ("ncfm",), (math.nan,), (True,), np.zeros(2), np.array(["ncfm"]), torch.zeros(2),
    NetworkSettings, Term, lambda: 1,
)  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "name"), FIELDS, ids=[f"{type(value).__name__}.{name}" for value, name in FIELDS]
)
def test_a_value_of_a_wrong_type_is_refused_by_name(settings, name):
    for wrong in WRONG:
        if isinstance(wrong, str) and name in ("augmentation", "init_file", "name"):
            continue  # of the right type; which strings are good is tested elsewhere
        if isinstance(wrong, dict) and name == "options" and not wrong:
            continue  # no options
        with pytest.raises(SettingsError, match=rf"^{name}(\[0\])? is ") as caught:
            replace(settings, **{name: wrong})
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 250


def test_numbers_are_finite_and_no_truth_values():
    for settings, name in FIELDS:
        default = getattr(settings, name)
        never = (True, False, math.nan, math.inf, -math.inf)
        for wrong in {int: never, float: (*never, 10**400)}.get(type(default), ()):
            with pytest.raises(SettingsError, match=f"^{name} is "):
                replace(settings, **{name: wrong})


def test_a_fraction_is_no_whole_number():
    for wrong in (2.5, 2.0, np.float32(2)):
        with pytest.raises(SettingsError, match=r"depth is .* give a whole number"):
            NetworkSettings(depth=wrong)


@given(st.integers(0, 2**60))
def test_whole_and_float_are_the_same_settings_and_the_same_run(number):
    whole, real = (DistillSettings(calibration=kind(number)) for kind in (int, float))
    assert whole == real and hash(whole) == hash(real)
    assert fingerprint(asdict(whole)) == fingerprint(asdict(real))
    assert type(whole.calibration) is float


def test_numbers_and_strings_of_numpy_become_those_of_python():
    network = NetworkSettings(str(np.str_("convnet")), depth=np.int64(4), norm=np.str_("batch"))
    assert repr(network) == repr(NetworkSettings(depth=4, norm="batch"))
    pretrain = PretrainSettings(gamma=np.float64(0.1), milestones=[np.float64(0.5), 0.75])
    assert repr(pretrain) == repr(PretrainSettings(gamma=0.1, milestones=(0.5, 0.75)))
    term = Term("ncfm", 1, {"alpha": np.float64(0.7), "n_frequencies": np.int64(64)})
    assert repr(term) == repr(Term("ncfm", 1.0, {"alpha": 0.7, "n_frequencies": 64}))


def test_terms_are_given_as_a_tuple_or_list():
    assert DistillSettings(objectives=[Term("dm")]) == DistillSettings(objectives=(Term("dm"),))
    for wrong in (Term("ncfm"), "ncfm"):
        with pytest.raises(SettingsError, match=r'give a tuple, such as \(Term\("ncfm"\),\)'):
            DistillSettings(objectives=wrong)
    with pytest.raises(SettingsError, match=r"objectives\[1\] is 'dm'; give a Term"):
        DistillSettings(objectives=(Term("ncfm"), "dm"))


def test_options_are_copied():
    options = {"alpha": 0.5}
    term = Term("ncfm", options=options)
    options["alpha"] = 7.0
    assert term.options == {"alpha": 0.5}


def test_init_file_may_be_a_path():
    settings = SyntheticSettings(init="file", init_file=Path("runs") / "set")
    assert settings == SyntheticSettings(init="file", init_file=str(Path("runs") / "set"))
    assert type(settings.init_file) is str


def test_random_extractors_cannot_calibrate():
    with pytest.raises(SettingsError, match="calibration is"):
        DistillSettings(extractor="random", calibration=1.0)

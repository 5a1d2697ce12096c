"""Objectives by name: options, entry points, and an error for each that does not fit."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
import torch

from dd_core import SettingsError, Term
from dd_core.objectives import (
    CSDM,
    MMD,
    NCFM,
    IntraClassDiversity,
    MeanMatching,
    Objective,
    StyleGram,
    StyleMoments,
    build_objective,
    objective_names,
    registry,
)


@dataclass(frozen=True, slots=True)
class Median(Objective):
    """An objective as another package would write it."""

    power: float = 2.0
    size: int | None = None

    def loss(self, real, synthetic, sample, classes):
        return (real.vectors.median(1).values - synthetic.vectors.median(1).values).norm(dim=1)


class Plain(Objective):
    """Without options, and not a dataclass."""

    def loss(self, real, synthetic, sample, classes):
        return torch.zeros(len(real.vectors))


@dataclass(frozen=True)
class Demanding(Objective):
    power: float

    def loss(self, real, synthetic, sample, classes):
        return torch.zeros(len(real.vectors))


class EntryPoint:
    def __init__(self, found):
        self.found = found

    def load(self):
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


@pytest.fixture
def foreign(monkeypatch):
    entries = {
        "median": EntryPoint(Median),
        "plain": EntryPoint(Plain),
        "demanding": EntryPoint(Demanding),
        "broken": EntryPoint(ImportError("no module named nowhere")),
        "function": EntryPoint(print),
        "other": EntryPoint(dict),
        "dm": EntryPoint(Median),
    }
    monkeypatch.setattr(registry, "_foreign", lambda: entries)


def test_own_names_and_what_they_make():
    kinds = {
        "ncfm": NCFM,
        "csdm": CSDM,
        "dm": MeanMatching,
        "mmd": MMD,
        "style_moments": StyleMoments,
        "style_gram": StyleGram,
        "diversity": IntraClassDiversity,
    }
    assert tuple(kinds) == objective_names()[: len(kinds)]
    for name, kind in kinds.items():
        assert build_objective(name, {}) == kind()


@pytest.mark.parametrize("name", ["ncfm", "csdm", "dm", "mmd", "style_moments", "style_gram"])
def test_every_default_may_be_written_out(name):
    plain = build_objective(name, {})
    written = {field.name: getattr(plain, field.name) for field in fields(plain)}
    assert build_objective(name, written) == plain


def test_options_arrive():
    made = build_objective("csdm", {"kernel": "imq", "bandwidth": 2, "n_head": 3, "root": True})
    assert made == CSDM(kernel="imq", bandwidth=2, n_head=3, root=True)
    made = build_objective("mmd", {"kernel": "matern", "shape": 5})
    assert made == MMD(kernel="matern", shape=5)


def test_terms_are_checked_when_they_are_made():
    with pytest.raises(SettingsError, match="objective 'ncfm': n_frequencies is 0"):
        Term("ncfm", 1.0, {"n_frequencies": 0})


def test_entry_points_are_found_and_cannot_take_an_own_name(foreign):
    assert objective_names()[-6:] == (
        "median", "plain", "demanding", "broken", "function", "other",
    )  # fmt: skip
    assert objective_names().count("dm") == 1
    assert build_objective("median", {"power": 1}) == Median(1)
    assert build_objective("median", {"size": None}) == Median()
    assert isinstance(build_objective("plain", {}), Plain)
    assert isinstance(build_objective("dm", {}), MeanMatching)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nfcm", {}, "there is no objective 'nfcm'; choose one of ncfm, csdm, dm, mmd"),
        ("nfcm", {}, "or install a package with an entry point of this name in the group dd_core."),
        ("ncfm", {"alhpa": 0.3}, "objective 'ncfm' has no option 'alhpa'; did you mean alpha?"),
        ("style_gram", {"zzz": 1}, "no option 'zzz'; known are layers, correlation."),
        ("dm", {"scale": 1.0}, "objective 'dm' has no option 'scale'; it takes none."),
        ("plain", {"scale": 1.0}, "objective 'plain' has no option 'scale'; it takes none."),
        ("ncfm", {"alpha": "half"}, "option alpha of objective 'ncfm' is 'half'; give a number."),
        ("ncfm", {"alpha": True}, "option alpha of objective 'ncfm' is True; give a number."),
        ("ncfm", {"n_frequencies": 10.5}, "n_frequencies of objective 'ncfm' is 10.5; give a who"),
        ("ncfm", {"n_frequencies": True}, "is True; give a whole number."),
        ("csdm", {"root": 1}, "option root of objective 'csdm' is 1; give true or false."),
        ("csdm", {"shape": "wide"}, "option shape of objective 'csdm' is 'wide'; give a number."),
        ("ncfm", {"psi": "net"}, "is 'net'; give one of 'none', 'scale_mixture', 'tanh'."),
        ("median", {"size": 1.5}, "option size of objective 'median' is 1.5; give a whole number."),
        ("ncfm", {"alpha": 2}, "objective 'ncfm': alpha is 2; give a number from 0 to 1."),
        ("demanding", {}, "objective 'demanding': "),
        ("broken", {}, "objective 'broken' cannot be loaded: ImportError('no module named nowhere"),
        ("function", {}, "its entry point must name a subclass of dd_core.objectives.Objective."),
        ("other", {}, "objective 'other' is <class 'dict'>; its entry point must name"),
    ],
)
def test_each_error_says_what_is_wrong(foreign, name, options, message):
    with pytest.raises(SettingsError) as error:
        build_objective(name, options)
    assert message in str(error.value)

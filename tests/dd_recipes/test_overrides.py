from __future__ import annotations

import tomllib
from typing import Any

import pytest

from dd_core.errors import SettingsError
from dd_recipes.catalog import entries
from dd_recipes.overrides import apply_overrides, slug, smoke

RAW: dict[str, Any] = {
    "seed": 0,
    "students": {"epochs": 3},
    "methods": [{"label": "Random, rho 2", "settings": {"ipc": 1}}, {"label": "NCFM"}],
}


@pytest.mark.parametrize(
    ("text", "value"),
    [("10", 10), ("1e-3", 1e-3), ("true", True), ("[0.2, 0.5]", [0.2, 0.5]), ('"a b"', "a b"),
     ("blend", "blend"), ("a=b", "a=b"), ("", "")],
)  # fmt: skip
def test_values_are_toml_or_else_strings(text: str, value: object) -> None:
    assert apply_overrides(RAW, [f"students.x={text}"])["students"]["x"] == value


def test_a_value_cannot_smuggle_in_a_second_key() -> None:
    changed = apply_overrides(RAW, ["students.x=1\nepochs = 9"])
    assert changed["students"] == {"epochs": 3, "x": "1\nepochs = 9"}


def test_methods_are_found_by_label() -> None:
    changed = apply_overrides(RAW, ["methods.random-rho-2.settings.ipc=5"])
    assert changed["methods"][0]["settings"]["ipc"] == 5


def test_terms_are_found_by_name() -> None:
    raw = {"settings": {"objectives": [{"name": "dm"}, {"name": "style_moments", "weight": 1}]}}
    pairs = ["settings.objectives.style_moments.weight=3", "settings.objectives.dm.options.x=2"]
    assert apply_overrides(raw, pairs)["settings"]["objectives"] == [
        {"name": "dm", "options": {"x": 2}}, {"name": "style_moments", "weight": 3},
    ]  # fmt: skip
    with pytest.raises(SettingsError, match="no 'ncfm' here; there is dm, style_moments"):
        apply_overrides(raw, ["settings.objectives.ncfm.weight=3"])


def test_the_original_is_left_alone() -> None:
    apply_overrides(RAW, ["seed=5", "students.epochs=9"])
    assert RAW["seed"] == 0
    assert RAW["students"] == {"epochs": 3}


def test_later_overrides_win() -> None:
    assert apply_overrides(RAW, ["seed=1", "seed=2"])["seed"] == 2


@pytest.mark.parametrize("pair", ["seed", "=3", " =3", ""])
def test_not_a_pair(pair: str) -> None:
    with pytest.raises(SettingsError, match="not key=value"):
        apply_overrides(RAW, [pair])


def test_wrong_path_says_what_there_is() -> None:
    with pytest.raises(SettingsError, match="no 'zoo' here; there is students, methods"):
        apply_overrides(RAW, ["zoo.x=1"])
    with pytest.raises(SettingsError, match="no 'dm' here; there is random-rho-2, ncfm"):
        apply_overrides(RAW, ["methods.dm.label=x"])
    with pytest.raises(SettingsError, match="methods is not a table"):
        apply_overrides(RAW, ["methods.label=x"])


def test_slug_is_a_folder_name() -> None:
    assert slug(" NCFM (ρ = 2)/x ") == "ncfm-2-x"
    assert slug("ρ") == ""


def test_smoke_shrinks_every_recipe_and_nothing_else() -> None:
    for entry in entries():
        raw = tomllib.loads(entry.text)
        small = smoke(raw)
        assert small["students"]["students"] < raw["students"]["students"]
        assert small["data"] == raw["data"]
        for before, after in zip(raw["methods"], small["methods"], strict=True):
            assert before["label"] == after["label"]
            if before["kind"] == "random":
                assert before == after
            else:
                assert after["settings"]["iterations"] < before["settings"]["iterations"]
                assert after["settings"]["synthetic"] == before["settings"]["synthetic"]
                for old, new in zip(
                    before["settings"]["objectives"], after["settings"]["objectives"], strict=True
                ):
                    shrunk = {"n_frequencies": 32} if "n_frequencies" in old["options"] else {}
                    assert new == {**old, "options": {**old["options"], **shrunk}}
                assert after.get("published", {}).get("comparable", False) is False


def test_smoke_shrinks_options_that_are_there_and_only_shrinks() -> None:
    options = {"n_frequencies": 8, "n_components": 64, "alpha": 0.5}
    terms = [{"name": "ncfm", "options": options}, {"name": "dm"}, 3, {"options": 3}]
    (method,) = smoke({"methods": [{"kind": "distill", "settings": {"objectives": terms}}]})[
        "methods"
    ]
    shrunk = {"n_frequencies": 8, "n_components": 2, "alpha": 0.5}
    expected = [{"name": "ncfm", "options": shrunk}, {"name": "dm"}, 3, {"options": 3}]
    assert method["settings"]["objectives"] == expected

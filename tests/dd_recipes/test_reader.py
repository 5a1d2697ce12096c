from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass
from typing import Any

import pytest

from dd_core.errors import SettingsError
from dd_core.objectives import build_objective
from dd_core.settings import DistillSettings, Term
from dd_recipes.catalog import Entry, entries, find
from dd_recipes.reader import load_recipe, read_recipe
from dd_recipes.recipe import Recipe
from dd_recipes.toml import dump

QUICKSTART = find("quickstart")


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_recipe(QUICKSTART, overrides=overrides)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_every_recipe_loads_and_is_named_as_its_file() -> None:
    loaded = [load_recipe(entry) for entry in entries()]
    assert [recipe.name for recipe in loaded] == [entry.name for entry in entries()]


def test_every_recipe_loads_with_the_smoke_budget() -> None:
    for entry in entries():
        assert load_recipe(entry, budget="smoke").students.epochs <= 10


def test_every_recipe_names_its_own_command() -> None:
    for entry in entries():
        header = entry.text.split("\n\n")[0]
        assert f"dd-recipes reproduce {entry.name}" in header


def unwritten(written: dict[str, Any], value: object, path: str) -> list[str]:
    """Fields of a settings dataclass, or options, that a recipe leaves to their defaults."""
    assert is_dataclass(value)
    found = []
    for field in fields(value):
        inner = getattr(value, field.name)
        if inner is None:
            continue  # TOML has no null
        if field.name not in written:
            found.append(f"{path}.{field.name}")
        elif is_dataclass(inner):
            found += unwritten(written[field.name], inner, f"{path}.{field.name}")
        elif field.name == "objectives":
            for table, term in zip(written["objectives"], inner, strict=True):
                found += unwritten(table, term, f"{path}.{term.name}")
                objective = build_objective(term.name, term.options)
                found += unwritten(table["options"], objective, f"{path}.{term.name}.options")
    return found


def test_every_recipe_writes_every_setting_out() -> None:
    for entry in entries():
        raw, recipe = tomllib.loads(entry.text), load_recipe(entry)
        missing = unwritten(raw["network"], recipe.network, "network")
        missing += unwritten(raw["pretrain"], recipe.pretrain, "pretrain")
        missing += unwritten(raw["students"], recipe.students, "students")
        for table, method in zip(raw["methods"], recipe.methods, strict=True):
            missing += unwritten(table["settings"], method.settings, method.label)
        assert missing == []
        assert "seed" in raw


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_the_resolved_tables_read_back_as_the_same_recipe(name: str) -> None:
    recipe = load_recipe(find(name), overrides=["seed=7"])
    again = read_recipe(tomllib.loads(dump(recipe.tables())), name=name)
    assert again == recipe


def test_an_integer_is_a_number() -> None:
    assert (
        load_recipe(QUICKSTART, overrides=["students.learning_rate=1"]).students.learning_rate == 1
    )


def test_all_mistakes_are_reported_with_their_paths() -> None:
    found = mistakes(
        "students.epoch=7",
        "students.batch_size=0",
        "network.width=true",
        'pretrain.networks="3"',
        "pretrain.learning_rate=nan",
        "data.source=mnist",
        "methods.ncfm.settings.synthetic.icp=3",
        "methods.dm.settings.iterations=1.5",
        "extra=1",
    )
    expected = [
        ("students.epoch:", "did you mean epochs?"),
        ("students:", "batch_size is 0; it must be at least 1"),
        ("network.width:", "True was given; it must be a valid integer"),
        ("pretrain.networks:", "'3' was given"),
        ("pretrain.learning_rate:", "finite"),
        ("data.source:", "'embedded' or 'cifar10'"),
        ("methods.ncfm.settings.synthetic.icp:", "did you mean ipc?"),
        ("methods.dm.settings.iterations:", "1.5 was given"),
        ("extra:", "unknown setting"),
    ]
    for path, words in expected:
        assert any(m.startswith(path) and words in m for m in found), (path, found)
    assert len(found) == len(expected)


def test_paths_in_messages_are_those_of_set() -> None:
    (mistake,) = mistakes("methods.random-packed.settings.factor=0")
    assert mistake.startswith("methods.random-packed.settings: factor is 0")
    recipe = load_recipe(QUICKSTART, overrides=["methods.random-packed.settings.factor=1"])
    assert recipe.methods[1].synthetic.factor == 1


def test_kind_decides_the_settings() -> None:
    found = mistakes("methods.ncfm.kind=random")
    assert all(m.startswith("methods.ncfm.settings.") for m in found)
    assert any("methods.ncfm.settings.iterations: unknown setting" in m for m in found)


def test_dd_core_judges_what_does_not_go_together() -> None:
    (mistake,) = mistakes("methods.dm.settings.calibration=1.0")
    assert mistake.startswith("methods.dm.settings: calibration is 1.0 but extractor is 'random'")


NCFM = "methods.ncfm.settings.objectives"


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        (f"{NCFM}.ncfm.options.alhpa=1", f"{NCFM}.ncfm.options.alhpa", "did you mean alpha?"),
        (f"{NCFM}.ncfm.options.alpha=2.0", f"{NCFM}.ncfm.options.alpha", "alpha is 2.0"),
        (f"{NCFM}.ncfm.options.alpha=high", f"{NCFM}.ncfm.options.alpha", "a number"),
        (f"{NCFM}.ncfm.options.alpha=nan", f"{NCFM}.ncfm.options.alpha", "finite number"),
        (f"{NCFM}.ncfm.options.alpha=[1]", f"{NCFM}.ncfm.options.alpha", "[1] was given"),
        (f"{NCFM}.ncfm.options.n_frequencies=8.0", f"{NCFM}.ncfm.options.n_frequencies", "8.0"),
        (f"{NCFM}.ncfm.options=3", f"{NCFM}.ncfm.options", "3 was given"),
        (f"{NCFM}.ncfm.wieght=3", f"{NCFM}.ncfm.wieght", "did you mean weight?"),
        (f"{NCFM}.ncfm.weight=-1", f"{NCFM}.ncfm", "weight is -1"),
        (f"{NCFM}.ncfm.weight=inf", f"{NCFM}.ncfm.weight", "finite"),
        (f"{NCFM}.ncfm.name=ncmf", f"{NCFM}.ncmf", "there is no objective 'ncmf'"),
        (f"{NCFM}=[]", "methods.ncfm.settings", "objectives is empty"),
        (f"{NCFM}=3", NCFM, "3 was given"),
        (f"{NCFM}=[3]", f"{NCFM}.1", "3 was given"),
        (f"{NCFM}=[{{weight=1}}]", f"{NCFM}.1.name", "missing"),
        (f'{NCFM}=[{{name="dm"}}, {{name="dm"}}]', "methods.ncfm.settings", "only once"),
    ],
)
def test_a_mistake_in_a_term_is_reported_once_with_its_path(
    override: str, path: str, words: str
) -> None:
    (mistake,) = mistakes(override)
    assert mistake.startswith(f"{path}: ")
    assert words in mistake


def test_options_that_do_not_go_together_are_a_mistake_of_the_options() -> None:
    # Neither alone is wrong: 24 frequencies are not a multiple of the 16 repeats of psi tanh.
    (mistake,) = mistakes(f"{NCFM}.ncfm.options.psi=tanh", f"{NCFM}.ncfm.options.n_frequencies=24")
    assert mistake.startswith(f"{NCFM}.ncfm.options: n_frequencies is 24 and repeats is 16")


def test_all_mistakes_of_all_terms_are_reported() -> None:
    terms = '[{name="ncfm", options={alpha=7, n_frequencies="x"}}, {name="mmm"}]'
    found = mistakes(f"{NCFM}={terms}", "methods.ncfm.settings.iterations=0")
    starts = (".ncfm.options.alpha:", ".ncfm.options.n_frequencies:", ".mmm: there is no")
    expected = [*(f"{NCFM}{start}" for start in starts), "methods.ncfm.settings: iterations is 0"]
    assert len(found) == len(expected)
    for start in expected:
        assert any(mistake.startswith(start) for mistake in found), (start, found)


def test_terms_are_set_by_name_and_as_a_whole() -> None:
    def objectives(*overrides: str) -> tuple[Term, ...]:
        settings = load_recipe(QUICKSTART, overrides=overrides).methods[3].settings
        assert isinstance(settings, DistillSettings)
        return settings.objectives

    (term,) = objectives(f"{NCFM}.ncfm.options.n_frequencies=64", f"{NCFM}.ncfm.weight=2")
    assert (term.name, term.weight, term.options["n_frequencies"]) == ("ncfm", 2.0, 64)
    whole = f'{NCFM}=[{{name="dm", weight=0.5}}, {{name="ncfm"}}]'
    assert objectives(whole) == (Term("dm", 0.5), Term("ncfm"))
    later = objectives(whole, f"{NCFM}.ncfm.options.alpha=0.7")
    assert later == (Term("dm", 0.5), Term("ncfm", 1.0, {"alpha": 0.7}))


@pytest.mark.parametrize("init", ["noise", "file"])
def test_random_means_real_images(init: str) -> None:
    (mistake,) = mistakes(
        f"methods.random-real.settings.init={init}",
        f"methods.random-real.settings.init_file={'a' if init == 'file' else ''}",
    )
    assert "no choice of real images" in mistake


def test_methods_need_different_names() -> None:
    (mistake,) = mistakes("methods.dm.label=ncfm!")
    assert "two methods have this name" in mistake


@pytest.mark.parametrize(
    ("text", "message"),
    [("a = ", "not TOML"), ("", "name: missing"), ("methods = 3", "methods: 3 was given"),
     ("students = 1", "students: 1 was given")],
)  # fmt: skip
def test_broken_files(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe(Entry("broken", text))


def test_a_recipe_needs_a_method_a_good_seed_and_a_plain_name() -> None:
    raw = tomllib.loads(QUICKSTART.text)
    with pytest.raises(SettingsError, match="at least one"):
        read_recipe({**raw, "methods": []}, name="x")
    with pytest.raises(SettingsError, match="seed is -1"):
        read_recipe({**raw, "seed": -1}, name="x")
    with pytest.raises(SettingsError, match="small letters"):
        read_recipe({**raw, "name": "../x"}, name="x")


def test_published_values_are_checked() -> None:
    with pytest.raises(SettingsError, match=r"methods.ncfm.published: n is 1"):
        load_recipe(find("ncfm-cifar10-ipc1"), overrides=["methods.ncfm.published.n=1"])


def test_computation_ignores_words() -> None:
    def computed(*overrides: str) -> dict[str, Any]:
        recipe: Recipe = load_recipe(QUICKSTART, overrides=overrides)
        return recipe.computation()

    assert computed("title=other", "methods.dm.about=other") == computed()
    assert computed("students.students=1") != computed()
    assert computed("methods.dm.settings.hold=2") != computed()
    assert computed(f"{NCFM}.ncfm.options.alpha=0.6") != computed()
    assert computed(f"{NCFM}.ncfm.weight=200") != computed()

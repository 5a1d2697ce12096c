from __future__ import annotations

import tomllib
from dataclasses import fields
from typing import Any, cast

import pytest

from dd_core.errors import SettingsError
from dd_core.objectives import build_objective
from dd_core.settings import Term
from dd_recipes.catalog import Entry, entries, find
from dd_recipes.cells import DEFAULT
from dd_recipes.reader import FORMAT, Budget, load_recipe, read_recipe
from dd_recipes.recipe import Cell, Recipe
from dd_recipes.toml import dump

QUICKSTART = find("quickstart")
BUDGETS: tuple[Budget, ...] = ("full", "cpu", "smoke")


def mistakes(*overrides: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        load_recipe(QUICKSTART, overrides=overrides)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def loaded() -> list[Recipe]:
    """Every recipe, in each of its variants and budgets."""
    return [
        load_recipe(entry, variant=variant, budget=budget)
        for entry in entries()
        for variant in tomllib.loads(entry.text)["variants"]
        for budget in BUDGETS
    ]


def test_every_recipe_loads_and_is_named_as_its_file() -> None:
    assert [load_recipe(entry).name for entry in entries()] == [entry.name for entry in entries()]


def test_every_recipe_names_its_own_command() -> None:
    for entry in entries():
        header = entry.text.split("\n\n")[0] + entry.text.split("\n\n")[1]
        assert f"dd-recipes reproduce {entry.name}" in header, entry.name


def unwritten(cell: Cell) -> list[str]:
    """Settings that a cell leaves to dd-core's defaults."""
    found = [path for path, origin in cell.origins.items() if origin == DEFAULT]
    for term in cell.distill.objectives if cell.distill else ():
        # TOML has no null: what is None where it is not given cannot be written out.
        objective = build_objective(term.name, term.options)
        known = {f.name for f in fields(cast(Any, objective)) if f.default is not None}
        found += [f"{term.name}.{name}" for name in sorted(known - term.options.keys())]
    return found


def test_every_cell_of_every_variant_and_budget_writes_every_setting_out() -> None:
    recipes = loaded()
    assert len(recipes) >= 3 * len(entries())
    for recipe in recipes:
        for cell in recipe.cells:
            assert unwritten(cell) == [], (recipe.name, recipe.variant, recipe.budget, cell.name)


def test_every_value_of_a_recipe_says_where_it_comes_from() -> None:
    for recipe in loaded():
        for cell in recipe.cells:
            silent = [path for path, origin in cell.origins.items() if not origin.source]
            assert silent == [], (recipe.name, recipe.variant, cell.name)


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_the_resolved_tables_read_back_as_the_same_cells(name: str) -> None:
    recipe = load_recipe(find(name), seed=7)
    again = read_recipe(tomllib.loads(dump(recipe.tables())), name=name)
    assert again.cells == recipe.cells
    assert (again.seed, again.columns, again.claims) == (7, recipe.columns, recipe.claims)
    assert (again.references, again.paper) == (recipe.references, recipe.paper)


@pytest.mark.parametrize("budget", ["cpu", "smoke"])
def test_a_file_of_one_budget_stays_at_it(budget: Budget) -> None:
    recipe = load_recipe(find("ncfm-fig5"), budget=budget, overrides=["students.epochs=3"])
    raw = tomllib.loads(dump(recipe.tables()))
    again = read_recipe(raw, name="config")
    assert (again.budget, again.changed) == (budget, ("students.epochs",))
    assert again.cells == recipe.cells
    other: Budget = "smoke" if budget == "cpu" else "cpu"
    with pytest.raises(SettingsError, match=f"written at the {budget} budget, and {other}"):
        read_recipe(raw, name="config", budget=other)


def test_what_set_changed_is_remembered_but_for_the_number_of_students() -> None:
    changed = ["students.students=9", "cells.ncfm.distill.hold=1"]
    assert load_recipe(QUICKSTART, overrides=changed).changed == ("cells.ncfm.distill.hold",)
    assert load_recipe(QUICKSTART).changed == ()


def test_a_setting_that_would_do_nothing_is_refused() -> None:
    (mistake,) = mistakes("cells.random-real.distill.iterations=5")
    assert "no cell has 'distill'" in mistake


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"budgets": {"cpuu": {}}}, "budgets.cpuu: unknown budget"),
        ({"variants": {"cdoe": {}}}, "variants.cdoe: unknown variant"),
        ({"budgets": {"cpu": {"variants": {}}}}, "variants.NAME.budgets.cpu instead"),
        ({"variants": {"code": {"variants": {}}}}, "a variant has no variants"),
        ({"variants": {"code": {"budgets": {"gpu": {}}}}}, "budgets.gpu: unknown budget"),
    ],
)
def test_names_of_variants_and_budgets_are_checked(layer: dict[str, Any], words: str) -> None:
    raw = changed()
    raw["base"] |= layer
    with pytest.raises(SettingsError) as caught:
        read_recipe(raw, name="x")
    assert words in str(caught.value)


def test_an_integer_is_a_number() -> None:
    (first, *_) = load_recipe(QUICKSTART, overrides=["students.learning_rate=1"]).cells
    assert first.students.learning_rate == 1


def test_all_mistakes_are_reported_with_their_paths() -> None:
    found = mistakes(
        "students.epoch=7",
        "students.batch_size=0",
        "network.width=true",
        'pretrain.networks="3"',
        "pretrain.learning_rate=nan",
        "data.source=mnist",
        "cells.ncfm.synthetic.icp=3",
        "cells.dm.distill.iterations=1.5",
        "extra=1",
        "cells.ncfm.kind=distil",
        "cells.dm.measure=[1]",
    )
    expected = [
        ("students.epoch:", "did you mean epochs?"),
        ("students.batch_size:", "batch_size is 0; it must be at least 1"),
        ("network.width:", "True was given; it must be a whole number"),
        ("pretrain.networks:", "'3' was given"),
        ("pretrain.learning_rate:", "finite"),
        ("data.source:", "'embedded', 'cifar10'"),
        ("cells.ncfm.synthetic.icp:", "did you mean ipc?"),
        ("cells.dm.distill.iterations:", "1.5 was given"),
        ("extra:", "unknown setting"),
        ("cells.ncfm.kind:", "must be one of distill, random"),
        ("cells.dm.measure:", "[1] was given"),
    ]
    for path, words in expected:
        assert any(m.startswith(path) and words in m for m in found), (path, found)
    assert len(found) == len(expected), found
    assert sum("(in 4 cells: random-real, random-packed, dm, ...)" in m for m in found) == 7


def test_paths_in_messages_are_those_of_set() -> None:
    (mistake,) = mistakes("cells.random-packed.synthetic.factor=0")
    assert mistake.startswith("cells.random-packed.synthetic.factor: factor is 0")
    recipe = load_recipe(QUICKSTART, overrides=["cells.random-packed.synthetic.factor=1"])
    assert [cell.synthetic.factor for cell in recipe.cells] == [1, 1, 2, 2]


def test_a_wrong_kind_hides_no_mistake_of_the_distillation() -> None:
    found = mistakes("cells.ncfm.kind=distil", "cells.ncfm.distill.iterations=-3")
    assert [mistake.split(": ")[0] for mistake in found] == [
        "cells.ncfm.kind", "cells.ncfm.distill.iterations",
    ]  # fmt: skip


def test_kind_decides_whether_there_is_a_distillation() -> None:
    recipe = load_recipe(QUICKSTART, overrides=["cells.ncfm.kind=random"])
    assert recipe.cells[3].distill is None and recipe.cells[2].distill is not None


def test_dd_core_judges_what_does_not_go_together() -> None:
    (mistake,) = mistakes("cells.dm.distill.calibration=1.0")
    assert mistake.startswith("cells.dm.distill: calibration is 1.0 but extractor is 'random'")


TERM = "distill.objectives.ncfm"


@pytest.mark.parametrize(
    ("override", "path", "words"),
    [
        (f"{TERM}.options.alhpa=1", f"{TERM}.options.alhpa", "did you mean alpha?"),
        (f"{TERM}.options.alpha=2.0", f"{TERM}.options.alpha", "alpha is 2.0"),
        (f"{TERM}.options.alpha=high", f"{TERM}.options.alpha", "a number"),
        (f"{TERM}.options.alpha=nan", f"{TERM}.options.alpha", "finite number"),
        (f"{TERM}.options.alpha=[1]", f"{TERM}.options.alpha", "[1] was given"),
        (f"{TERM}.options.n_frequencies=8.0", f"{TERM}.options.n_frequencies", "8.0"),
        (f"{TERM}.options=3", f"{TERM}.options", "3 was given"),
        (f"{TERM}.wieght=3", f"{TERM}.wieght", "did you mean weight?"),
        (f"{TERM}.weight=-1", f"{TERM}.weight", "weight is -1"),
        (f"{TERM}.weight=inf", f"{TERM}.weight", "finite"),
        (f"{TERM}.weight=much", f"{TERM}.weight", "must be a number"),
        (f"cells.ncfm.{TERM}=false", "distill.objectives", "objectives is empty"),
        (f"cells.ncfm.{TERM}=3", TERM, "3 was given"),
        ("cells.ncfm.distill.objectives=3", "distill.objectives", "3 was given"),
        ("cells.ncfm.distill.objectives.ncmf.weight=1", "distill.objectives", "no cell has"),
        ("cells.ncfm.distill.objectives.ncmf={}", "distill.objectives.ncmf", "'ncmf'"),
    ],
)
def test_a_mistake_in_a_term_is_reported_once_with_its_path(
    override: str, path: str, words: str
) -> None:
    (mistake,) = mistakes(override)
    assert mistake.startswith((f"cells.ncfm.{path}: ", "--set"))
    assert path in mistake and words in mistake


def test_options_that_do_not_go_together_are_a_mistake_of_the_options() -> None:
    # Neither alone is wrong: 24 frequencies are not a multiple of the 16 repeats of psi tanh.
    (mistake,) = mistakes(f"{TERM}.options.psi=tanh", f"{TERM}.options.n_frequencies=24")
    assert mistake.startswith(f"cells.ncfm.{TERM}.options: n_frequencies is 24 and repeats is 16")


def test_terms_are_set_by_name() -> None:
    def objectives(*overrides: str) -> tuple[Term, ...]:
        distill = load_recipe(QUICKSTART, overrides=overrides).cells[3].distill
        assert distill is not None
        return distill.objectives

    (term,) = objectives(f"{TERM}.options.n_frequencies=64", f"{TERM}.weight=2")
    assert (term.name, term.weight, term.options["n_frequencies"]) == ("ncfm", 2.0, 64)
    pair = objectives("cells.ncfm.distill.objectives.dm={weight=0.5}")
    assert [t.name for t in pair] == ["ncfm", "dm"] and pair[1] == Term("dm", 0.5)
    swapped = objectives("cells.ncfm.distill.objectives.dm={}", f"cells.ncfm.{TERM}=false")
    assert swapped == (Term("dm"),)


@pytest.mark.parametrize("init", ["noise", "file"])
def test_random_means_real_images(init: str) -> None:
    (mistake,) = mistakes(
        f"cells.random-real.synthetic.init={init}",
        f"cells.random-real.synthetic.init_file={'a' if init == 'file' else ''}",
    )
    assert "no choice of real images" in mistake


def changed(**tables: object) -> dict[str, Any]:
    return {**tomllib.loads(QUICKSTART.text), **tables}


@pytest.mark.parametrize(
    ("text", "message"),
    [("a = ", "not TOML"), ("", "says no format"), ("format = 99", "newer"),
     ("format = '2'", "of format '2'"), (f"format = {FORMAT}", "name: missing"),
     (f"format = {FORMAT}\ncells = 3", "cells: 3 was given")],
)  # fmt: skip
def test_broken_files(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_recipe(Entry("broken", text))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"cells": []}, "at least one"),
        ({"seed": -1}, "seed is -1"),
        ({"name": "../x"}, "small letters"),
        ({"variants": []}, "variants is empty"),
        ({"shared": "nowhere"}, "there is no 'nowhere'"),
        ({"shared": "../etc"}, "there is no '../etc'"),
        ({"methods": []}, "methods: unknown setting"),
        ({"references": {"MTT": {"11 a class": [1.0]}}}, "did you mean 10 a class"),
        ({"references": {"MTT": {"10 a class": [1.0, 2.0, 3.0]}}}, "give .mean."),
        (
            {"claims": [{"text": "t", "source": "s", "cell": "nfcm", "against": "references",
                         "difference": 1.0}]},
            "did you mean ncfm",
        ),
        (
            {"claims": [{"text": "t", "source": "s", "cell": "ncfm", "against": "references:MTT",
                         "difference": 1.0}]},
            "'MTT': unknown row; known are none",
        ),
    ],
)  # fmt: skip
def test_what_is_around_the_cells_is_checked(tables: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_recipe(changed(**tables), name="x")


def test_cells_are_checked_one_by_one() -> None:
    raw = changed()
    raw["cells"][0]["published"] = {"mean": 49.5, "std": 0.3, "n": 1, "source": "Table"}
    raw["cells"][1]["use"] = ["nothing"]
    raw["cells"][2]["name"] = "ncfm"
    with pytest.raises(SettingsError) as caught:
        read_recipe(raw, name="x")
    text = str(caught.value)
    assert "cells.random-real.published.n: n is 1" in text
    assert "cells.random-packed.use: 'nothing': unknown preset; known are none" in text
    assert "cells.ncfm: two cells have this name" in text


def test_impossible_values_of_one_table_are_all_reported() -> None:
    assert [m.partition(" (in 4 cells")[0] for m in mistakes(
        "data.held_out=2", "data.imbalance_factor=0.5", "students.students=0", "students.epochs=0"
    )] == [
        "data.imbalance_factor: imbalance_factor is 0.5; give 1 or more.",
        "data.held_out: held_out is 2.0; give a share from 0 to below 1.",
        "students.students: students is 0; it must be at least 1.",
        "students.epochs: epochs is 0; it must be at least 1.",
    ]  # fmt: skip


def test_a_mistake_that_comes_of_a_default_is_not_reported() -> None:
    # With its default 128, bound would be less than ipc.
    here = "cells.random-packed.synthetic"
    wrong = (f"{here}.decode=bound", f"{here}.ipc=200", f"{here}.bound=0")
    assert mistakes(*wrong) == [f"{here}.bound: bound is 0; it must be at least 1."]


def test_mistakes_around_the_cells_do_not_hide_those_in_them() -> None:
    raw = changed(title=3, seed=-1, bogus=1)
    raw["claims"] = [{"text": "t", "source": "s", "cell": "none", "against": 3, "difference": "b"}]
    raw["cells"][0] |= {"published": {"mean": "x", "std": -1, "n": 1}, "row": 3}
    raw["cells"][0]["set"] |= {"kind": "distil", "students": {"students": 0, "epochs": "many"}}
    raw["cells"][1] |= {"use": 3, "name": "a b"}
    with pytest.raises(SettingsError) as caught:
        read_recipe(raw, name="x", overrides=["cells.random-real.network.depth=0"])
    found = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert [line.partition(": ")[0] for line in found] == [
        "title",
        "claims.1.against",
        "claims.1.difference",
        "bogus",
        "seed",
        "cells.random-real.row",
        "cells.random-real.published.mean",
        "cells.random-real.published.source",
        "cells.random-real.published.std",
        "cells.random-real.published.n",
        "cells.a b.use",
        "cells.a b.name",
        "cells.random-real.kind",
        "cells.random-real.network.depth",
        "cells.random-real.students.epochs",
        "cells.random-real.students.students",
        "claims.1.cell",
    ]


@pytest.mark.parametrize(
    "tables", [{"variants": 3}, {"base": 3}, {"presets": {"a": 3}}, {"shared": "none"}]
)
def test_without_their_layers_cells_are_not_judged(tables: dict[str, Any]) -> None:
    raw = changed(**tables)
    raw["cells"][0]["row"] = 3
    with pytest.raises(SettingsError) as caught:
        read_recipe(raw, name="x")
    found = [line.strip().partition(": ")[0] for line in str(caught.value).splitlines()[1:]]
    (path,) = tables
    assert len(found) == 2 and found[0].startswith(path), found
    assert found[1] == "cells.random-real.row"


def test_an_unknown_key_of_a_claim_is_compared_with_those_that_claims_have() -> None:
    raw = changed(claims=[{"text": "t", "source": "s", "cell": "ncfm", "against": "dm",
                           "diffrence": 1.0}])  # fmt: skip
    with pytest.raises(SettingsError, match=r"claims\.1\.diffrence: .*did you mean difference"):
        read_recipe(raw, name="x")


def test_a_variant_that_is_not_there() -> None:
    with pytest.raises(SettingsError, match="no variant 'paper'; it has best"):
        load_recipe(QUICKSTART, variant="paper")


def test_presets_and_variants_are_laid_in_order() -> None:
    raw = changed(variants=["paper", "code"])
    raw["presets"] = {
        "long": {"_source": "a", "students": {"epochs": 9}},
        "short": {"students": {"epochs": 2}, "variants": {"code": {"students": {"epochs": 3}}}},
    }
    raw["cells"][0]["use"] = ["long", "short"]
    paper, code = (read_recipe(raw, name="x", variant=v).cells[0] for v in ("paper", "code"))
    assert (paper.students.epochs, code.students.epochs) == (2, 3)
    assert paper.origins["students.epochs"].layer == "preset short"
    assert code.origins["students.epochs"].layer == "preset short, code"


def test_a_cell_of_other_images_is_not_the_one_that_was_published() -> None:
    def published(**options: Any) -> list[str]:
        recipe = load_recipe(find("ncfm-table1"), **options)
        return [cell.name for cell in recipe.cells if cell.published is not None]

    every = published()
    ten = {name for name in every if "-ipc1-" not in name}
    assert "cifar10-ipc10-ncfm" in ten
    assert published(overrides=["synthetic.ipc=3"]) == []
    assert published(overrides=["data.imbalance_factor=10"]) == []
    assert published(overrides=["students.epochs=3", "distill.iterations=5"]) == every
    assert published(budget="cpu") == every
    assert set(published(budget="smoke")) == set(every) - ten  # 2 images a class

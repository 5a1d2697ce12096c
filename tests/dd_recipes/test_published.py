"""The published values of all recipes against the papers' tables, which stand here as printed."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import pytest

from dd_recipes.catalog import entries, find
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Recipe

CELLS = {
    "csdm-cifar10-lt": 33,
    "csdm-cifar100-lt": 18,
    "csdm-fig2": 17,
    "csdm-fig3": 15,
    "csdm-fig4": 16,
    "csdm-fig5": 3,
    "ddm-cifar10": 16,
    "ddm-cifar100": 12,
    "ddm-fig3a": 9,
    "ddm-fig3b": 4,
    "ddm-imagenette": 6,
    "ddm-imagewoof": 6,
    "ddm-tinyimagenet": 11,
    "ncfm-fig3": 8,
    "ncfm-fig5": 8,
    "ncfm-fig6": 5,
    "ncfm-fig7": 6,
    "ncfm-table1": 45,
    "ncfm-table2": 36,
    "ncfm-table3": 16,
    "ncfm-table4": 16,
    "ncfm-table5": 22,
}

# One line a row: its label in the recipe, then the values of the recipe's columns from left to
# right, - where the paper has none; what is missing at the end of a line is not there either.
PRINTED = {
    # Table 1: CIFAR-10, CIFAR-100 and Tiny ImageNet, each at 1, 10 and 50 images a class; the last
    # line is of REPRODUCTION.md in the official code, 2026.
    "ncfm-table1": """
        random real | 14.4±2.0 26.0±1.2 43.4±1.0 4.2±0.3 14.6±0.5 30.0±0.4 1.4±0.1 5.0±0.2 15.0±0.4
        herding | 21.5±1.2 31.6±0.7 40.4±0.6 8.4±0.3 17.3±0.3 33.7±0.5 2.8±0.2 6.3±0.2 16.7±0.3
        Forgetting | 13.5±1.2 23.3±1.0 23.3±1.1 4.5±0.2 15.1±0.3 30.5±0.3 1.6±0.1 5.1±0.2 15.0±0.3
        DC | 28.3±0.5 44.9±0.5 53.9±0.5 12.8±0.3 25.2±0.3
        DSA | 28.8±0.7 52.1±0.5 60.6±0.5 13.9±0.3 32.3±0.3 42.8±0.4
        DCC | 32.9±0.8 49.4±0.5 61.6±0.4 13.3±0.3 30.6±0.4 40.0±0.3
        DSAC | 34.0±0.7 54.5±0.5 64.2±0.4 14.6±0.3 14.6±0.3 39.3±0.4
        FrePo | 46.8±0.7 65.5±0.4 71.7±0.2 28.7±0.1 42.5±0.2 44.3±0.2 15.4±0.3 25.4±0.2
        MTT | 46.3±0.8 65.3±0.7 71.6±0.2 24.3±0.3 40.1±0.4 47.7±0.2 8.8±0.3 23.2±0.2 28.0±0.3
        ATT | 48.3±1.0 67.7±0.6 74.5±0.4 26.1±0.3 44.2±0.5 51.2±0.3 11.0±0.5 25.8±0.4
        FTD | 46.8±0.3 66.6±0.3 73.8±0.2 25.2±0.2 43.4±0.3 48.5±0.3 10.4±0.3 24.5±0.2
        TESLA | 48.5±0.8 66.4±0.8 72.6±0.7 24.8±0.4 41.7±0.3 47.9±0.3
        CAFE | 30.3±1.1 46.3±0.6 55.5±0.6 12.9±0.3 27.8±0.3 37.9±0.3
        DM | 26.0±0.8 48.9±0.6 63.0±0.4 11.4±0.3 29.7±0.3 43.6±0.4 3.9±0.2 12.9±0.4 24.1±0.3
        IDM | 45.6±0.7 58.6±0.1 67.5±0.1 20.1±0.3 45.1±0.1 50.0±0.2 10.1±0.2 21.9±0.2 27.7±0.3
        M3D | 45.3±0.3 63.5±0.2 69.9±0.5 26.2±0.3 42.4±0.2 50.9±0.7
        IID | 47.1±0.1 59.9±0.1 69.0±0.3 24.6±0.1 45.7±0.4 51.3±0.4
        DSDM | 45.0±0.4 66.5±0.3 75.8±0.3 19.5±0.2 46.2±0.3 54.0±0.2
        G-VBSM | - 46.5±0.7 54.3±0.3 16.4±0.7 38.7±0.2 45.7±0.4
        NCFM | 49.5±0.3 71.8±0.3 77.4±0.3 34.4±0.5 48.7±0.3 54.7±0.2 18.2±0.5 26.8±0.6 29.6±0.5
        NCFM (authors' sets, re-evaluated in 2026) | 48.598 70.808 77.453 34.384 49.547 54.224 \
                                                     17.329 26.171 28.887
    """,
    # Table 2: Nette, Woof, Fruit, Meow, Squawk and Yellow, each at 1 and 10 images a class.
    "ncfm-table2": """
        random real | 23.5±4.8 47.7±2.4 14.2±0.9 27.0±1.9 13.2±0.8 21.4±1.2 \
                      13.8±0.6 29.0±1.1 21.8±0.5 40.2±0.4 20.4±0.6 37.4±0.5
        MTT | 47.7±0.9 63.0±1.3 28.6±0.8 35.8±1.8 26.6±0.8 40.3±1.3 \
              30.7±1.6 40.4±2.2 39.4±1.5 52.3±1.0 45.2±0.8 60.0±1.5
        DM | 32.8±0.5 58.1±0.3 21.1±1.2 31.4±0.5 - - - - 31.2±0.7 50.4±1.2
        RDED | 33.8±0.8 63.2±0.7 18.5±0.9 40.6±2.0
        NCFM | 53.4±1.6 77.6±1.0 27.2±1.1 48.4±1.3 29.2±0.7 44.8±1.5 \
               34.6±0.7 58.2±1.2 41.6±1.2 72.8±0.9 46.6±1.5 74.2±1.4
    """,
    # Table 3: CIFAR-100 at 10 and 50, Tiny ImageNet at 10 and 50: seconds, then GB.
    "ncfm-table3": """
        MTT | 1.92 - - - 61.6
        FTD | 1.68 - - - 61.4
        TESLA | 5.71 28.24 42.01 - 10.3 44.2 69.6
        NCFM w/o psi | 0.73 0.96 2.40 5.67 1.4 1.9 6.4 8.4
        NCFM | 1.33 1.36 3.27 7.22 1.6 2.0 6.5 8.7
    """,
    # Table 4: ConvNet, AlexNet, VGG-11 and ResNet-18 at 10 images a class, then at 50.
    "ncfm-table4": """
        DSA | 52.1±0.4 35.9±1.3 43.2±0.5 35.9±1.3 59.9±0.8 53.3±0.7 51.0±1.1 47.3±1.0
        MTT | 64.3±0.7 34.2±2.6 50.3±0.8 34.2±2.6
        KIP | 47.6±0.9 24.4±3.9 42.1±0.4 24.4±3.9
        DM | - - - - 65.2±0.4 61.3±0.6 59.9±0.8 57.0±0.9
        NCFM | 71.8±0.3 67.9±0.5 68.0±0.3 67.7±0.5 77.4±0.3 75.5±0.3 75.5±0.3 73.8±0.2
    """,
    # Table 5: CIFAR-10 at 10 and 50, CIFAR-100 at 10 and 50, Tiny ImageNet at 1, 10 and 50, then
    # Fruit, Meow, Squawk and Yellow at 10.
    "ncfm-table5": """
        NCFM w/o psi | 65.6 74.2 45.9 53.7 9.4 14.2 22.0 39.6 51.6 68.8 67.6
        NCFM | 68.9 77.4 48.7 54.4 12.0 24.3 26.5 41.4 54.4 70.8 69.2
    """,
    # Figure 3: CIFAR-100 at 1, 10, 50 and 100: seconds, then GB.
    "ncfm-fig3": """
        NCFM w/o psi | 0.8 0.7 1.0 0.8 1.4 1.4 1.9 2.3
        DATM | 8.8 14.8 15.2 15.6
    """,
    # Figure 5 in words, and its baseline from Table 1.
    "ncfm-fig5": "DM | - - - - - - - 48.9±0.6",
    # Figure 6 in words: 16, 64, 256, 1024 and 4096 frequencies.
    "ncfm-fig6": "NCFM | 62 - - 67",
    # RLDD, arXiv 2511.18858: imbalance 10, 50, 100 and 200, each at 10, 20 and 50 images a class,
    # and 100 at 1 image a class before its others.
    "csdm-cifar10-lt": """
        Random | 32.5±2.2 39.6±0.9 51.9±1.5 33.2±0.4 42.0±1.3 51.6±1.3 - 34.4±2.0 \
                41.4±0.7 52.6±0.5 - - 49.9
        K-Center | 21.9 24.2 31.7 17.8 20.8 26.1 - 16.2 19.0 24.2
        Graph-Cut | 28.7 34.2 40.6 24.2 28.6 33.9 - 22.9 26.0 33.3
        DC | 37.9 38.5 37.4 37.3 38.8 35.8 - 36.7 38.1 35.3
        MTT | 58.0 59.5 62.0 45.8 49.9 53.6 - 37.7 41.6 47.8 - - 23.9
        DREAM | 34.6 42.2 50.5 30.8 38.4 45.5 - 30.8 34.9 42.2
        IDM | 54.8 57.1 60.1 51.9 53.3 56.1 - 49.8 50.9 53.1
        Minimax | 29.2 28.5 39.9 18.4 22.5 25.2 - 19.9 23.3 28.0
        DATM | 57.2 60.4 66.7 41.6 43.4 50.3 20.4 37.3 38.9 44.3 - - 40.1
        RDED | 46.2 55.5 62.0 43.3 46.1 53.2 21.8 41.2 45.3 49.9
        EDC | 56.4 62.7 68.5 55.2 60.2 64.1 - 53.2 57.4 60.5
        DAMED | 58.1±0.3 63.0±1.0 70.5±0.4 54.2±1.0 59.4±0.7 65.8±0.2 24.1 53.4±0.1 \
                58.2±0.6 64.0±0.9 - - 62.3
        RLDD | 63.6 68.3 74.1 62.9 67.3 70.6 44.8 62.7 66.4 68.8
    """,
    # The same paper: imbalance 10, 20 and 50, each at 10, 20 and 50 images a class.
    "csdm-cifar100-lt": """
        Random | 14.2 21.7 32.1 15.0 21.6 30.5 13.4 20.6 26.9
        K-Center | 10.7 15.9 24.8 10.0 15.1 23.8 8.7 12.4 19.8
        Graph-Cut | 16.9 22.2 29.9 16.0 20.7 28.7 13.1 17.2 24.8
        DC | 24.0 27.4 27.4 23.2 26.2 27.4 19.8 22.7 25.9
        MTT | 14.3 16.7 13.8 12.6 15.0 10.6 8.2 11.2 6.3
        DREAM | 10.1 12.0 13.1 9.4 10.3 12.3 6.8 7.6 9.8
        DATM | 28.2 34.1 31.6 25.3 27.2 27.1 22.2 19.8 22.9
        RDED | 30.5 36.0 37.6 32.1 33.9 - 28.0
        EDC | 31.5 36.6 38.5 32.7 34.2 - 30.2
        DAMED | 31.5 37.5 40.0 31.4 35.1 37.0 29.8 31.9 33.2
        RLDD | 47.1 48.8 49.9 45.5 46.9 48.1 42.1 43.4 44.2
    """,
    # docs/results.md of the authors' code, 2026, and DM as NCFM's tables quote it: 1, 10, 50.
    "ddm-cifar10": """
        DM | 26.14±0.87 48.79±0.87 62.87±0.37
        DM + MM + ICD (sum) | 25.67±0.97 45.13±0.98 43.48±0.48
        DM + style (2026) | - 51.13±0.66
        DDM (2026) | - 51.05±0.43
        random | - 33.15±1.67
        herding | - 38.48±0.64
        k-means | - 39.31±0.62
        DM (as quoted in NCFM, Table 1) | 26.0±0.8 48.9±0.6 63.0±0.4
        + style diversity L_SD (authors, 2026) | - 51.13±0.50
        + L_CD + L_SD (authors, 2026) | - 50.56±0.51
        k-center (authors, 2026) | - 19.84±0.66
        uncertainty (authors, 2026) | - 11.80±0.66
        GraNd (authors, 2026) | - 11.20±1.57
        EL2N (authors, 2026) | - 11.15±0.39
        forgetting (authors, 2026) | - 9.55±0.65
    """,
    "ddm-cifar100": """
        DM | - 29.32±0.29
        DM + MM + ICD (sum) | - 26.23±0.36
        DM + style (2026) | - 30.57±0.37
        DDM (2026) | - 30.44±0.17
        DM (as quoted in NCFM, Table 1) | 11.4±0.3 29.7±0.3 43.6±0.4
        + style diversity L_SD (authors, 2026) | - 30.33±0.38
    """,
    "ddm-tinyimagenet": """
        DM | - 14.19±0.23
        DM + style (2026) | - 14.87±0.30
        DDM (2026) | - 14.73±0.40
        DM (as quoted in NCFM, Table 1) | 3.9±0.2 12.9±0.4 24.1±0.3
        + style diversity L_SD (authors, 2026) | - 13.22±0.34
    """,
    "ddm-imagenette": "DM (as quoted in NCFM, Table 2) | 32.8±0.5 58.1±0.3",
    "ddm-imagewoof": "DM (as quoted in NCFM, Table 2) | 21.1±1.2 31.4±0.5",
    "ddm-fig3a": "DM | 48.79±0.87",
}

# Cell, what it is compared with, and by how much the text says that it is better.
CLAIMED = {
    "ncfm-table1": [
        ("cifar10-ipc1-ncfm", "cifar10-ipc1-dm", 23.5),  # section 5.2
        ("cifar100-ipc1-ncfm", "cifar100-ipc1-dm", 23.0),
    ],
    "ncfm-table2": [  # abstract, section 5.2
        ("imagesquawk-ipc10-ncfm", "references", 20.5),
        ("imagemeow-ipc10-ncfm", "references", 17.8),
        ("imagenette-ipc1-ncfm", "references:RDED", 19.6),
    ],
    "ncfm-table5": [  # section 5.3.1
        ("cifar10-ipc50-ncfm", "cifar10-ipc50-without-psi", 3.2),
        ("tinyimagenet-ipc1-ncfm", "tinyimagenet-ipc1-without-psi", 2.6),
        ("tinyimagenet-ipc10-ncfm", "tinyimagenet-ipc10-without-psi", 10.1),
        ("imagemeow-ipc10-ncfm", "imagemeow-ipc10-without-psi", 2.8),
        ("imagesquawk-ipc10-ncfm", "imagesquawk-ipc10-without-psi", 2.0),
    ],
    "ncfm-fig5": [  # section 5.3.2
        ("alpha-0-5", "alpha-0-999", 3.0),
        ("alpha-0-5", "alpha-0-001", 1.0),
    ],
    "ncfm-fig6": [("frequencies-1024", "frequencies-16", 5.0)],  # section 5.3.3
    "csdm-cifar10-lt": [  # abstract
        ("if200-ipc10-csdm", "if200-ipc10-ncfm", 14.0),
        ("if10-ipc10-csdm", "if200-ipc10-csdm", 5.7),
    ],
    "csdm-fig2": [  # its caption
        ("sdd-rbf-scale-1", "linear", 0.0),
        ("sdd-rational-quadratic-scale-1", "linear", 0.0),
        ("sdd-imq-scale-1", "linear", 0.0),
        ("sdd-rbf-scale-1", "sdd-rational-quadratic-scale-1", 0.0),
        ("sdd-rbf-scale-1", "sdd-imq-scale-1", 0.0),
    ],
    "csdm-fig3": [  # its caption
        ("if200-alpha-0-7", "if200-alpha-0-5", 0.0),
        ("if200-alpha-0-7", "if200-alpha-0-1", 0.0),
    ],
    "ddm-cifar10": [
        ("cifar10-ipc10-ddm", "cifar10-ipc10-dm", 4.1),  # abstract
        ("cifar10-ipc10-style-2026", "cifar10-ipc10-dm", 2.34),  # docs/results.md
    ],
    "ddm-cifar100": [
        ("cifar100-ipc10-ddm", "cifar100-ipc10-dm", 4.2),
        ("cifar100-ipc10-style-2026", "cifar100-ipc10-dm", 1.25),
    ],
    "ddm-tinyimagenet": [
        ("tinyimagenet-ipc10-ddm", "tinyimagenet-ipc10-dm", 4.3),
        ("tinyimagenet-ipc10-style-2026", "tinyimagenet-ipc10-dm", 0.68),
    ],
    "ddm-imagenette": [("imagenette-ipc10-ddm", "imagenette-ipc10-dm", 2.5)],
    "ddm-imagewoof": [("imagewoof-ipc10-ddm", "imagewoof-ipc10-dm", 3.3)],
    "ddm-fig3b": [("ddm", "dm", 5.5)],
}

Values = dict[tuple[str, str], tuple[float, float | None]]


@cache
def recipe_of(name: str) -> Recipe:
    return load_recipe(find(name))


def number_of(text: str) -> tuple[float, float | None]:
    mean, _, std = text.partition("±")
    return float(mean), float(std) if std else None


def printed(name: str) -> Values:
    """What the papers print, by row and column of the recipe."""
    columns = recipe_of(name).columns
    values: Values = {}
    for line in PRINTED.get(name, "").strip().splitlines():
        label, _, rest = line.partition("|")
        found = rest.split()
        assert len(found) <= len(columns), line
        for column, text in zip(columns, found, strict=False):
            if text != "-":
                values[label.strip(), column] = number_of(text)
    return values


def written(name: str) -> Values:
    """What the recipe says."""
    recipe = recipe_of(name)
    values: Values = {}
    for cell in recipe.cells:
        if (said := cell.published) is not None:
            values[cell.row, cell.column] = (said.mean, said.std)
    for reference in recipe.references:
        values[reference.row, reference.column] = (reference.mean, reference.std)
    return values


def test_the_papers_have_these_recipes_with_so_many_cells() -> None:
    found = {entry.name: len(recipe_of(entry.name).cells) for entry in entries()}
    assert {name: n for name, n in found.items() if name in CELLS} == CELLS
    assert set(found) - set(CELLS) == {"quickstart", "continual", "search"}


@pytest.mark.parametrize("name", CELLS)
def test_published_values_are_those_of_the_papers(name: str) -> None:
    assert written(name) == printed(name)


def test_each_number_of_values_is_as_expected() -> None:
    counts = {name: len(written(name)) for name in CELLS}
    assert counts["ncfm-table1"] == 21 * 9 - 35  # as many places are empty in the table
    assert sum(counts.values()) == sum(len(printed(name)) for name in PRINTED)
    assert set(PRINTED) == {name for name, count in counts.items() if count}


@pytest.mark.parametrize("name", CELLS)
def test_claims_are_those_of_the_papers(name: str) -> None:
    found = [(c.cell, c.against, c.difference) for c in recipe_of(name).claims]
    assert found == CLAIMED.get(name, [])


@pytest.mark.parametrize("name", CELLS)
def test_no_two_cells_share_a_place(name: str) -> None:
    places = Counter((cell.row, cell.column) for cell in recipe_of(name).cells)
    assert [place for place, n in places.items() if n > 1] == []


def test_values_name_their_table() -> None:
    for name in CELLS:
        for cell in recipe_of(name).cells:
            if cell.published is not None:
                words = r"(Table|Figure|section) \d|docs/results\.md"
                assert re.search(words, cell.published.source), (name, cell.name)


def test_claims_agree_with_the_tables_where_these_have_both_values() -> None:
    agreeing = 0
    for name in CELLS:
        recipe, known = recipe_of(name), written(name)
        places = {cell.name: (cell.row, cell.column) for cell in recipe.cells}
        for claim in recipe.claims:
            column = places[claim.cell][1]
            kind, _, row = claim.against.partition(":")
            if kind == "references":
                other: float | None = max(
                    r.mean for r in recipe.references if r.column == column and row in ("", r.row)
                )
            else:
                other = known.get(places[claim.against], (None, None))[0]
            mean = known.get(places[claim.cell], (None, None))[0]
            if mean is not None and other is not None:
                assert mean - other == pytest.approx(claim.difference, abs=1e-9), claim.text
                agreeing += 1
    assert agreeing == 14


def test_speed_and_memory_are_no_accuracies() -> None:
    units = Counter(
        cell.published.unit for cell in recipe_of("ncfm-table3").cells if cell.published is not None
    )
    assert units == {"s": 8, "GB": 8}
    assert {cell.measure for cell in recipe_of("ncfm-table3").cells} == {"speed"}
    assert {cell.measure for cell in recipe_of("ncfm-fig7").cells} == {"dynamics"}
    assert {cell.measure for cell in recipe_of("ddm-fig3b").cells} == {"continual"}


@pytest.mark.parametrize("name", CELLS)
def test_a_data_set_is_of_the_size_and_depth_that_the_papers_give(name: str) -> None:
    given = {"cifar10": (0, 3), "cifar100": (0, 3), "tinyimagenet": (64, 4)}
    for cell in recipe_of(name).cells:
        expected = given.get(cell.data.source, (128, 5))
        assert (cell.data.size, cell.network.depth) == expected, cell.name


def test_long_tails_are_those_of_their_columns() -> None:
    found = 0
    for name in ("csdm-cifar10-lt", "csdm-cifar100-lt", "csdm-fig4"):
        for cell in recipe_of(name).cells:
            factor = re.match(r"if(\d+)", cell.column)
            assert factor is not None
            assert cell.data.imbalance_factor == int(factor.group(1))
            assert cell.synthetic.short_classes == "repeat"
            found += 1
    assert found == 67


@pytest.mark.parametrize("name", CELLS)
def test_a_column_that_names_a_number_of_images_has_it(name: str) -> None:
    for cell in recipe_of(name).cells:
        if named := re.search(r"ipc(\d+)", cell.column):
            assert cell.synthetic.ipc == int(named.group(1)), cell.name


@pytest.mark.parametrize("name", ["ncfm-fig5", "ncfm-fig6", "csdm-fig2", "csdm-fig3", "csdm-fig5"])
def test_the_place_on_an_axis_is_the_setting_that_it_names(name: str) -> None:
    option = {"ncfm-fig5": "alpha", "ncfm-fig6": "n_frequencies", "csdm-fig2": "bandwidth"}
    placed = [cell for cell in recipe_of(name).cells if cell.x is not None]
    assert len(placed) >= 3
    for cell in placed:
        assert cell.distill is not None
        (term,) = cell.distill.objectives
        assert term.options[option.get(name, "alpha_head")] == cell.x, cell.name

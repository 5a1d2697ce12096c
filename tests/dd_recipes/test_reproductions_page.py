"""docs/reproductions.md says what the committed result files say."""

from __future__ import annotations

import importlib.util
import json
import shlex
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from dd_recipes.catalog import entries
from dd_recipes.paper import PublishedValue
from dd_recipes.results import Results

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool() -> ModuleType:
    path = ROOT / "tools" / "reproductions.py"
    spec = importlib.util.spec_from_file_location("reproductions", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_up_to_date(tool: ModuleType) -> None:
    assert tool.main(["--check"]) == 0


def test_every_result_file_is_of_a_recipe_and_reads_back(tool: ModuleType) -> None:
    names = {entry.name for entry in entries()}
    files = sorted(tool.FOLDER.glob("*.json"))
    assert files
    for path in files:
        results = Results.from_json(json.loads(path.read_text())["results"])
        assert results.recipe in names and results.done, path


def test_a_run_is_taken_and_shown(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    finished: tuple[Path, Results],
) -> None:  # fmt: skip
    monkeypatch.setattr(tool, "FOLDER", tmp_path / "reproductions")
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    assert tool.main(["add", str(finished[0]), "--note", "On a <slow> machine."]) == 0
    text = (tmp_path / "page.md").read_text()
    assert (tmp_path / "reproductions" / "quickstart-best-smoke.json").is_file()
    assert "| `quickstart` |" in text and "4 of 4 cells, best variant, smoke budget" in text
    assert "On a <slow> machine." in text and "dd-recipes reproduce x" in text
    for row in finished[1].rows:
        assert f"| {row.row} | {row.accuracy} |" in text
    (tmp_path / "page.md").write_text("old")
    assert tool.main(["--check"]) == 1


@pytest.mark.parametrize(
    "command",
    [
        "dd-recipes reproduce x --cells a --cells b --set 'k = \"a --b\"' --out runs/x",
        'dd-recipes reproduce x --set "it\'s \\"so --so\\"" --data a\\ --b --resume',
        "dd-recipes report runs/x",
    ],
)
def test_a_command_has_a_line_for_every_option_and_means_the_same(
    tool: ModuleType, command: str
) -> None:
    broken = tool._broken(command)
    assert shlex.split(broken.replace("\\\n", "")) == shlex.split(command)
    first, *lines = broken.split("\n")
    assert " --" not in first
    assert len(lines) == sum(word.startswith("--") for word in shlex.split(command))
    assert all(line.startswith("  --") for line in lines)


def test_the_columns_of_the_paper_are_there_where_a_cell_has_its_value(
    tool: ModuleType, finished: tuple[Path, Results]
) -> None:
    results = finished[1]
    assert not any(row.published for row in results.rows)
    bare = list(tool._table(results))
    assert not any("paper" in line or "verdict" in line for line in bare)
    value = PublishedValue(90.0, "Table 1", 0.3, 10)
    *others, last = results.rows
    table = list(tool._table(replace(results, rows=(*others, replace(last, published=value)))))
    assert "| paper | verdict |" in table[0] and "| 90.0 ± 0.3 |" in table[-1]
    fewer = replace(results, rows=(*others, replace(last, published=value)))
    assert list(tool._table(replace(fewer, changed=("synthetic.ipc",)))) == bare
    for lines, columns in ((bare, 5), (table, 7)):
        assert {line.count("|") for line in lines} == {columns + 1}

"""docs/reproductions.md says what the committed result files say."""

from __future__ import annotations

import importlib.util
import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from dd_recipes.catalog import entries
from dd_recipes.paper import PublishedValue
from dd_recipes.results import Results

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    path = ROOT / "tools" / "reproductions.py"
    spec = importlib.util.spec_from_file_location("reproductions", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "reproductions", module)  # as an import does
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


def test_a_second_run_fills_the_table_of_the_first(
    tool: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    finished: tuple[Path, Results],
) -> None:  # fmt: skip
    folder = tmp_path / "reproductions"
    monkeypatch.setattr(tool, "FOLDER", folder)
    monkeypatch.setattr(tool, "PAGE", tmp_path / "page.md")
    assert tool.main(["add", str(finished[0]), "--note", "The first."]) == 0
    whole = finished[1].as_json()
    names = [row["name"] for row in whole["rows"]]

    def part(name: str, begun: str, done: list[str]) -> None:
        run = tmp_path / name
        shutil.copytree(finished[0], run)
        tables = json.loads(json.dumps(whole))
        for row in tables["rows"]:
            if row["name"] not in done:
                row |= {"status": "missing", "last": [], "best": []}
        (run / "results.json").write_text(json.dumps(tables))
        (run / "run.json").write_text(json.dumps({"created": begun}))
        assert tool.main(["add", str(run), "--note", f"The run of {begun[:10]}."]) == 0

    for path in folder.glob("*"):
        path.unlink()
    part("b", "2026-11-21T00:00:00.000Z", names[1:])
    part("a", "2026-11-20T00:00:00.000Z", names[:2])
    assert len(list(folder.glob("*.json"))) == 2
    text = (tmp_path / "page.md").read_text()
    table = [line for line in text.splitlines() if line.startswith(("| 1 |", "| 2 |"))]
    assert [line[2] for line in table] == ["1", "2", "2", "2"]
    assert all(f"| {row.row} |" in line for row, line in zip(finished[1].rows, table, strict=True))
    assert text.count("## ") == 2 and "Not measured" not in text
    assert text.index("The run of 2026-11-20.") < text.index("The run of 2026-11-21.")
    again = tmp_path / "page.md"
    part("c", "2026-11-21T00:00:00.000Z", names[2:])  # the run of b, with fewer cells
    assert len(list(folder.glob("*.json"))) == 2
    lines = again.read_text().splitlines()
    assert [line[2] for line in lines if line.startswith(("| 1 |", "| 2 |"))] == list("1122")


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
    rows = [replace(row, best=tuple(x + 0.1 for x in row.last)) for row in finished[1].rows]
    results = replace(finished[1], rows=tuple(rows))
    assert not any(row.published for row in results.rows)
    bare = list(tool._table(results))
    assert not any("paper" in line or "verdict" in line for line in bare)
    value = PublishedValue(90.0, "Table 1", 0.3, 10)
    *others, last = results.rows
    table = list(tool._table(replace(results, rows=(*others, replace(last, published=value)))))
    assert "| paper | verdict |" in table[0] and "| 90.0 ± 0.3 |" in table[-1]
    fewer = replace(results, rows=(*others, replace(last, published=value)))
    assert list(tool._table(replace(fewer, changed=("synthetic.ipc",)))) == bare
    last_is_best = replace(results, rows=tuple(replace(row, best=row.last) for row in rows))
    for lines, columns in ((bare, 5), (table, 7), (list(tool._table(last_is_best)), 4)):
        assert {line.count("|") for line in lines} == {columns + 1}

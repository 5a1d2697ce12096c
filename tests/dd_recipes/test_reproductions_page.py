"""docs/reproductions.md says what the committed result files say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

from dd_recipes.catalog import entries
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

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from dd_recipes.catalog import Entry, entries, find
from dd_recipes.missing import columns_by_source, nothing_to_run, quick_refusal
from dd_recipes.reader import load_recipe


@pytest.mark.parametrize("name", [entry.name for entry in entries()])
def test_the_quick_look_agrees_with_the_reader(name: str) -> None:
    needed: dict[str, list[str]] = {}
    for cell in load_recipe(find(name)).cells:
        columns = needed.setdefault(cell.data.source, [])
        if cell.column not in columns:
            columns.append(cell.column)
    assert columns_by_source(tomllib.loads(find(name).text)) == needed


def test_nothing_is_refused_where_some_data_are_there(tmp_path: Path) -> None:
    assert quick_refusal(find("quickstart"), tmp_path) == ""
    assert "No data of ncfm-table2 are in" in quick_refusal(find("ncfm-table2"), tmp_path)


def test_data_that_are_there_in_part_are_not_called_absent(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("n01440764", "n02102040", "n02979186"):
            (tmp_path / "imagenette" / part / name).mkdir(parents=True)
    text = quick_refusal(find("ncfm-table2"), tmp_path)
    assert text.startswith("No usable data of ncfm-table2 are in")
    assert "  imagenette    unusable  imagenette-ipc1" in text
    assert "  imagewoof     missing   imagewoof-ipc1" in text
    assert "imagenette/train has 3 classes; expected are the folders n01440764" in text


@pytest.mark.parametrize(
    "text", ["a = ", "", "cells = 3", "cells = [{}]", "[[cells]]\nuse = ['x']"]
)
def test_broken_files_are_left_to_the_reader(text: str, tmp_path: Path) -> None:
    assert quick_refusal(Entry("broken", text), tmp_path) == ""


def test_the_message_fits_a_screen_and_says_a_way_once(tmp_path: Path) -> None:
    needed = columns_by_source(tomllib.loads(find("ncfm-table2").text))
    problems = {"imagewoof": ["it is incomplete."]}
    text = nothing_to_run("ncfm-table2", needed, tmp_path, problems)
    lines = text.splitlines()
    assert len(lines) < 20
    assert all(any(line.startswith(f"  {name} ") for line in lines) for name in needed)
    assert sum("imagefruit, imagemeow, imagesquawk, imageyellow: " in line for line in lines) == 1
    assert [line for line in lines if "imagewoof: " in line] == ["  imagewoof: it is incomplete."]
    assert "NAME" not in text


def test_the_command_refuses_at_once_and_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dd_recipes", "reproduce", "ncfm-table2", "--data", "none"]
    times = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        times.append(time.perf_counter() - start)
        assert done.returncode == 2
        assert done.stderr.startswith("Error: No data of ncfm-table2 are in none")
    assert min(times) < 2
    assert not list(tmp_path.iterdir())

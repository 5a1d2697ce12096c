from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dd_recipes.cli import Failure, main
from dd_recipes.commands.reproduce import refuse_without_data
from dd_recipes.results import Results


def call(arguments: Sequence[str]) -> Result:
    return CliRunner().invoke(main, list(arguments), prog_name="dd-recipes")


def stopping(*_: Any, **__: Any) -> Results:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("options", "words"),
    [([], "Run the same command again"), (["--rerun", "dm"], "same command without --rerun")],
)
def test_ctrl_c_says_how_to_go_on_without_losing_anything(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    tiny_arguments: list[str],
    options: list[str],
    words: str,
) -> None:
    monkeypatch.setattr("dd_recipes.runner.reproduce", stopping)
    result = call([*tiny_arguments, "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 130
    assert words in result.output
    assert "Error" not in result.output


def test_ctrl_c_in_processes_says_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_arguments: list[str]
) -> None:
    monkeypatch.setattr("dd_recipes.commands.reproduce.run_jobs", lambda *_, **__: 130)
    out = ["--out", str(tmp_path / "run"), "--jobs", "2"]
    result = call([*tiny_arguments, *out, "--rerun", "dm"])
    assert (result.exit_code, "without --rerun" in result.output) == (130, True)
    result = call([*tiny_arguments, *out])
    assert (result.exit_code, "without --rerun" in result.output) == (130, False)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "failed: dm, ncfm; the same command tries"),
        (["--cells", "random-*"], ""),
        (["--cells", "random-*", "--rerun", "d*"], "failed: dm; the same command without --rerun"),
        (["--cells", "ncfm"], "failed: ncfm; "),
    ],
)
def test_only_failures_of_the_chosen_cells_count(
    monkeypatch: pytest.MonkeyPatch,
    finished: tuple[Path, Results],
    tmp_path: Path,
    tiny_arguments: list[str],
    options: list[str],
    said: str,
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    whole = finished[1]
    rows = [replace(r, status="failed") if r.name in ("dm", "ncfm") else r for r in whole.rows]
    results = replace(whole, rows=tuple(rows))
    monkeypatch.setattr("dd_recipes.runner.reproduce", lambda *_, **__: results)
    monkeypatch.setattr("dd_recipes.commands.reproduce.finish", lambda *_, **__: None)
    result = call([*tiny_arguments, "--out", str(tmp_path / "run"), *options])
    assert result.exit_code == (1 if said else 0), result.output
    assert said in result.output
    assert bool(said) == ("failed" in result.output)


@pytest.mark.parametrize("pair", ["students.epochs=3", "students.epochs=1.data.2"])
def test_the_quick_look_refuses(tmp_path: Path, pair: str) -> None:
    with pytest.raises(Failure, match="No data of ncfm-fig5"):
        refuse_without_data("ncfm-fig5", (pair,), tmp_path, tmp_path / "run")


@pytest.mark.parametrize(
    "pair",
    ["data.source=embedded", 'data={source="embedded"}', "cells.x.data.size=3",
     'cells.x.data = {source="embedded"}'],
)  # fmt: skip
def test_the_quick_look_leaves_other_data_to_the_reader(tmp_path: Path, pair: str) -> None:
    refuse_without_data("ncfm-fig5", ("students.epochs=3", pair), tmp_path, tmp_path / "run")


def test_the_quick_look_leaves_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "ncfm-fig5-smoke").mkdir(parents=True)
    (tmp_path / "runs" / "ncfm-fig5-smoke" / "run.json").write_text("{}")
    refuse_without_data("ncfm-fig5", (), tmp_path, tmp_path / "runs" / "ncfm-fig5-smoke")
    for name, refused in (("ncfm-fig5", False), ("ncfm-fig6", True)):
        monkeypatch.chdir(tmp_path)
        try:
            refuse_without_data(name, (), tmp_path)
        except Failure:
            assert refused
        else:
            assert not refused


def test_a_complete_run_is_shown_though_its_data_are_gone(
    finished: tuple[Path, Results],
    tmp_path: Path,
    tiny_arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    monkeypatch.setattr("dd_recipes.missing.quick_refusal", lambda *_: "No data.")
    result = call([*tiny_arguments, "--out", str(tmp_path / "other")])
    assert (result.exit_code, "No data." in result.output) == (2, True)
    result = call([*tiny_arguments, "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output

from __future__ import annotations

import errno
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from dd_core.errors import NonFiniteError, SettingsError
from dd_recipes.__main__ import run
from dd_recipes.cli import COMMANDS, main
from dd_recipes.results import Results
from dd_recipes.runfolder import FORMAT

Start = Callable[[Sequence[str]], "subprocess.Popen[str]"]


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, prog_name="dd-recipes")


def accuracies(path: Path) -> dict[str, list[float]]:
    tables = json.loads((path / "results.json").read_text())
    assert tables["complete"]
    return {row["name"]: row["last"] for row in tables["rows"]}


def test_help_is_fast_and_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'pydantic', 'matplotlib', 'jinja2', 'rich', 'numpy'}"
    code = (
        "import sys; from dd_recipes.cli import main\n"
        "try: main(['--help'])\n"
        f"except SystemExit as end: assert end.code == 0\nassert not {heavy} & set(sys.modules)"
    )
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        times.append(time.perf_counter() - start)
    assert min(times) < 1.0


def test_help_names_every_command_and_option() -> None:
    whole = call("--help").output
    for name, (_, line) in COMMANDS.items():
        assert f"  {name} " in whole and line in " ".join(whole.split())
        command = main.get_command(click.Context(main), name)
        assert command is not None and command.name == name
        text = call(name, "--help").output
        options = {name for p in command.params
                   if isinstance(p, click.Option) and not p.hidden for name in p.opts}  # fmt: skip
        assert all(option in text for option in options)


def test_the_options_of_reproduce() -> None:
    command = main.get_command(click.Context(main), "reproduce")
    assert command is not None
    options = {name for p in command.params if isinstance(p, click.Option) for name in p.opts}
    assert options == {
        "--variant", "--budget", "--students", "--seed", "--set", "--cells", "--out", "--data",
        "--device", "--precision", "--compile", "--jobs", "--cluster",
        "--cluster-option", "--rerun", "--json", "--worker",
    }  # fmt: skip


def test_version() -> None:
    result = call("--version")
    assert result.exit_code == 0
    assert re.search(r"dd-recipes, version \d+\.\d+\.\d+", result.output)


def test_list_shows_names_and_titles() -> None:
    lines = call("list").output.splitlines()
    assert any(line.startswith("quickstart ") and "Fashion-MNIST" in line for line in lines)
    assert any(line.startswith("ncfm-table1 ") for line in lines)
    facts = json.loads(call("list", "--json").output)
    (first,) = [each for each in facts if each["name"] == "quickstart"]
    assert {"name": "quickstart", "cells": 4, "variants": ["best"]}.items() <= first.items()
    assert first["data"] == ["embedded"] and "2 min" in first["cost"]
    at = next(i for i, line in enumerate(lines) if line.startswith("ncfm-table1 "))
    assert (
        lines[at + 1].strip()
        == "data: cifar10, cifar100, tinyimagenet; variants: paper, code, best"
    )
    assert lines[at + 2].strip().startswith("cost: the variants paper and code")


def test_show_prints_the_file_as_it_is() -> None:
    result = call("show", "quickstart", "--file")
    assert result.exit_code == 0
    assert "dd-recipes reproduce quickstart" in result.output
    assert "[base.pretrain]" in result.output


def test_show_prints_every_setting_and_where_it_comes_from() -> None:
    result = call("show", "quickstart", "--cells", "ncfm", "--set", "students.epochs=9")
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    (epochs,) = (line for line in lines if line.startswith("students.epochs = "))
    assert epochs.startswith("students.epochs = 9 ") and "# --set (" in epochs
    assert any(line.startswith("#  (1) own choice") for line in lines)
    record = json.loads(call("show", "quickstart", "--json").output)
    assert [cell["name"] for cell in record["cells"]] == [
        "random-real", "random-packed", "dm", "ncfm",
    ]  # fmt: skip
    assert record["cells"][3]["settings"]["distill"]["hold"] == 5
    assert record["cells"][3]["origins"]["distill.hold"]["layer"] == "cell"


def test_show_prints_what_cells_have_in_common_once() -> None:
    lines = call("show", "quickstart").output.splitlines()
    assert sum(line.startswith("students.batch_size = ") for line in lines) == 1
    assert sum(line.startswith("kind = ") for line in lines) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["zoo"], "No such command 'zoo'"),
        (["reproduce"], "Missing argument 'RECIPE'"),
        (["reproduce", "quickstart", "--devise", "cpu"], "--device"),
        (["reproduce", "quickstart", "--device", "tpu"], "'tpu' is not one of"),
        (["reproduce", "quickstart", "--seed", "-1"], "--seed"),
        (["reproduce", "quickstrat"], "Did you mean quickstart?"),
        (["show", "quickstrat"], "Did you mean quickstart?"),
        (["reproduce", "none.toml"], "no recipe file"),
        (["reproduce", "quickstart", "--set", "x"], "not key=value"),
        (["reproduce", "quickstart", "--set", "students.epoch=3"], "did you mean epochs?"),
        (["reproduce", "quickstart", "--variant", "paper"], "no variant 'paper'; it has best"),
        (["reproduce", "quickstart", "--cells", "nfcm"], "there are random-real, random-packed"),
        (["show", "nothing"], "There are "),
        (["reproduce", "quickstart", "--set", "students=3"], "3 was given; it must be a table"),
        (
            ["reproduce", "quickstart", "--set", "students.epochs=nan"],
            "nan was given; it must be a w",
        ),
        (
            ["reproduce", "ncfm-fig5", "--data", "none", "--cells", "nope"],
            "--cells nope matches no",
        ),
        (["reproduce", "ncfm-fig5", "--data", "none", "--rerun", "no"], "--rerun no matches no"),
        (["reproduce", "quickstart", "--cells", ","], "--cells ',' names no cell"),
        (["reproduce", "quickstart", "--rerun", ""], "--rerun '' names no cell"),
        (["reproduce", "quickstart", "--jobs", "0"], "--jobs"),
        (["plan", "quickstart", "--students", "0"], "--students"),
        (["report", "nowhere"], "no run.json"),
    ],
)
def test_mistakes_of_the_user_exit_with_2(arguments: list[str], words: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


def test_missing_data_exit_with_2_and_leave_no_folder(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    command = ["reproduce", "ncfm-fig5", "--out", out, "--data", str(tmp_path / "none")]
    result = call(*command)
    assert result.exit_code == 2, result.output
    assert "No data of ncfm-fig5 are in" in result.output
    assert "--download" in result.output
    assert not (tmp_path / "run").exists()


def test_ctrl_c_while_the_command_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "dd_recipes.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "dd_recipes.cli")
    monkeypatch.setattr(sys, "meta_path", [Stopped(), *sys.meta_path])
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 130


def test_a_wrong_folder_exits_with_2(tmp_path: Path, finished: tuple[Path, Results]) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    result = call("reproduce", "quickstart", "--out", str(tmp_path))
    assert result.exit_code == 2
    assert "not a run folder" in result.output
    result = call("reproduce", "quickstart", "--out", str(finished[0]))
    assert result.exit_code == 2
    assert "holds another run" in result.output
    assert "--out" in result.output


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (SettingsError("factor is 3."), 2, "Error: factor is 3."),
        (PermissionError(errno.EACCES, "denied", "a/b"), 2, "No permission: a/b"),
        (NonFiniteError("loss is nan."), 1, "Error: loss is nan."),
        (OSError(errno.ENOSPC, "full", "a/b"), 1, "The disk is full (a/b)"),
        (OSError(errno.EIO, "input/output error"), 1, "OSError: "),
        (OSError(errno.EROFS, "read-only", "a/b"), 2, "Cannot write a/b: the file system is read"),
        (IsADirectoryError(errno.EISDIR, "is", "a", None, "b"), 2, "Error: b is a folder, and a"),
        (MemoryError(), 1, "Not enough memory"),
        (ZeroDivisionError("odd"), 1, "ZeroDivisionError: odd"),
        (KeyboardInterrupt(), 130, "Run the same command again to go on"),
    ],
)
def test_errors_become_one_message_and_a_code(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("dd_recipes.runner.reproduce", fail)
    arguments = ["reproduce", "quickstart", "--out", str(tmp_path / "run")]
    result = call(*arguments)
    assert result.exit_code == code
    assert words in result.output
    assert "Traceback" not in result.output
    result = call("--debug", *arguments)
    assert result.exit_code == code
    assert "Traceback" in result.output
    assert words in result.output


def test_a_damaged_report_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "run.json").write_text(json.dumps({"format": FORMAT, "runtime": {}}))
    result = call("report", str(tmp_path))
    assert result.exit_code == 2
    assert "of another version" in result.output


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("run.json", {"format": 99}, "its format is 99"),
        ("run.json", None, "no run.json"),
        ("run.json", {"runtime": 5}, "run.json is damaged"),
        ("config.json", {"seed": 5}, "config.json is damaged"),
        ("config.json", {"variants": ["paper"]}, "config.json is damaged"),
    ],
)
def test_a_report_of_another_versions_or_an_edited_folder_is_refused(
    finished: tuple[Path, Results], tmp_path: Path, name: str, change: Any, words: str
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    path = folder / name
    if change is None:
        path.unlink()
    else:
        path.write_text(json.dumps(json.loads(path.read_text()) | change))
    (folder / "report.html").write_text("mine")
    result = call("report", str(folder))
    assert result.exit_code == 2 and words in result.stderr
    assert (folder / "report.html").read_text() == "mine"


def test_a_report_has_the_settings_of_the_run_and_not_an_edited_file(
    finished: tuple[Path, Results], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    text = (folder / "config.toml").read_text()
    (folder / "config.toml").write_text(text.replace("seed = 0", "seed = 5"))
    assert call("report", str(folder)).exit_code == 0
    report = (folder / "report.md").read_text()
    assert text.strip() not in report and "seed = 5" not in report
    shown = report.split("# dd-recipes reproduce config.toml")[1].partition("```")[0]
    assert tomllib.loads(shown) == tomllib.loads(text)
    (folder / "config.toml").write_text(text)
    assert call("report", str(folder)).exit_code == 0
    assert text.strip() in (folder / "report.md").read_text()


def test_report_prints_the_table_and_writes_the_page(
    finished: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    result = call("report", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert finished[1].rows[3].accuracy in result.output
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", "null"), ("config.json", "[1]"), ("config.json", "{}"),
        ("config.json", '{"cells": 5}'), ("config.json", '{"cells": [{"name": "dm"}]}'),
        ("config.json", '{"cells": [{"name": "dm", "set": {}}]}'), ("config.json", None),
        ("config.json", '{"cells": [], "paper": {"odd": 1}}'),
        ("environment.json", "null"), ("environment.json", "[1]"), ("environment.json", "{}"),
        ("results.json", "null"), ("results.json", "[1]"), ("results.json", "folder"),
        ("results.json", b"\xff"), ("results.json", "5"), ("results.json", None),
    ],
)  # fmt: skip
def test_a_damaged_file_of_a_report_is_named_with_the_way_out(
    finished: tuple[Path, Results], tmp_path: Path, name: str, content: str | bytes | None
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    path = folder / name
    path.unlink()
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    result = call("report", str(folder))
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
    assert "run" in result.stderr and "command" in result.stderr
    assert not re.search(r"[A-Z]\w+Error|Undefined", result.stderr)
    if name != "results.json" or content is not None:
        assert name in result.stderr


def test_a_reader_who_stops_leaves_a_report(
    finished: tuple[Path, Results], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    shutil.copytree(finished[0], tmp_path / "run")
    monkeypatch.setattr("dd_recipes.table.print_results", stop)
    assert call("report", str(tmp_path / "run")).exit_code == 1
    assert (tmp_path / "run" / "report.html").is_file()


def test_report_takes_the_numbers_from_the_cells(
    finished: tuple[Path, Results], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    path = folder / "results.json"
    tables = json.loads(path.read_text())
    tables["rows"][3]["last"] = [98.7, 98.9]
    path.write_text(json.dumps(tables))
    result = call("report", str(folder), "--json")
    assert result.exit_code == 0, result.output
    assert Results.from_json(json.loads(result.stdout)) == finished[1]
    (folder / "cells" / "ncfm" / "measured.json").write_text("null")
    result = call("report", str(folder))
    assert result.exit_code == 0, result.output
    assert "warning: ncfm counts as not measured" in result.stderr
    assert "1 of 4 cells have not been measured yet" in result.stdout
    assert "98.8" not in (folder / "report.md").read_text()


def test_a_complete_run_prints_its_table_again(
    finished: tuple[Path, Results],
    tmp_path: Path,
    tiny_arguments: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    main([*tiny_arguments, "--out", str(tmp_path / "run"), "--json"], standalone_mode=False)
    output = capsys.readouterr()
    tables = json.loads(output.out)
    assert [row["last"] for row in tables["rows"]] == [list(r.last) for r in finished[1].rows]
    assert "run folder" in output.err
    assert "eager" in output.err


def test_killed_again_and_again_a_run_ends_with_the_same_numbers(
    finished: tuple[Path, Results], tmp_path: Path, tiny_arguments: list[str], command: Start
) -> None:
    folder = tmp_path / "run"
    arguments = [*tiny_arguments, "--out", str(folder)]
    draws = random.Random(7)
    kills = 0
    for _ in range(4):
        process = command(arguments)
        deadline = time.monotonic() + 120
        while not list(folder.glob("events*.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.05)
        try:
            process.wait(timeout=3.0 + 3.0 * draws.random())
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills >= 1
    process = command(arguments)
    output, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    assert accuracies(folder) == {row.name: list(row.last) for row in finished[1].rows}
    assert "report.html" in output


def test_ctrl_c_says_how_to_go_on(
    tmp_path: Path, tiny_arguments: list[str], command: Start
) -> None:
    folder = tmp_path / "run"
    process = command([*tiny_arguments, "--out", str(folder), "--set", "students.epochs=5000"])
    deadline = time.monotonic() + 120
    while not (folder / "pools").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 130, log
    assert "Run the same command again" in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("words", "incomplete", "expected"),
    [
        (["show"], "ncfm-tab", {f"ncfm-table{n}" for n in range(1, 6)}),
        (["show", "ncfm-table1", "--variant"], "", {"paper", "code", "best"}),
        (["plan", "csdm-fig5", "--variant"], "", {"best"}),
        (["reproduce", "quickstart", "--cells"], "random", {"random-real", "random-packed"}),
        (["reproduce", "no-such-recipe", "--cells"], "", set()),
    ],
)
def test_the_shell_completes_names(words: list[str], incomplete: str, expected: set[str]) -> None:
    from click.shell_completion import BashComplete

    complete = BashComplete(main, {}, "dd-recipes", "_DD_RECIPES_COMPLETE")
    assert {item.value for item in complete.get_completions(words, incomplete)} == expected

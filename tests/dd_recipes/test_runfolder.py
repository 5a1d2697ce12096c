from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from dd_core.errors import RunError, UserError
from dd_core.events import Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_recipes.runfolder import (
    FORMAT,
    EventLog,
    open_folder,
    read_json,
    write_json,
)

IDENTITY = {"seed": 0, "students": {"epochs": 10, "rate": 0.1}, "methods": {"dm": {"ipc": 1}}}


def begun(path: Path) -> Path:
    with open_folder(path) as folder:
        folder.create(IDENTITY, {"device_name": "cpu"})
    return path


def listing(path: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in path.iterdir()}


def test_a_new_folder_becomes_a_run(tmp_path: Path) -> None:
    with open_folder(tmp_path / "a" / "b") as folder:
        assert folder.stored_runtime(IDENTITY) is None
        folder.create(IDENTITY, {"device_name": "cpu"})
        assert folder.stored_runtime(IDENTITY) == {"device_name": "cpu"}
        assert folder.method("dm") == tmp_path / "a" / "b" / "methods" / "dm"
    with open_folder(tmp_path / "a" / "b") as folder:
        assert folder.stored_runtime(IDENTITY) == {"device_name": "cpu"}


def test_nothing_is_left_where_nothing_was_computed(tmp_path: Path) -> None:
    with open_folder(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    with open_folder(tmp_path / "empty"):
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_another_identity_is_refused_with_what_differs(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    before = listing(path)
    other = {"seed": 1, "students": {"epochs": 20, "rate": 0.1}, "methods": {"ncfm": {"ipc": 1}}}
    with open_folder(path) as folder, pytest.raises(UserError) as caught:
        folder.stored_runtime(other)
    message = str(caught.value)
    assert "seed: 0 there, 1 now" in message
    assert "students.epochs: 10 there, 20 now" in message
    assert 'methods.dm: {"ipc": 1} there, nothing now' in message
    assert "rate" not in message
    assert "--out" in message
    assert listing(path) == before


def test_terms_are_compared_by_name(tmp_path: Path) -> None:
    def identity(**weights: float) -> dict[str, Any]:
        terms = [{"name": name, "weight": weight} for name, weight in weights.items()]
        return {"objectives": terms}

    with open_folder(tmp_path) as folder:
        folder.create(identity(ncfm=300.0, dm=1.0), {})
        with pytest.raises(UserError, match=r"objectives\.dm\.weight: 1\.0 there, 2\.0 now"):
            folder.stored_runtime(identity(ncfm=300.0, dm=2.0))
        for other in (identity(dm=1.0, ncfm=300.0), identity(ncfm=300.0)):
            with pytest.raises(UserError, match=r"objectives: \["):
                folder.stored_runtime(other)
        assert folder.stored_runtime(identity(ncfm=300.0, dm=1.0)) == {}


def test_many_differences_are_summed_up(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    with open_folder(path) as folder, pytest.raises(UserError, match="and 14 more"):
        folder.stored_runtime({**IDENTITY, **{f"x{i}": i for i in range(22)}})


def test_another_format_is_refused(tmp_path: Path) -> None:
    path = begun(tmp_path / "run")
    stored = read_json(path / "run.json")
    write_json(path / "run.json", {**stored, "format": 99})
    with open_folder(path) as folder, pytest.raises(UserError, match=f"99 there, {FORMAT} now"):
        folder.stored_runtime(IDENTITY)


def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(UserError, match=r"not a run folder \(it holds thesis.tex\)"):
        open_folder(tmp_path).__enter__()
    assert listing(tmp_path) == {"thesis.tex": b"important"}


def test_leftovers_of_a_killed_start_are_no_obstacle(tmp_path: Path) -> None:
    for name in (".lock", ".run.json.abc123", ".write-test"):
        (tmp_path / name).write_text("")
    assert begun(tmp_path) == tmp_path


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        open_folder(tmp_path / "file").__enter__()
    with pytest.raises(UserError, match="Cannot write in"):
        open_folder(tmp_path / "file" / "inner").__enter__()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with open_folder(tmp_path / "run"):
        with pytest.raises(UserError, match="Another process"):
            open_folder(tmp_path / "run").__enter__()
        assert (tmp_path / "run").exists()
    with open_folder(tmp_path / "run"):
        pass


def failing(number: int) -> NoReturn:
    raise OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [(errno.EACCES, UserError, "Permission denied. Give another folder with --out"),
     (errno.EROFS, UserError, "Read-only"), (errno.ENOSPC, RunError, "is full")],
)  # fmt: skip
def test_a_folder_that_cannot_be_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.setattr(Path, "write_bytes", lambda *_: failing(number))
    with pytest.raises(error, match=message):
        open_folder(tmp_path / "run").__enter__()


def test_too_little_space_is_seen_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dd_recipes.runfolder._NEEDED_BYTES", 10**18)
    with pytest.raises(RunError, match="MB free"):
        open_folder(tmp_path / "run").__enter__()


def test_json_is_written_whole_and_without_nan(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, {"a": [1.5, float("nan"), float("inf")], "b": (1, 2)})
    assert read_json(path) == {"a": [1.5, None, None], "b": [1, 2]}
    with pytest.raises(TypeError):
        write_json(path, {"a": object()})
    assert read_json(path)["b"] == [1, 2]
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_missing_and_damaged_json(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no x\.json"):
        read_json(tmp_path / "x.json")
    (tmp_path / "x.json").write_text('{"a": ')
    with pytest.raises(UserError, match="damaged"):
        read_json(tmp_path / "x.json")


def test_events_are_appended_with_their_time(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for number in range(2):
        log = EventLog(path)
        log(Message(f"start {number}"))
        log.close()
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [record["text"] for record in records] == ["start 0", "start 1"]
    assert all(record["time"].endswith("Z") for record in records)


def test_a_torn_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "Message"}\n{"event": "Mess')
    log = EventLog(path)
    log(Message("again"))
    log.close()
    assert [json.loads(line)["event"] for line in path.read_text().splitlines()] == ["Message"] * 2


def test_advances_are_thinned_but_the_last_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log(PhaseStarted("pool", 100, "step"))
    for done in range(1, 101):
        log(PhaseAdvanced("pool", done, 100, {"loss": float("nan")}))
    log(PhaseFinished("pool", 3.5))
    log.close()
    advances = [r for line in path.read_text().splitlines()
                if (r := json.loads(line))["event"] == "PhaseAdvanced"]  # fmt: skip
    assert len(advances) < 10
    assert advances[-1]["done"] == 100
    assert advances[-1]["values"] == {"loss": None}

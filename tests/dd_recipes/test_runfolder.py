from __future__ import annotations

import errno
import json
import os
import threading
import time
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dd_core.errors import RunError, UserError
from dd_core.events import Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_recipes.runfiles import EventLog, key_of, read_json, readable, write_json
from dd_recipes.runfolder import FORMAT, RunFolder, differences, held, run_folder, waiting

IDENTITY = {"recipe": "x", "variant": "best", "budget": "full", "seed": 0}
CELL = {"seed": 0, "images": "a/b", "students": {"epochs": 10, "rate": 0.1}, "kind": "random"}


def begun(path: Path) -> RunFolder:
    folder = run_folder(path)
    with folder.guarded():
        folder.create(IDENTITY, {"device_name": "cpu"})
    write_json(folder.cell("dm") / "cell.json", CELL)
    return folder


def listing(path: Path) -> dict[str, bytes]:
    return {str(item): item.read_bytes() for item in path.rglob("*") if item.is_file()}


def test_a_new_folder_becomes_a_run(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "a" / "b")
    before = folder.is_new, (tmp_path / "a").exists()
    begun(folder.path)
    assert (*before, folder.is_new) == (True, False, False)
    stored = read_json(folder.path / "run.json")
    assert stored["format"] == FORMAT and stored["runtime"] == {"device_name": "cpu"}
    assert {key: stored[key] for key in IDENTITY} == IDENTITY
    folder.require_same(IDENTITY, {"dm": CELL, "new": CELL})
    assert folder.set("k") == folder.path / "sets" / "k"
    assert folder.pool("k") == folder.path / "pools" / "k"


def test_nothing_is_left_where_nothing_was_computed(tmp_path: Path) -> None:
    with run_folder(tmp_path / "run").guarded():
        pass
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    with run_folder(tmp_path / "empty").guarded():
        pass
    assert list((tmp_path / "empty").iterdir()) == []


def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    before = listing(folder.path)
    other = {**CELL, "students": {"epochs": 20, "rate": 0.1}, "images": "c/d"}
    with pytest.raises(UserError) as caught:
        folder.require_same({**IDENTITY, "seed": 1}, {"dm": other})
    message = str(caught.value)
    assert "seed: 0 there, 1 now" in message
    assert "cells.dm.students.epochs: 10 there, 20 now" in message
    assert "cells.dm.images: a/b there, c/d now" in message
    assert "rate" not in message
    assert "--out" in message and "--rerun" not in message  # which would not help
    with pytest.raises(UserError, match="--rerun CELL computes a cell anew"):
        folder.require_same(IDENTITY, {"dm": other})
    assert listing(folder.path) == before


def test_what_is_not_known_of_a_cell_is_not_compared(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    folder.require_same(IDENTITY, {"dm": {k: v for k, v in CELL.items() if k != "images"}})


def test_many_differences_are_summed_up(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    other = {**CELL, "students": {f"x{i}": i for i in range(20)}}
    with pytest.raises(UserError, match="and 14 more"):
        folder.require_same(IDENTITY, {"dm": other})


@pytest.mark.parametrize("found", [2, 99, None])
def test_another_format_is_refused(tmp_path: Path, found: int | None) -> None:
    folder = begun(tmp_path / "run")
    write_json(folder.path / "run.json", {"format": found})
    with pytest.raises(UserError, match=f"{found} there, {FORMAT} now"):
        folder.require_same(IDENTITY, {})


def test_a_folder_with_other_things_is_refused_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(UserError, match=r"not a run folder \(it holds thesis.tex\)"):
        run_folder(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_leftovers_of_a_killed_start_are_no_obstacle(tmp_path: Path) -> None:
    for name in (".lock", ".run.json.abc123", ".write-test"):
        (tmp_path / name).write_text("")
    assert not begun(tmp_path).is_new


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        run_folder(tmp_path / "file")
    with pytest.raises(UserError, match="Cannot write in"):
        run_folder(tmp_path / "file" / "inner").guarded().__enter__()


def test_a_part_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "cell") as first:
        with held(tmp_path / "cell") as second:
            assert first and not second
        with held(tmp_path / "other") as other:
            assert other
    with held(tmp_path / "cell") as again:
        assert again


def test_a_held_part_is_waited_for_with_one_message(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    taken = threading.Event()

    def work() -> None:
        with held(tmp_path) as ours:
            assert ours
            taken.set()
            time.sleep(0.5)
            order.append("first")

    thread = threading.Thread(target=work)
    thread.start()
    taken.wait()
    with waiting(tmp_path, lambda: said.append("waits")):
        order.append("second")
    thread.join()
    assert order == ["first", "second"]
    assert said == ["waits"]
    with waiting(tmp_path, lambda: said.append("again")):
        pass
    assert said == ["waits"]


def test_a_failure_in_a_held_part_lets_go_of_it(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), waiting(tmp_path, lambda: None):
        raise ZeroDivisionError
    with held(tmp_path) as ours:
        assert ours


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
        run_folder(tmp_path / "run").guarded().__enter__()


def test_too_little_space_is_seen_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dd_recipes.runfolder._NEEDED_BYTES", 10**18)
    with pytest.raises(RunError, match="MB free"):
        run_folder(tmp_path / "run").guarded().__enter__()


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


def test_the_way_out_of_a_missing_file_and_of_a_folder_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(UserError, match=r"x\.json is a folder, .*; remove it"):
        read_json(tmp_path / "x.json")
    assert readable(tmp_path / "x.json") == {}
    for name in ("run.json", "y.json"):
        with pytest.raises(UserError, match="is it a run folder"):
            read_json(tmp_path / name)
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"has no y\.json; give the run's command again"):
        read_json(tmp_path / "y.json")


def test_the_way_out_of_a_damaged_file_leads_somewhere(tmp_path: Path) -> None:
    for name, words in (("run.json", "another folder with --out"), ("x.json", "delete it")):
        (tmp_path / name).write_text("{")
        with pytest.raises(UserError, match=words) as caught:
            read_json(tmp_path / name)
        # Without its run.json the folder would be refused.
        assert ("delete" in str(caught.value)) == (name != "run.json")


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": 3, "runtime": 1}', "null"])
def test_a_run_json_that_is_no_record_of_a_run_is_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(UserError, match=r"run\.json is damaged.*--out"):
        run_folder(tmp_path).require_same(IDENTITY, {"dm": CELL})
    assert (tmp_path / "run.json").read_text() == text


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


TABLES = st.recursive(
    st.integers(0, 3), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
)


@given(TABLES, TABLES)
def test_differences_are_none_only_of_equals(a: object, b: object) -> None:
    assert list(differences(a, a)) == []
    assert bool(list(differences({"x": a}, {"x": b}))) == (a != b)


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 3), max_size=4))
def test_keys_follow_from_the_content_and_not_from_its_order(table: dict[str, int]) -> None:
    key = key_of(table)
    assert len(key) == 16 and int(key, 16) >= 0
    assert key_of(dict(reversed(table.items()))) == key
    assert key_of({**table, "e": 0}) != key


def test_seconds_of_all_pools_are_added(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.pool_seconds is None
    for name, seconds in (("a", 1.5), ("b", 2.0)):
        write_json(folder.pool(name) / "pool.json", {"seconds": seconds})
    (folder.pool("c")).mkdir()
    assert folder.pool_seconds == 3.5


def test_damaged_files_that_can_be_written_anew_are_empty(tmp_path: Path) -> None:
    assert readable(tmp_path / "x.json") == {}
    for text in ("[1]", "{", ""):
        (tmp_path / "x.json").write_text(text)
        assert readable(tmp_path / "x.json") == {}


def test_each_process_of_each_host_has_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for host in ("a", "b", "a"):
        monkeypatch.setattr("dd_recipes.runfiles._HOST", host)
        log = EventLog.of_process(tmp_path)
        log(Message("hello"))
        log.close()
    names = [f"events-{host}-{os.getpid()}.jsonl" for host in "ab"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names

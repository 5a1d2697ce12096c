"""States: whole or absent, and never of another run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save

from dd_core import checkpoint
from dd_core.checkpoint import (
    load_record,
    load_state,
    locked,
    optimizer_tensors,
    restore_optimizer,
    save_record,
    save_state,
    write_atomically,
)
from dd_core.errors import CheckpointError


def stored(tmp_path):
    path = tmp_path / "deep" / "state.safetensors"
    save_state(path, {"a": torch.arange(6.0).view(2, 3)}, {"step": 3, "x": None}, key="k")
    return path


def test_round_trip(tmp_path):
    tensors, facts = load_state(stored(tmp_path), key="k")
    assert torch.equal(tensors["a"], torch.arange(6.0).view(2, 3))
    assert facts == {"step": 3, "x": None}


def test_absent_is_none(tmp_path):
    assert load_state(tmp_path / "none", key="k") is None


def test_other_key_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        load_state(stored(tmp_path), key="other")


def test_other_format_is_refused(tmp_path):
    path = stored(tmp_path)
    path.write_bytes(save({"a": torch.zeros(1)}, {"format": "9", "key": "k", "facts": "{}"}))
    with pytest.raises(CheckpointError, match="has format 9"):
        load_state(path, key="k")


def test_the_format_without_checksum_is_refused(tmp_path):
    path = stored(tmp_path)
    path.write_bytes(save({"a": torch.zeros(1)}, {"format": "1", "key": "k", "facts": "{}"}))
    with pytest.raises(CheckpointError, match="has format 1, this version reads 2"):
        load_state(path, key="k")


def test_a_changed_value_is_seen(tmp_path):
    path = stored(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(CheckpointError, match=r"is damaged.*SHA-256"):
        load_state(path, key="k")


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(3.5),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
        torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).bfloat16(),
        torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).half().t(),
        torch.randint(9, (2, 3, 4, 5)).contiguous(memory_format=torch.channels_last),
    ],
)
def test_every_kind_of_tensor_comes_back(tmp_path, tensor):
    save_state(tmp_path / "state", {"x": tensor}, {}, key="k")
    (loaded, _) = load_state(tmp_path / "state", key="k")
    assert loaded["x"].dtype == tensor.dtype and torch.equal(loaded["x"], tensor)


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space") as caught:
        write_atomically(path, b"new")
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def scratch_name(tmp_path, monkeypatch):
    """The name of the file that is written aside."""
    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda scratch, path: seen.append(os.path.basename(scratch)))
        write_atomically(tmp_path / "file", b"half")
    return seen[0]


def ended_process():
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_only_what_a_killed_process_of_this_host_left_is_removed(tmp_path, monkeypatch):
    ours = scratch_name(tmp_path, monkeypatch)  # of this process, which lives
    assert f".{os.getpid()}." in ours and ours.startswith(".file.")
    dead = ours.replace(f".{os.getpid()}.", f".{ended_process()}.")
    other_host = dead.replace(checkpoint._HOST, "0" * 8)
    other_file = dead.replace(".file.", ".file2.")
    for name in (dead, other_host, other_file):
        (tmp_path / name).write_bytes(b"half")
    write_atomically(tmp_path / "file", b"new")
    assert {p.name for p in tmp_path.iterdir()} == {"file", ours, other_host, other_file}
    assert (tmp_path / "file").read_bytes() == b"new"


def test_names_with_the_characters_of_patterns_are_written(tmp_path, monkeypatch):
    path = tmp_path / "a[0]*?.json"
    write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"new"


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    contents = [bytes([65 + i]) * 1000 for i in range(8)]

    def write(content):
        for _ in range(20):
            write_atomically(tmp_path / "file", content)

    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(write, content) for content in contents]:
            done.result()
    assert (tmp_path / "file").read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_has_one_holder(tmp_path):
    folder = tmp_path / "new" / "run"
    with locked(folder):
        message = f"Another process works in {re.escape(str(folder))}"
        with pytest.raises(CheckpointError, match=message), locked(folder):
            pass
        with locked(tmp_path / "other"):
            pass
    with locked(folder):
        pass


HOLDER = """
import fcntl, sys
lock = open(sys.argv[1], "a")
fcntl.flock(lock, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_holder_holds_no_more(tmp_path):
    pytest.importorskip("fcntl")
    command = [sys.executable, "-c", HOLDER, str(tmp_path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(CheckpointError, match="Another process"), locked(tmp_path):
            pass
        process.kill()
    with locked(tmp_path):
        pass


def test_nothing_is_locked_where_there_are_no_locks(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_an_error_in_the_block_is_its_own_and_frees_the_folder(tmp_path):
    with pytest.raises(PermissionError, match="mine"), locked(tmp_path):
        raise PermissionError(13, "mine")
    with locked(tmp_path):
        pass


@pytest.mark.parametrize("place", ["file", "file/sub"])
def test_a_file_is_no_folder_to_hold(tmp_path, place):
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(CheckpointError, match="is a file, or lies in one"),
        locked(tmp_path / place),
    ):
        pass


FACTS = {"seconds": 1.5, "history": {"match": [0.1, 1e-30]}, "sizes": (1, 2), 10: "x", 9: "y"}


def test_a_record_comes_back_as_json_says_it(tmp_path):
    path = tmp_path / "deep" / "record.json"
    assert load_record(path, key="k") is None
    save_record(path, FACTS, key="k")
    expected = json.loads(json.dumps(FACTS))
    assert load_record(path, key="k") == load_record(path, key=None) == expected
    path.write_text(json.dumps(json.loads(path.read_text()), indent=3, sort_keys=True))
    assert load_record(path, key="k") == expected  # its layout may change
    with pytest.raises(CheckpointError, match=r"record\.json belongs to a run with other settings"):
        load_record(path, key="other")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["facts"].update(seconds=1.25),
        lambda r: r["facts"]["history"]["match"].reverse(),
        lambda r: r["facts"].update(more=1),
        lambda r: r.update(key="other"),
        lambda r: r.pop("key"),
        lambda r: r.pop("sha256"),
        lambda r: r.update(sha256=None),
        lambda r: r.update(facts=[]),
    ],
)
def test_a_changed_record_is_refused(tmp_path, change):
    path = tmp_path / "record.json"
    save_record(path, FACTS, key="k")
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    for key in ("k", "other", None):
        with pytest.raises(CheckpointError, match=r"record\.json is damaged.*Delete it to repeat"):
            load_record(path, key=key)


def test_the_result_of_a_version_without_checksum_is_refused(tmp_path):
    path = tmp_path / "record.json"
    path.write_text(json.dumps({"key": "k", "curve": [[1, 2]], "seconds": 1.0}))
    with pytest.raises(CheckpointError, match="or of another version"):
        load_record(path, key="k")


@pytest.mark.parametrize("kind", ["adamw", "fused", "sgd"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_optimizer_goes_on_as_if_never_stopped(kind, layout):
    def make(weight):
        if kind == "sgd":
            return torch.optim.SGD([weight], 0.1, momentum=0.9)
        return torch.optim.AdamW([weight], 0.1, fused=kind == "fused")

    gradients = torch.randn(6, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    results = []
    for interrupted in (False, True):
        weight = torch.ones(4, 3, 2, 2).to(memory_format=layout).requires_grad_()
        optimizer = make(weight)
        for i, gradient in enumerate(gradients):
            if interrupted and i == 3:
                tensors = {k: v.contiguous() for k, v in optimizer_tensors(optimizer).items()}
                weight = weight.detach().clone().requires_grad_()
                optimizer = make(weight)
                restore_optimizer(optimizer, tensors)
            weight.grad = gradient.to(memory_format=layout)
            optimizer.step()
        results.append(weight.detach())
    assert torch.equal(*results)

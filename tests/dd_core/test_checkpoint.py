"""States: whole or absent, and never of another run."""

from __future__ import annotations

import os

import pytest
import torch
from safetensors.torch import save

from dd_core.checkpoint import (
    load_state,
    optimizer_tensors,
    restore_optimizer,
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


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".file.abc123").write_bytes(b"half")
    write_atomically(tmp_path / "file", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


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

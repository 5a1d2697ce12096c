"""The pool: stored network by network, resumed to the same weights."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dd_core import CheckpointError, PretrainSettings, pretrain_pool
from dd_core.events import PhaseAdvanced, PhaseFinished, PhaseStarted

QUICK = PretrainSettings(networks=2, epochs=3, batch_size=20, learning_rate=0.05)


class Stop(Exception):
    """Raised to interrupt the pretraining."""


@pytest.fixture(autouse=True)
def every_step_is_reported(monkeypatch):
    monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)


def test_pool_holds_initial_and_trained_weights(images, network, runtime, tmp_path):
    pool = pretrain_pool(images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)
    assert len(pool) == 2
    names = set(pool.initial[0])
    assert names == set(pool.trained[1]) and "classifier.weight" in names
    weight = "convolutions.0.weight"
    tensors = [side[i][weight] for side in (pool.initial, pool.trained) for i in range(2)]
    assert all(not torch.equal(a, b) for i, a in enumerate(tensors) for b in tensors[:i])


def test_interrupted_pool_resumes_to_the_same_weights(images, network, runtime, tmp_path):
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0}
    whole = pretrain_pool(images, network, QUICK, folder=tmp_path / "whole", **options)
    events = []
    for stop_at in (4, 12, 17):

        def listen(event, stop_at=stop_at):
            events.append(event)
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            pretrain_pool(
                images, network, QUICK, folder=tmp_path / "parts", listen=listen, **options
            )
    starts = [e.done for e in events if isinstance(e, PhaseStarted)]
    assert starts == [0, 3, 11]
    parts = pretrain_pool(images, network, QUICK, folder=tmp_path / "parts", **options)
    assert parts.fingerprint() == whole.fingerprint()
    assert not list((tmp_path / "parts").glob("*.unfinished"))


def test_complete_pool_is_loaded(images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    first = pretrain_pool(images, network, QUICK, **options)
    events = []
    second = pretrain_pool(images, network, QUICK, listen=events.append, **options)
    assert first.fingerprint() == second.fingerprint()
    assert events == [PhaseStarted("pool", 18, "step", 18)]


def test_time_of_all_attempts_is_reported(images, network, runtime, tmp_path):
    events = []
    pretrain_pool(
        images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime, listen=events.append
    )
    assert isinstance(events[-1], PhaseFinished) and events[-1].seconds > 0


def test_other_settings_are_refused(images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    pretrain_pool(images, network, QUICK, **options)
    with pytest.raises(CheckpointError, match="other settings"):
        pretrain_pool(images, network, replace(QUICK, epochs=4), **options)


def test_truncated_network_is_named(images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    pretrain_pool(images, network, QUICK, **options)
    path = tmp_path / "network_001.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"network_001\.safetensors is damaged"):
        pretrain_pool(images, network, QUICK, **options)

"""The pool: stored network by network, resumed to the same weights."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
import torch

from dd_core import (
    CheckpointError,
    NetworkSettings,
    NonFiniteError,
    PretrainSettings,
    SettingsError,
    pretrain_pool,
)
from dd_core.events import PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_core.extractors import Extractor, ExtractorPool

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


@pytest.fixture
def one_thread(runtime):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield replace(runtime, threads=1)
    torch.set_num_threads(before)


def test_workers_side_by_side_give_the_bits_of_one_after_the_other(
    images, network, runtime, one_thread, tmp_path
):
    settings = replace(QUICK, networks=3)
    alone = pretrain_pool(
        images, network, settings, folder=tmp_path / "alone", seed=0, runtime=one_thread
    )
    events, threads = [], set()

    def listen(event):
        events.append(event)
        threads.add(threading.current_thread())

    options = {"seed": 0, "checkpoint_seconds": 0.0, "workers": 2, "runtime": runtime}

    def interrupt(event):
        if isinstance(event, PhaseAdvanced) and event.done >= 8:
            raise Stop

    folder = tmp_path / "two"
    with pytest.raises(Stop):
        pretrain_pool(images, network, settings, folder=folder, listen=interrupt, **options)
    assert torch.get_num_threads() == 1  # the caller's, as it was
    assert not [t for t in threading.enumerate() if t.name.startswith("pretraining")]
    two = pretrain_pool(images, network, settings, folder=folder, listen=listen, **options)
    assert two.fingerprint() == alone.fingerprint()
    assert threads == {threading.current_thread()}
    done = [e.done for e in events if isinstance(e, PhaseAdvanced)]
    assert done == sorted(done) and done[-1] == 27 and events[0].done >= 6
    assert isinstance(events[-1], PhaseFinished)


def test_error_of_a_worker_ends_all(images, network, runtime, tmp_path):
    settings = replace(QUICK, learning_rate=1e30, epochs=30)
    with pytest.raises(NonFiniteError, match="training loss"):
        pretrain_pool(
            images, network, settings, folder=tmp_path, seed=0, runtime=runtime, workers=2
        )
    assert not [t for t in threading.enumerate() if t.name.startswith("pretraining")]


def test_impossible_workers_are_refused(images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0}
    with pytest.raises(SettingsError, match="workers is 0"):
        pretrain_pool(images, network, QUICK, runtime=runtime, workers=0, **options)
    compiled = replace(runtime, compile=True)
    with pytest.raises(SettingsError, match="compile = 'off'"):
        pretrain_pool(images, network, QUICK, runtime=compiled, workers=2, **options)


def test_folder_of_the_pretraining_is_a_stored_pool(images, network, runtime, tmp_path):
    pool = pretrain_pool(images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)
    loaded = ExtractorPool.load(tmp_path)
    assert loaded.fingerprint() == pool.fingerprint() and loaded.network == network
    assert pool.seconds > 0
    Extractor(network, images, loaded, seed=0).draw(0)


@pytest.mark.parametrize("architecture", ["convnet", "resnet18"])
def test_batch_norm_learns_running_statistics(images, runtime, tmp_path, architecture):
    network = NetworkSettings(architecture, depth=2, width=8, norm="batch")
    settings = PretrainSettings(networks=1, epochs=1, batch_size=30)
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    pool = pretrain_pool(images, network, settings, **options)
    name = next(n for n in pool.initial[0] if n.endswith("running_mean"))
    assert not pool.initial[0][name].any() and pool.trained[0][name].all()


def test_networks_as_one_are_those_that_are_trained_one_by_one(
    images, network, runtime, tmp_path, monkeypatch
):
    settings = replace(QUICK, networks=3, epochs=1)
    options = {"seed": 0, "runtime": runtime}
    one = pretrain_pool(images, network, settings, folder=tmp_path / "one", **options)
    monkeypatch.setattr("dd_core.pretrain.computes_as_one", lambda runtime: True)
    for workers in (2, 3):
        folder = tmp_path / str(workers)
        found = pretrain_pool(images, network, settings, folder=folder, workers=workers, **options)
        assert not list(folder.glob("*.unfinished"))
        for side in ("initial", "trained"):
            for ours, theirs in zip(getattr(found, side), getattr(one, side), strict=True):
                assert ours.keys() == theirs.keys()
                for name, tensor in ours.items():
                    torch.testing.assert_close(tensor, theirs[name], rtol=0, atol=1e-4)


def test_a_pool_as_one_resumes_to_the_same_weights(images, network, runtime, tmp_path, monkeypatch):
    monkeypatch.setattr("dd_core.pretrain.computes_as_one", lambda runtime: True)
    settings = replace(QUICK, networks=3)
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0, "workers": 2}
    whole = pretrain_pool(images, network, settings, folder=tmp_path / "whole", **options)
    for stop_at in (5, 14, 22):

        def listen(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            pretrain_pool(
                images, network, settings, folder=tmp_path / "parts", listen=listen, **options
            )
    parts = pretrain_pool(images, network, settings, folder=tmp_path / "parts", **options)
    assert parts.fingerprint() == whole.fingerprint()


def test_a_trial_decides_how_many_networks_are_one(images, network, runtime, tmp_path, monkeypatch):
    tried = []

    def seconds(stack, optimizer, data, settings, *, seeds, runtime):
        tried.append(stack.copies)
        return float(stack.copies)

    monkeypatch.setattr("dd_core.pretrain.computes_as_one", lambda runtime: True)
    monkeypatch.setattr("dd_core.pretrain.step_seconds", seconds)
    monkeypatch.setattr("dd_core.together._WORTH_A_TRIAL", 10)
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime, "workers": "auto"}
    assert len(pretrain_pool(images, network, QUICK, **options)) == 2
    assert tried == [2, 1]

"""How many networks are trained as one."""

from __future__ import annotations

import pytest
import torch

from dd_core import CheckpointError, PretrainSettings
from dd_core.networks import build_network, stack_networks
from dd_core.together import (
    choose_together,
    computes_as_one,
    kept_choice,
    lot_of,
    lot_starts,
    step_seconds,
)
from dd_core.training import TrainingSet


def test_all_together_where_that_is_faster_and_one_by_one_where_it_is_not():
    tried = []

    def launches(k):  # a step takes as long, however many compute in it
        tried.append(k)
        return 1.0

    assert choose_together(10, launches) == 10 and tried == [10, 1]
    assert choose_together(10, lambda k: 0.1 + k) == 10
    assert choose_together(10, lambda k: k**1.1) == 1
    assert choose_together(1, lambda k: pytest.fail("nothing to try")) == 1


def test_as_many_as_the_memory_holds():
    def trial(k):
        if k > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return 1.0

    assert choose_together(20, trial) == 3  # 20, 10, 5, 3

    def never(k):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    assert choose_together(20, never) == 1


def test_another_error_of_a_trial_comes_through():
    def trial(k):
        raise RuntimeError("the loss of the device")

    with pytest.raises(RuntimeError, match="the loss of the device"):
        choose_together(2, trial)


def test_a_choice_is_kept_for_a_resumed_training(tmp_path):
    assert kept_choice(tmp_path, "key", 10, 1000, lambda k: 1.0) == 10
    slow = pytest.fail
    assert kept_choice(tmp_path, "key", 10, 1000, slow) == 10
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        kept_choice(tmp_path, "other", 10, 1000, slow)
    assert kept_choice(tmp_path / "short", "key", 10, 3, slow) == 1


def test_lots_cover_all_networks_once():
    for count in range(1, 12):
        for together in range(1, 13):
            starts = lot_starts(range(count), together)
            assert [n for start in starts for n in lot_of(start, together, count)] == list(
                range(count)
            )


def test_a_cpu_has_threads_instead(runtime):
    assert not computes_as_one(runtime)


def test_a_trial_takes_some_steps_and_ends(images, network, runtime):
    models = [
        build_network(network, channels=1, size=16, n_classes=3, seed=seed) for seed in (0, 1)
    ]
    stack = stack_networks(models)
    optimizer = torch.optim.SGD(stack.parameters(), lr=0.1)
    data = TrainingSet(images.pixels, images.labels, images.mean, images.std)
    for epochs in (1, 10**6):
        settings = PretrainSettings(networks=2, epochs=epochs, batch_size=30)
        seconds = step_seconds(
            stack, optimizer, data, settings, seeds=[0, 1], runtime=runtime
        )  # fmt: skip
        assert 0 < seconds < 10

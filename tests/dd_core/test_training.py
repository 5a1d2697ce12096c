"""The training loop: its stream of batches, its learning, its resumption."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import NonFiniteError, PretrainSettings, StudentSettings
from dd_core.networks import build_network, stack_networks, unstack_network
from dd_core.training import (
    TrainingSet,
    _batch_of_stream,
    _cutmix,
    confusion_of,
    total_steps,
    train,
    unfinished_progress,
)

QUICK = PretrainSettings(networks=1, epochs=4, batch_size=16, learning_rate=0.05)


class Stop(Exception):
    """Raised to interrupt a training."""


@settings(max_examples=50, deadline=None)
@given(n=st.integers(1, 30), batch=st.integers(1, 30), seed=st.integers(0, 99))
def test_batches_are_full_and_each_pass_sees_every_image_once(n, batch, seed):
    batch = min(n, batch)
    stream = [i for step in range(n) for i in _batch_of_stream(step, batch, n, seed).tolist()]
    assert len(stream) == n * batch
    for epoch in range(batch):
        assert sorted(stream[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_steps_are_epochs_times_batches():
    assert total_steps(400, replace(QUICK, epochs=10, batch_size=128)) == 31
    assert total_steps(40, replace(QUICK, epochs=10, batch_size=128)) == 10


def test_cutmix_takes_one_box_from_another_image_and_shares_labels():
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 16, 16)
    mixed_seen = 0
    for seed in range(40):
        mixed, other, share = _cutmix(images, 0.5, torch.Generator().manual_seed(seed))
        if other is None:
            assert torch.equal(mixed, images) and share == 1.0
            continue
        mixed_seen += 1
        for i in range(8):
            own = (mixed[i] == i).float().mean().item()
            if other[i] != i:
                assert own == pytest.approx(share)
                assert ((mixed[i] == i) | (mixed[i] == other[i])).all()
    assert 8 < mixed_seen < 32


def run(images, network, runtime, tmp_path, stop_at=None, name="state", limits=QUICK):
    model = build_network(network, channels=1, size=16, n_classes=3, seed=0)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
    rates = []

    def after_step(step, loss, facts):
        rates.append(optimizer.param_groups[0]["lr"])
        if step == stop_at:
            raise Stop

    data = TrainingSet(images.pixels, images.labels, images.mean, images.std)
    facts = train(
        model, optimizer, data, limits, seeds=[0], runtime=runtime, state=tmp_path / name,
        key="k", checkpoint_seconds=0.0, after_step=after_step,
    )  # fmt: skip
    return model, facts, rates


def test_it_learns(images, test_images, network, runtime, tmp_path):
    limits = replace(QUICK, epochs=40, augmentation="none", cutmix=0.0)
    model, _, _ = run(images, network, runtime, tmp_path, limits=limits)
    counts, *_ = confusion_of(model, test_images, runtime)
    assert counts.trace() > 0.9 * len(test_images)


def test_rate_falls_at_the_milestones(images, network, runtime, tmp_path):
    limits = replace(QUICK, milestones=(0.5,), gamma=0.1)
    _, _, rates = run(images, network, runtime, tmp_path, limits=limits)
    assert rates == [0.05] * 8 + [pytest.approx(0.005)] * 7


def test_interrupted_training_resumes_to_the_same_weights(images, network, runtime, tmp_path):
    whole, _, _ = run(images, network, runtime, tmp_path, name="whole")
    for stop_at in (3, 8):
        with pytest.raises(Stop):
            run(images, network, runtime, tmp_path, stop_at=stop_at)
    assert unfinished_progress(tmp_path / "state", key="k")[0] == 7
    resumed, facts, _ = run(images, network, runtime, tmp_path)
    assert float(facts["seconds"]) > 0
    for a, b in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(a, b)


def test_infinite_loss_stops_with_the_state_before_it(images, network, runtime, tmp_path):
    limits = replace(QUICK, learning_rate=1e30)
    with pytest.raises(NonFiniteError, match="lower learning_rate"):
        run(images, network, runtime, tmp_path, limits=limits)
    assert unfinished_progress(tmp_path / "state", key="k")[0] > 0


def test_loss_that_is_never_finite_leaves_a_state_that_can_be_read(
    images, network, runtime, tmp_path
):
    """Again and again the same clear error, and no state with bad weights."""
    broken = replace(images, std=(1e-45,))  # its reciprocal is infinite in float32
    for _ in range(2):
        with pytest.raises(NonFiniteError, match="at step 0 of"):
            run(broken, network, runtime, tmp_path)
        assert unfinished_progress(tmp_path / "state", key="k") == (0, 0.0)


def test_confusion_counts_images_by_true_and_predicted_class(test_images, runtime):
    class FromLabel(torch.nn.Module):
        """Takes class 0 for 1 and knows the others; asked in the order of the images."""

        place = 0

        def forward(self, x):
            labels = test_images.labels[self.place : self.place + len(x)]
            self.place += len(x)
            return torch.eye(3)[torch.where(labels == 0, 1, labels)]

    counts = confusion_of(FromLabel(), test_images, runtime)
    sizes = test_images.class_counts.tolist()
    assert counts.tolist() == [[[0, sizes[0], 0], [0, sizes[1], 0], [0, 0, sizes[2]]]]


def test_confusion_leaves_the_mode_as_it_was(images, test_images, network, runtime):
    model = build_network(network, channels=1, size=test_images.size, n_classes=3, seed=0)
    for training in (True, False):
        confusion_of(model.train(training), test_images, runtime)
        assert model.training is training


def test_students_and_pretraining_fit_the_protocol():
    assert total_steps(10, StudentSettings(epochs=3, batch_size=5)) == 6


@pytest.mark.parametrize("soft", [False, True])
def test_networks_as_one_take_the_steps_that_each_takes_alone(
    soft, images, network, runtime, tmp_path
):
    """Batches, augmentation, CutMix, losses and rates: all weights after six steps."""
    limits = StudentSettings(
        steps=6, batch_size=16, learning_rate=0.05, milestones=(0.5,), gamma=0.1, cutmix=0.7,
        augmentation="flip_color_crop/scale/rotate_cutout",
    )  # fmt: skip
    labels = torch.nn.functional.one_hot(images.labels, 3) * 0.8 + 0.1 if soft else images.labels
    data = TrainingSet(images.pixels, labels, images.mean, images.std)
    losses: dict[int, list] = {}

    def trained(model, seeds, name):
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9, weight_decay=1e-3)
        losses[name] = []
        train(
            model, optimizer, data, limits, seeds=seeds, runtime=runtime,
            state=tmp_path / str(name), key="k", checkpoint_seconds=9e9,
            after_step=lambda step, loss, facts: losses[name].append(loss),
        )  # fmt: skip
        return model

    def fresh():
        return [build_network(network, channels=1, size=16, n_classes=3, seed=n) for n in range(3)]

    alone = [trained(model, [7 + n], n) for n, model in enumerate(fresh())]
    together = fresh()
    unstack_network(trained(stack_networks(together), [7, 8, 9], 99), together)
    for model, other in zip(together, alone, strict=True):
        for a, b in zip(model.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-5)
    each = torch.stack([torch.cat(losses[n]) for n in range(3)], 1)
    torch.testing.assert_close(torch.stack(losses[99]), each, rtol=1e-4, atol=1e-5)
    assert (each[:, 0] != each[:, 1]).all()


def test_confusion_of_networks_as_one_is_that_of_each(test_images, network, runtime):
    models = [build_network(network, channels=1, size=16, n_classes=3, seed=n) for n in range(3)]
    each = torch.cat([confusion_of(model, test_images, runtime) for model in models])
    assert torch.equal(confusion_of(stack_networks(models), test_images, runtime), each)
    assert len({tuple(counts.flatten().tolist()) for counts in each}) > 1


def test_a_loss_that_is_not_finite_in_one_network_stops_all(images, network, runtime, tmp_path):
    models = [build_network(network, channels=1, size=16, n_classes=3, seed=n) for n in range(2)]
    with torch.no_grad():
        models[1].classifier.bias.fill_(float("inf"))
    model = stack_networks(models)
    data = TrainingSet(images.pixels, images.labels, images.mean, images.std)
    with pytest.raises(NonFiniteError, match="training loss is nan at step 0"):
        train(
            model, torch.optim.SGD(model.parameters()), data, QUICK, seeds=[0, 1],
            runtime=runtime, state=tmp_path / "state", key="k", checkpoint_seconds=9e9,
            after_step=lambda *_: None,
        )  # fmt: skip

"""Protocols, budget curves and several architectures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dd_core import (
    NetworkSettings,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    select_random,
)
from dd_core.evaluation import (
    PROTOCOLS,
    budget_curve,
    cross_architectures,
    evaluate,
    evaluate_architectures,
    student_protocol,
)
from dd_core.networks import build_network

QUICK = StudentSettings(
    students=2, epochs=6, batch_size=12, learning_rate=5e-3, cutmix=0.0, augmentation="none"
)


@pytest.fixture
def data(images):
    return select_random(images, SyntheticSettings(ipc=4, factor=1, init="real"), seed=0)


def test_protocols_are_what_their_papers_say():
    ncfm, dm, short = (PROTOCOLS[name] for name in ("ncfm-paper", "dm", "short"))
    assert (ncfm.students, ncfm.epochs, ncfm.optimizer, ncfm.cutmix) == (10, 2000, "adamw", 0.5)
    assert (dm.epochs, dm.optimizer, dm.learning_rate, dm.cutmix) == (1000, "sgd", 0.01, 0.0)
    assert short == replace(ncfm, students=5, epochs=300, evaluations=short.evaluations)


def test_a_protocol_can_be_changed_by_field():
    assert student_protocol("short") is not None and student_protocol("short") == PROTOCOLS["short"]
    assert student_protocol("dm", students=2) == replace(PROTOCOLS["dm"], students=2)
    with pytest.raises(SettingsError, match=r"name is 'long'.*ncfm-paper"):
        student_protocol("long")
    with pytest.raises(SettingsError, match="epoch is not among the fields"):
        student_protocol("dm", epoch=3)
    with pytest.raises(SettingsError, match="students is 0"):
        student_protocol("dm", students=0)


def test_a_budget_curve_trains_anew_for_each_length(data, test_images, network, runtime, tmp_path):
    found = budget_curve(
        data, test_images, network, QUICK, (2, 8), folder=tmp_path, seed=3, runtime=runtime
    )
    assert list(found) == [2, 8]
    for epochs, each in found.items():
        alone = evaluate(
            data, test_images, network, replace(QUICK, epochs=epochs),
            folder=tmp_path / "alone" / str(epochs), seed=3, runtime=runtime,
        )  # fmt: skip
        assert each == replace(alone, seconds=each.seconds)
    assert found[2].last != found[8].curves[0][1]  # not a point of the longer training
    again = budget_curve(
        data, test_images, network, QUICK, (2, 8), folder=tmp_path, seed=3, runtime=runtime
    )
    assert again == found  # seconds included: nothing was trained again


@pytest.mark.parametrize(
    ("epochs", "steps", "message"),
    [
        ((), 0, "epochs are"),
        ((3, 3), 0, "each once"),
        ((0,), 0, "epochs is 0"),
        ((3,), 5, r"settings.steps is 5"),
    ],
)
def test_impossible_lengths_are_refused(
    data, test_images, network, runtime, tmp_path, epochs, steps, message
):
    with pytest.raises(SettingsError, match=message):
        budget_curve(
            data, test_images, network, replace(QUICK, steps=steps), epochs,
            folder=tmp_path / "x", seed=0, runtime=runtime,
        )  # fmt: skip
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("size", [16, 28, 32, 64, 128])
def test_all_cross_architectures_can_be_built(size):
    networks = cross_architectures(size)
    assert ("vgg11" in networks) == (size >= 28)
    for settings in networks.values():
        build_network(settings, channels=3, size=size, n_classes=10, seed=0)
    assert networks["resnet18-batch"].norm == "batch"


def test_architectures_are_evaluated_one_by_one(data, test_images, runtime, tmp_path):
    networks = {
        "convnet": NetworkSettings(depth=2, width=8),
        "batch": NetworkSettings(depth=1, width=8, norm="batch"),
    }
    found = evaluate_architectures(
        data, test_images, networks, replace(QUICK, students=1), folder=tmp_path, seed=0,
        runtime=runtime,
    )  # fmt: skip
    assert list(found) == ["convnet", "batch"]
    for name, each in found.items():
        alone = evaluate(
            data, test_images, networks[name], replace(QUICK, students=1),
            folder=tmp_path / f"{name}-alone", seed=0, runtime=runtime,
        )  # fmt: skip
        assert each.last == alone.last


def test_an_architecture_that_does_not_fit_is_found_before_any_training(
    data, test_images, runtime, tmp_path
):
    networks = {"convnet": NetworkSettings(depth=2, width=8), "vgg11": NetworkSettings("vgg11")}
    with pytest.raises(SettingsError, match="at least 32 px"):
        evaluate_architectures(
            data, test_images, networks, QUICK, folder=tmp_path / "x", seed=0, runtime=runtime
        )
    assert not (tmp_path / "x").exists()
    with pytest.raises(SettingsError, match="networks is empty"):
        evaluate_architectures(
            data, test_images, {}, QUICK, folder=tmp_path / "x", seed=0, runtime=runtime
        )

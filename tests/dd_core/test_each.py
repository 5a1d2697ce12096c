"""One student of each of several sets: the students that `evaluate` trains, at the same time."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dd_core import StudentSettings, SyntheticSettings, evaluate, select_random
from dd_core.evaluation.each import Part, evaluate_each
from dd_core.events import PhaseAdvanced, PhaseFinished, PhaseStarted

QUICK = StudentSettings(
    students=4, epochs=1, steps=8, batch_size=12, learning_rate=5e-3, cutmix=0.0,
    augmentation="none", evaluations=2,
)  # fmt: skip


class Stop(Exception):
    """Raised to interrupt."""


@pytest.fixture(autouse=True)
def every_step_is_reported(monkeypatch):
    monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)


@pytest.fixture
def parts_in(images, test_images):
    def make(folder):
        form = SyntheticSettings(ipc=4, factor=1, init="real")
        sets = [select_random(images, form, seed=seed) for seed in range(3)]
        return [
            Part(each, test_images, folder / str(number), 70 + number)
            for number, each in enumerate([*sets, images])
        ]

    return make


@pytest.mark.parametrize("workers", [1, 3, "auto"])
def test_each_is_what_it_is_alone(parts_in, network, runtime, tmp_path, workers):
    options = {"runtime": runtime, "checkpoint_seconds": 5.0}
    parts, events = parts_in(tmp_path / "a"), []
    found = evaluate_each(
        parts, network, QUICK, phase="p", listen=events.append, workers=workers, **options
    )
    for number, part in enumerate(parts_in(tmp_path / "b")):
        alone = evaluate(
            part.data, part.test, network, replace(QUICK, students=1), folder=part.folder,
            seed=part.seed, **options,
        )  # fmt: skip
        assert found.last[number] == alone.last[0] and found.curves[number] == alone.curves[0]
        assert torch.equal(found.confusion[number], alone.confusion[0])
    assert found.n == 4
    assert events[0] == PhaseStarted("p", 32, "step", 0)
    steps = [event.done for event in events if isinstance(event, PhaseAdvanced)]
    assert steps == sorted(steps) and steps[-1] == 32
    assert isinstance(events[-1], PhaseFinished)


def test_what_is_done_is_read_and_what_was_stopped_goes_on(parts_in, network, runtime, tmp_path):
    options = {"runtime": runtime, "checkpoint_seconds": 0.0, "phase": "p", "workers": 2}
    whole = evaluate_each(
        parts_in(tmp_path / "whole"), network, QUICK, listen=lambda event: None, **options
    )
    parts = parts_in(tmp_path / "parts")
    for stop_at in (3, 18, 27):

        def stop(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            evaluate_each(parts, network, QUICK, listen=stop, **options)
    again = evaluate_each(parts, network, QUICK, listen=lambda event: None, **options)
    assert again.last == whole.last and again.curves == whole.curves
    events = []
    evaluate_each(parts, network, QUICK, listen=events.append, **options)
    assert events == [PhaseStarted("p", 32, "step", 32)]

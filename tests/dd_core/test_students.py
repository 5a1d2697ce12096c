"""Students: honest results, resumable."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest

from dd_core import CheckpointError, StudentSettings, SyntheticSettings, evaluate, select_random
from dd_core.evaluation import Evaluation
from dd_core.events import PhaseAdvanced

QUICK = StudentSettings(
    students=2, epochs=12, batch_size=12, learning_rate=5e-3, cutmix=0.0, augmentation="none"
)


class Stop(Exception):
    """Raised to interrupt the evaluation."""


@pytest.fixture(autouse=True)
def every_step_is_reported(monkeypatch):
    monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)


@pytest.fixture
def data(images):
    return select_random(images, SyntheticSettings(ipc=4, factor=1, init="real"), seed=0)


def test_result_is_the_last_epoch_and_best_is_apart(data, test_images, network, runtime, tmp_path):
    result = evaluate(data, test_images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)
    assert result.n == 2 and all(len(curve) == 4 for curve in result.curves)
    assert [epoch for epoch, _ in result.curves[0]] == [3.0, 6.0, 9.0, 12.0]
    for last, best, curve in zip(result.last, result.best, result.curves, strict=True):
        assert last == curve[-1][1] and best == max(a for _, a in curve)
    assert result.mean == statistics.fmean(result.last)
    assert result.std == statistics.stdev(result.last)
    assert result.mean > 60  # chance is 33


def test_students_learn_what_the_set_says(data, test_images, network, runtime, tmp_path):
    wrong = replace(data, labels=(data.labels + 1) % 3)
    result = evaluate(wrong, test_images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)
    assert result.mean < 20


def test_fixed_steps_train_sets_of_any_size_alike(images, test_images, network, runtime, tmp_path):
    fixed = replace(QUICK, steps=6, students=1, evaluations=1)
    for ipc, epochs in ((4, 6.0), (8, 3.0)):
        settings = SyntheticSettings(ipc=ipc, factor=1, init="real")
        chosen = select_random(images, settings, seed=0)
        result = evaluate(
            chosen, test_images, network, fixed,
            folder=tmp_path / str(ipc), seed=0, runtime=runtime,
        )  # fmt: skip
        assert result.curves[0][0][0] == epochs


def test_one_student_has_no_deviation():
    assert str(Evaluation((50.0,), (51.0,), (((1.0, 50.0),),), 1.0).std) == "nan"


def test_interrupted_evaluation_resumes_to_the_same_result(
    data, test_images, network, runtime, tmp_path
):
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0}
    whole = evaluate(data, test_images, network, QUICK, folder=tmp_path / "whole", **options)
    for stop_at in (5, 14, 20):

        def listen(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            evaluate(
                data, test_images, network, QUICK,
                folder=tmp_path / "parts", listen=listen, **options,
            )  # fmt: skip
    parts = evaluate(data, test_images, network, QUICK, folder=tmp_path / "parts", **options)
    assert parts.curves == whole.curves and parts.last == whole.last
    (tmp_path / "parts" / "student_000.unfinished").write_bytes(b"left by a kill")
    again = evaluate(data, test_images, network, QUICK, folder=tmp_path / "parts", **options)
    assert again == parts


def test_other_set_in_the_folder_is_refused(data, test_images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    evaluate(data, test_images, network, QUICK, **options)
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        evaluate(replace(data, images=data.images * 0.5), test_images, network, QUICK, **options)


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "x"}', '{"curve": [[1, 2]]}'])
def test_damaged_record_is_named(content, data, test_images, network, runtime, tmp_path):
    (tmp_path / "student_000.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"student_000\.json"):
        evaluate(data, test_images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)


def test_students_of_two_sets_start_from_the_same_weights(
    data, test_images, network, runtime, tmp_path
):
    """So that sets are compared in pairs: with no training, equal accuracies."""
    still = replace(QUICK, epochs=1, batch_size=100, learning_rate=1e-12, evaluations=1)
    other = replace(data, images=1 - data.images)
    results = [
        evaluate(d, test_images, network, still, folder=tmp_path / n, seed=0, runtime=runtime)
        for d, n in ((data, "a"), (other, "b"))
    ]
    assert results[0].last == results[1].last
    record = json.loads((tmp_path / "a" / "student_000.json").read_text())
    assert record["curve"][0][0] == 1.0

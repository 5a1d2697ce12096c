"""Students: honest results, resumable."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dd_core import (
    CheckpointError,
    DataError,
    DistilledSet,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    evaluate,
    select_random,
)
from dd_core.checkpoint import locked
from dd_core.evaluation import Evaluation, students
from dd_core.events import PhaseAdvanced
from dd_core.runtime import choose_runtime

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


def test_students_side_by_side_share_the_time_that_they_take(
    data, test_images, network, tmp_path, monkeypatch
):
    """Two threads train two of three students in six seconds, and then the third in six."""
    train = students.train

    def in_six_seconds(*arguments, **options):
        return {**train(*arguments, **options), "seconds": 6.0}

    monkeypatch.setattr(students, "train", in_six_seconds)
    result = evaluate(
        data, test_images, network, replace(QUICK, students=3), folder=tmp_path, seed=0,
        runtime=choose_runtime("cpu", "float32", "off", threads=2),
    )  # fmt: skip
    assert result.seconds == 12.0


def test_one_student_has_no_deviation():
    assert str(Evaluation((50.0,), (51.0,), (((1.0, 50.0),),), 1.0).std) == "nan"


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_interrupted_evaluation_resumes_to_the_same_result(
    data, test_images, network, runtime, tmp_path, optimizer
):
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0}
    quick = replace(QUICK, optimizer=optimizer)
    whole = evaluate(data, test_images, network, quick, folder=tmp_path / "whole", **options)
    for stop_at in (5, 14, 20):

        def listen(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            evaluate(
                data, test_images, network, quick,
                folder=tmp_path / "parts", listen=listen, **options,
            )  # fmt: skip
    parts = evaluate(data, test_images, network, quick, folder=tmp_path / "parts", **options)
    assert parts.curves == whole.curves and parts.last == whole.last
    (tmp_path / "parts" / "student_000.unfinished").write_bytes(b"left by a kill")
    again = evaluate(data, test_images, network, quick, folder=tmp_path / "parts", **options)
    assert again == parts


ONE = replace(QUICK, students=1, steps=2, evaluations=1)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: {"images": data.images * 0.5},
        lambda data: {"decode": "multi"},
        lambda data: {"decode": "bound", "bound": 4},
        lambda data: {"factor": 4},
        lambda data: {"mean": (0.31,)},
        lambda data: {"soft_labels": torch.full((6, 3), 1 / 3)},
    ],
)
def test_other_set_in_the_folder_is_refused(
    change, images, test_images, network, runtime, tmp_path
):
    """Each of them trains other students, so the old result is not theirs."""
    data = select_random(images, SyntheticSettings(ipc=2, factor=2), seed=0)
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    first = evaluate(data, test_images, network, ONE, **options)
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        evaluate(replace(data, **change(data)), test_images, network, ONE, **options)
    told = replace(data, provenance={"note": "the same pixels"})
    assert evaluate(told, test_images, network, ONE, **options) == first


def test_renamed_classes_are_another_evaluation(data, test_images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    evaluate(data, test_images, network, ONE, **options)
    data, test = (replace(d, class_names=("x", "y", "z")) for d in (data, test_images))
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        evaluate(data, test, network, ONE, **options)


def test_a_changed_result_is_refused(data, test_images, network, runtime, tmp_path):
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    first = evaluate(data, test_images, network, ONE, **options)
    path = tmp_path / "student_000.json"
    content = path.read_bytes()
    accuracy = str(first.last[0]).encode()
    assert accuracy in content
    path.write_bytes(content.replace(accuracy, b"99.5"))
    with pytest.raises(CheckpointError, match=r"student_000\.json is damaged or was changed"):
        evaluate(data, test_images, network, ONE, **options)
    path.write_bytes(content)
    assert evaluate(data, test_images, network, ONE, **options) == first


@pytest.mark.parametrize("content", ["{", "[]", '{"key": "x"}', '{"curve": [[1, 2]]}'])
def test_damaged_record_is_named(content, data, test_images, network, runtime, tmp_path):
    (tmp_path / "student_000.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"student_000\.json"):
        evaluate(data, test_images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime)


def resized(images, size):
    return F.interpolate(images.pixels.float(), size).to(torch.uint8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: {"class_names": t.class_names[::-1]},
            r"another order than those of data \(3 classes in data, 3 in test; label 0 is "
            r"'class 0' in data and 'class 2' in test\)",
        ),
        (lambda t: {"class_names": ("class 0", "class 1", "x")}, "not those of data.*label 2 is"),
        (
            lambda t: {
                "class_names": (*t.class_names, "x"),
                "labels": t.labels + (torch.arange(len(t)) >= len(t) - 4),
            },
            "3 classes in data, 4 in test",
        ),
        (lambda t: {"pixels": resized(t, 8)}, "1 channels and 8 px, those of data 1 and 16 px"),
        (
            lambda t: {
                "pixels": t.pixels.repeat(1, 3, 1, 1),
                "mean": (0.3,) * 3,
                "std": (0.2,) * 3,
            },
            "test images have 3 channels",
        ),
    ],
)
def test_test_images_that_do_not_fit_are_refused(
    change, message, data, test_images, network, runtime, tmp_path
):
    test = replace(test_images, **change(test_images))
    folder = tmp_path / "new"
    with pytest.raises(DataError, match=message):
        evaluate(data, test, network, ONE, folder=folder, seed=0, runtime=runtime)
    assert not folder.exists()


def test_test_images_are_normalised_as_the_set_is(data, test_images, network, runtime, tmp_path):
    options = {"seed": 0, "runtime": runtime}
    one = replace(QUICK, students=1)
    plain = evaluate(data, test_images, network, one, folder=tmp_path / "a", **options)
    other = replace(test_images, mean=(0.9,), std=(0.01,))
    again = evaluate(data, other, network, one, folder=tmp_path / "b", **options)
    assert again.curves == plain.curves and plain.mean > 60


def test_students_learn_from_soft_labels_where_there_are_any(
    images, test_images, network, runtime, tmp_path
):
    data = select_random(images, SyntheticSettings(ipc=2, factor=2), seed=0)
    other = F.one_hot((data.labels + 1) % 3, 3).float() * 0.9 + 0.1 / 3
    quick = replace(QUICK, students=1, steps=24, evaluations=1)
    options = {"seed": 0, "runtime": runtime}
    soft = replace(data, soft_labels=other)
    result = evaluate(soft, test_images, network, quick, folder=tmp_path / "soft", **options)
    assert result.mean < 20  # chance is 33
    hard = replace(soft, soft_labels=None)
    result = evaluate(hard, test_images, network, quick, folder=tmp_path / "hard", **options)
    assert result.mean > 60


def test_arguments_of_a_wrong_type_are_refused(data, test_images, network, runtime, tmp_path):
    given = {
        "data": data, "test": test_images, "network": network, "settings": ONE,
        "folder": str(tmp_path / "text"), "seed": 0, "runtime": runtime,
    }  # fmt: skip
    for name, value, message in (
        ("seed", -1, "seed is -1"), ("seed", "0", "seed is '0'"), ("seed", 1.5, "seed is 1.5"),
        ("folder", 5, "folder is 5"), ("test", None, "test is None; give a LabeledImages"),
        ("data", 5, "data is 5; give a DistilledSet"), ("network", None, "network is None"),
        ("settings", None, "settings is None"),
    ):  # fmt: skip
        with pytest.raises(SettingsError, match=message):
            evaluate(**{**given, name: value})
    assert not (tmp_path / "text").exists()
    evaluate(**given)
    assert (tmp_path / "text" / "student_000.json").exists()


def test_a_folder_that_another_process_has_is_refused(
    data, test_images, network, runtime, tmp_path
):
    with locked(tmp_path), pytest.raises(CheckpointError, match="Another process works in"):
        evaluate(data, test_images, network, ONE, folder=tmp_path, seed=0, runtime=runtime)


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
    assert record["facts"]["curve"][0][0] == 1.0


def test_the_optimiser_is_the_one_that_is_asked_for():
    """One step of plain SGD without momentum is w - lr (gradient + decay w)."""
    from dd_core.evaluation.students import _optimizer

    layer = torch.nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    settings = StudentSettings(optimizer="sgd", learning_rate=0.5, momentum=0.0, weight_decay=0.1)
    optimizer = _optimizer(layer, settings)
    layer(torch.tensor([[1.0, 2.0]])).sum().backward()
    optimizer.step()
    expected = before - 0.5 * (torch.tensor([[1.0, 2.0]]) + 0.1 * before)
    torch.testing.assert_close(layer.weight.detach(), expected)
    assert type(_optimizer(layer, replace(settings, optimizer="adam"))) is torch.optim.Adam
    assert type(_optimizer(layer, replace(settings, optimizer="adamw"))) is torch.optim.AdamW


def test_confusion_counts_every_test_image_of_each_student(
    data, test_images, network, runtime, tmp_path
):
    for _ in range(2):  # made, and read back
        found = evaluate(
            data, test_images, network, QUICK, folder=tmp_path, seed=0, runtime=runtime
        )
        assert found.confusion.shape == (2, 3, 3) and found.confusion.dtype == torch.int64
        assert found.confusion.sum(2).tolist() == [test_images.class_counts.tolist()] * 2
        right = found.confusion.diagonal(dim1=1, dim2=2).sum(1)
        assert (100 * right / len(test_images)).tolist() == pytest.approx(found.last)
    assert found.as_record()["confusion"] == found.confusion.sum(0).tolist()
    json.dumps(found.as_record())


def test_the_interval_is_that_of_scipy():
    from scipy.stats import t

    last = (50.0, 53.0, 49.5, 51.0)
    found = Evaluation(last, last, (), 1.0)
    expected = t.interval(0.95, 3, loc=found.mean, scale=found.std / 2)
    assert found.interval == pytest.approx(expected)
    assert Evaluation((50.0,), (50.0,), (), 1.0).interval is None
    assert Evaluation((50.0,), (50.0,), (), 1.0).as_record()["interval"] is None


def test_real_images_train_students_as_the_same_images_in_a_set_do(
    images, test_images, network, runtime, tmp_path
):
    real = evaluate(
        images, test_images, network, QUICK, folder=tmp_path / "a", seed=0, runtime=runtime
    )
    pixels = images.pixels.float() / 255
    same = DistilledSet(pixels, images.labels, 1, images.mean, images.std, images.class_names)
    found = evaluate(
        same, test_images, network, QUICK, folder=tmp_path / "b", seed=0, runtime=runtime
    )
    assert real.last == pytest.approx(found.last, abs=5) and real.mean > 80


def test_hard_labels_are_taken_where_they_are_asked_for(
    data, test_images, network, runtime, tmp_path
):
    wrong = F.one_hot((data.labels + 1) % 3, 3).float()
    soft = replace(data, soft_labels=wrong)
    options = {"seed": 0, "runtime": runtime}
    stored = evaluate(soft, test_images, network, QUICK, folder=tmp_path / "s", **options)
    hard = replace(QUICK, labels="hard")
    taken = evaluate(soft, test_images, network, hard, folder=tmp_path / "h", **options)
    plain = evaluate(data, test_images, network, hard, folder=tmp_path / "p", **options)
    assert stored.mean < 20 and taken.last == plain.last


@pytest.mark.parametrize(("students", "workers"), [(3, 2), (4, 4), (3, "auto")])
def test_students_side_by_side_reach_what_they_reach_one_by_one(
    data, test_images, network, runtime, tmp_path, students, workers
):
    settings = replace(QUICK, students=students)
    options = {"seed": 0, "runtime": replace(runtime, threads=1 if workers == 4 else 2)}
    one = evaluate(
        data, test_images, network, settings, folder=tmp_path / "one", workers=1, **options
    )
    many = evaluate(
        data, test_images, network, settings, folder=tmp_path / "many", workers=workers, **options
    )
    assert many.last == one.last and many.curves == one.curves  # one thread each, the same bits
    assert (many.confusion == one.confusion).all()


def test_side_by_side_resumes_to_the_same_bits(data, test_images, network, runtime, tmp_path):
    settings = replace(QUICK, students=3)
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0, "workers": 2}
    whole = evaluate(data, test_images, network, settings, folder=tmp_path / "w", **options)
    for stop_at in (3, 9, 25):  # with two, with one, with the one left over

        def stop(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            evaluate(
                data, test_images, network, settings, folder=tmp_path / "r", listen=stop, **options
            )
    again = evaluate(data, test_images, network, settings, folder=tmp_path / "r", **options)
    assert again.last == whole.last and again.curves == whole.curves


@pytest.fixture
def as_one(monkeypatch):
    """Students at a time are one network, as on a GPU."""
    monkeypatch.setattr("dd_core.evaluation.students.computes_as_one", lambda runtime: True)


@pytest.mark.parametrize("workers", [2, 3, 9])
def test_students_as_one_network_reach_what_they_reach_one_by_one(
    data, test_images, network, runtime, tmp_path, monkeypatch, workers
):
    settings = replace(
        QUICK,
        students=3,
        cutmix=0.5,
        augmentation="flip_color_crop/scale/rotate_cutout",
        optimizer="sgd",
        learning_rate=1e-3,
    )  # Adam would make steps of rounding
    options = {"seed": 0, "runtime": runtime, "workers": workers}

    def close(a, b):  # a step in which rounding tips an image over
        return all(abs(x - y) <= 100 * 2 / len(test_images) for x, y in zip(a, b, strict=True))

    one = evaluate(
        data, test_images, network, settings, folder=tmp_path / "one", seed=0, runtime=runtime,
    )  # fmt: skip
    monkeypatch.setattr("dd_core.evaluation.students.computes_as_one", lambda runtime: True)
    together = evaluate(
        data, test_images, network, settings, folder=tmp_path / "together",
        **options,
    )  # fmt: skip
    assert close(together.last, one.last) and len(set(one.last)) > 1
    for curve, other in zip(together.curves, one.curves, strict=True):
        assert [epoch for epoch, _ in curve] == [epoch for epoch, _ in other]
        assert close([a for _, a in curve], [a for _, a in other])
    assert together.confusion.shape == one.confusion.shape
    assert together.confusion.sum(2).tolist() == one.confusion.sum(2).tolist()
    assert not list((tmp_path / "together").glob("*.unfinished"))
    monkeypatch.setattr("dd_core.evaluation.students.computes_as_one", lambda runtime: False)
    # The stored results are those of the students, whatever trained them.
    again = evaluate(
        data, test_images, network, settings, folder=tmp_path / "together", seed=0,
        runtime=runtime,
    )  # fmt: skip
    assert again.last == together.last


def test_students_as_one_network_resume_to_the_same_bits(
    data, test_images, network, runtime, tmp_path, as_one
):
    settings = replace(QUICK, students=5)
    options = {"seed": 0, "runtime": runtime, "checkpoint_seconds": 0.0, "workers": 2}
    whole = evaluate(data, test_images, network, settings, folder=tmp_path / "w", **options)
    for stop_at in (6, 17, 30, 52):

        def stop(event, stop_at=stop_at):
            if isinstance(event, PhaseAdvanced) and event.done >= stop_at:
                raise Stop

        with pytest.raises(Stop):
            evaluate(
                data, test_images, network, settings, folder=tmp_path / "r", listen=stop, **options
            )
    (tmp_path / "r" / "student_001.json").unlink(missing_ok=True)  # a kill between two records
    again = evaluate(data, test_images, network, settings, folder=tmp_path / "r", **options)
    assert again.last == whole.last and again.curves == whole.curves
    assert (again.confusion == whole.confusion).all()


def test_a_trial_decides_how_many_students_are_one_network(
    data, test_images, network, runtime, tmp_path, as_one, monkeypatch
):
    tried = []

    def seconds(students, optimizer, training, settings, *, seeds, runtime):
        tried.append(students.copies)
        assert len(seeds) == students.copies
        return 1.0

    monkeypatch.setattr("dd_core.evaluation.students.step_seconds", seconds)
    monkeypatch.setattr("dd_core.together._WORTH_A_TRIAL", 10)
    options = {"folder": tmp_path, "seed": 0, "runtime": runtime}
    found = evaluate(data, test_images, network, replace(QUICK, students=3), **options)
    assert tried == [3, 1] and found.n == 3
    evaluate(data, test_images, network, replace(QUICK, students=3), **options)
    assert tried == [3, 1]

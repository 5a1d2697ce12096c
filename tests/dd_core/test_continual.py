"""Class-incremental learning: orders of classes, parts of sets, and what the steps measure."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import (
    DataError,
    DistilledSet,
    LabeledImages,
    NetworkSettings,
    Runtime,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    evaluate,
    select_random,
)
from dd_core.errors import CheckpointError
from dd_core.evaluation.classes import classes_seen, of_classes, real_of_classes
from dd_core.evaluation.continual import Continual, ContinualStep, evaluate_continual
from dd_core.evaluation.students import Evaluation
from dd_core.events import PhaseAdvanced, PhaseStarted
from dd_core.runtime import generator

QUICK = StudentSettings(
    students=2, epochs=1, steps=12, batch_size=12, learning_rate=5e-3, cutmix=0.0,
    augmentation="none", evaluations=1,
)  # fmt: skip
CLASSES = 5


def blobs(n_per_class: int, *, classes: int = 3, seed: int = 0) -> LabeledImages:
    """Noisy images with a bright square whose place tells the class."""
    draws, side = torch.Generator().manual_seed(seed), 16 // classes
    labels = torch.arange(classes).repeat(n_per_class)
    pixels = torch.randint(0, 90, (len(labels), 1, 16, 16), generator=draws)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        place = slice(label * side, (label + 1) * side)
        image[:, place, place] += 150
    names = tuple(f"class {c}" for c in range(classes))
    return LabeledImages(pixels.to(torch.uint8), labels, (0.3,), (0.25,), names)


@pytest.fixture(scope="module")
def data():
    form = SyntheticSettings(ipc=3, factor=1, init="real")
    return select_random(blobs(8, classes=CLASSES), form, seed=0)


@pytest.fixture(scope="module")
def test_set():
    return blobs(6, classes=CLASSES, seed=1)


@given(st.integers(1, 300), st.data(), st.integers(0, 9))
def test_classes_come_in_even_steps(n, drawn, seed):
    n_steps = drawn.draw(st.integers(1, n))
    steps = classes_seen(n, n_steps, seed=seed)
    sizes = [len(b) - len(a) for a, b in zip(((), *steps), steps, strict=False)]
    assert len(steps) == n_steps and sorted(steps[-1]) == list(range(n))
    assert min(sizes) >= 1 and max(sizes) - min(sizes) <= 1
    assert all(after[: len(before)] == before for before, after in pairwise(steps))
    assert classes_seen(n, n_steps, seed=seed) == steps


def test_the_order_follows_from_the_seed_and_not_from_the_number_of_steps():
    orders = {classes_seen(20, 4, seed=seed)[-1] for seed in range(10)}
    assert len(orders) == 10
    assert classes_seen(20, 1, seed=3)[-1] == classes_seen(20, 20, seed=3)[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, 6, 0), "n_steps is 6, but there are 5 classes.*from 1 to 5"),
        ((5, 0, 0), "n_steps is 0; it must be at least 1"),
        ((5, 2.0, 0), r"n_steps is 2\.0; give a whole number"),
        ((0, 1, 0), "n_classes is 0"),
        ((5, 5, -1), "seed is -1"),
    ],
)
def test_impossible_numbers_of_steps_are_refused(arguments, message):
    n, steps, seed = arguments
    with pytest.raises(SettingsError, match=message):
        classes_seen(n, steps, seed=seed)


def ramp() -> DistilledSet:
    """Four classes with two images each, whose brightness tells which image it is."""
    images = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 1, 8, 8) / 8
    return DistilledSet(
        images.contiguous(), torch.arange(4).repeat(2), 2, (0.5,), (0.2,), ("a", "b", "c", "d")
    )


def test_parts_are_numbered_in_the_order_given(data):
    part = of_classes(ramp(), [2, 0])
    assert part.class_names == ("c", "a") and part.labels.tolist() == [1, 0, 1, 0]
    assert (8 * part.images[:, 0, 0, 0]).tolist() == [0, 2, 4, 6]
    whole = blobs(4, classes=4)
    chosen = real_of_classes(whole, [2, 0])
    assert chosen.class_names == ("class 2", "class 0") and chosen.mean == whole.mean
    for images, label in zip(chosen.pixels, chosen.labels.tolist(), strict=True):
        old = (2, 0)[label]
        assert any(torch.equal(images, whole.pixels[i]) for i in whole.of_class(old).tolist())
    assert len(chosen) == 8


def test_all_classes_in_their_order_are_the_whole():
    whole = replace(ramp(), soft_labels=torch.rand(8, 4).softmax(1))
    part = of_classes(whole, range(4))
    torch.testing.assert_close(part.soft_labels, whole.soft_labels)
    assert replace(part, soft_labels=None).fingerprint() == ramp().fingerprint()
    images = blobs(3)
    assert real_of_classes(images, range(3)).fingerprint() == images.fingerprint()


@pytest.mark.parametrize("rows", [8, 32])
@settings(deadline=None)
@given(st.permutations(range(4)), st.integers(1, 4))
def test_soft_labels_are_the_conditional_probabilities(rows, order, count):
    """P(c | c is seen), so a teacher's odds between two classes that are seen stay as they are."""
    classes = list(order[:count])
    logits = torch.randn(rows, 4, generator=torch.Generator().manual_seed(rows))
    whole = replace(ramp(), soft_labels=logits.softmax(1))
    part = of_classes(whole, classes)
    kept = torch.tensor([label in classes for label in whole.labels.tolist()])
    kept = kept.repeat_interleave(rows // 8)
    torch.testing.assert_close(part.soft_labels, logits[kept][:, classes].softmax(1))
    assert len(part.soft_targets()) == 4 * len(part.images)  # factor 2: four views an image


def test_a_row_without_probability_for_the_classes_becomes_the_label():
    soft = torch.zeros(8, 4)
    soft[:, 3] = 1.0
    part = of_classes(replace(ramp(), soft_labels=soft), [1, 0])
    assert part.soft_labels.tolist() == torch.eye(2)[part.labels].tolist()
    tiny = torch.full((8, 4), 1e-40)  # denormal: their sum cannot be divided by as it is
    tiny[:, 3] = 1.0
    part = of_classes(replace(ramp(), soft_labels=tiny), [1, 0])
    assert torch.isfinite(part.soft_labels).all()


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([], DataError, r"classes are \[\]; give different labels from 0 to 3"),
        ([0, 0], DataError, "different labels"),
        ([4], DataError, r"classes are \[4\]"),
        ([-1], DataError, r"classes are \[-1\]"),
        ([1.0], SettingsError, r"classes\[0\] is 1\.0; give a whole number"),
        (3, SettingsError, "classes are of type int"),
        ("01", SettingsError, "classes are of type str"),
    ],
)
def test_impossible_classes_are_refused(classes, error, message):
    for part, whole in ((of_classes, ramp()), (real_of_classes, blobs(2, classes=4))):
        with pytest.raises(error, match=message):
            part(whole, classes)


def test_a_part_is_of_the_right_kind():
    with pytest.raises(SettingsError, match="data is"):
        of_classes(blobs(2), [0])
    with pytest.raises(SettingsError, match="images is"):
        real_of_classes(ramp(), [0])


@pytest.fixture(scope="module")
def measured(data, test_set, tmp_path_factory):
    options = {"network": NetworkSettings(depth=2, width=8), "settings": QUICK, "seed": 0,
               "runtime": Runtime("cpu", "float32", compile=False, threads=1)}  # fmt: skip
    folder = tmp_path_factory.mktemp("continual")
    found = evaluate_continual(data, test_set, n_steps=3, folder=folder, **options)
    return found, folder, options


def orders_of(students: int, n_steps: int, seed: int = 0):
    """The seed of each student, and the classes that it has seen after each step."""
    for number in range(students):
        own = generator(seed, "continual student", number).initial_seed()
        yield own, classes_seen(CLASSES, n_steps, seed=own)


def test_each_step_is_an_evaluation_of_what_each_student_has_seen(
    measured, data, test_set, tmp_path
):
    found, folder, options = measured
    assert sorted(path.name for path in folder.iterdir()) == ["step_01", "step_02", "step_03"]
    assert [x for x, _ in found.curve] == [1, 3, 5]
    assert [step.new for step in found.steps] == [1, 2, 2]
    one = {**options, "settings": replace(QUICK, students=1)}
    for student, (seed, seen) in enumerate(orders_of(2, 3)):
        assert found.orders[student] == tuple(data.class_names[c] for c in seen[-1])
        for number, (classes, step) in enumerate(zip(seen, found.steps, strict=True)):
            alone = evaluate(
                of_classes(data, classes), real_of_classes(test_set, classes),
                folder=tmp_path / f"{student}-{number}", **{**one, "seed": seed},
            )  # fmt: skip
            assert step.students.last[student] == alone.last[0]
    assert found.steps[0].students.last == (100.0, 100.0)  # a single class


def test_each_student_has_an_order_of_its_own_which_is_the_same_for_all_sets(
    measured, data, test_set, tmp_path
):
    _, _, options = measured
    many = {**options, "settings": replace(QUICK, students=6, steps=1)}
    found = [
        evaluate_continual(memory, test_set, n_steps=2, folder=tmp_path / name, **many)
        for name, memory in (("a", data), ("b", replace(data, images=1 - data.images)))
    ]
    assert len(set(found[0].orders)) == 6 and found[0].orders == found[1].orders


def test_the_average_is_over_steps(measured):
    found, _, _ = measured
    assert found.mean == pytest.approx(
        statistics.fmean(step.students.mean for step in found.steps)
    )  # the mean over students of their means over steps is the same
    for i, average in enumerate(found.averages):
        assert average == pytest.approx(sum(values[i] for _, values in found.curve) / 3)
    assert found.n == 2 and found.std == statistics.stdev(found.averages)
    assert found.seconds == sum(step.students.seconds for step in found.steps)


def test_the_record_is_json(measured, data):
    found, _, _ = measured
    record = found.as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["n_steps"] == 3 and record["mean"] == found.mean
    assert all(sorted(order) == sorted(data.class_names) for order in record["orders"])
    assert [(step["classes"], step["new"]) for step in record["steps"]] == [(1, 1), (3, 2), (5, 2)]
    one = Evaluation((50.0,), (50.0,), (((1.0, 50.0),),), 1.0)
    alone = Continual((ContinualStep(1, 1, one),), (("a",),))
    assert math.isnan(alone.std)
    assert alone.as_record()["std"] is None and alone.as_record()["steps"][0]["std"] is None


def test_a_second_call_goes_on_and_computes_nothing_again(measured, data, test_set):
    found, folder, options = measured
    events = []
    again = evaluate_continual(
        data, test_set, n_steps=3, folder=folder, listen=events.append, **options
    )
    assert again == found
    assert not any(isinstance(event, PhaseAdvanced) for event in events)
    names = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert names == [f"students, step {k} of 3" for k in (1, 2, 3)]
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        evaluate_continual(data, test_set, n_steps=4, folder=folder, **options)


def test_an_interrupted_run_goes_on(measured, data, test_set, tmp_path):
    found, _, options = measured

    def stop(event):
        if isinstance(event, PhaseStarted) and "step 3" in event.phase:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate_continual(data, test_set, n_steps=3, folder=tmp_path, listen=stop, **options)
    assert (tmp_path / "step_02").exists()
    again = evaluate_continual(data, test_set, n_steps=3, folder=tmp_path, **options)
    assert again.curve == found.curve


def test_real_images_can_be_the_memory(measured, test_set, tmp_path):
    _, _, options = measured
    found = evaluate_continual(
        blobs(8, classes=CLASSES), test_set, n_steps=1, folder=tmp_path, **options
    )
    assert found.n == 2 and [x for x, _ in found.curve] == [CLASSES]


def test_soft_labels_of_the_classes_seen_are_trained_on(measured, data, test_set, tmp_path):
    _, _, options = measured
    exact = torch.eye(CLASSES)[data.labels]
    soft = replace(data, soft_labels=exact)
    same = evaluate_continual(soft, test_set, n_steps=2, folder=tmp_path / "same", **options)
    hard = evaluate_continual(data, test_set, n_steps=2, folder=tmp_path / "hard", **options)
    assert same.mean == pytest.approx(hard.mean, abs=5)
    wrong = replace(data, soft_labels=torch.full((len(data.labels), CLASSES), 1 / CLASSES))
    flat = evaluate_continual(wrong, test_set, n_steps=2, folder=tmp_path / "flat", **options)
    assert flat.mean < hard.mean - 10  # nothing can be learned of them
    ignored = {**options, "settings": replace(QUICK, labels="hard")}
    told = evaluate_continual(wrong, test_set, n_steps=2, folder=tmp_path / "told", **ignored)
    assert told.curve == hard.curve


def test_wrong_arguments_are_refused_before_anything_is_written(measured, data, tmp_path):
    _, _, options = measured
    other = blobs(2, classes=3)
    same = blobs(2, classes=CLASSES)
    for error, message, arguments in (
        (DataError, r"test \(3\) are not those of data \(5\)", {"test": other}),
        (SettingsError, "data is of type int", {"data": 3}),
        (SettingsError, "test is", {"test": data}),
        (SettingsError, "n_steps is 9", {"n_steps": 9}),
        (SettingsError, "seed is -1", {"seed": -1}),
        (SettingsError, "folder is ''", {"folder": ""}),
    ):
        given = {"data": data, "test": same, "n_steps": 2, "folder": tmp_path / "x", **options}
        with pytest.raises(error, match=message):
            evaluate_continual(**{**given, **arguments})
    assert not (tmp_path / "x").exists()

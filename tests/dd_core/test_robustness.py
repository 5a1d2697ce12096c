"""Scores of DD-Ranking: the paper's formulas, laws, and the trainings behind them."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dd_core import (
    CheckpointError,
    DataError,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    evaluate,
    select_random,
)
from dd_core.evaluation.robustness import robust_scores
from dd_core.evaluation.scores import (
    RobustScores,
    augmentation_robust_score,
    label_robust_score,
)
from dd_core.evaluation.students import Evaluation
from dd_core.events import PhaseAdvanced, PhaseStarted
from dd_core.soft_labels import label_with_teacher

QUICK = StudentSettings(
    students=2, epochs=8, batch_size=12, learning_rate=5e-3, augmentation="flip", cutmix=0.5,
    evaluations=1,
)  # fmt: skip

differences = st.floats(-1, 1)
weights = st.floats(0, 1)


class Stop(Exception):
    """Raised to interrupt."""


def paper(argument: float) -> float:
    """The normalisation as it is printed."""
    return (math.exp(argument) - math.exp(-1)) / (math.e - math.exp(-1))


@given(differences, differences, weights)
def test_scores_are_those_of_the_paper(first, second, weight):
    label = label_robust_score(first, second, weight=weight)
    assert label == pytest.approx(paper(weight * first - (1 - weight) * second), abs=1e-12)
    augmentation = augmentation_robust_score(first, second, weight=weight)
    assert augmentation == pytest.approx(paper(weight * first + (1 - weight) * second), abs=1e-12)
    assert 0 <= label <= 1 and 0 <= augmentation <= 1


@given(differences, differences, differences, weights)
def test_scores_rise_and_fall_with_each_argument(low, high, other, weight):
    low, high = sorted((low, high))
    options = {"weight": weight}
    better, worse = (label_robust_score(a, other, **options) for a in (high, low))
    assert better >= worse
    better, worse = (label_robust_score(other, gap, **options) for gap in (low, high))
    assert better >= worse
    better, worse = (augmentation_robust_score(a, other, **options) for a in (high, low))
    assert better >= worse
    better, worse = (augmentation_robust_score(other, a, **options) for a in (high, low))
    assert better >= worse


def test_extremes_are_zero_and_one_and_no_difference_is_one_over_one_plus_e():
    assert (label_robust_score(1, -1), label_robust_score(-1, 1)) == (1.0, 0.0)
    assert (augmentation_robust_score(1, 1), augmentation_robust_score(-1, -1)) == (1.0, 0.0)
    same = 1 / (1 + math.e)
    assert label_robust_score(0, 0) == pytest.approx(same, abs=1e-15)
    assert augmentation_robust_score(0, 0, weight=0.9) == pytest.approx(same, abs=1e-15)


@given(differences, differences, weights)
def test_a_recovery_gap_is_an_improvement_backwards(first, second, weight):
    label = label_robust_score(first, second, weight=weight)
    assert label == pytest.approx(
        augmentation_robust_score(first, -second, weight=weight), abs=1e-15
    )
    assert augmentation_robust_score(first, second, weight=weight) == pytest.approx(
        augmentation_robust_score(second, first, weight=1 - weight), abs=1e-12
    )


def test_a_weight_of_one_looks_at_one_part_only():
    assert label_robust_score(0.3, 0.9, weight=1) == label_robust_score(0.3, -0.2, weight=1)
    assert label_robust_score(0.3, 0.2, weight=0) == label_robust_score(-0.9, 0.2, weight=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: label_robust_score(12.5, 0), "improvement is 12.5.*percent divided by 100"),
        (lambda: label_robust_score(0, -1.01), "recovery is -1.01"),
        (lambda: label_robust_score(0, math.nan), "recovery is nan"),
        (lambda: label_robust_score("0.1", 0), "improvement is '0.1'"),
        (lambda: label_robust_score(0, 0, weight=1.5), "weight is 1.5; give a number from 0 to 1"),
        (lambda: augmentation_robust_score(20, 0), "augmented is 20"),
        (lambda: augmentation_robust_score(0, 20), "plain is 20"),
        (lambda: augmentation_robust_score(0, 0, weight=-0.1), "weight is -0.1"),
    ],
)
def test_what_is_no_fraction_is_refused(call, message):
    with pytest.raises(SettingsError, match=message):
        call()


def found(*last: float, seconds: float = 1.0) -> Evaluation:
    return Evaluation(last, last, tuple(((1.0, a),) for a in last), seconds)


def parts(n: int = 3, seed: int = 0, spread: float = 1.0) -> RobustScores:
    draws = np.random.default_rng(seed)
    means = (60, 50, 55, 45, 40, 85)
    six = [found(*(m + spread * draws.standard_normal(n)).tolist()) for m in means]
    return RobustScores(*six, random_labels="teacher", soft=True, random_images=(1, 1))


def test_scores_follow_from_the_means_of_the_parts():
    scores = RobustScores(
        found(60, 64), found(50, 52), found(40, 44), found(30, 34), found(20, 22), found(80, 82)
    )
    assert scores.improvement == pytest.approx(0.30) and scores.recovery == pytest.approx(0.30)
    label = scores.label_robust(0.25)
    assert label.argument == pytest.approx(0.25 * 0.30 - 0.75 * 0.30)
    assert label.value == pytest.approx(paper(-0.15))
    augmentation = scores.augmentation_robust(0.25)
    assert augmentation.argument == pytest.approx(0.25 * 0.30 + 0.75 * 0.21)
    assert augmentation.value == pytest.approx(paper(0.25 * 0.30 + 0.75 * 0.21))


def test_the_deviation_is_that_of_many_repetitions():
    """The standard error that one repetition of 6 students says, on average, and the true one."""
    many = [parts(6, seed) for seed in range(400)]
    for name in ("label_robust", "augmentation_robust"):
        scores = [getattr(one, name)() for one in many]
        true = statistics.stdev(score.value for score in scores)
        said = math.sqrt(statistics.fmean(score.deviation**2 for score in scores))
        assert said == pytest.approx(true, rel=0.12)  # 3.4 deviations of a deviation of 400


def test_the_interval_holds_the_true_score_about_as_often_as_it_says():
    truth = {
        "label_robust": label_robust_score(0.15, 0.35),
        "augmentation_robust": augmentation_robust_score(0.15, 0.15),
    }
    for name, true in truth.items():
        scores = [getattr(parts(4, seed, spread=2.0), name)() for seed in range(600)]
        inside = sum(score.interval[0] <= true <= score.interval[1] for score in scores)
        assert 0.925 < inside / 600 < 0.98  # 95 % less or plus 2.8 and 3.4 binomial deviations


def test_one_random_part_gives_the_interval_of_welch():
    """With weight 1, alpha is a difference of two means: SciPy knows its interval."""
    stats = pytest.importorskip("scipy.stats")
    scores = parts(4)
    own, random = (np.array(part.last) / 100 for part in (scores.own, scores.random))
    known = stats.ttest_ind(own, random, equal_var=False).confidence_interval()
    for score in (scores.label_robust(1), scores.augmentation_robust(1)):
        assert score.interval == pytest.approx((paper(known.low), paper(known.high)))


def test_students_of_one_number_are_pairs():
    """What one gains with soft labels and loses with plain ones leaves its alpha as it is."""
    still = found(50, 50)
    up, down = found(50, 54), found(54, 50)
    assert RobustScores(up, down, still, still, still, 80.0).label_robust().deviation == 0
    assert RobustScores(up, up, still, still, still, 80.0).label_robust().deviation > 0
    opposed = RobustScores(up, up, down, down, up, 80.0).augmentation_robust()
    assert opposed.deviation == 0


def test_two_students_of_the_whole_set_have_a_spread():
    still = found(50, 50)
    score = RobustScores(still, still, still, still, still, found(79, 81)).label_robust()
    error = 0.5 * math.sqrt(2) / 100 / math.sqrt(2)  # of half the mean of two, std sqrt(2) points
    assert score.deviation == pytest.approx(
        error * math.exp(score.argument) / (math.e - math.exp(-1))
    )


def test_students_without_spread_are_sure_and_single_ones_unknown():
    one, two = found(50), found(50, 50)
    sure = RobustScores(two, two, two, two, two, two).label_robust()
    assert sure.deviation == 0 and sure.interval == (sure.value, sure.value)
    unknown = RobustScores(one, one, one, one, one, two)
    for score in (unknown.label_robust(), unknown.augmentation_robust()):
        assert score.deviation is None and score.interval is None
    json.dumps(unknown.as_record(), allow_nan=False)


def test_a_given_accuracy_of_the_whole_set_is_taken_as_exact():
    scores = parts()
    given_ = replace(scores, whole=scores.whole.mean)
    assert given_.label_robust().value == pytest.approx(scores.label_robust().value)
    assert given_.label_robust().deviation < scores.label_robust().deviation
    single = replace(scores, whole=found(scores.whole.mean))
    assert single.label_robust() == given_.label_robust()


def test_soft_labels_on_one_side_alone_lift_both_scores():
    """Ten points by labels, with augmentation and without: only alike labels cancel them."""
    own, plain, random, bare, whole = (found(a, a) for a in (60, 55, 45, 40, 85))
    soft, soft_plain, soft_random, soft_bare = (found(a, a) for a in (70, 65, 55, 50))
    hard = RobustScores(own, own, plain, random, bare, whole)
    mixed = RobustScores(soft, own, soft_plain, random, bare, whole, "hard", soft=True)
    same = RobustScores(soft, own, soft_plain, soft_random, soft_bare, whole, "teacher", soft=True)
    assert hard.alike and same.alike and not mixed.alike
    for name in ("label_robust", "augmentation_robust"):
        scores = [getattr(one, name)().value for one in (hard, mixed, same)]
        assert scores[1] > scores[0] == pytest.approx(scores[2])


def test_without_the_whole_set_there_is_no_label_score():
    scores = replace(parts(), whole=None)
    assert scores.recovery is None and scores.label_robust() is None
    record = json.loads(json.dumps(scores.as_record(), allow_nan=False))
    assert record["label_robust"] is None and record["accuracies"]["whole"] is None
    assert record["augmentation_robust"]["value"] == scores.augmentation_robust().value


def test_the_record_has_every_accuracy_with_n_and_deviation():
    record = json.loads(json.dumps(parts().as_record(), allow_nan=False))
    assert set(record["accuracies"]) == {
        "own", "hard", "plain", "random", "random_plain", "whole",
    }  # fmt: skip
    for part in record["accuracies"].values():
        assert part["n"] == 3 and part["std"] == pytest.approx(statistics.stdev(part["last"]))
        assert part["mean"] == pytest.approx(statistics.fmean(part["last"]))
    label = record["label_robust"]
    assert label["interval"][0] < label["value"] < label["interval"][1]


def test_a_part_that_serves_twice_counts_its_time_once():
    own, random = found(50, 51, seconds=10), found(40, 41, seconds=7)
    assert RobustScores(own, own, own, random, random, 80.0).seconds == 17
    assert RobustScores(own, own, own, random, random, found(80, 81, seconds=5)).seconds == 22


# The trainings.


@pytest.fixture
def data(images):
    return select_random(images, SyntheticSettings(ipc=4, factor=2), seed=7)


@pytest.fixture
def options(tmp_path, runtime):
    return {"folder": tmp_path, "seed": 0, "runtime": runtime}


def test_parts_are_what_evaluate_gives(data, images, test_images, network, options, tmp_path):
    whole = replace(QUICK, students=2, epochs=2)
    scores = robust_scores(data, images, test_images, network, QUICK, whole=whole, **options)
    again = {**options, "folder": tmp_path / "again"}
    bare = replace(QUICK, augmentation="none", cutmix=0.0)
    for part, shown, settings in (
        (scores.own, data, QUICK), (scores.plain, data, bare), (scores.whole, images, whole),
    ):  # fmt: skip
        one = {**again, "folder": tmp_path / f"again {id(part)}"}
        assert part.last == evaluate(shown, test_images, network, settings, **one).last
    assert scores.hard is scores.own and not scores.soft and scores.alike
    assert scores.random.n == scores.random_plain.n == 2
    assert scores.random_images == (4, 4, 4)
    assert scores.random.confusion.shape == (2, 3, 3)
    assert scores.own.mean > 50  # chance is 33
    record = scores.as_record()
    assert 0 < record["label_robust"]["value"] < 1
    trained = (scores.own, scores.plain, scores.random, scores.random_plain, scores.whole)
    assert scores.seconds == pytest.approx(sum(part.seconds for part in trained))


def test_random_sets_hold_as_many_real_images_as_the_set_stores(
    data, images, test_images, network, options, monkeypatch
):
    shown = []

    def spy(images, test, network, settings, **rest):
        shown.append((images, settings, rest["seed"]))
        return found(*([50.0] * settings.students))

    monkeypatch.setattr("dd_core.evaluation.robustness.evaluate", spy)
    monkeypatch.setattr("dd_core.evaluation.each.evaluate", spy)
    first = data.labels != 0
    first[:2] = True  # class 0 stores two images, the others four
    fewer = replace(data, images=data.images[first], labels=data.labels[first], mean=(0.31,))
    robust_scores(fewer, images, test_images, network, QUICK, workers=1, **options)
    (own, _, seed), _, *random = shown
    assert own is fewer and seed == 0 and len(random) == 4
    real = {tuple(row) for row in images.pixels.flatten(1).tolist()}
    for chosen, settings, _ in random:
        assert chosen.class_counts.tolist() == [2, 4, 4] and chosen.factor == 1
        assert {tuple(row) for row in (chosen.images * 255).round().flatten(1).tolist()} <= real
        assert chosen.mean == (0.31,) and settings.students == 1
        assert settings.steps == round(8 * 40 / 12)  # 10 images of four views, batches of 12
    sets = [chosen.fingerprint() for chosen, _, _ in random]
    seeds = [seed for _, _, seed in random]
    assert sets[:2] == sets[2:] and sets[0] != sets[1]  # with and without augmentation
    assert seeds[:2] == seeds[2:] and len({0, *seeds}) == 3
    assert [s.augmentation for _, s, _ in random] == ["flip", "flip", "none", "none"]
    assert [s.cutmix for _, s, _ in random] == [0.5, 0.5, 0.0, 0.0]


def test_soft_labels_and_a_teacher(images, test_images, network, options, monkeypatch):
    shown = []

    def spy(images, test, network, settings, **rest):
        shown.append((images, settings.labels))
        return found(*([50.0] * settings.students))

    class Teacher(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :3]

    monkeypatch.setattr("dd_core.evaluation.robustness.evaluate", spy)
    monkeypatch.setattr("dd_core.evaluation.each.evaluate", spy)
    plain = select_random(images, SyntheticSettings(ipc=2, factor=1, init="real"), seed=0)
    data = label_with_teacher(plain, Teacher(), form="code26")
    scores = robust_scores(data, images, test_images, network, QUICK, teacher=Teacher(), **options)
    assert scores.soft and scores.alike and scores.random_labels == "teacher"
    assert [labels for _, labels in shown[:3]] == ["stored", "hard", "stored"]
    for chosen, labels in shown[3:]:
        hard = replace(chosen, soft_labels=None)
        expected = label_with_teacher(hard, Teacher(), form="code26")
        assert torch.equal(chosen.soft_labels, expected.soft_labels) and labels == "stored"
    shown.clear()
    scores = robust_scores(data, images, test_images, network, QUICK, **options)
    assert scores.soft and not scores.alike and scores.random_labels == "hard"
    assert all(chosen.soft_labels is None for chosen, _ in shown[3:])
    record = scores.as_record()
    assert record["labels_alike"] is False and record["random_labels"] == "hard"
    shown.clear()
    hard = replace(QUICK, labels="hard")
    scores = robust_scores(data, images, test_images, network, hard, **options)
    assert not scores.soft and scores.hard is scores.own and len(shown) == 6


def test_settings_without_augmentation_train_once(data, images, test_images, network, options):
    bare = replace(QUICK, augmentation="", cutmix=0.0, epochs=1)
    scores = robust_scores(data, images, test_images, network, bare, whole=70.0, **options)
    assert scores.plain is scores.own and scores.random_plain is scores.random
    assert scores.augmentation_robust().argument == pytest.approx(scores.improvement)
    assert scores.whole == 70.0
    folders = sorted(p.name for p in options["folder"].iterdir())
    assert folders == ["own", "random-000", "random-001"]


def test_a_stopped_run_goes_on_to_the_same_scores(
    data, images, test_images, network, options, tmp_path, monkeypatch
):
    monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)
    short = replace(QUICK, epochs=2)
    common = {"whole": replace(short, epochs=1), "checkpoint_seconds": 0.0, "workers": 1}
    args = (data, images, test_images, network, short)
    direct = robust_scores(*args, **common, **{**options, "folder": tmp_path / "direct"})
    phases: list[str] = []

    def listen(event):
        if isinstance(event, PhaseStarted):
            phases.append(event.phase)
        if isinstance(event, PhaseAdvanced) and event.done == 3 and event.phase not in stopped:
            stopped.add(event.phase)
            raise Stop

    stopped: set[str] = set()
    options["folder"] = tmp_path / "parts"
    for _ in range(20):
        try:
            resumed = robust_scores(*args, listen=listen, **common, **options)
            break
        except Stop:
            pass
    # The phases that were stopped; those of random students are of several, one set each.
    assert stopped == {f"students {name}" for name in ("own", "plain", "random", "random plain",
                                                       "whole")}  # fmt: skip
    for name in ("own", "plain", "random", "random_plain", "whole"):
        assert getattr(resumed, name).last == getattr(direct, name).last
    assert resumed.label_robust() == direct.label_robust()
    phases.clear()
    assert robust_scores(*args, listen=listen, **common, **options) == resumed
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        robust_scores(*args, **common, **{**options, "seed": 1})


def test_what_does_not_fit_is_refused_before_anything_is_trained(
    data, images, test_images, network, options
):
    class Narrow(torch.nn.Module):
        def forward(self, x):
            return x.flatten(1)[:, :2]

    soft = replace(data, soft_labels=torch.full((12, 3), 1 / 3))
    good = {"data": data, "train": images, "test": test_images, "settings": QUICK}
    names = tuple(images.class_names[::-1])
    for change, error, message in (
        ({"data": images}, SettingsError, "data is .*give a DistilledSet"),
        ({"train": data}, SettingsError, "train is .*give a LabeledImages"),
        ({"settings": None}, SettingsError, "settings is None; give a StudentSettings"),
        ({"train": replace(images, class_names=names)}, DataError, "class_names of train"),
        ({"train": replace(images, pixels=images.pixels[..., :8, :8])}, DataError,
         "size of train is 8 and that of data 16"),
        ({"test": replace(test_images, class_names=names)}, DataError, "class_names of test"),
        ({"whole": 101}, SettingsError, "whole is 101; give StudentSettings.*percent"),
        ({"whole": True}, SettingsError, "whole is True"),
        ({"whole": "70"}, SettingsError, "whole is '70'"),
        ({"teacher": Narrow()}, SettingsError, "teacher is given, but students"),
        ({"teacher": Narrow(), "data": soft}, SettingsError, r"teacher returns shape \(12, 2\)"),
        ({"teacher": "net", "data": soft}, SettingsError, "teacher is 'net'"),
        ({"seed": -1}, SettingsError, "seed is -1"),
        ({"folder": 5}, SettingsError, "folder is 5"),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            robust_scores(**{"network": network, **options, **good, **change})
    assert list(options["folder"].iterdir()) == []


def test_a_class_with_too_few_real_images_gives_all(
    images, test_images, network, options, monkeypatch
):
    shown = []

    def spy(images, test, network, settings, **rest):
        shown.append(images)
        return found(*([50.0] * settings.students))

    monkeypatch.setattr("dd_core.evaluation.robustness.evaluate", spy)
    data = select_random(images, SyntheticSettings(ipc=4, factor=1, init="real"), seed=0)
    kept = (images.labels != 0) | (torch.arange(len(images)) < 9)  # three of class 0
    tail = replace(images, pixels=images.pixels[kept], labels=images.labels[kept])
    robust_scores(data, tail, test_images, network, QUICK, **options)
    for chosen in shown[2:]:
        assert chosen.class_counts.tolist() == [4, 4, 4]
        assert len(chosen.images[chosen.labels == 0].flatten(1).unique(dim=0)) == 3

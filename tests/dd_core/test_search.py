"""Architecture search: the grid, the rankings, and that test images choose nothing."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import (
    DataError,
    LabeledImages,
    NetworkSettings,
    Runtime,
    SettingsError,
    StudentSettings,
    SyntheticSettings,
    evaluate,
    select_random,
)
from dd_core.datasets.parts import split_per_class
from dd_core.errors import CheckpointError
from dd_core.evaluation.search import architecture_grid, held_out_per_class, search_architectures
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate, spearman
from dd_core.evaluation.students import Evaluation
from dd_core.events import PhaseAdvanced, PhaseStarted
from dd_core.networks import network_for

QUICK = StudentSettings(
    students=2, epochs=1, steps=8, batch_size=9, learning_rate=5e-3, cutmix=0.0,
    augmentation="none", evaluations=1,
)  # fmt: skip
WHOLE = replace(QUICK, students=1, steps=0, epochs=2)
GRID = architecture_grid([1, 2], [4, 8], ["instance"], size=16)
PLAIN = Runtime("cpu", "float32", compile=False, threads=1)


def blobs(n_per_class: int, *, classes: int = 3, size: int = 16, seed: int = 0) -> LabeledImages:
    """Noisy images with a bright square whose place tells the class."""
    draws, side = torch.Generator().manual_seed(seed), size // classes
    labels = torch.arange(classes).repeat(n_per_class)
    pixels = torch.randint(0, 90, (len(labels), 1, size, size), generator=draws)
    for image, label in zip(pixels, labels.tolist(), strict=True):
        place = slice(label * side, (label + 1) * side)
        image[:, place, place] += 150
    names = tuple(f"class {c}" for c in range(classes))
    return LabeledImages(pixels.to(torch.uint8), labels, (0.3,), (0.25,), names)


def students(*last: float, seconds: float = 1.0) -> Evaluation:
    return Evaluation(last, last, tuple(((1.0, value),) for value in last), seconds)


def search_of(
    on_set: list[float], on_all: list[float] | None, sizes: list[int] | None = None
) -> ArchitectureSearch:
    """A search with these mean accuracies."""
    candidates = tuple(
        Candidate(
            f"n{i}", NetworkSettings(), (sizes or [9] * len(on_set))[i], students(value),
            None if on_all is None else students(on_all[i], seconds=10.0),
        )
        for i, value in enumerate(on_set)
    )  # fmt: skip
    best = None if on_all is None else students(60.0)
    return ArchitectureSearch(candidates, 30, 270, students(58.5), best)


# --- The grid -----------------------------------------------------------------------------------


@given(st.integers(1, 7), st.sampled_from([7, 8, 16, 28, 32]))
def test_the_grid_has_what_can_be_built(depth, size):
    """The rule of depth is that of the networks themselves."""
    image = LabeledImages(
        torch.zeros(1, 1, size, size, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64),
        (0.5,), (0.2,), ("a",),
    )  # fmt: skip
    try:
        network_for(image, NetworkSettings(depth=depth, width=4), 0)
        fits = True
    except SettingsError:
        fits = False
    grid = architecture_grid([1, depth], [4], ["instance"], size=size)
    assert (f"convnet-d{depth}-w4-instance" in grid) == fits


def test_the_grid_has_every_combination_once():
    grid = architecture_grid([2, 1, 2], [8, 4], ["none", "batch"], size=32)
    assert list(grid)[:3] == ["convnet-d2-w8-none", "convnet-d2-w8-batch", "convnet-d2-w4-none"]
    found = {(n.depth, n.width, n.norm) for n in grid.values()}
    assert found == set(itertools.product((1, 2), (4, 8), ("none", "batch")))
    assert len(grid) == 8 and {n.architecture for n in grid.values()} == {"convnet"}


def test_a_depth_beyond_all_numbers_is_left_out_at_once():
    assert list(architecture_grid([1, 99_999_999_999], [8], ["none"], size=32)) == [
        "convnet-d1-w8-none"
    ]


def test_a_group_norm_takes_widths_that_four_divides():
    grid = architecture_grid([1], [6, 8], ["group", "instance"], size=32)
    assert list(grid) == ["convnet-d1-w6-instance", "convnet-d1-w8-group", "convnet-d1-w8-instance"]


@pytest.mark.parametrize(
    ("depths", "widths", "norms", "message"),
    [
        ([], [8], ["none"], r"depths is \[\]; give one value at least"),
        ([1], 8, ["none"], "widths is 8; give one value"),
        ([1], [8], "none", "norms is 'none'; give one value at least, in a list"),
        ([0], [8], ["none"], r"depths\[0\] is 0; it must be at least 1"),
        ([1], [8.5], ["none"], r"widths\[0\] is 8\.5"),
        ([1], [8], ["weight"], r"norms\[0\] is 'weight'; choose one of instance"),
        ([6, 7], [8], ["none"], r"leave no network for images of 32 px; give a depth of at most 5"),
        ([1], [6], ["group"], "a width that 4 divides"),
    ],
)
def test_an_impossible_grid_is_refused(depths, widths, norms, message):
    with pytest.raises(SettingsError, match=message):
        architecture_grid(depths, widths, norms, size=32)


# --- Rankings -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.permutations(range(8)))
def test_correlations_of_permutations_have_their_closed_forms(order):
    """rho = 1 - 6 sum d^2 / (n (n^2 - 1)); tau counts pairs. A monotone map changes neither."""
    n, accuracies = len(order), [10.0 + 3 * rank for rank in order]
    found = search_of(accuracies, [math.exp(i) for i in range(n)])
    rho = 1 - 6 * sum((a - i) ** 2 for i, a in enumerate(order)) / (n * (n**2 - 1))
    pairs = list(itertools.combinations(order, 2))
    tau = sum(1 if a < b else -1 for a, b in pairs) / len(pairs)
    assert found.spearman.value == pytest.approx(rho, abs=1e-12)
    assert found.kendall.value == pytest.approx(tau, abs=1e-12)


def test_the_pvalue_of_rho_is_that_of_permutations():
    from scipy.stats import spearmanr

    order = [2, 0, 3, 1, 4]
    found = spearman(range(5), order)
    every = [abs(spearmanr(range(5), each).statistic) for each in itertools.permutations(range(5))]
    extreme = [rho >= abs(found.value) - 1e-9 for rho in every]
    assert found.pvalue == pytest.approx(sum(extreme) / len(every))
    draws = np.random.default_rng(1)
    x = draws.normal(size=40)
    y = x + 2 * draws.normal(size=40)
    reference = spearmanr(x, y)  # its p-value is good for 40
    found = spearman(list(x), list(y))
    assert found.value == pytest.approx(reference.statistic)
    assert found.pvalue == pytest.approx(reference.pvalue, abs=4 * (reference.pvalue / 9999) ** 0.5)
    assert spearman(list(x), list(x)).pvalue == 1 / 10_000  # never zero


def test_rho_of_ties_is_that_of_mean_ranks():
    from scipy.stats import spearmanr

    x, y = [1.0, 2.0, 2.0, 3.0, 5.0], [2.0, 2.0, 1.0, 4.0, 4.0]
    assert spearman(x, y).value == pytest.approx(spearmanr(x, y).statistic)


def test_the_pvalue_of_tau_is_that_of_all_permutations():
    order = (0, 2, 1, 3, 4)
    found = search_of([float(i) for i in range(5)], [float(i) for i in order])

    def tau(values):
        return sum(a < b for a, b in itertools.combinations(values, 2)) - 5

    every = [tau(each) for each in itertools.permutations(range(5))]
    extreme = sum(abs(each) >= abs(tau(order)) for each in every) / len(every)
    assert found.kendall.pvalue == pytest.approx(extreme)


def test_equal_accuracies_have_no_ranking():
    found = search_of([10.0, 10.0, 10.0], [1.0, 2.0, 3.0])
    assert math.isnan(found.spearman.value) and math.isnan(found.kendall.value)
    record = found.as_record()
    assert record["spearman"] == {"value": None, "pvalue": None}
    json.dumps(record, allow_nan=False)


def test_each_way_picks_its_best_and_of_equal_ones_the_smallest():
    found = search_of([10.0, 30.0, 30.0, 20.0], [50.0, 50.0, 40.0, 45.0], [1, 7, 3, 2])
    assert found.pick.name == "n2" and found.best.name == "n0"
    assert found.regret == pytest.approx(1.5)
    assert (found.seconds_on_set, found.seconds_on_all) == (4.0, 40.0)
    assert found.times_faster == 10.0


def test_without_training_on_all_there_is_only_the_ranking():
    found = search_of([10.0, 30.0], None)
    assert found.pick.name == "n1"
    assert found.best is found.spearman is found.kendall is found.regret is None
    assert found.seconds_on_all is found.times_faster is None
    record = found.as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["best_test"] is None and record["candidates"][0]["on_all"] is None


# --- The search ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def train():
    return blobs(12)


@pytest.fixture(scope="module")
def judges():
    return blobs(5, seed=1)


@pytest.fixture(scope="module")
def small(train):
    return select_random(train, SyntheticSettings(ipc=3, factor=1, init="real"), seed=0)


OPTIONS = {"held_out": 0.25, "seed": 0, "runtime": PLAIN}


@pytest.fixture(scope="module")
def searched(small, train, judges, tmp_path_factory):
    folder = tmp_path_factory.mktemp("search")
    found = search_architectures(small, train, judges, GRID, QUICK, WHOLE, folder=folder, **OPTIONS)
    return found, folder


def test_networks_are_judged_on_images_that_are_held_out(searched, small, train, judges, tmp_path):
    found, _ = searched
    rest, validation = split_per_class(train, 3, seed=0)
    assert (found.validation_images, found.training_images) == (9, 27)
    assert [candidate.name for candidate in found.candidates] == list(GRID)
    common = {"seed": 0, "runtime": PLAIN}
    for candidate in found.candidates:
        for data, how, got in ((small, QUICK, candidate.on_set), (rest, WHOLE, candidate.on_all)):
            folder = tmp_path / candidate.name / str(how.students)
            alone = evaluate(data, validation, candidate.network, how, folder=folder, **common)
            assert got.last == alone.last
        made = network_for(train, candidate.network, 0)
        assert candidate.parameters == sum(p.numel() for p in made.parameters())
    for got, network in ((found.pick_test, found.pick), (found.best_test, found.best)):
        folder = tmp_path / "test" / network.name
        alone = evaluate(rest, judges, network.network, WHOLE, folder=folder, **common)
        assert got.last == alone.last


def test_test_images_choose_nothing(searched, small, train, judges, tmp_path):
    found, _ = searched
    wrong = replace(judges, labels=(judges.labels + 1) % 3)
    other = search_architectures(
        small, train, wrong, GRID, QUICK, WHOLE, folder=tmp_path, **OPTIONS
    )
    assert (other.pick.name, other.best.name) == (found.pick.name, found.best.name)
    assert [c.on_set.last for c in other.candidates] == [c.on_set.last for c in found.candidates]
    assert other.pick_test.mean < found.pick_test.mean


def test_the_record_is_json(searched):
    found, _ = searched
    record = found.as_record()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert [each["name"] for each in record["candidates"]] == list(GRID)
    assert record["candidates"][0]["on_set"]["n"] == 2
    assert record["candidates"][0]["on_all"] == {
        "mean": found.candidates[0].on_all.mean, "std": None, "n": 1,
        "last": list(found.candidates[0].on_all.last),
        "seconds": found.candidates[0].on_all.seconds,
    }  # fmt: skip


def test_a_second_call_computes_nothing_again(searched, small, train, judges):
    found, folder = searched
    events = []
    again = search_architectures(
        small, train, judges, GRID, QUICK, WHOLE, folder=folder, listen=events.append, **OPTIONS
    )
    assert again == found and not any(isinstance(event, PhaseAdvanced) for event in events)
    names = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert names[0] == "students, convnet-d1-w4-instance on the set"
    assert names[len(GRID)] == "students, convnet-d1-w4-instance on all images"
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        search_architectures(
            small, train, judges, GRID, QUICK, WHOLE, folder=folder, **{**OPTIONS, "held_out": 0.5}
        )


def test_an_interrupted_search_goes_on(searched, small, train, judges, tmp_path):
    found, _ = searched

    def stop(event):
        if isinstance(event, PhaseStarted) and event.phase.endswith("d2-w4-instance on all images"):
            raise KeyboardInterrupt

    arguments = (small, train, judges, GRID, QUICK, WHOLE)
    with pytest.raises(KeyboardInterrupt):
        search_architectures(*arguments, folder=tmp_path, listen=stop, **OPTIONS)
    again = search_architectures(*arguments, folder=tmp_path, **OPTIONS)
    assert [(c.on_set.last, c.on_all.last) for c in again.candidates] == [
        (c.on_set.last, c.on_all.last) for c in found.candidates
    ]


def test_searches_share_the_training_on_all_images(searched, small, train, judges, tmp_path):
    found, folder = searched
    phases = []

    def listen(event):
        if isinstance(event, PhaseAdvanced):
            phases.append(event.phase)

    other = select_random(train, SyntheticSettings(ipc=2, factor=1, init="real"), seed=1)
    second = search_architectures(
        other, train, judges, GRID, QUICK, WHOLE, folder=tmp_path, whole_folder=folder / "all",
        listen=listen, **OPTIONS,
    )  # fmt: skip
    assert [c.on_all for c in second.candidates] == [c.on_all for c in found.candidates]
    assert [c.on_set for c in second.candidates] != [c.on_set for c in found.candidates]
    again = {phase for phase in phases if phase.endswith("on all images")}
    assert again <= {f"students, {second.pick.name} on all images"}  # its test, where it is new
    assert not (tmp_path / "all").exists()


def test_without_whole_only_the_set_is_trained_on(small, train, judges, tmp_path):
    found = search_architectures(
        small, train, judges, GRID, QUICK, None, folder=tmp_path, **OPTIONS
    )
    assert found.spearman is None and found.best is None and not (tmp_path / "all").exists()
    alone = evaluate(
        small, judges, found.pick.network, QUICK, folder=tmp_path / "x", seed=0, runtime=PLAIN
    )
    assert found.pick_test.last == alone.last


def test_the_share_held_out_is_of_the_smallest_class():
    labels = torch.tensor([0] * 40 + [1] * 20)
    images = LabeledImages(
        torch.zeros(60, 1, 8, 8, dtype=torch.uint8), labels, (0.5,), (0.2,), ("a", "b")
    )
    assert held_out_per_class(images, 0.1) == 2
    assert held_out_per_class(images, 1e-6) == 1
    with pytest.raises(SettingsError, match="train is 3; give a LabeledImages"):
        held_out_per_class(3, 0.1)


def test_wrong_arguments_are_refused_before_anything_is_written(small, train, judges, tmp_path):
    pair = dict(list(GRID.items())[:2])
    one = dict(list(GRID.items())[:1])
    deep = {**one, "deep": NetworkSettings(depth=5)}
    alone = LabeledImages(
        torch.zeros(3, 1, 16, 16, dtype=torch.uint8), torch.arange(3), (0.3,), (0.25,),
        train.class_names,
    )  # fmt: skip
    turned = replace(judges, class_names=judges.class_names[::-1])
    for error, message, change in (
        (SettingsError, "networks has 1 entries; give two or more", {"networks": one}),
        (SettingsError, r"networks has \[\]; give two or more", {"networks": []}),
        (SettingsError, r"name '\.\./a', which becomes a folder", {"networks": {"../a": 1, **one}}),
        (SettingsError, "name 3, which", {"networks": {3: 1, **one}}),
        (SettingsError, r"networks\['a'\] is 1", {"networks": {"a": 1, **one}}),
        (SettingsError, r"networks\['deep'\]: depth is 5", {"networks": deep}),
        (SettingsError, "held_out is 0; give a share between 0 and 1", {"held_out": 0}),
        (SettingsError, r"held_out is 1; give a share", {"held_out": 1.0}),
        (SettingsError, "held_out is '0.1'; give a number", {"held_out": "0.1"}),
        (SettingsError, "data is", {"data": train}),
        (SettingsError, "train is", {"train": small}),
        (SettingsError, "settings is", {"settings": None}),
        (SettingsError, "whole is 3", {"whole": 3}),
        (SettingsError, "seed is -1", {"seed": -1}),
        (SettingsError, "folder is 3", {"folder": 3}),
        (SettingsError, "whole_folder is ''", {"whole_folder": ""}),
        (DataError, r"class_names of test \(3\) are not those of data", {"test": turned}),
        (DataError, r"images of train have 1 channels and 8 px", {"train": blobs(4, size=8)}),
        (DataError, "the smallest class has 1 images", {"train": alone}),
    ):
        given = {
            "data": small, "train": train, "test": judges, "networks": pair, "settings": QUICK,
            "whole": None, "folder": tmp_path / "x", **OPTIONS, **change,
        }  # fmt: skip
        with pytest.raises(error, match=message):
            search_architectures(**given)
    assert not (tmp_path / "x").exists()

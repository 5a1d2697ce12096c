from __future__ import annotations

import base64
import json
from dataclasses import asdict
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread

from dd_core import (
    DistilledSet,
    LabeledImages,
    NetworkSettings,
    Runtime,
    StudentSettings,
    SyntheticSettings,
    select_random,
)
from dd_core.evaluation import Evaluation
from dd_core.evaluation.content import compare_with_real
from dd_core.evaluation.continual import Continual, ContinualStep
from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.scores import (
    RobustScores,
    augmentation_robust_score,
    label_robust_score,
)
from dd_core.evaluation.search_result import ArchitectureSearch, Candidate
from dd_core.evaluation.set_content import SetContent
from dd_core.runtime import environment
from dd_recipes import evaluation_numbers as numbers
from dd_recipes import evaluation_words as words
from dd_recipes.commands._lines import lines
from dd_recipes.evaluation_figures import (
    Neighbourhood,
    budget_chart,
    confusion_chart,
    nearest_chart,
    training_chart,
)
from dd_recipes.evaluation_report import write_evaluation_report

NAMES = ("shirt", "<bag>", "shoe")
PNG = b"\x89PNG\r\n\x1a\n"


class Page(HTMLParser):
    """Collects tags with their attributes, and the text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(path.read_text("utf-8"))
        self.words = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def titles(self) -> list[str]:
        return [(a["alt"] or "").partition(":")[0] for tag, a in self.tags if tag == "img"]


def trained(*last: float) -> Evaluation:
    curves = tuple(((5.0, a - 2), (10.0, a)) for a in last)
    confusion = torch.tensor([[6, 4, 0], [0, 9, 1], [0, 0, 10]]).repeat(len(last), 1, 1)
    return Evaluation(last, tuple(a + 1 for a in last), curves, 12.0, confusion)


@pytest.fixture(scope="module")
def train() -> LabeledImages:
    draws = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (90, 3, 8, 8), generator=draws, dtype=torch.uint8)
    return LabeledImages(pixels, torch.arange(90) % 3, (0.5,) * 3, (0.3,) * 3, NAMES)


@pytest.fixture(scope="module")
def stored(train: LabeledImages) -> DistilledSet:
    return select_random(train, SyntheticSettings(ipc=2, factor=1), seed=0)


@pytest.fixture(scope="module")
def content(stored: DistilledSet, train: LabeledImages) -> SetContent:
    space = FeatureSpace(lambda x: x.flatten(1), train.mean, train.std, "normalised pixels")
    runtime = Runtime("cpu", "float32", compile=False, threads=1)
    return compare_with_real(
        stored, train, space, seed=0, runtime=runtime, n_resamples=99, n_draws=7
    )


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """Without optional parts."""
    return {
        "data": "Toy & Co", "test_images": 1200, "classes": 3, "class_names": list(NAMES),
        "ipc": 2, "views": 6, "soft_labels": False,
        "protocol": {**asdict(StudentSettings(students=2, epochs=300)), "seed": 7},
        "environment": {**environment(), "command": "dd-recipes evaluate x"},
        "rows": [{"network": "convnet of depth 3", **trained(61.25, 63.25).as_record()}],
    }  # fmt: skip


@pytest.fixture(scope="module")
def full(results: dict[str, Any], content: SetContent) -> dict[str, Any]:
    """With all of them, as the parts themselves say them."""
    candidates = tuple(
        Candidate(f"net-{i}", NetworkSettings(depth=i + 1), 1000 * (i + 1),
                  trained(40.0 + i, 41.0), trained(70.0 + 2 * i)) for i in range(3)
    )  # fmt: skip
    steps = (ContinualStep(1, 1, trained(100.0, 100.0)), ContinualStep(3, 2, trained(80.0, 82.0)))
    orders = (NAMES, NAMES[::-1])
    own, random = trained(61.0, 63.0), trained(42.0, 44.0)
    scores = RobustScores(own, own, trained(55.0, 57.0), random, trained(35.0, 37.0), whole=86.0)
    search = ArchitectureSearch(candidates, 30, 60, trained(71.0), trained(73.5))
    budget = [{"epochs": e, **trained(a, a + 1).as_record()} for e, a in ((20, 50.0), (300, 62.0))]
    rows = [*results["rows"], {"network": "resnet18", **trained(48.0).as_record()}]
    parts = {
        "rows": rows, "budget": budget, "continual": Continual(steps, orders).as_record(),
        "search": search.as_record(), "scores": scores.as_record(), "content": content.as_record(),
    }  # fmt: skip
    made: dict[str, Any] = json.loads(json.dumps({**results, **parts}, allow_nan=False))
    return made


@pytest.fixture(scope="module")
def page(
    full: dict[str, Any],
    stored: DistilledSet,
    content: SetContent,
    tmp_path_factory: pytest.TempPathFactory,
) -> Page:
    folder = tmp_path_factory.mktemp("evaluation")
    path = write_evaluation_report(full, stored, content, folder)
    assert path == folder / "report.html"
    return Page(path)


def test_the_page_needs_no_other_file(page: Page) -> None:
    images = [a for tag, a in page.tags if tag == "img"]
    assert len(images) == 8
    for image in images:
        kind, _, code = (image["src"] or "").partition(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(code).startswith(PNG)
        assert len(image["alt"] or "") > 20
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe", "object", "a"}
    assert "url(" not in page.words and "@import" not in page.words
    assert page.open == []


def test_all_parts_are_shown(page: Page) -> None:
    assert page.titles == [
        "Images of the set", "Accuracy while the students train", "convnet of depth 3", "resnet18",
        "Accuracy and the length of the training", "Class-incremental learning",
        "Architecture search", "Nearest real images",
    ]  # fmt: skip
    for text in (
        "Students of the set (convnet of depth 3) reach 62.2 ± 1.4 % on 1,200 test images",
        "95 % interval 49.5 to 75.0",
        "Of another architecture (resnet18): 48.0 %",
        "Class-incremental in 2 steps: average incremental accuracy 90.5 ± 0.7 % (n = 2), "
        "each student with its own order of the classes.",
        "Of 3 networks the set chooses net-2, as training on real images does; trained on real "
        "images, it has 71.0 % (n = 1) on the test images.",
        "The rankings agree with Spearman's rho 1.00",
        f"The label-robust score is {label_robust_score(0.19, 0.24):.3f} (95 % interval ",
        f"the augmentation-robust score {augmentation_robust_score(0.19, 0.20):.3f} (95 % ",
        "6 of 6 views are training images unchanged",
        "shirt taken for <bag> (40 %)",
        "for 300 epochs on labels: AdamW, learning rate 0.001",
        "Seed 7.",
        "dd-recipes evaluate x",
        "Feature space: normalised pixels.",
        "random selection",
        "A distilled set of Toy & Co",
        "the whole training set with plain labels86.0",
    ):
        assert text in page.words, text


def test_a_set_without_the_parts_has_a_short_page(
    results: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    page = Page(write_evaluation_report(results, stored, None, tmp_path))
    assert page.titles == ["Images of the set", "Accuracy while the students train",
                           "convnet of depth 3"]  # fmt: skip
    for word in ("Class-incremental", "Architecture search", "robust", "Coverage", "adjusted"):
        assert word not in page.words
    bare = {**results, "rows": [{**results["rows"][0], "curves": [], "confusion": None}]}
    assert len(Page(write_evaluation_report(bare, stored, None, tmp_path)).titles) == 1


def test_numbers_without_pictures_and_pictures_without_numbers(
    full: dict[str, Any], stored: DistilledSet, content: SetContent, tmp_path: Path
) -> None:
    stale = Page(write_evaluation_report(full, stored, None, tmp_path))
    assert "Nearest real images" not in stale.titles
    assert "Coverage" in stale.words
    fresh = {name: part for name, part in full.items() if name != "content"}
    page = Page(write_evaluation_report(fresh, stored, content, tmp_path))
    assert "Nearest real images" in page.titles
    assert "Coverage" in page.words


def test_the_table_of_classes_stands_beside_random_real_images(
    page: Page, content: SetContent
) -> None:
    for one in content.classes:
        assert f"{one.distance.value:.3f}{one.distance.real:.3f} ± " in page.words
        assert f"{100 * one.coverage.value:.1f}{100 * one.coverage.real:.1f} ± " in page.words
        assert numbers.pvalue(one.adjusted.distance) in page.words


def test_too_few_relabelings_are_said(
    full: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    content = {**full["content"], "n_resamples": 19}
    page = Page(write_evaluation_report({**full, "content": content}, stored, None, tmp_path))
    text = "not tested: with 19 relabelings and 3 classes no adjusted p-value can be below 0.15."
    assert page.words.count(text) == 2


def test_many_classes_are_folded_and_cut(results: dict[str, Any], tmp_path: Path) -> None:
    names = [f"c{i}" for i in range(50)]
    images = torch.rand(50, 1, 8, 8)
    stored = DistilledSet(images, torch.arange(50), 1, (0.5,), (0.2,), tuple(names))
    row = {**results["rows"][0], "confusion": torch.eye(50).int().tolist()}
    entry = {"value": 0.5, "real": None, "deviation": None}
    measured = dict.fromkeys(("distance", "amplitude", "phase", "coverage", "density"), entry)
    tests = dict.fromkeys(("distance", "amplitude", "phase"))
    nearest = {"view": [0], "image": [0], "feature_distance": [1.0], "pixel_distance": [0.5]}
    one = {"views": 1, "real": 20, "compared": 10, **measured, "pvalues": tests, "adjusted": tests,
           "typical_distance": 2.0, "nearest": nearest}  # fmt: skip
    content = {
        "space": "s", "n_frequencies": 8, "n_resamples": 4999, "n_neighbours": 5, "n_draws": 20,
        "summary": {**measured, "copies": 0, "differing": 0},
        "classes": [{"name": name, **one} for name in names],
    }  # fmt: skip
    many = {**results, "classes": 50, "class_names": names, "rows": [row], "content": content}
    page = Page(write_evaluation_report(many, stored, None, tmp_path))
    assert "All 50 classes" in page.words
    assert "is not tested: one view a class." in page.words
    assert "20 of 50 classes" in str([a.get("alt") for _, a in page.tags])
    assert "No draws for c0, c1, c2, c3, c4 and 45 more: too few real images" in page.words
    assert page.open == []


def test_soft_labels_and_steps_are_said() -> None:
    settings = {**asdict(StudentSettings(steps=500, cutmix=0.0, augmentation="none")), "seed": 1}
    text = words.protocol(settings, soft_labels=True)
    assert "500 steps on the soft labels of the set" in text
    assert "no augmentation. Seed 1." in text
    hard = words.protocol({**settings, "labels": "hard"}, soft_labels=True)
    assert "500 steps on labels" in hard


def test_scores_without_the_whole_set_and_with_other_labels(
    results: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    own, random = trained(61.0, 63.0), trained(42.0, 44.0)
    scores = RobustScores(own, own, own, random, random, None, "hard", soft=True)
    page = Page(write_evaluation_report({**results, "scores": scores.as_record()}, stored, None,
                                        tmp_path))  # fmt: skip
    assert "label-robust (LRS)not known without --whole-epochs–" in page.words
    cells = [a["class"] for tag, a in page.tags if tag == "td" and "main" in (a.get("class") or "")]
    assert cells.count("num main words") == 1  # words wrap, numbers do not
    value = augmentation_robust_score(0.19, 0.19)
    assert "The label-robust score is not known without --whole-epochs" in page.words
    assert f"the augmentation-robust score {value:.3f}" in page.words
    assert page.words.count("so both scores are too high by what soft labels do") == 2


def test_a_search_on_the_set_alone(
    results: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    candidates = tuple(
        Candidate(f"net-{i}", NetworkSettings(), 10, trained(40.0 + i)) for i in range(3)
    )
    record = ArchitectureSearch(candidates, 30, 60, trained(71.0), None).as_record()
    page = Page(write_evaluation_report({**results, "search": record}, stored, None, tmp_path))
    chosen = "the set chooses net-2; trained on the set, it has 71.0 % (n = 1) on the test images."
    assert chosen in page.words
    assert "has seen these. --whole-epochs N compares" in page.words
    assert "Spearman" not in page.words


def test_the_terminal_and_the_page_say_the_same_sentences(page: Page, full: dict[str, Any]) -> None:
    said = lines({**full, "protocol": {**full["protocol"], "name": "short"}})
    for part in ("search", "scores"):
        for sentence in getattr(words, part)(full[part]):
            assert sentence in said and sentence in page.words
    for sentence in (words.continual(full["continual"]), *words.content(full)):
        assert sentence in said and sentence in page.words
    assert f"  feature space: {full['content']['space']}" in said
    assert "6 of 6 views are training images unchanged." in said


def test_one_of_a_thing_is_not_many(full: dict[str, Any]) -> None:
    settings = {**full["protocol"], "name": "short", "students": 1, "epochs": 1, "steps": 0}
    one = {**full, "protocol": settings, "ipc": 1, "views": 1, "test_images": 1}
    text = "\n".join(lines(one))
    assert "1 image a class, 1 training image in all" in text
    assert "1 student of 1 epoch (" in text and "on 1 image of" in text
    assert " 1 class seen: " in text and " 3 classes seen: " in text


def test_intervals_are_cut_at_what_an_accuracy_can_be(
    results: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    row = {**results["rows"][0], **trained(99.0, 92.0).as_record()}
    assert row["interval"][1] > 100
    page = Page(write_evaluation_report({**results, "rows": [row]}, stored, None, tmp_path))
    low = f"{row['interval'][0]:.1f}"
    assert page.words.count(f"{low} to 100.0") == 2
    assert numbers.interval((-5.0, 3.0)) == "0.0 to 3.0"


def test_another_choice_costs_points_and_time_is_added(full: dict[str, Any]) -> None:
    record = {**full["search"], "best": "net-1", "regret": 2.5, "best_test": {
        "mean": 73.5, "std": None, "n": 1}, "whole_epochs": 1}  # fmt: skip
    text = " ".join(words.search(record))
    assert (
        "and training on real images net-1; trained on real images for 1 epoch, they have" in text
    )
    assert "71.0 % (n = 1) and 73.5 % (n = 1) on the test images: 2.5 points less" in text
    assert "took 36.0 s, 100 % of the added time on real images (36.0 s)" in text
    assert "the same time" in text and "30 real training images held out" in text
    won = " ".join(words.search({**record, "regret": -0.5}))
    assert "0.5 points more for the set's choice." in won
    two = " ".join(words.search({**record, "candidates": record["candidates"][:2]}))
    assert "rho" not in two and "is no correlation; give more networks" in two
    undefined = {**record, "spearman": {"value": None, "pvalue": None}}
    assert "tau are undefined: all accuracies of one" in " ".join(words.search(undefined))


def test_only_tested_classes_are_counted(full: dict[str, Any]) -> None:
    first, *rest = full["content"]["classes"]
    single = {**first, "adjusted": dict.fromkeys(first["adjusted"])}
    summary = {**full["content"]["summary"], "differing": 1}
    content = {**full["content"], "summary": summary, "classes": [single, *rest]}
    assert "in 1 of 2 tested classes (adjusted p ≤ 0.05)" in words.differing(content)
    nothing = {**content, "classes": [single]}
    assert words.differing(nothing).endswith("is not tested: one view a class.")


def test_numbers_without_a_deviation(
    full: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    """Draws that share images have none."""
    entry = {"value": 0.5, "real": 0.25, "deviation": None}
    measured = dict.fromkeys(("distance", "amplitude", "phase", "coverage", "density"), entry)
    content = {**full["content"], "summary": {**full["content"]["summary"], **measured}}
    content["classes"] = [{**one, **measured} for one in content["classes"]]
    page = Page(write_evaluation_report({**full, "content": content}, stored, None, tmp_path))
    text = "mean distance 0.500 (0.250), mean coverage 50.0 % (25.0 %); in brackets"
    assert text in page.words and any(text in one for one in words.content({"content": content}))


def test_why_there_is_no_comparison_is_said(
    results: dict[str, Any], stored: DistilledSet, tmp_path: Path
) -> None:
    missing = {**results, "content_missing": "class 'ant' of train has 4 images; give more images."}
    page = Page(write_evaluation_report(missing, stored, None, tmp_path))
    text = "The images are not compared with real images: class 'ant' of train has 4 images; give"
    assert text in page.words
    said = lines({**missing, "protocol": {**results["protocol"], "name": "short"}})
    assert said[-1].startswith(text) and said[-1].endswith("more images.")


def drawn(path: Path) -> None:
    """The file is a picture of some size with more than one colour."""
    pixels = imread(path)
    assert min(pixels.shape[:2]) > 100
    assert pixels.std() > 0.02


def test_charts_of_few_and_of_many(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for n in (2, 30, 60):
        confusion_chart(np.eye(n, dtype=int).tolist(), [f"c{i}" for i in range(n)], path)
        drawn(path)
    confusion_chart([[0, 0], [1, 0]], ["a", "b"], path)  # a class without test images
    drawn(path)
    for epochs in ((300,), (2000, 20, 300)):
        points = [{"epochs": e, "mean": 50.0, "std": None, "last": [50.0]} for e in epochs]
        budget_chart(points, path)
        drawn(path)
    training_chart([{"network": f"n{i}", "curves": [[[1, 40], [2, 50]]]} for i in range(6)], path)
    drawn(path)


def test_long_names_are_cut_in_pictures(tmp_path: Path) -> None:
    path, pictures = tmp_path / "x.png", []
    views = np.zeros((2, 1, 8, 8), dtype=np.float32)
    for name in ("b" * 20 + " and more", "b" * 65, "b" * 20):
        confusion_chart([[1, 0], [0, 1]], ["a", name], path)
        matrix = imread(path)
        beside = [Neighbourhood(each, views, views.astype(np.uint8), [0.0] * 2, [False] * 2)
                  for each in (name, "a")]  # fmt: skip
        nearest_chart(beside, path)
        pictures.append((matrix, imread(path)))
    (first, near), (second, other), (whole, _) = pictures
    assert np.array_equal(first, second) and not np.array_equal(first, whole)
    assert np.array_equal(near, other)


def test_a_copy_has_a_frame(tmp_path: Path) -> None:
    views = np.full((1, 1, 8, 8), 0.5, dtype=np.float32)
    real = np.full((1, 1, 8, 8), 128, dtype=np.uint8)
    red = []
    for copied in (False, True):
        one = Neighbourhood("a", views, real, [0.0], [copied])
        nearest_chart([one], tmp_path / "n.png")
        pixels = imread(tmp_path / "n.png")[..., :3]
        red.append(int((pixels[..., 0] > pixels[..., 2] + 0.3).sum()))
    assert red[0] == 0 < 100 < red[1]
    views = np.random.default_rng(0).random((4, 3, 8, 8), dtype=np.float32)
    black = np.zeros((4, 3, 8, 8), dtype=np.uint8)
    colour = Neighbourhood("b", views, black, [0.1] * 4, [False] * 4)
    nearest_chart([colour] * 3, tmp_path / "n.png")
    drawn(tmp_path / "n.png")

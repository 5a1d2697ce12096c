from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from cfmetrics import cf_distance, median_bandwidth
from dd_core import (
    DistilledSet,
    LabeledImages,
    NetworkSettings,
    Runtime,
    SyntheticSettings,
    select_random,
)
from dd_core.errors import DataError, SettingsError
from dd_core.evaluation.content import compare_with_real, holm
from dd_core.evaluation.coverage import coverage_density
from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.nearest import class_features
from dd_core.evaluation.set_content import NearestReal, SetContent
from dd_core.events import Event, PhaseFinished, PhaseStarted
from dd_core.extractors import ExtractorPool, frozen_network, network_weights
from dd_core.runtime import generator

RUNTIME = Runtime("cpu", "float32", compile=False, threads=1)


def gaussian(n_per_class: int, *, classes: int = 2, size: int = 4, seed: int = 0) -> LabeledImages:
    """Images of independent pixels; each class has a mean of its own."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.arange(classes).repeat(n_per_class)
    pixels = 128 + 25 * torch.randn(len(labels), 1, size, size, generator=draws)
    pixels += (5 * labels % 60).view(-1, 1, 1, 1)
    names = tuple(f"class {c}" for c in range(classes))
    return LabeledImages(pixels.clamp(0, 255).to(torch.uint8), labels, (0.5,), (0.1,), names)


def pixel_space(images: LabeledImages, scale: float = 1.0, shift: float = 0.0) -> FeatureSpace:
    return FeatureSpace(
        lambda x: scale * x.flatten(1) + shift, images.mean, images.std, "normalised pixels"
    )


def small_set(images: LabeledImages, pixels: Tensor, labels: Tensor) -> DistilledSet:
    return DistilledSet(pixels, labels, 1, images.mean, images.std, images.class_names)


def drawn(images: LabeledImages, ipc: int, seed: int = 0) -> DistilledSet:
    return select_random(images, SyntheticSettings(ipc=ipc, factor=1), seed=seed)


def compare(data: DistilledSet, train: LabeledImages, **options: Any) -> SetContent:
    chosen: dict[str, Any] = {"seed": 0, "n_frequencies": 32, "n_resamples": 99, "n_draws": 10}
    space = options.pop("space", pixel_space(train))
    return compare_with_real(data, train, space, runtime=RUNTIME, **{**chosen, **options})


def first_half(train: LabeledImages, label: int, seed: int) -> Tensor:
    """The images of a class that views are compared with, in the space of pixels."""
    index = train.of_class(label)
    order = torch.randperm(len(index), generator=generator(seed, "content", "halves", label))
    rows = train.take(index[order]).flatten(1).double() / 255
    return ((rows - train.mean[0]) / train.std[0])[: (len(index) + 1) // 2]


@pytest.fixture(scope="module")
def many() -> tuple[SetContent, LabeledImages]:
    """Real images of 100 classes beside themselves: 100 independent trials."""
    train = gaussian(40, classes=100)
    return compare(drawn(train, 5), train, n_resamples=199, n_draws=3), train


def test_real_images_have_uniform_pvalues(many: tuple[SetContent, LabeledImages]) -> None:
    for kind in ("distance", "amplitude", "phase"):
        pvalues = np.array([getattr(one.pvalues, kind) for one in many[0].classes])
        for level in (0.1, 0.3, 0.5):
            low, high = stats.binom.interval(0.9998, 100, level)
            assert low <= (pvalues <= level).sum() <= high
    assert many[0].differing() <= 1
    assert many[0].copies == 500


def test_a_selection_of_real_images_is_what_random_real_images_are(
    many: tuple[SetContent, LabeledImages],
) -> None:
    for name in ("distance", "amplitude", "phase", "coverage", "density"):
        mean = many[0].mean(name)
        assert mean.real is not None and mean.deviation is not None
        single = np.std([getattr(one, name).value for one in many[0].classes], ddof=1)
        assert abs(mean.value - mean.real) < 4 * single / 10
        assert mean.deviation == pytest.approx(single / 10, rel=0.3)


def test_random_real_images_have_the_coverage_of_the_formula(
    many: tuple[SetContent, LabeledImages],
) -> None:
    found = many[0].classes[0]
    n, m, k = found.compared, found.views, 5
    assert (n, m) == (18, 5)  # 40 less 5 copies, halved
    expected = 1 - np.prod([(n - i) / (m + n - i) for i in range(1, k + 1)])
    coverage, density = many[0].mean("coverage").real, many[0].mean("density").real
    assert coverage == pytest.approx(expected, rel=0.05)
    assert density == pytest.approx(1, rel=0.05)


def test_other_images_are_found() -> None:
    train = gaussian(340)  # 10 draws of 16 in a half of 170
    labels = torch.arange(2).repeat(16)
    constant = compare(small_set(train, torch.full((32, 1, 4, 4), 0.51), labels), train)
    darker = compare(
        small_set(train, (train.pixels[:32].float() / 255 - 0.2).clamp(0, 1), labels), train
    )
    for found in (constant, darker):
        assert found.differing() == 2
        for one in found.classes:
            assert one.distance.real is not None and one.distance.deviation is not None
            assert one.distance.value > one.distance.real + 2 * one.distance.deviation
    assert all(one.amplitude.value > one.phase.value for one in constant.classes)
    assert all(one.phase.value > one.amplitude.value for one in darker.classes)
    assert darker.mean("coverage").value == 0


def test_numbers_are_those_of_a_plain_computation() -> None:
    train = gaussian(60)
    pixels = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(3))
    data = small_set(train, pixels, torch.arange(2).repeat(6))
    found = compare(data, train, n_frequencies=8192, seed=4)
    for label, one in enumerate(found.classes):
        real = first_half(train, label, 4)
        views = (pixels[label::2].flatten(1).double() - 0.5) / 0.1
        index = train.of_class(label)
        everything = (train.take(index).flatten(1).double() / 255 - 0.5) / 0.1
        exact = cf_distance(
            views, real, bandwidth=median_bandwidth(everything), method="closed_form"
        )
        assert one.compared == len(real) == 30
        assert one.distance.value == pytest.approx(float(exact), rel=0.02)
        assert one.amplitude.value + one.phase.value == pytest.approx(one.distance.value**2)
        assert (one.coverage.value, one.density.value) == pytest.approx(brute_force(views, real))
        apart = np.linalg.norm(views.numpy()[:, None] - everything.numpy(), axis=2)
        assert [n.image for n in one.nearest] == index[apart.argmin(1)].tolist()
        assert [n.feature_distance for n in one.nearest] == pytest.approx(apart.min(1), rel=1e-5)
        near = train.pixels[[n.image for n in one.nearest]].float() / 255
        error = (near - pixels[[n.view for n in one.nearest]]).square().flatten(1).mean(1).sqrt()
        assert [n.pixel_distance for n in one.nearest] == pytest.approx(error.tolist(), rel=1e-5)


def brute_force(points: Tensor, real: Tensor, k: int = 5) -> tuple[float, float]:
    """Coverage and density, one pair at a time, in float64."""
    x, y = real.double().numpy(), points.double().numpy()
    radii = [
        np.sort(np.linalg.norm(np.delete(x, i, 0) - x[i], axis=1))[k - 1] for i in range(len(x))
    ]
    inside = np.array(
        [[np.linalg.norm(a - b) <= r for a, r in zip(x, radii, strict=True)] for b in y]
    )
    return float(inside.any(axis=0).mean()), float(inside.sum() / (k * len(points)))


def test_coverage_and_density() -> None:
    draws = torch.Generator().manual_seed(0)
    real, points = torch.randn(50, 3, generator=draws), torch.randn(9, 3, generator=draws)
    for k in (1, 5, 49):
        assert coverage_density(points, real, n_neighbours=k) == pytest.approx(
            brute_force(points, real, k)
        )
    far = coverage_density(points + 100, real)
    assert far == (0, 0)
    many = torch.randn(1100, 2, generator=draws)  # more than one piece of rows
    assert coverage_density(points[:, :2], many) == pytest.approx(
        brute_force(points[:, :2], many), rel=0.01
    )


@pytest.mark.parametrize(
    ("points", "real", "error", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(5, 2), DataError, "real has 5 points"),
        (torch.zeros(3, 1), torch.zeros(9, 2), SettingsError, r"points is .* shape \(3, 1\)"),
        (torch.zeros(0, 2), torch.zeros(9, 2), SettingsError, "points is"),
        (torch.zeros(3, 2), torch.zeros(9, 2).int(), SettingsError, r"real is torch\.int32"),
        (torch.full((3, 2), torch.nan), torch.zeros(9, 2), DataError, "points holds NaN"),
    ],
)
def test_points_that_cannot_be_counted(
    points: Tensor, real: Tensor, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        coverage_density(points, real)


def test_a_copy_is_seen_at_distance_zero() -> None:
    train = gaussian(30)
    own = train.of_class(1)[17]
    pixels = torch.cat([train.pixels[:2], train.pixels[own : own + 1]]).float() / 255
    pixels[0] += 0.02
    found = compare(small_set(train, pixels, torch.tensor([0, 0, 1])), train, most_real=16)
    copy = found.classes[1].nearest[0]
    assert copy == NearestReal(2, int(own), copy.feature_distance, 0.0)
    assert copy.feature_distance < 1e-5 < found.classes[1].typical_distance
    assert copy.is_copy and not found.classes[0].nearest[0].is_copy
    assert found.copies == 1
    shown = found.nearest_pixels([copy])
    assert torch.equal(shown[0], train.pixels[own])


def test_the_order_of_images_changes_nothing() -> None:
    train = gaussian(40)
    data = drawn(train, 6)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    mixed = replace(data, images=data.images[order], labels=data.labels[order])
    for one, other in zip(compare(data, train).classes, compare(mixed, train).classes, strict=True):
        assert one.pvalues == other.pvalues
        assert {n.image for n in one.nearest} == {n.image for n in other.nearest}
        for name in ("distance", "coverage", "density"):
            assert getattr(other, name).value == pytest.approx(getattr(one, name).value)
            assert getattr(other, name).real == pytest.approx(getattr(one, name).real)


def test_units_of_features_change_nothing() -> None:
    train = gaussian(40)
    data = small_set(train, torch.rand(12, 1, 4, 4), torch.arange(2).repeat(6))
    plain = compare(data, train)
    scaled = compare(data, train, space=pixel_space(train, 7.0, 3.0))
    for one, other in zip(plain.classes, scaled.classes, strict=True):
        assert other.distance.value == pytest.approx(one.distance.value, rel=1e-4)
        assert other.coverage == one.coverage
        assert other.pvalues == one.pvalues
        assert other.typical_distance == pytest.approx(7 * one.typical_distance, rel=1e-4)


def test_seeds() -> None:
    train = gaussian(40)
    data = drawn(train, 4)
    first, again, other = (replace(compare(data, train, seed=s), seconds=0.0) for s in (0, 0, 1))
    assert first == again
    assert first.classes[0].distance != other.classes[0].distance
    assert first.classes[0].nearest == other.classes[0].nearest


def test_all_are_compared_with_the_same_images() -> None:
    train = gaussian(40)
    few, more = (compare(small_set(train, torch.rand(2 * n, 1, 4, 4), torch.arange(2).repeat(n)),
                         train) for n in (3, 9))  # fmt: skip
    assert [one.typical_distance for one in few.classes] == pytest.approx(
        [one.typical_distance for one in more.classes]
    )
    assert [one.compared for one in few.classes] == [one.compared for one in more.classes]


def test_views_are_compared_not_stored_images() -> None:
    train = gaussian(40, size=8)
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    packed = replace(small_set(train, images, torch.arange(2)), factor=2)
    views, labels = packed.decoded()
    unpacked = small_set(train, views, labels)
    assert compare(packed, train).classes == compare(unpacked, train).classes
    assert [one.views for one in compare(packed, train).classes] == [4, 4]


def test_one_view_has_no_test_and_many_have_no_yardstick() -> None:
    train = gaussian(24)
    single = compare(drawn(train, 1), train).classes[0]
    assert (single.pvalues.distance, single.adjusted.phase) == (None, None)
    assert single.distance.real is not None
    many = compare(small_set(train, torch.rand(40, 1, 4, 4), torch.arange(2).repeat(20)), train)
    assert many.classes[0].coverage.real is None
    assert many.mean("coverage").real is None
    assert many.classes[0].pvalues.distance == 0.01


def test_draws_that_share_images_have_no_deviation() -> None:
    """Ten draws of m from a half of 50: their own images up to m = 5."""
    train = gaussian(100)
    pixels = torch.rand(18, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    for m, known in ((5, True), (6, False)):
        found = compare(small_set(train, pixels[: 2 * m], torch.arange(2).repeat(m)), train)
        for entry in (*(one.distance for one in found.classes), found.mean("coverage")):
            assert entry.real is not None and (entry.deviation is not None) is known
        record = json.loads(json.dumps(found.as_record(), allow_nan=False))
        assert SetContent.from_record(record, train) == found
    labels = torch.tensor([0] * 5 + [1] * 6)
    mixed = compare(small_set(train, pixels[:11], labels), train)
    assert [one.distance.deviation is not None for one in mixed.classes] == [True, False]
    assert mixed.mean("distance").real is not None
    assert mixed.mean("distance").deviation is None


def test_classes_of_one_view_are_not_tested() -> None:
    train = gaussian(24)
    nothing = compare(drawn(train, 1), train)
    assert (nothing.tested, nothing.differing()) == (0, 0)
    pixels = torch.zeros(4, 1, 4, 4)
    some = compare(small_set(train, pixels, torch.tensor([0, 0, 0, 1])), train)
    assert (some.tested, some.differing()) == (1, 1)
    assert some.as_record()["summary"]["tested"] == 1


def test_chunks_change_nothing() -> None:
    train = gaussian(30, size=8)
    space = FeatureSpace.random(train, runtime=RUNTIME)
    views, places = torch.rand(5, 1, 8, 8), torch.arange(5)
    kept = torch.tensor([4, 29, 0])
    few, whole = (
        class_features(views, places, train, 1, kept, space, chunk=chunk) for chunk in (4, 1000)
    )
    assert torch.allclose(few.real, whole.real, atol=1e-5)
    assert torch.allclose(few.real, space.features(train.take(train.of_class(1)[kept])), atol=1e-5)
    assert [n.image for n in few.nearest] == [n.image for n in whole.nearest]


def test_the_record_can_be_read_again() -> None:
    train = gaussian(30)
    found = compare(drawn(train, 4), train)
    record = json.loads(json.dumps(found.as_record(), allow_nan=False))
    assert SetContent.from_record(record, train) == found
    assert record["summary"]["copies"] == 8
    assert record["summary"]["coverage"]["value"] == found.mean("coverage").value
    assert record["classes"][1]["nearest"]["view"] == [4, 5, 6, 7]
    with pytest.raises(DataError, match="other images than train"):
        SetContent.from_record(record, gaussian(31))
    with pytest.raises(DataError, match="record is not what"):
        SetContent.from_record({"classes": []}, train)


def test_events() -> None:
    train = gaussian(20)
    events: list[Event] = []
    found = compare(drawn(train, 2), train, listen=events.append)
    assert events[0] == PhaseStarted("content", 2, "class")
    assert events[-1] == PhaseFinished("content", found.seconds)


def test_holm_is_the_closed_test() -> None:
    """A hypothesis falls where Bonferroni's test rejects every intersection that holds it."""
    draws = np.random.default_rng(0)
    for size in (1, 2, 5):
        pvalues = draws.uniform(0, 0.4, size)
        closed = [
            max(
                min(1.0, len(group) * min(pvalues[list(group)]))
                for count in range(1, size + 1)
                for group in itertools.combinations(range(size), count)
                if place in group
            )
            for place in range(size)
        ]
        assert holm(pvalues.tolist()) == pytest.approx(closed)
    assert holm([]) == ()
    assert holm([None, 0.2]) == (None, 0.2)


def test_the_default_space_is_a_fixed_random_network(images: LabeledImages) -> None:
    before = torch.random.get_rng_state()
    space, again, other = (FeatureSpace.random(images, runtime=RUNTIME, seed=s) for s in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    rows = space.features(images.pixels[:3])
    assert rows.shape == (3, 128 * 4 * 4)
    assert torch.equal(rows, again.features(images.pixels[:3]))
    assert not torch.allclose(rows, other.features(images.pixels[:3]))
    assert torch.allclose(rows, space.features(images.pixels[:3].float() / 255), atol=1e-4)
    words = "features of convnet of depth 2, width 128 and norm instance, random weights of seed 0"
    assert space.description == words
    found = compare_with_real(drawn(images, 2), images, seed=5, runtime=RUNTIME, n_resamples=19)
    assert found.space == words


def test_a_trained_space_is_the_first_of_its_pool(
    images: LabeledImages, pool: ExtractorPool, tmp_path: Path
) -> None:
    space = FeatureSpace.trained(pool, images, runtime=RUNTIME)
    network = frozen_network(pool.network, images)
    for name, weights in network_weights(network).items():
        weights.copy_(pool.trained[0][name])
    normalised = (images.pixels[:4] / 255 - 0.3) / 0.25
    expected = network.features(normalised)
    assert torch.allclose(space.features(images.pixels[:4]), expected, atol=1e-4)
    pool.save(tmp_path)
    stored = FeatureSpace.trained(tmp_path, images, runtime=RUNTIME)
    assert torch.equal(stored.features(images.pixels[:4]), space.features(images.pixels[:4]))
    assert "trained" in space.description
    with pytest.raises(DataError, match="the pool holds networks"):
        FeatureSpace.trained(pool, gaussian(12), runtime=RUNTIME)
    with pytest.raises(DataError, match="holds no pool"):
        FeatureSpace.trained(tmp_path / "none", images, runtime=RUNTIME)


def test_a_space_for_bfloat16(images: LabeledImages) -> None:
    rough = FeatureSpace.random(images, runtime=replace(RUNTIME, precision="bfloat16"))
    rows, exact = (s.features(images.pixels[:4]) for s in (
        rough, FeatureSpace.random(images, runtime=RUNTIME)))  # fmt: skip
    assert rows.dtype == torch.float32
    assert torch.allclose(rows, exact, atol=0.1)


def test_images_that_do_not_fit_are_refused() -> None:
    train = gaussian(20, classes=3)
    data = drawn(train, 2)
    fewer = gaussian(20, classes=2)
    with pytest.raises(DataError, match=r"3 classes in data, 2 in train; train lacks 'class 2'"):
        compare(data, fewer)
    with pytest.raises(DataError, match="same order"):
        compare(data, replace(train, class_names=("class 1", "class 0", "class 2")))
    with pytest.raises(DataError, match=r"shape \(1, 8, 8\) .* data of \(1, 4, 4\)"):
        compare(data, gaussian(20, classes=3, size=8))
    with pytest.raises(DataError, match=r"'class 0' of train has 11 images, .* at least 12"):
        compare(data, gaussian(11, classes=3))
    with pytest.raises(DataError, match="data holds 20 of the 20 real images of class 'class 0'"):
        compare(drawn(train, 20), train)


def test_features_that_cannot_be_compared_are_refused() -> None:
    train = gaussian(20)
    data = drawn(train, 2)
    for function, words in (
        (lambda x: x.flatten(1).log(), "views of class 'class 0' are not finite"),
        (lambda x: x.mean(), r"gives \(\) for"),
        (lambda x: None, "gives NoneType for"),
    ):
        with pytest.raises(DataError, match=words):
            compare(data, train, space=FeatureSpace(function, (0.5,), (0.1,), "a trial"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed is -1"),
        ({"n_frequencies": 0}, "n_frequencies is 0"),
        ({"n_resamples": 0}, "n_resamples is 0"),
        ({"n_neighbours": "5"}, "n_neighbours is '5'"),
        ({"n_draws": 1}, "n_draws is 1; it must be at least 2"),
        ({"most_real": 11}, "most_real is 11; it must be at least 12"),
        ({"space": "pixels"}, "space is 'pixels'"),
    ],
)
def test_arguments_that_are_impossible(options: dict[str, Any], words: str) -> None:
    train = gaussian(20)
    with pytest.raises(SettingsError, match=words):
        compare(drawn(train, 2), train, **options)


def test_things_that_are_no_sets() -> None:
    train = gaussian(20)
    with pytest.raises(SettingsError, match="data is"):
        compare(train, train)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="train is"):
        compare(drawn(train, 2), drawn(train, 2), space=pixel_space(train))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="network is"):
        FeatureSpace.random(train, runtime=RUNTIME, network="convnet")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="depth is 3"):
        FeatureSpace.random(train, runtime=RUNTIME, network=NetworkSettings())

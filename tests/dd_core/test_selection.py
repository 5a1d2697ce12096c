"""Real images chosen without distillation: each choice against its definition."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import DataError, LabeledImages, SettingsError, SyntheticSettings, select_random
from dd_core.coresets import cluster, herding_order, nearest_distinct
from dd_core.selection import select_herding, select_kmeans

REAL = SyntheticSettings(ipc=3, factor=1, init="real")
seeds = st.integers(0, 2**31)
few = settings(max_examples=15, deadline=None)

SELECTORS = {
    "random": lambda images, settings: select_random(images, settings, seed=1),
    "herding": select_herding,
    "kmeans": lambda images, settings: select_kmeans(images, settings, seed=1),
}
every_selector = pytest.mark.parametrize("select", SELECTORS.values(), ids=SELECTORS)


def noise(sizes=(8, 12, 9), *, side=4, seed=0):
    """Images of which no two are alike, classes mixed."""
    draws = torch.Generator().manual_seed(seed)
    labels = torch.cat([torch.full((n,), c) for c, n in enumerate(sizes)])
    labels = labels[torch.randperm(len(labels), generator=draws)]
    pixels = torch.randint(0, 256, (len(labels), 2, side, side), generator=draws)
    names = tuple(f"class {c}" for c in range(len(sizes)))
    return LabeledImages(pixels.to(torch.uint8), labels, (0.4, 0.5), (0.25, 0.2), names)


def points(seed, n, d=3):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def generator(seed):
    return torch.Generator().manual_seed(seed)


def chosen_indices(chosen, images):
    """Which real images the selected ones are."""
    pixels = (chosen.images * 255).round().to(torch.uint8)
    same = (pixels[:, None] == images.pixels).flatten(2).all(2)
    assert (same.sum(1) == 1).all()
    return same.int().argmax(1)


def inertia(x, centres):
    return torch.cdist(x.double(), centres.double()).min(1).values.square().sum().item()


@every_selector
def test_different_real_images_of_the_right_class_are_chosen(select):
    images = noise()
    chosen = select(images, REAL)
    index = chosen_indices(chosen, images)
    assert len(index.unique()) == 9
    assert torch.equal(images.labels[index], chosen.labels)
    assert chosen.labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert chosen.factor == 1 and chosen.mean == images.mean and chosen.std == images.std


@every_selector
def test_the_same_images_are_chosen_again(select):
    images = noise()
    first, second = select(images, REAL), select(images, REAL)
    assert torch.equal(first.images, second.images)
    assert first.provenance == second.provenance
    assert first.provenance["data"] == images.fingerprint()


def test_the_seed_decides():
    images = noise((30, 30, 30))
    for select in (select_random, select_kmeans):
        one, other = (select(images, REAL, seed=seed).images for seed in (0, 1))
        assert not torch.equal(one, other)


@every_selector
def test_factor_squared_images_are_packed_in_the_order_of_the_choice(select):
    """A packed image is a grid of the images that the same choice gives unpacked."""
    images = noise((20, 16, 18))
    packed = select(images, SyntheticSettings(ipc=2, factor=2, init="mix"))
    plain = select(images, SyntheticSettings(ipc=8, factor=1, init="real"))
    assert packed.factor == 2 and packed.images.shape == (6, 2, 4, 4)
    cells = F.avg_pool2d(plain.images, 2).view(6, 2, 2, 2, 2, 2)  # image, row, column, channel
    grid = cells.permute(0, 3, 1, 4, 2, 5).reshape(6, 2, 4, 4)
    torch.testing.assert_close(packed.images, grid)


@every_selector
def test_the_form_of_decoding_is_kept(select):
    settings = SyntheticSettings(ipc=2, factor=2, decode="multi")
    chosen = select(noise((20, 16, 18)), settings)
    assert (chosen.decode, chosen.factor) == ("multi", 2)
    assert select(noise(), replace(REAL, factor=2)).decode == "single"


@every_selector
def test_more_images_than_a_class_has_are_refused(select):
    with pytest.raises(DataError, match=r"ipc 9 with factor 1 and init 'real' needs 9 real images"):
        select(noise(), replace(REAL, ipc=9))
    with pytest.raises(DataError, match=r"needs 12 real images a class"):
        select(noise(), SyntheticSettings(ipc=3, factor=2))


@every_selector
def test_short_classes_are_repeated_evenly_on_request(select):
    images = noise()
    chosen = select(images, replace(REAL, ipc=20, short_classes="repeat"))
    counts = torch.bincount(chosen_indices(chosen, images), minlength=len(images))
    for label, size in enumerate((8, 12, 9)):
        own = counts[images.of_class(label)]
        assert own.sum() == 20 and set(own.tolist()) <= {20 // size, 20 // size + 1}


@every_selector
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (replace(REAL, init="noise"), "init is 'noise', but real images are selected; choose 'r"),
        (SyntheticSettings(ipc=1, factor=3), "factor is 3, which does not divide the images' 4 px"),
    ],
)
def test_settings_that_do_not_fit_are_refused(select, settings, message):
    with pytest.raises(SettingsError, match=message):
        select(noise(), settings)


@pytest.mark.parametrize("select", [select_herding, lambda *a, **k: select_kmeans(*a, seed=0, **k)])
def test_features_are_of_normalised_images_and_decide(select):
    images = noise((30, 30, 30))
    seen = []

    def brightness(x):
        seen.append(x)
        return x.mean((1, 2, 3))[:, None].to(torch.bfloat16)

    chosen = select(images, REAL, features=brightness)
    everything = torch.cat(seen)
    assert everything.shape == (90, 2, 4, 4)
    expected = (images.pixels[images.of_class(0)].float() / 255 - 0.4) / 0.25
    torch.testing.assert_close(everything[:30, 0], expected[:, 0])
    assert not torch.equal(chosen.images, select(images, REAL).images)
    with pytest.raises(DataError, match="features of class 'class 0' are not finite"):
        select(images, REAL, features=lambda x: x.flatten(1) / 0)


@few
@given(seeds, st.integers(2, 12))
def test_each_step_of_herding_is_the_best_one(seed, n):
    x = points(seed, n).double()
    order = herding_order(x, n).tolist()
    assert sorted(order) == list(range(n))
    for step in range(n):

        def gap(candidate, before=order[:step]):
            return (x[[*before, candidate]].mean(0) - x.mean(0)).norm().item()

        left = set(range(n)) - set(order[:step])
        assert gap(order[step]) <= min(map(gap, left)) + 1e-12


def test_herding_does_not_depend_on_where_the_points_lie():
    x = points(0, 200, 8)
    far = x + 1000
    assert torch.equal(herding_order(x, 10), herding_order(far, 10))


def test_herded_images_have_nearly_the_mean_of_their_class():
    images = noise((200, 200))
    herded = select_herding(images, replace(REAL, ipc=20))
    drawn = select_random(images, replace(REAL, ipc=20), seed=0)
    for label in (0, 1):
        mean = (images.pixels[images.of_class(label)].float() / 255).mean(0)
        gaps = [(s.images[s.labels == label].mean(0) - mean).norm() for s in (herded, drawn)]
        assert gaps[0] < 0.6 * gaps[1]


@few
@given(seeds, st.integers(1, 6), st.integers(0, 30))
def test_kmeans_ends_at_a_fixed_point_below_random_centres(seed, k, more):
    x = points(seed, k + more)
    found = cluster(x, k, generator(seed))
    assert found.centres.shape == (k, 3)
    distances = torch.cdist(x.double(), found.centres.double())
    own = distances.gather(1, found.labels[:, None])[:, 0]
    torch.testing.assert_close(own, distances.min(1).values, rtol=1e-4, atol=1e-5)
    for i in range(k):
        assert (found.labels == i).any()
        torch.testing.assert_close(found.centres[i], x[found.labels == i].mean(0))
    single = inertia(x, x.mean(0, keepdim=True))
    assert inertia(x, found.centres) <= single + 1e-6


def test_inertia_of_kmeans_is_never_above_that_of_random_images():
    for seed in range(20):
        x = points(seed, 60, 5)
        drawn = x[torch.randperm(60, generator=generator(seed))[:6]]
        assert inertia(x, cluster(x, 6, generator(seed)).centres) < inertia(x, drawn)


def test_kmeans_of_few_points_is_nearly_the_best_partition():
    x = points(1, 9, 2)

    def of_groups(group):
        rest = [i for i in range(9) if i not in group]
        return sum(
            (x[list(g)] - x[list(g)].mean(0)).square().sum().item() for g in (group, rest) if g
        )

    best = min(of_groups(g) for size in range(1, 5) for g in combinations(range(9), size))
    found = [inertia(x, cluster(x, 2, generator(seed)).centres) for seed in range(10)]
    assert min(found) == pytest.approx(best, rel=1e-5)


@few
@given(seeds, st.integers(1, 5), st.integers(1, 3))
def test_kmeans_bears_equal_points(seed, different, copies):
    x = points(seed, different).repeat(copies + 1, 1)
    k = different + 1  # more centres than different points
    found = cluster(x, k, generator(seed))
    assert inertia(x, found.centres) == pytest.approx(0, abs=1e-8)
    assert len(nearest_distinct(x, found.centres).unique()) == k


def test_kmeans_takes_the_image_nearest_to_the_middle_of_each_group():
    draws = torch.Generator().manual_seed(0)
    levels = torch.tensor([30, 120, 220]).repeat_interleave(10)
    pixels = levels[:, None, None, None] + torch.randint(-9, 10, (30, 1, 4, 4), generator=draws)
    labels = torch.zeros(30, dtype=torch.int64)
    images = LabeledImages(pixels.to(torch.uint8), labels, (0.4,), (0.2,), ("all",))
    index = chosen_indices(select_kmeans(images, REAL, seed=0), images)
    groups = images.pixels.double().view(3, 10, -1)
    nearest = (groups - groups.mean(1, keepdim=True)).norm(dim=2).argmin(1)
    assert sorted(index.tolist()) == (nearest + torch.arange(0, 30, 10)).tolist()


@few
@given(seeds, st.integers(1, 8), st.integers(0, 5))
def test_nearest_points_are_different_and_nearest_of_those_left(seed, k, more):
    x, centres = points(seed, k + more), points(seed + 1, k)
    chosen = nearest_distinct(x, centres).tolist()
    assert len(set(chosen)) == k
    for i, index in enumerate(chosen):
        gaps = (x - centres[i]).norm(dim=1)
        gaps[chosen[:i]] = torch.inf
        assert gaps[index] <= gaps.min() + 1e-4


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        (lambda x: x[:1], DataError, r"features gives \(1, 1, 16, 16\) for 20 images"),
        (lambda x: x.mean((0, 2, 3)), DataError, "one row an image"),
        (lambda x: x.mean(), DataError, r"features gives \(\) for 20"),
        (lambda x: x.flatten(1)[:, :0], DataError, r"gives \(20, 0\)"),
        (lambda x: x.numpy(), DataError, "features gives ndarray"),
        (5, SettingsError, "features is of type int"),
    ],
)
def test_features_that_are_not_one_row_an_image_are_refused(images, features, kind, message):
    for select in (
        lambda: select_herding(images, REAL, features=features),
        lambda: select_kmeans(images, REAL, seed=0, features=features),
    ):
        with pytest.raises(kind, match=message):
            select()


def test_too_few_images_name_the_way_out(images):
    many = SyntheticSettings(ipc=21, factor=1, init="real")
    for select in (
        lambda s: select_random(images, s, seed=0),
        lambda s: select_herding(images, s),
        lambda s: select_kmeans(images, s, seed=0),
    ):
        with pytest.raises(DataError, match=r"ask for fewer, or set short_classes = 'repeat'\.$"):
            select(many)
        assert select(replace(many, short_classes="repeat")).ipc == 21


@pytest.mark.parametrize("seed", [-1, 1.5, "0", None, True])
def test_a_seed_is_a_whole_number(images, seed):
    with pytest.raises(SettingsError, match="seed is"):
        select_random(images, REAL, seed=seed)
    with pytest.raises(SettingsError, match="seed is"):
        select_kmeans(images, REAL, seed=seed)

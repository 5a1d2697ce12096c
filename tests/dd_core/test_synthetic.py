"""The synthetic set: multi-formation, its start, and selection without distillation."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import DataError, SettingsError, SyntheticSettings, select_random
from dd_core.augment import normalize
from dd_core.decoding import factors_of
from dd_core.synthetic import clamp_pixels, decode, initial_pixels, n_views, to_space, to_unit


def random_pixels(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_each_view_is_its_cell_enlarged(factor):
    pixels = torch.rand(2, 3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    views = decode(pixels, factor)
    assert views.shape == (2, 3 * factor**2, 1, 8, 8)
    small = 8 // factor
    enlarge = torch.nn.Upsample(size=(8, 8), mode="bilinear")
    for image in range(3):
        for i in range(factor):
            for j in range(factor):
                cell = pixels[1, image, :, i * small : (i + 1) * small, j * small : (j + 1) * small]
                expected = enlarge(cell[None])[0]
                got = views[1, image * factor**2 + i * factor + j]
                torch.testing.assert_close(got, expected)


def test_decode_is_differentiable():
    pixels = torch.rand(1, 1, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda p: decode(p, 2), (pixels,), fast_mode=True)


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_multi_contains_the_single_decoding_of_every_factor(factor):
    pixels = random_pixels(2, 3, 1, 12, 12)
    views = decode(pixels, factor, "multi")
    each = sum(f**2 for f in range(1, factor + 1))
    by_image = views.view(2, 3, each, 1, 12, 12)
    start = 0
    for f in range(1, factor + 1):
        expected = decode(pixels, f).view(2, 3, f**2, 1, 12, 12)
        assert torch.equal(by_image[:, :, start : start + f**2], expected)
        start += f**2
    assert start == each


@given(n=st.integers(1, 12), factor=st.integers(1, 4), spare=st.integers(0, 200))
def test_bound_respects_the_bound_and_uses_every_image_once(n, factor, spare):
    bound = n + spare
    plan = factors_of(n, factor, "bound", bound)
    assert len(plan) == n and all(len(factors) == 1 for factors in plan)
    used = [f for (f,) in plan]
    assert sum(f**2 for f in used) <= bound
    assert used == sorted(used, reverse=True) and max(used) <= factor
    if spare >= n * factor**2:
        assert set(used) == {factor}
    # No factor could take one more image: that image's views, and one for each left, pass bound.
    for f in range(2, factor + 1):
        before = sum(g**2 for g in used if g > f)
        left = sum(g <= f for g in used)
        more = used.count(f) + 1
        assert more > left or more * f**2 > bound - before - left


def test_bound_cuts_each_image_as_single_does():
    pixels = random_pixels(2, 4, 3, 12, 12)
    plan = factors_of(4, 3, "bound", 16)
    assert plan == ((3,), (2,), (1,), (1,))
    expected = torch.cat([decode(pixels[:, i : i + 1], f) for i, (f,) in enumerate(plan)], 1)
    assert torch.equal(decode(pixels, 3, "bound", 16), expected)


@given(
    ipc=st.integers(1, 6), factor=st.integers(1, 4), form=st.sampled_from(["single", "multi"]),
    spare=st.integers(0, 60), bounded=st.booleans(),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_number_of_views_is_that_of_decoding(ipc, factor, form, spare, bounded):
    form = "bound" if bounded else form
    chosen = SyntheticSettings(ipc=ipc, factor=factor, decode=form, bound=ipc + spare)
    views = decode(torch.zeros(1, ipc, 1, 12, 12), factor, form, ipc + spare)
    assert views.shape == (1, n_views(chosen), 1, 12, 12)


@pytest.mark.parametrize("form", ["single", "multi", "bound"])
def test_groups_are_decoded_alike_and_apart(form):
    pixels = random_pixels(3, 4, 1, 8, 8)
    together = decode(pixels, 2, form, 9)
    for group in range(3):
        assert torch.equal(together[group], decode(pixels[group : group + 1], 2, form, 9)[0])


def test_gradients_reach_every_pixel_in_every_form():
    for form in ("multi", "bound"):
        pixels = torch.rand(1, 3, 1, 4, 4, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(
            lambda p, form=form: decode(p, 2, form, 9), (pixels,), fast_mode=True
        )
        decode(pixels, 2, form, 9).sum().backward()
        assert (pixels.grad > 0).all()


def test_a_factor_that_does_not_divide_extends_with_grey():
    pixels = torch.ones(1, 1, 1, 8, 8)
    cells = decode(pixels, 3, "multi")[0, 5:]  # 1 + 4 views of the factors 1 and 2 come before
    grey = torch.full((1, 1, 3, 3), 1.0)
    grey[..., 2] = 0.5  # 8 px and one grey column
    expected = F.interpolate(grey, size=(8, 8), mode="bilinear")[0]
    torch.testing.assert_close(cells[2], expected)
    assert (cells[0] == 1).all()


def test_packed_cells_are_different_real_images_of_the_class(images):
    pixels = initial_pixels(images, SyntheticSettings(ipc=2, factor=2), seed=0)
    assert pixels.shape == (3, 2, 1, 16, 16)
    for c in range(3):
        real = images.pixels[images.of_class(c)].float() / 255
        shrunk = F.avg_pool2d(real, 2)
        cells = pixels[c].unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
        matches = (cells[:, None] - shrunk).abs().amax((2, 3, 4)) < 1e-6
        assert (matches.sum(1) == 1).all()
        assert len(set(matches.int().argmax(1).tolist())) == 8


def test_real_start_takes_images_as_they_are(images):
    pixels = initial_pixels(images, SyntheticSettings(ipc=3, factor=2, init="real"), seed=0)
    real = images.pixels[images.of_class(1)].float() / 255
    assert all((real == image).flatten(1).all(1).any() for image in pixels[1])


def test_noise_start_is_in_range_and_follows_the_seed(images):
    settings = SyntheticSettings(ipc=3, factor=2, init="noise")
    a, b, c = (initial_pixels(images, settings, seed) for seed in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert a.min() >= 0 and a.max() <= 1 and 0.4 < a.mean() < 0.6


MEAN, STD = (0.3, 0.5), (0.25, 0.2)


@pytest.mark.parametrize("space", ["unit", "normalized"])
def test_spaces_are_inverse_and_normalized_is_that_of_training(space):
    pixels = random_pixels(3, 2, 2, 4, 4)
    there = to_space(pixels, MEAN, STD, space)
    torch.testing.assert_close(to_unit(there, MEAN, STD, space), pixels)
    expected = pixels if space == "unit" else normalize(pixels, MEAN, STD)
    torch.testing.assert_close(there, expected)


@pytest.mark.parametrize("space", ["unit", "normalized"])
def test_clamping_acts_in_place_on_what_an_image_cannot_show(space):
    free = torch.randn(2, 3, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    moved = to_space(free, MEAN, STD, space).clone()
    clamp_pixels(moved, MEAN, STD, space)
    torch.testing.assert_close(to_unit(moved, MEAN, STD, space), free.clamp(0, 1))


def stored_set(real, folder, **changes):
    chosen = select_random(real, SyntheticSettings(ipc=2, factor=2), seed=3)
    replace(chosen, **changes).save(folder)
    return SyntheticSettings(ipc=2, factor=2, init="file", init_file=str(folder))


def test_start_from_a_file_is_its_pixels_class_by_class(images, tmp_path):
    chosen = select_random(images, SyntheticSettings(ipc=2, factor=2), seed=3)
    order = torch.tensor([5, 0, 3, 2, 1, 4])
    start = stored_set(images, tmp_path, images=chosen.images[order], labels=chosen.labels[order])
    pixels = initial_pixels(images, start, seed=0)
    assert pixels.shape == (3, 2, 1, 16, 16)
    own = chosen.images.view(3, 2, 1, 16, 16)
    for c in range(3):
        found = sorted(float(image.sum()) for image in pixels[c])
        assert found == sorted(float(image.sum()) for image in own[c])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("a", "b", "c")}, "the class names"),
        ({"class_names": ("class 0", "class 1"), "labels": [0, 0, 1, 1, 1, 0]}, "classes: 2"),
        ({"labels": [0, 0, 0, 1, 1, 2]}, r"images a class: \[1, 2, 3\] in the file, 2"),
        ({"images": (6, 3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3}, "channels: 3"),
        ({"images": (6, 1, 8, 8)}, "pixels a side: 8 in the file, 16"),
        ({"factor": 4}, "factor: 4 in the file, 2"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_for_what_differs(images, tmp_path, changes, message):
    if isinstance(changes.get("images"), tuple):
        changes = {**changes, "images": torch.rand(changes["images"])}
    if "labels" in changes:
        changes = {**changes, "labels": torch.tensor(changes["labels"])}
    start = stored_set(images, tmp_path, **changes)
    with pytest.raises(SettingsError, match=message):
        initial_pixels(images, start, seed=0)


def test_a_file_with_other_images_a_class_is_refused(images, tmp_path):
    start = replace(stored_set(images, tmp_path), ipc=3)
    with pytest.raises(SettingsError, match="images a class: 2 in the file, 3"):
        initial_pixels(images, start, seed=0)


def test_short_classes_repeat_where_asked(images):
    short = SyntheticSettings(ipc=6, factor=2, short_classes="repeat")  # 24 of 20 images
    pixels = initial_pixels(images, short, seed=0)
    assert pixels.shape == (3, 6, 1, 16, 16)
    cells = pixels[0].unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 1, 4, 5).flatten(0, 2)
    shrunk = F.avg_pool2d(images.pixels[images.of_class(0)].float() / 255, 2)
    matches = (cells[:, None] - shrunk).abs().amax((2, 3, 4)) < 1e-6
    assert set(matches.sum(0).tolist()) == {1, 2}  # each once, and four of them twice


def test_factor_must_divide(images):
    with pytest.raises(SettingsError, match="factor is 3"):
        initial_pixels(images, SyntheticSettings(ipc=1, factor=3), seed=0)


def test_too_small_a_class_is_named(images):
    with pytest.raises(DataError, match="needs 24 real images a class: n is 24, but class"):
        initial_pixels(images, SyntheticSettings(ipc=6, factor=2), seed=0)


def test_selection_starts_where_the_distillation_of_that_seed_does(images):
    settings = SyntheticSettings(ipc=2, factor=2)
    chosen = select_random(images, settings, seed=7)
    assert torch.equal(chosen.images, initial_pixels(images, settings, 7).flatten(0, 1))
    assert chosen.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert chosen.factor == 2 and chosen.mean == images.mean


def test_selection_of_whole_images_has_factor_one(images):
    chosen = select_random(images, SyntheticSettings(ipc=4, factor=1, init="real"), seed=0)
    decoded, labels = chosen.decoded()
    assert chosen.factor == 1 and torch.equal(decoded, chosen.images) and len(labels) == 12

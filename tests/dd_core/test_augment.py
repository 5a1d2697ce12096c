"""Augmentation: one draw for all, and each part equal to its plain definition."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core.augment import Augmentation, Draw, apply, normalize
from dd_core.errors import SettingsError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def some_images(groups=3, n=4, size=12, seed=0):
    return torch.randn(groups, n, 3, size, size, generator=generator(seed))


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_all_images_of_a_group_get_the_same_draw(seed):
    draw = Augmentation.parse("flip_color_crop/scale/rotate_cutout").draw(3, 12, generator(seed))
    one = some_images(n=1, seed=seed)
    many = apply(one.expand(3, 5, 3, 12, 12), draw)
    alone = apply(one, draw)
    torch.testing.assert_close(many, alone.expand_as(many), atol=1e-5, rtol=1e-5)


def test_groups_get_different_draws_and_one_group_serves_all():
    x = some_images(groups=1, n=1).expand(3, 1, 3, 12, 12)
    strategy = Augmentation.parse("color")
    different = apply(x, strategy.draw(3, 12, generator()))
    assert not torch.allclose(different[0], different[1])
    shared = strategy.draw(1, 12, generator())
    assert torch.equal(apply(x, shared)[0], apply(x, shared)[2])
    assert shared.group(1, 2) is shared


def test_color_is_brightness_then_saturation_then_contrast():
    x = some_images()
    draw = Augmentation.parse("color").draw(3, 12, generator(5))
    for g, (brightness, saturation, contrast) in enumerate(draw.color.tolist()):
        y = x[g] + brightness
        gray = y.mean(1, keepdim=True)
        y = (y - gray) * saturation + gray
        level = y.mean((1, 2, 3), keepdim=True)
        y = (y - level) * contrast + level
        torch.testing.assert_close(apply(x, draw)[g], y, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_crop_moves_by_whole_pixels_and_fills_with_zero(seed):
    size = 16
    x = some_images(groups=1, n=1, size=size)
    y = apply(x, Augmentation.parse("crop").draw(1, size, generator(seed)))
    reach = 2  # an eighth of 16
    padded = F.pad(x, [reach] * 4)
    windows = [
        padded[..., i : i + size, j : j + size]
        for i in range(2 * reach + 1)
        for j in range(2 * reach + 1)
    ]
    assert sum(torch.equal(y, window) for window in windows) == 1


@pytest.mark.parametrize("seed", range(5))
def test_scale_equals_grid_sample(seed):
    size = 16
    x = some_images(groups=1, n=2, size=size)
    draws = generator(seed)
    ratios = [torch.rand(1, generator=generator(seed)).item()]
    draw = Augmentation.parse("scale").draw(1, size, draws)
    y = apply(x, draw)
    # Recover the two ratios from the matrices: the weight-averaged source position is linear.
    index = torch.arange(size, dtype=torch.float32)
    middle = slice(size // 2 - 1, size // 2 + 1)
    step = [(m[0] @ index)[middle].diff().item() for m in (draw.rows, draw.columns)]
    theta = torch.tensor([[[step[1], 0, 0], [0, step[0], 0]]])
    grid = F.affine_grid(theta, [1, 3, size, size], align_corners=False).expand(2, -1, -1, -1)
    expected = F.grid_sample(x[0], grid, align_corners=False)
    torch.testing.assert_close(y[0], expected, atol=1e-4, rtol=1e-3)
    assert 1 / 1.2 <= step[0] <= 1.2 and ratios


def test_rotation_turns_and_keeps_the_centre():
    size = 17
    x = torch.zeros(1, 1, 1, size, size)
    x[..., 8, 8], x[..., 8, 14] = 1.0, 1.0
    angle = torch.tensor([torch.pi / 2])
    y = apply(x, Draw(angle=angle))
    assert y[0, 0, 0, 8, 8] == pytest.approx(1.0, abs=1e-4)
    assert max(y[0, 0, 0, 2, 8].item(), y[0, 0, 0, 14, 8].item()) == pytest.approx(1, abs=1e-4)


def test_flip_mirrors_half_of_the_groups():
    x = some_images(groups=400, n=1, size=4)
    y = apply(x, Augmentation.parse("flip").draw(400, 4, generator()))
    mirrored = sum(torch.equal(a, b.flip(-1)) for a, b in zip(x, y, strict=True))
    unchanged = sum(torch.equal(a, b) for a, b in zip(x, y, strict=True))
    assert mirrored + unchanged == 400
    assert 140 < mirrored < 260  # binomial(400, 1/2), beyond six standard deviations


def test_cutout_blanks_one_square_of_at_most_half_the_size():
    draw = Augmentation.parse("cutout").draw(300, 16, generator())
    rows = (draw.mask == 0).any(2).sum(1)
    columns = (draw.mask == 0).any(1).sum(1)
    assert int(rows.max()) == 8 and int(columns.max()) == 8
    assert int(rows.min()) == 4  # cut off by the border
    assert torch.equal((draw.mask == 0).sum((1, 2)), rows * columns)


def test_every_part_is_differentiable():
    x = some_images(groups=2, n=1, size=8).double().requires_grad_()
    for strategy in ("flip_color_crop_cutout", "scale", "rotate"):
        draw = Augmentation.parse(strategy).draw(2, 8, generator(3))
        double = Draw(*(None if t is None else t.double() for t in _parts(draw)))
        assert torch.autograd.gradcheck(lambda t, d=double: apply(t, d), (x,))


def _parts(draw):
    return (draw.color, draw.rows, draw.columns, draw.angle, draw.mask)


def test_alternatives_are_all_taken():
    strategy = Augmentation.parse("crop/scale/rotate")
    kinds = set()
    for seed in range(40):
        draw = strategy.draw(1, 8, generator(seed))
        fractional = draw.rows is not None and bool((draw.rows % 1).any())
        kinds.add("rotate" if draw.angle is not None else "scale" if fractional else "crop")
    assert kinds == {"crop", "scale", "rotate"}


@pytest.mark.parametrize("strategy", ["colour", "crop_scale", "flip_flip", "crop/", "crop/shear"])
def test_bad_strategies_name_the_part(strategy):
    with pytest.raises(SettingsError, match="augmentation is"):
        Augmentation.parse(strategy)


def test_normalize_bytes_equals_floats():
    pixels = torch.randint(0, 256, (2, 3, 4, 4), generator=generator()).to(torch.uint8)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    expected = (pixels / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    torch.testing.assert_close(normalize(pixels, mean, std), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(normalize(pixels / 255, mean, std), expected, atol=1e-5, rtol=1e-5)


def test_one_of_all_kinds_is_chosen_for_each_group():
    """As in DSA: every group gets exactly one operation, each kind about equally often."""
    kinds = ("color", "crop", "cutout", "flip", "scale", "rotate")
    augmentation = Augmentation.parse("/".join(kinds))
    draws = torch.Generator().manual_seed(0)
    draw = augmentation.draw(600, 8, draws)
    eye = torch.eye(8)
    color = (draw.color != torch.tensor([0.0, 1.0, 1.0])).any(1)
    moved = (draw.rows != eye).any((1, 2)) | (draw.columns != eye).any((1, 2))
    turned, cut = draw.angle != 0, (draw.mask != 1).any((1, 2))
    assert (color.int() + moved.int() + turned.int() + cut.int() <= 1).all()
    for part, share in ((color, 1 / 6), (turned, 1 / 6), (cut, 1 / 6)):
        assert abs(part.float().mean().item() - share) < 0.05
    # flip does nothing half of the time, crop hardly ever, scale never
    assert abs(moved.float().mean().item() - 2.5 / 6) < 0.07


def test_one_of_equals_the_single_operation_where_it_is_chosen():
    images = torch.rand(40, 2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    draw = Augmentation.parse("color/cutout").draw(40, 8, torch.Generator().manual_seed(2))
    result = apply(images, draw)
    cut = (draw.mask != 1).any((1, 2))
    assert cut.any() and not cut.all()
    torch.testing.assert_close(result[cut], (images * draw.mask[:, None, None])[cut])
    only_color = replace(draw, mask=None)
    torch.testing.assert_close(result[~cut], apply(images, only_color)[~cut])


@pytest.mark.parametrize("strategy", ["color/color", "color/blur", "color/flip_crop"])
def test_wrong_alternatives_are_refused(strategy):
    with pytest.raises(SettingsError, match="augmentation is"):
        Augmentation.parse(strategy)

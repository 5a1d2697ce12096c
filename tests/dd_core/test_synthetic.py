"""The synthetic set: multi-formation, its start, and selection without distillation."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dd_core import DataError, SettingsError, SyntheticSettings, select_random
from dd_core.synthetic import decode, initial_pixels


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
    assert torch.autograd.gradcheck(lambda p: decode(p, 2), (pixels,))


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

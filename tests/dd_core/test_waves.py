"""Means of cos and sin of many projections: the kernel against float64 and the way without it."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dd_core.kernels import amx_in_use, mean_waves, suits_waves
from dd_core.objectives.base import ClassSlice, Features
from dd_core.objectives.ncfm import NCFM

needs_amx = pytest.mark.skipif(not amx_in_use(), reason="needs AMX")


def vectors(groups, n, features, seed=0):
    draws = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(groups, n, features, generator=draws), dim=-1).bfloat16()


def frequencies(n, features, scale=3.0):
    return scale * torch.randn(n, features, generator=torch.Generator().manual_seed(1))


def reference(x, t):
    angles = x.double() @ t.bfloat16().double().mT
    return angles.cos().mean(1), angles.sin().mean(1)


def with_gradient(function, x, t):
    x = x.clone().requires_grad_()
    cos, sin = function(x, t)
    weights = torch.randn(2, *cos.shape, generator=torch.Generator().manual_seed(2))
    total = (cos.double() * weights[0]).sum() + (sin.double() * weights[1]).sum()
    return cos.detach().double(), sin.detach().double(), torch.autograd.grad(total, x)[0].double()


@needs_amx
@pytest.mark.parametrize(
    ("groups", "n", "count", "features"),
    [(1, 1, 32, 32), (2, 16, 96, 64), (3, 33, 64, 160), (1, 150, 32, 96), (2, 290, 64, 32)],
)
def test_means_and_gradient_are_those_of_float64(groups, n, count, features):
    x, t = vectors(groups, n, features), frequencies(count, features)
    got, exact = (with_gradient(f, x, t) for f in (mean_waves, reference))
    torch.testing.assert_close(got[:2], exact[:2], atol=2e-6, rtol=0)
    assert (got[2] - exact[2]).norm() <= 0.006 * exact[2].norm()


@needs_amx
@pytest.mark.parametrize("scale", [1e-3, 100.0, 3000.0])
def test_small_and_large_angles(scale):
    x, t = vectors(2, 20, 64), frequencies(64, 64, scale)
    for got, exact in zip(mean_waves(x, t), reference(x, t), strict=True):
        torch.testing.assert_close(got.double(), exact, atol=1e-6 * (1 + scale), rtol=0)


@pytest.fixture
def restored_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@needs_amx
def test_bits_depend_on_neither_threads_nor_other_groups(restored_threads):
    x, t = vectors(3, 70, 96), frequencies(96, 96)
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(with_gradient(mean_waves, x, t))
    alone = [mean_waves(x[i : i + 1], t) for i in range(len(x))]
    for part in range(2):
        assert torch.equal(results[0][part], torch.cat([a[part] for a in alone]).double())
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@needs_amx
def test_frequencies_that_change_in_place_are_laid_out_anew():
    x, t = vectors(1, 8, 32), frequencies(32, 32)
    before = mean_waves(x, t)[0]
    t.mul_(2)
    after = mean_waves(x, t)[0]
    torch.testing.assert_close(after.double(), reference(x, t)[0], atol=2e-6, rtol=0)
    assert not torch.equal(before, after)


@needs_amx
def test_nan_stays_in_its_group():
    x, t = vectors(2, 8, 32), frequencies(32, 32)
    x[0, 3, 5] = float("nan")
    cos, sin = mean_waves(x, t)
    assert cos[0].isnan().all() and sin[0].isnan().all()
    assert cos[1].isfinite().all() and sin[1].isfinite().all()


@pytest.mark.parametrize(
    ("x", "t"),
    [
        (vectors(1, 4, 32).float(), frequencies(32, 32)),
        (vectors(1, 4, 48), frequencies(32, 48)),
        (vectors(1, 4, 32), frequencies(48, 32)),
        (vectors(1, 4, 32), frequencies(32, 32).requires_grad_()),
        (vectors(1, 4, 32), frequencies(32, 32).double()),
        (vectors(1, 4, 32)[0], frequencies(32, 32)),
        (vectors(1, 4, 64), frequencies(32, 32)),
        (vectors(0, 4, 32), frequencies(32, 32)),
    ],
)
def test_what_does_not_suit_the_kernel_goes_another_way(x, t):
    assert suits_waves(vectors(1, 4, 32), frequencies(32, 32)) == amx_in_use()
    assert not suits_waves(x, t)


@needs_amx
def test_loss_of_ncfm_is_the_same_with_and_without_the_kernel():
    objective = NCFM(n_frequencies=64)
    real, synthetic, t = vectors(2, 50, 64), vectors(2, 9, 64, seed=5), frequencies(64, 64)
    group = ClassSlice(0, 2, torch.tensor([50, 50]))
    losses, gradients = [], []
    for sample in (t, t.clone().requires_grad_()):  # the kernel is not for frequencies that learn
        leaf = synthetic.clone().requires_grad_()
        loss = objective.loss(Features(real), Features(leaf), sample, group)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), leaf)[0].double())
    torch.testing.assert_close(losses[0], losses[1], atol=0, rtol=0.01)
    assert (gradients[0] - gradients[1]).norm() < 0.02 * gradients[1].norm()

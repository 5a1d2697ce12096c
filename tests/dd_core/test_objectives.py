"""Objectives against their formulas written plainly."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from dd_core import DistillSettings
from dd_core.objectives import NCFM, MeanMatching, build_objective, calibration_loss


def features(seed, classes=3, n=6, width=20, shift=0.0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(classes, n, width, generator=draws) + shift


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_ncfm_is_the_published_formula(alpha):
    objective = NCFM(n_frequencies=50, alpha=alpha, scale=300.0)
    real, synthetic = features(0), features(1, n=4)
    t = objective.sample(20, torch.Generator().manual_seed(2))
    assert t.shape == (50, 20)
    got = objective.loss(objective.embed(real), objective.embed(synthetic), t)
    for c in range(3):
        p, q = (
            torch.exp(1j * (F.normalize(f[c].double(), dim=1) @ t.double().T)).mean(0)
            for f in (real, synthetic)
        )
        amplitude = (p.abs() - q.abs()) ** 2
        phase = 2 * p.abs() * q.abs() * (1 - torch.cos(p.angle() - q.angle()))
        expected = 300 * (alpha * amplitude + (1 - alpha) * phase).sqrt().mean()
        assert got[c].item() == pytest.approx(expected.item(), rel=1e-4)


def test_ncfm_frequencies_are_standard_normal():
    t = NCFM(n_frequencies=4000).sample(10, torch.Generator().manual_seed(0))
    assert t.mean().abs() < 5 / math.sqrt(t.numel())
    assert (t.var() - 1).abs() < 5 * math.sqrt(2 / t.numel())


def test_ncfm_does_not_see_the_length_of_features():
    objective = NCFM(n_frequencies=50)
    t = objective.sample(20, torch.Generator().manual_seed(2))
    losses = [
        objective.loss(objective.embed(features(0)), objective.embed(scale * features(1)), t)
        for scale in (1.0, 7.0)
    ]
    torch.testing.assert_close(*losses)


def test_mean_matching_is_the_squared_distance_of_means():
    objective = MeanMatching(scale=2.0)
    real, synthetic = features(0, n=9), features(1, shift=0.5)
    got = objective.loss(objective.embed(real), objective.embed(synthetic), torch.empty(0))
    torch.testing.assert_close(got, 2 * (real.mean(1) - synthetic.mean(1)).norm(dim=1) ** 2)


@pytest.mark.parametrize("objective", [NCFM(n_frequencies=200), MeanMatching()])
def test_identical_samples_have_the_least_loss(objective):
    real = objective.embed(features(0))
    t = objective.sample(20, torch.Generator().manual_seed(2))
    same = objective.loss(real, real, t)
    other = objective.loss(real, objective.embed(features(1)), t)
    assert (same < 1e-2).all() and (other > 100 * same).all()


@pytest.mark.parametrize("objective", [NCFM(n_frequencies=30), MeanMatching()])
def test_gradient_flows_to_the_synthetic_side_only_of_its_class(objective):
    synthetic = features(1).requires_grad_()
    t = objective.sample(20, torch.Generator().manual_seed(2))
    real = objective.embed(features(0))
    objective.loss(real, objective.embed(synthetic), t)[1].backward()
    assert synthetic.grad[1].abs().sum() > 0
    assert synthetic.grad[0].abs().sum() == synthetic.grad[2].abs().sum() == 0


def test_calibration_is_cross_entropy_within_the_class():
    logits = features(3, classes=2, n=5, width=6)
    got = calibration_loss(logits, 3)
    expected = [F.cross_entropy(logits[i], torch.full((5,), 3 + i)) for i in range(2)]
    torch.testing.assert_close(got, torch.stack(expected))


def test_settings_name_the_objective():
    assert build_objective(DistillSettings(alpha=0.2)) == NCFM(1024, 0.2, 300.0)
    dm = DistillSettings(method="dm", extractor="random", calibration=0.0, loss_scale=1.0)
    assert build_objective(dm) == MeanMatching(1.0)

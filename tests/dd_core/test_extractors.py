"""Extractors: the blend, in place."""

from __future__ import annotations

import pytest
import torch

from dd_core import DataError
from dd_core.extractors import Extractor, ExtractorPool
from dd_core.runtime import generator


def test_blend_is_beta_initial_plus_rest_trained(images, network, pool):
    extractor = Extractor(network, images, pool, seed=4)
    addresses = [p.data_ptr() for p in extractor.blended.parameters()]
    betas, chosen = [], []
    for number in range(30):
        extractor.draw(number)
        draws = generator(4, "extractor", number)
        index = int(torch.randint(2, (), generator=draws))
        beta = float(torch.rand((), generator=draws))
        for name, parameter in extractor.blended.named_parameters():
            expected = beta * pool.initial[index][name] + (1 - beta) * pool.trained[index][name]
            torch.testing.assert_close(parameter.data, expected)
        for name, parameter in extractor.trained.named_parameters():
            assert torch.equal(parameter, pool.trained[index][name])
        betas.append(beta)
        chosen.append(index)
    assert set(chosen) == {0, 1} and min(betas) < 0.2 and max(betas) > 0.8
    assert addresses == [p.data_ptr() for p in extractor.blended.parameters()]


def test_random_extractor_changes_with_the_draw_and_only_with_it(images, network):
    extractor = Extractor(network, images, None, seed=0)
    seen = []
    for number in (0, 1, 0):
        extractor.draw(number)
        seen.append(extractor.blended.convolutions[0].weight.clone())
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])
    assert extractor.trained is None


def test_extractor_takes_no_gradient(images, network, pool):
    extractor = Extractor(network, images, pool, seed=0)
    assert not any(p.requires_grad for p in extractor.blended.parameters())


def test_fingerprint_sees_a_changed_weight(network, pool):
    same = ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=2, seed=0)
    assert same.fingerprint() == pool.fingerprint()
    same.trained[1]["classifier.bias"][0] += 1
    assert same.fingerprint() != pool.fingerprint()


def test_empty_or_uneven_pool_is_refused(pool):
    for initial, trained in (((), ()), (pool.initial, pool.trained[:1])):
        with pytest.raises(DataError, match="pool has"):
            ExtractorPool(initial, trained)

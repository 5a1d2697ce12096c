"""Extractors: the blend, in place; pools that are stored and refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dd_core import CheckpointError, DataError, NetworkSettings
from dd_core.extractors import Extractor, ExtractorPool
from dd_core.networks import build_network
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


def test_random_extractor_is_a_new_network_each_draw_in_the_same_memory(images, network):
    extractor = Extractor(network, images, None, seed=0)
    addresses = [p.data_ptr() for p in extractor.blended.parameters()]
    seen = []
    for number in (0, 1, 0):
        extractor.draw(number)
        seed = generator(0, "extractor", number).initial_seed()
        fresh = build_network(network, channels=1, size=16, n_classes=3, seed=seed)
        for name, parameter in extractor.blended.named_parameters():
            assert torch.equal(parameter, fresh.get_parameter(name))
        seen.append(extractor.blended.convolutions[0].weight.clone())
    assert torch.equal(seen[0], seen[2]) and not torch.equal(seen[0], seen[1])
    assert extractor.trained is None
    assert addresses == [p.data_ptr() for p in extractor.blended.parameters()]


def test_running_statistics_are_blended_like_parameters(images):
    network = NetworkSettings(depth=2, width=16, norm="batch")
    pool = ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=1, seed=0)
    mean, variance = "norms.0.running_mean", "norms.0.running_var"
    pool.trained[0][mean].fill_(4.0)
    pool.trained[0][variance].fill_(9.0)
    extractor = Extractor(network, images, pool, seed=1)
    extractor.draw(0)
    draws = generator(1, "extractor", 0)
    torch.randint(1, (), generator=draws)
    beta = float(torch.rand((), generator=draws))
    blended, trained = extractor.blended.state_dict(), extractor.trained.state_dict()
    torch.testing.assert_close(blended[mean], torch.full((16,), 4 * (1 - beta)))
    torch.testing.assert_close(blended[variance], torch.full((16,), beta + 9 * (1 - beta)))
    assert bool((trained[mean] == 4).all())


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_features_do_not_depend_on_the_images_beside(images, norm):
    network = NetworkSettings(depth=2, width=16, norm=norm)
    pool = ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=1, seed=0)
    extractor = Extractor(network, images, pool, seed=1)
    extractor.draw(0)
    x = torch.randn(6, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    for model in (extractor.blended, extractor.trained):
        parts = torch.cat([model.features(chunk) for chunk in x.split(2)])
        torch.testing.assert_close(model.features(x), parts)


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
            replace(pool, initial=initial, trained=trained)


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_stored_pool_comes_back_as_it_was(tmp_path, norm):
    network = NetworkSettings(depth=2, width=16, norm=norm)
    pool = ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=3, seed=0)
    pool = replace(pool, seconds=6.0)
    pool.save(tmp_path)
    again = ExtractorPool.load(tmp_path)
    assert again.fingerprint() == pool.fingerprint()
    assert set(again.initial[0]) == set(pool.initial[0])
    facts = (again.network, again.channels, again.size, again.n_classes, again.seconds)
    assert facts == (network, 1, 16, 3, 6.0)


def test_pool_of_another_network_or_other_images_is_refused(images, network, pool):
    for other in (replace(network, depth=1), replace(network, norm="batch")):
        with pytest.raises(DataError, match="but the run asks for convnet of depth"):
            Extractor(other, images, pool, seed=0)
    for change in ({"channels": 3}, {"size": 32}, {"n_classes": 10}):
        with pytest.raises(DataError, match="pretrain a pool for this network and these images"):
            Extractor(network, images, replace(pool, **change), seed=0)


def test_pool_of_images_of_the_same_shape_but_other_content_is_refused(tmp_path, images, pool):
    known = replace(pool, mean=images.mean, std=images.std, class_names=images.class_names)
    known.save(tmp_path)
    again = ExtractorPool.load(tmp_path)
    again.require_fit(pool.network, images)
    names = (*images.class_names[:2], "bag")
    for name, value, words in (
        ("mean", (0.4,), r"mean\[0\] is 0.3, but that of these images is 0.4"),
        ("std", (0.4,), r"std\[0\] is 0.25, but that of these images is 0.4"),
        ("class_names", names, r"class_names\[2\] is 'class 2', but that of these images is 'bag'"),
    ):
        other = replace(images, **{name: value})
        with pytest.raises(DataError, match=words):
            again.require_fit(pool.network, other)
        pool.require_fit(pool.network, other)  # it does not know its images


def test_pool_that_an_older_version_began_is_read(tmp_path, images, pool):
    pool.save(tmp_path)  # without mean, std and names, as it was before
    known = replace(pool, mean=images.mean, std=images.std, class_names=images.class_names)
    known.save(tmp_path / "new")
    last = "network_001.safetensors"
    (tmp_path / last).write_bytes((tmp_path / "new" / last).read_bytes())
    assert ExtractorPool.load(tmp_path).class_names == images.class_names


def test_folder_without_a_whole_pool_is_refused(tmp_path, pool):
    with pytest.raises(DataError, match="holds no pool"):
        ExtractorPool.load(tmp_path)
    pool.save(tmp_path)
    last = tmp_path / "network_001.safetensors"
    content = last.read_bytes()
    last.unlink()
    with pytest.raises(DataError, match="1 of the 2 networks"):
        ExtractorPool.load(tmp_path)
    replace(pool, size=32).save(tmp_path / "other")
    last.write_bytes((tmp_path / "other" / last.name).read_bytes())
    with pytest.raises(DataError, match="different pools"):
        ExtractorPool.load(tmp_path)
    last.write_bytes(content[:-50])
    with pytest.raises(CheckpointError, match="damaged"):
        ExtractorPool.load(tmp_path)

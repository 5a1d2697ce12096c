"""The ConvNet: known sizes, and the same function as plain PyTorch layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dd_core import NetworkSettings, SettingsError
from dd_core.networks import build_network


@pytest.mark.parametrize(
    ("size", "channels", "depth", "features"),
    [(32, 3, 3, 2048), (28, 1, 3, 2048), (64, 3, 4, 2048), (128, 3, 5, 2048), (16, 1, 2, 2048)],
)
def test_feature_sizes_of_the_field(size, channels, depth, features):
    settings = NetworkSettings(depth=depth)
    net = build_network(settings, channels=channels, size=size, n_classes=10, seed=0)
    x = torch.zeros(1, channels, size, size)
    assert net.features(x).shape == (1, features) and net(x).shape == (1, 10)


def test_parameters_of_convnet_3_are_the_published_320010():
    net = build_network(NetworkSettings(), channels=3, size=32, n_classes=10, seed=0)
    assert sum(p.numel() for p in net.parameters()) == 320010


@pytest.mark.parametrize("norm", ["instance", "none"])
def test_equals_plain_layers(norm):
    settings = NetworkSettings(depth=3, width=32, norm=norm)
    net = build_network(settings, channels=3, size=32, n_classes=7, seed=0)
    layers: list[nn.Module] = []
    for convolution, normalization in zip(net.convolutions, net.norms, strict=True):
        layers += [convolution, normalization, nn.ReLU(), nn.AvgPool2d(2)]
    plain = nn.Sequential(*layers, nn.Flatten(), net.classifier)
    x = torch.randn(5, 3, 32, 32)
    torch.testing.assert_close(net(x), plain(x), atol=1e-4, rtol=1e-4)


def test_seed_alone_decides_the_weights():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    nets = [
        build_network(NetworkSettings(width=16), channels=1, size=28, n_classes=3, seed=s)
        for s in (5, 5, 6)
    ]
    assert torch.equal(before, torch.get_rng_state())
    weights = [net.convolutions[1].weight for net in nets]
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


def test_bfloat16_images_make_a_bfloat16_network_with_float32_logits():
    net = build_network(NetworkSettings(width=16), channels=1, size=16, n_classes=3, seed=0)
    x = torch.randn(4, 1, 16, 16)
    assert net.features(x.bfloat16()).dtype == torch.bfloat16
    logits = net(x.bfloat16())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, net(x), atol=0.05, rtol=0.05)


def test_too_deep_for_the_images():
    with pytest.raises(SettingsError, match="depth is 5"):
        build_network(NetworkSettings(depth=5), channels=1, size=16, n_classes=3, seed=0)

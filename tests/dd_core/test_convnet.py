"""The ConvNet: known sizes, and the same function as plain PyTorch layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dd_core import NetworkSettings, SettingsError
from dd_core.networks import ConvNet, build_network


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


def plain_layers(net: ConvNet) -> nn.Sequential:
    """The network as a sequence of torch's own modules that share its weights."""
    layers: list[nn.Module] = []
    for convolution, normalization in zip(net.convolutions, net.norms, strict=True):
        layers += [convolution, normalization, nn.ReLU(), nn.AvgPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), net.classifier)


@pytest.mark.parametrize("norm", ["instance", "batch", "layer", "group", "none"])
@pytest.mark.parametrize("depth", [1, 3, 5])
def test_equals_plain_layers(norm, depth):
    settings = NetworkSettings(depth=depth, width=32, norm=norm)
    net = build_network(settings, channels=3, size=32, n_classes=7, seed=0).eval()
    x = torch.randn(5, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(x), plain_layers(net)(x), atol=1e-4, rtol=1e-4)


def test_norms_normalize_what_they_say():
    x = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    over = {"instance": (2, 3), "layer": (1, 2, 3), "batch": (0, 2, 3)}
    for norm, axes in over.items():
        settings = NetworkSettings(depth=2, width=8, norm=norm)
        net = build_network(settings, channels=3, size=16, n_classes=2, seed=0).train()
        for m in net.tapped(x, "norm")[1]:
            mean, variance = m.mean(axes), m.var(axes, correction=0)
            torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-5, rtol=0)
            torch.testing.assert_close(variance, torch.ones_like(variance), atol=2e-2, rtol=0)


@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_taps_are_the_layers_outputs_and_leave_the_features_alone(norm):
    settings = NetworkSettings(depth=3, width=16, norm=norm)
    net = build_network(settings, channels=3, size=32, n_classes=2, seed=0).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for tap, layers in (("conv", net.convolutions), ("norm", net.norms)):
        if norm == "none" and tap == "norm":
            continue
        seen: list[torch.Tensor] = []
        hooks = [m.register_forward_hook(lambda *a, s=seen: s.append(a[2])) for m in layers]
        plain_layers(net)(x)
        for hook in hooks:
            hook.remove()
        vectors, maps = net.tapped(x, tap)
        torch.testing.assert_close(vectors, net.features(x), atol=1e-4, rtol=1e-4)
        assert len(maps) == 3
        for ours, theirs in zip(maps, seen, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
    assert net.tapped(x, "none")[1] == ()


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


def test_depth_of_padded_images_counts_32_px():
    net = build_network(NetworkSettings(depth=5, width=8), channels=1, size=28, n_classes=3, seed=0)
    assert net.features(torch.zeros(1, 1, 28, 28)).shape == (1, 8)
    with pytest.raises(SettingsError, match="depth of at most 5"):
        build_network(NetworkSettings(depth=6), channels=1, size=28, n_classes=3, seed=0)


def test_group_norm_needs_a_width_of_four_groups():
    with pytest.raises(SettingsError, match="width is 6"):
        settings = NetworkSettings(width=6, norm="group")
        build_network(settings, channels=1, size=16, n_classes=3, seed=0)

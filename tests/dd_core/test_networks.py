"""AlexNet, VGG-11 and ResNet-18: the same functions as torchvision's and PyTorch's layers."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from dd_core import NetworkSettings, SettingsError
from dd_core.networks import build_network, describe_network, initialize

ARCHITECTURES = ("convnet", "alexnet", "vgg11", "resnet18")
OTHERS = ARCHITECTURES[1:]
NORMS = {
    "instance": lambda c: nn.GroupNorm(c, c),
    "batch": nn.BatchNorm2d,
    "layer": partial(nn.GroupNorm, 1),
    "group": partial(nn.GroupNorm, 4),
    "none": lambda c: nn.Identity(),
}


def build(architecture, size=32, channels=3, norm="instance", seed=0, **settings):
    settings = NetworkSettings(architecture, norm=norm, **settings)
    return build_network(settings, channels=channels, size=size, n_classes=4, seed=seed)


def small(architecture, **settings):
    """A network that is quick to run at 32 px."""
    return build(architecture, **settings, **({"width": 16} if architecture == "convnet" else {}))


def reference_alexnet(channels, padding):
    conv, relu, pool = nn.Conv2d, nn.ReLU, partial(nn.MaxPool2d, 2)
    return nn.Sequential(
        conv(channels, 128, 5, padding=padding), relu(), pool(),
        conv(128, 192, 5, padding=2), relu(), pool(),
        conv(192, 256, 3, padding=1), relu(),
        conv(256, 192, 3, padding=1), relu(),
        conv(192, 192, 3, padding=1), relu(), pool(),
        nn.Flatten(), nn.Linear(3072, 4),
    )  # fmt: skip


def reference_vgg(channels, padding, norm):
    layers, width = [], channels
    for entry in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if entry == "M":
            layers.append(nn.MaxPool2d(2))
        else:
            layers += [nn.Conv2d(width, entry, 3, padding=padding), NORMS[norm](entry), nn.ReLU()]
            width, padding = entry, 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 4))


def reference_resnet(channels, padding, norm):
    models = pytest.importorskip("torchvision").models
    net = models.resnet18(num_classes=4, norm_layer=NORMS[norm])
    net.conv1 = nn.Conv2d(channels, 64, 3, padding=padding, bias=False)
    net.maxpool = nn.Identity()
    return net


def reference(architecture, norm="instance", channels=3, more_padding=0):
    """A network of torch's own modules, whose weights come in the same order as ours."""
    if architecture == "alexnet":
        return reference_alexnet(channels, 2 + more_padding)
    make = {"vgg11": reference_vgg, "resnet18": reference_resnet}[architecture]
    return make(channels, 1 + more_padding, norm)


def with_weights_of(net, plain):
    """The plain network with our weights; norms are drawn anew so that they take part."""
    draws = torch.Generator().manual_seed(3)
    for kind in (nn.Conv2d | nn.Linear, nn.GroupNorm | nn.BatchNorm2d):
        ours, theirs = ([m for m in n.modules() if isinstance(m, kind)] for n in (net, plain))
        for source, target in zip(ours, theirs, strict=True):
            for name, tensor in source.state_dict().items():
                if tensor.ndim == 1:
                    tensor.add_(0.3 * torch.rand(tensor.shape, generator=draws))
                target.state_dict()[name].copy_(tensor)
    return plain


@pytest.mark.parametrize(
    ("architecture", "norm"),
    [("alexnet", "instance"), *[("vgg11", n) for n in NORMS], *[("resnet18", n) for n in NORMS]],
)
@pytest.mark.parametrize("training", [False, True])
def test_equals_the_same_layers_of_torch(architecture, norm, training):
    net = build(architecture, norm=norm)
    plain = with_weights_of(net, reference(architecture, norm))
    net.train(training), plain.train(training)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(net(x), plain(x), atol=1e-3, rtol=1e-3)
    for ours, theirs in zip(net.buffers(), plain.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("architecture", OTHERS)
def test_grey_images_of_28_px_are_padded_to_32(architecture):
    net = build(architecture, size=28, channels=1)
    plain = with_weights_of(net, reference(architecture, channels=1))
    x = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    padded = nn.functional.pad(x, (2, 2, 2, 2))
    torch.testing.assert_close(net(x), plain(padded), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("architecture", ["vgg11", "resnet18"])
def test_taps_are_the_outputs_of_the_documented_layers(architecture):
    net = build(architecture)
    plain = with_weights_of(net, reference(architecture))
    if architecture == "vgg11":
        layers = {
            "conv": [m for m in plain if isinstance(m, nn.Conv2d)],
            "norm": [m for m in plain if isinstance(m, nn.GroupNorm)],
        }
        assert len(layers["conv"]) == len(layers["norm"]) == 8
    else:
        stages = (plain.layer1, plain.layer2)
        layers = {
            "conv": [plain.conv1, *(stage[1].conv2 for stage in stages)],
            "norm": [plain.maxpool, *stages],  # the max pooling is the identity after the stem
        }
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    for tap, chosen in layers.items():
        check_maps(net, plain, x, tap, chosen)


def test_taps_of_alexnet_are_its_convolutions_and_first_two_poolings():
    net = build("alexnet")
    plain = with_weights_of(net, reference("alexnet"))
    x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    check_maps(net, plain, x, "conv", [m for m in plain if isinstance(m, nn.Conv2d)])
    check_maps(net, plain, x, "norm", [m for m in plain if isinstance(m, nn.MaxPool2d)][:2])


def check_maps(net, plain, x, tap, layers):
    seen = []
    hooks = [m.register_forward_hook(lambda *a: seen.append(a[2].clone())) for m in layers]
    plain(x)
    for hook in hooks:
        hook.remove()
    vectors, maps = net.tapped(x, tap)
    torch.testing.assert_close(vectors, net.features(x))
    assert len(maps) == len(seen)
    for ours, theirs in zip(maps, seen, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("size", [28, 32, 64, 128, 224])
def test_shapes_at_every_size(architecture, size):
    depth = {64: 4, 128: 5, 224: 6}.get(size, 3)
    net = build(architecture, size=size, depth=depth).to("meta")  # shapes without numbers
    x = torch.empty(2, 3, size, size, device="meta")
    for tap in ("none", "conv", "norm"):
        vectors, maps = net.tapped(x, tap)
        assert vectors.shape == (2, net.n_features) and net.classify(vectors).shape == (2, 4)
        assert bool(maps) == (tap != "none") and all(m.ndim == 4 and len(m) == 2 for m in maps)
    side = 32 if size == 28 else size
    sizes = {"alexnet": 192 * (side // 8) ** 2, "vgg11": 512 * (side // 32) ** 2, "resnet18": 512}
    assert net.n_features == sizes.get(architecture, 128 * (side // 2**depth) ** 2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_images_get_a_gradient_and_bfloat16_is_close(architecture):
    net = small(architecture)
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1), requires_grad=True)
    logits = net(x)
    logits.square().sum().backward()
    assert torch.isfinite(x.grad).all() and (x.grad.flatten(1).norm(dim=1) > 0).all()
    for tap in ("conv", "norm"):
        vectors, maps = net.tapped(x.bfloat16(), tap)
        assert {vectors.dtype, *(m.dtype for m in maps)} == {torch.bfloat16}
    exact, rounded = net.features(x), net.features(x.bfloat16()).float()
    assert (exact - rounded).norm() < 0.05 * exact.norm()
    assert net(x.bfloat16()).dtype == logits.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in net.parameters())


@pytest.mark.parametrize("architecture", ["convnet", "vgg11", "resnet18"])
def test_batch_norm_in_evaluation_sees_each_image_alone(architecture):
    net = small(architecture, norm="batch")
    x = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    net.train()
    assert not torch.allclose(net.features(x)[:2], net.features(x[:2]), atol=1e-3)
    net.eval()
    torch.testing.assert_close(net.features(x)[:2], net.features(x[:2]), atol=1e-4, rtol=1e-4)
    assert net.features(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_initialize_in_place_is_a_new_network_of_that_seed(architecture):
    net = small(architecture, norm="batch", seed=0)
    addresses = [p.data_ptr() for p in net.parameters()]
    net.train()(torch.randn(2, 3, 32, 32))  # moves running statistics
    initialize(net, torch.Generator().manual_seed(7))
    fresh = small(architecture, norm="batch", seed=7).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in net.state_dict().items())
    assert addresses == [p.data_ptr() for p in net.parameters()]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_initial_weights_have_the_bound_of_pytorch(architecture):
    for layer in small(architecture).modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            largest = layer.weight.abs().max()
            assert 0.9 * bound < largest <= bound
            assert layer.bias is None or layer.bias.abs().max() <= bound


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_memory_format_is_channels_last(architecture):
    for layer in small(architecture).modules():
        if isinstance(layer, nn.Conv2d):
            assert layer.weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("architecture", "size"), [("alexnet", 7), ("vgg11", 16), ("resnet18", 8)])
def test_images_too_small_for_the_architecture(architecture, size):
    with pytest.raises(SettingsError, match=f"architecture is '{architecture}'.*they have {size}"):
        build(architecture, size=size)


@pytest.mark.parametrize("architecture", ["convnet", "vgg11"])
def test_norm_tap_without_norms_is_refused(architecture):
    with pytest.raises(SettingsError, match="take tap 'conv'"):
        small(architecture, norm="none").tapped(torch.zeros(1, 3, 32, 32), "norm")


def test_description_holds_what_matters_to_the_architecture():
    assert describe_network(NetworkSettings("alexnet", norm="batch", depth=5)) == "alexnet"
    a, b = (NetworkSettings("vgg11", width=w) for w in (1, 2))
    assert describe_network(a) == describe_network(b)
    c, d = (NetworkSettings(width=w) for w in (1, 2))
    assert describe_network(c) != describe_network(d)

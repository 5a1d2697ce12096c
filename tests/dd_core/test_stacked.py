"""Networks side by side in one: each is what it is alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core import NetworkSettings
from dd_core.networks import build_network, stack_networks, unstack_network

EVERY = [
    (architecture, norm)
    for architecture in ("convnet", "vgg11", "resnet18")
    for norm in ("instance", "batch", "layer", "group", "none")
] + [("alexnet", "instance")]


def build(architecture, norm, count, *, width=16, channels=3):
    how = NetworkSettings(architecture, depth=2, width=width, norm=norm)
    return [
        build_network(how, channels=channels, size=32, n_classes=4, seed=seed)
        for seed in range(count)
    ]


def side_by_side(images):
    """(k, n, channels, size, size) as the stack takes it."""
    return torch.cat(tuple(images), 1)


@pytest.mark.parametrize(("architecture", "norm"), EVERY)
def test_logits_and_gradients_are_those_of_each_alone(architecture, norm):
    networks = build(architecture, norm, 3)
    images = torch.randn(3, 4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    stack = stack_networks(networks)
    logits = torch.stack([network(x) for network, x in zip(networks, images, strict=True)])
    found = stack(side_by_side(images)).unflatten(1, (3, -1)).transpose(0, 1)
    torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-5)
    logits.square().sum().backward()
    found.square().sum().backward()
    for name, parameter in stack.named_parameters():
        each = [network.get_parameter(name).grad for network in networks]
        if each[0] is None:  # a bias that the instance norm takes away
            assert parameter.grad is None
            continue
        expected = torch.cat(each)
        scale = float(expected.abs().max().clamp(min=0.1))  # of what a norm takes away: rounding
        torch.testing.assert_close(parameter.grad / scale, expected / scale, rtol=0, atol=1e-4)
    for name, buffer in stack.named_buffers():  # running statistics of batch norms
        each = [network.get_buffer(name) for network in networks]
        expected = torch.cat(each) if each[0].ndim else each[0]
        torch.testing.assert_close(buffer, expected)


@settings(max_examples=25, deadline=None)
@given(count=st.integers(1, 5), place=st.integers(0, 4), channels=st.sampled_from([1, 3]))
def test_a_network_does_not_see_the_others(count, place, channels):
    place %= count
    networks = build("convnet", "instance", count, channels=channels)
    stack = stack_networks(networks)
    images = torch.rand(count, 2, channels, 32, 32, generator=torch.Generator().manual_seed(count))
    before = stack(side_by_side(images)).unflatten(1, (count, -1))
    images[place] += 1.0
    images[place, :, :, :16] *= -1
    after = stack(side_by_side(images)).unflatten(1, (count, -1))
    same = (after == before).all(-1).all(0)
    assert same.tolist() == [number != place for number in range(count)]


@pytest.mark.parametrize(("architecture", "norm"), EVERY)
def test_weights_come_back_as_they_were(architecture, norm):
    networks, others = build(architecture, norm, 2), build(architecture, norm, 4)[2:]
    unstack_network(stack_networks(networks), others)
    for network, other in zip(networks, others, strict=True):
        assert all(
            torch.equal(tensor, other.state_dict()[name])
            for name, tensor in network.state_dict().items()
        )


def test_the_stack_has_weights_of_its_own_in_channels_last():
    networks = build("convnet", "instance", 2)
    before = networks[0].classifier.weight.clone()
    stack = stack_networks(networks)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.zero_()
    assert torch.equal(networks[0].classifier.weight, before) and stack.copies == 2
    weight = stack.convolutions[1].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_images_make_a_bfloat16_stack():
    networks = build("convnet", "instance", 2)
    images = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    stack = stack_networks(networks)
    found = stack(side_by_side(images).bfloat16())
    exact = stack(side_by_side(images))
    assert found.dtype == torch.float32
    assert (found - exact).abs().max() < 0.05 * exact.abs().max()

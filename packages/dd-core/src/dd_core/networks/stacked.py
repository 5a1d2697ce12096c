"""Several networks of one architecture as one network, whose layers have a group for each."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dd_core.networks.base import Network

__all__ = ["stack_networks", "unstack_network"]


def stack_networks(networks: Sequence[Network]) -> Network:
    """Puts networks side by side in one, so that k small operations become one of k groups.

    Images of the k networks lie side by side in the channels, (n, k * channels, size, size), and
    so do the logits, (n, k * n_classes); between them every convolution has k groups and every
    norm k times as many channels. So the networks do not see each other: each computes what it
    would alone, to rounding, and the gradient of a sum of losses is that of each.

    A device with thousands of cores is busier with one such network than with k in turn. On a CPU
    k threads with a network each are faster.

    Args:
        networks: At least one, all of the same settings, on one device. They stay as they are.

    Returns:
        A network with ``copies`` = k, with weights of its own, in the mode of the first.

    Example:
        >>> from dd_core.networks import ConvNet
        >>> nets = [ConvNet(channels=1, size=8, n_classes=2, depth=1, width=4) for _ in range(3)]
        >>> images = torch.rand(3, 5, 1, 8, 8)
        >>> together = stack_networks(nets)(torch.cat(tuple(images), 1))
        >>> alone = torch.cat([net(x) for net, x in zip(nets, images)], 1)
        >>> together.shape, torch.allclose(together, alone, atol=1e-5)
        (torch.Size([5, 6]), True)
    """
    first, k = networks[0], len(networks)
    stack = copy.deepcopy(first)
    if k == 1:
        return stack
    stack.copies, stack.n_features = k, k * first.n_features
    for name, layer in stack.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.groups *= k
            layer.in_channels *= k
            layer.out_channels *= k
        elif isinstance(layer, nn.GroupNorm):
            layer.num_groups *= k
            layer.num_channels *= k
        elif isinstance(layer, nn.BatchNorm2d):
            layer.num_features *= k
        elif isinstance(layer, nn.Linear):
            layer.out_features *= k
        sides = [network.get_submodule(name) for network in networks]
        for own, parameter in list(layer.named_parameters(recurse=False)):
            joined = _joined([side.get_parameter(own).detach() for side in sides])
            setattr(layer, own, nn.Parameter(joined, parameter.requires_grad))
        for own, _ in list(layer.named_buffers(recurse=False)):
            setattr(layer, own, _joined([side.get_buffer(own) for side in sides]))
    return stack


@torch.no_grad()
def unstack_network(stack: Network, networks: Sequence[Network]) -> None:
    """Copies the weights of a stack back into the networks, each its own.

    Args:
        stack: What `stack_networks` made.
        networks: As many as it was made of, of the same settings.

    Example:
        >>> from dd_core.networks import ConvNet
        >>> nets = [ConvNet(channels=1, size=8, n_classes=2, depth=1, width=4) for _ in range(3)]
        >>> stack = stack_networks(nets)
        >>> _ = torch.nn.init.zeros_(stack.classifier.weight)
        >>> unstack_network(stack, nets)
        >>> bool((nets[2].classifier.weight == 0).all())
        True
    """
    joined = stack.state_dict()
    for number, network in enumerate(networks):
        for name, tensor in network.state_dict().items():
            whole = joined[name]
            tensor.copy_(whole if not whole.ndim else whole.chunk(len(networks))[number])


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors in a row; a count of batches, which has no dimension, is the same for all."""
    if not tensors[0].ndim:
        return tensors[0].clone()
    whole = torch.cat(list(tensors))
    if whole.ndim == 4:
        return whole.contiguous(memory_format=torch.channels_last)
    return whole

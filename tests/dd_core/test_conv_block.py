"""Whole blocks and stacks of blocks against float64 and against PyTorch's own bfloat16."""

from __future__ import annotations

import platform

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core.kernels import (
    blocks,
    build,
    conv_block,
    convnet_features,
    fused,
    kept_bytes,
    kernel_status,
)

shapes = {
    "channels": st.sampled_from([1, 2, 3, 4, 5, 16, 32, 48]),
    "width": st.sampled_from([16, 32, 48, 64]),
    "height": st.integers(4, 21),
    "columns": st.integers(4, 37),
    "padding": st.integers(0, 3),
    "seed": st.integers(0, 999),
}


def reference(x, weights, norms, paddings):
    for weight, (scale, offset), padding in zip(weights, norms, paddings, strict=True):
        x = F.conv2d(x, weight, padding=padding)
        x = F.avg_pool2d(F.relu(F.group_norm(x, x.shape[1], scale, offset)), 2)
    return x.flatten(1)


def cast(weights, norms, dtype):
    return [w.to(dtype) for w in weights], [(g.to(dtype), b.to(dtype)) for g, b in norms]


def network(channels, widths, seed=0):
    draws = torch.Generator().manual_seed(seed)
    weights, norms = [], []
    for width in widths:
        weight = torch.randn(width, channels, 3, 3, generator=draws) / (9 * channels) ** 0.5
        weights.append(weight.bfloat16().float())
        scale = 1 + 0.2 * torch.randn(width, generator=draws)
        norms.append((scale, 0.2 * torch.randn(width, generator=draws)))
        channels = width
    return weights, norms


def images(n, channels, height, columns, seed=0, dtype=torch.bfloat16):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(n, channels, height, columns, generator=draws).to(dtype)


def value_and_gradient(function, x, outer):
    x = x.clone().requires_grad_()
    y = function(x)
    return y.detach().double(), torch.autograd.grad(y, x, outer.to(y.dtype))[0].double()


def distance(a, b):
    return ((a - b).norm() / b.norm()).item()


def amx():
    return blocks._library() is not None


@settings(max_examples=40, deadline=None)
@given(**shapes)
def test_sums_of_whole_numbers_are_exact(channels, width, height, columns, padding, seed):
    """With -1, 0 and 1 every sum is exact, so only the rounding of the result is left."""
    draws = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, 2, (2, channels, height, columns), generator=draws).bfloat16()
    weight = torch.randint(-1, 2, (width, channels, 3, 3), generator=draws).float()
    norm = torch.randn(width, generator=draws), torch.randn(width, generator=draws)
    got = conv_block(x, weight, *norm, padding).flatten(1).double()
    weights, norms = cast([weight], [norm], torch.double)
    exact = reference(x.double(), weights, norms, [padding])
    bound = 2**-8 * exact.abs() + 1e-4 if amx() else 0.05 * (1 + exact.abs())
    assert ((got - exact).abs() <= bound).all()


@settings(max_examples=15, deadline=None)
@given(**shapes, second=st.sampled_from([16, 32, 80]))
def test_gradient_of_the_images_on_odd_shapes(
    channels, width, height, columns, padding, seed, second
):
    weights, norms = network(channels, [width, second], seed)
    x = images(2, channels, height, columns, seed)
    outer = images(1, 1, 2, second * ((height + 2 * padding - 2) // 4)
                   * ((columns + 2 * padding - 2) // 4), seed)[0, 0]  # fmt: skip
    if not outer.numel():
        return
    paddings = [padding, 1]

    def run(dtype):
        w, n = cast(weights, norms, dtype)
        return value_and_gradient(lambda y: reference(y, w, n, paddings), x.to(dtype), outer)

    exact, torchs = run(torch.double), run(torch.bfloat16)
    got = value_and_gradient(lambda y: convnet_features(y, weights, norms, paddings), x, outer)
    assert distance(got[0], exact[0]) <= 1.5 * distance(torchs[0], exact[0]) + 2**-8
    # A value near zero may pass the ReLU in one and not in the other: hence the wide margin, wider
    # where there are few values.
    margin = 0.1 + outer.numel() ** -0.5
    assert distance(got[1], exact[1]) <= 1.5 * distance(torchs[1], exact[1]) + margin


@pytest.mark.parametrize(
    ("channels", "size", "depth", "first"), [(3, 32, 3, 1), (1, 28, 3, 3), (3, 64, 4, 1)]
)
def test_networks_of_the_papers_are_nearer_to_float64_than_pytorch(channels, size, depth, first):
    weights, norms = network(channels, [64] * depth)
    x, paddings = images(3, channels, size, size), [first] + [1] * (depth - 1)
    outer = images(1, 1, 3, 64 * 16)[0, 0]

    def run(dtype):
        w, n = cast(weights, norms, dtype)
        return value_and_gradient(lambda y: reference(y, w, n, paddings), x.to(dtype), outer)

    exact, torchs = run(torch.double), run(torch.bfloat16)
    got = value_and_gradient(lambda y: convnet_features(y, weights, norms, paddings), x, outer)
    # Without AMX the convolution is PyTorch's, and the luck of values near a ReLU decides.
    margin = 1.05 if amx() else 1.3
    for ours, theirs, true in zip(got, torchs, exact, strict=True):
        assert distance(ours, true) <= margin * distance(theirs, true)


def test_float32_equals_pytorch_with_all_gradients():
    weights, norms = network(3, [16, 32])
    x = images(2, 3, 9, 12, dtype=torch.float32)
    leaves = [x, *weights, *(p for norm in norms for p in norm)]
    for leaf in leaves:
        leaf.requires_grad_()
    got, expected = (f(x, weights, norms, [2, 0]) for f in (convnet_features, reference))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    outer = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    a, b = (torch.autograd.grad(y, leaves, outer) for y in (got, expected))
    torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-3)


def test_parameters_that_learn_get_their_gradient_in_bfloat16():
    weights, norms = network(3, [16])
    x = images(2, 3, 8, 8)
    for p in (weights[0], *norms[0]):
        p.requires_grad_()
    y = conv_block(x, weights[0], *norms[0], 1)
    exact = reference(x.double(), *cast(weights, norms, torch.double), [1])
    outer = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1)).double()
    parameters = (weights[0], *norms[0])
    got = torch.autograd.grad(y.flatten(1), parameters, outer.bfloat16())
    expected = torch.autograd.grad(exact, parameters, outer)
    for a, b in zip(got, expected, strict=True):
        assert distance(a.double(), b.double()) < 0.05


@pytest.fixture
def restored_threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_bits_depend_on_neither_threads_nor_batch_nor_memory_format(restored_threads):
    weights, norms = network(3, [32, 48])
    x, outer = images(5, 3, 12, 16), images(1, 1, 5, 48 * 12)[0, 0]

    def run(y, outer):
        return value_and_gradient(lambda z: convnet_features(z, weights, norms, [1, 1]), y, outer)

    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(run(x, outer))
    results.append(run(x.contiguous(memory_format=torch.channels_last), outer))
    wide = torch.zeros(5, 3, 12, 40, dtype=x.dtype)
    wide[..., 3:35:2] = x
    results.append(run(wide[..., 3:35:2], outer))
    if amx():
        single = [run(x[i : i + 1], outer[i : i + 1]) for i in range(5)]
        results.append(tuple(torch.cat(parts) for parts in zip(*single, strict=True)))
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_values_are_kept_only_for_a_gradient():
    """All but the first block's, as 2 bytes a value, a bit for the ReLU, and the norms."""
    if not amx():
        pytest.skip("needs AMX")
    weights, norms = network(3, [32, 48])
    x = images(2, 3, 16, 32)
    y = convnet_features(x.clone().requires_grad_(), weights, norms, [1, 1])
    kept = y.grad_fn.next_functions[0][0].saved_tensors[1]
    values = 48 * 8 * 16
    assert kept.shape == (2, kept_bytes(x.shape[1:], [(32, 1), (48, 1)]))
    assert values * 2.125 + 80 * 8 <= kept.shape[1] <= values * 2.5 + 80 * 8
    plain = convnet_features(x, weights, norms, [1, 1])
    assert torch.equal(plain, y.detach()) and plain.grad_fn is None


@pytest.mark.parametrize("channels", [3, 5, 16])
def test_gradient_of_images_of_few_channels_goes_through_the_relu_of_the_forward_pass(channels):
    """With sums of small whole numbers nothing but the result is rounded where the norm is flat."""
    weights, norms = network(channels, [32])
    x, outer = images(2, channels, 13, 18), images(1, 1, 2, 32 * 6 * 9)[0, 0]
    w, n = cast(weights, norms, torch.double)
    exact = value_and_gradient(lambda y: reference(y, w, n, [1]), x.double(), outer)
    got = value_and_gradient(lambda y: convnet_features(y, weights, norms, [1]), x, outer)
    assert distance(got[1], exact[1]) < (0.01 if amx() else 0.03)  # else the maps are rounded too


def test_nan_stays_in_its_image():
    weights, norms = network(3, [16, 16])
    x = images(3, 3, 8, 8)
    x[1, 0, 2, 2] = float("nan")
    features = convnet_features(x, weights, norms, [1, 1])
    assert features[1].isnan().all() and features[[0, 2]].isfinite().all()


def test_constant_images_are_not_amplified():
    """The variance is zero but for rounding: nothing may come but the offset of the norm."""
    weights, norms = network(3, [16])
    x = torch.full((1, 3, 10, 10), 3.0, dtype=torch.bfloat16)
    got = conv_block(x, weights[0], *norms[0], 0)
    expected = norms[0][1].relu().view(1, -1, 1, 1).expand(got.shape)
    torch.testing.assert_close(got.float(), expected, atol=1e-2, rtol=1e-2)


@pytest.fixture
def fresh_libraries(monkeypatch):
    """The loaders forget what they loaded, before and after."""
    for module in (fused, blocks):
        module._library.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    for module in (fused, blocks):
        module._library.cache_clear()


def test_without_compiler_pytorch_is_used_and_said_so(fresh_libraries):
    fresh_libraries.setattr(build.shutil, "which", lambda name: None)
    assert kernel_status().count("no C++ compiler") == 2
    weights, norms = network(3, [16, 16])
    x = images(2, 3, 8, 8)
    expected = reference(x, *cast(weights, norms, torch.bfloat16), [1, 1])
    got = convnet_features(x, weights, norms, [1, 1])
    assert distance(got.double(), expected.double()) < 2**-8


def test_a_compiler_that_knows_no_amx_gives_the_fallback(fresh_libraries, tmp_path):
    flags = tuple("-march=x86-64" if f == "-march=native" else f for f in build._FLAGS)
    if platform.machine() != "x86_64" or not build.shutil.which("c++"):
        pytest.skip("needs a compiler for x86-64")
    fresh_libraries.setattr(build, "_FLAGS", flags)
    fresh_libraries.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert "no AMX" in kernel_status()
    weights, norms = network(3, [16])
    assert convnet_features(images(1, 3, 8, 8), weights, norms, [1]).shape == (1, 256)


@pytest.mark.parametrize(
    "change",
    [
        {"x": images(2, 9, 8, 8), "weights": [torch.zeros(16, 9, 3, 3)]},  # 8 to 15 channels
        {"weights": [torch.zeros(24, 3, 3, 3)], "norms": [(torch.ones(24), torch.zeros(24))]},
        {"weights": [torch.zeros(16, 3, 5, 5)]},
        {"x": images(2, 3, 8, 8, dtype=torch.float32)},
        {"x": images(0, 3, 8, 8)},
    ],
)
def test_what_does_not_suit_the_kernel_goes_another_way(change):
    arguments = {
        "x": images(2, 3, 8, 8),
        "weights": [torch.zeros(16, 3, 3, 3)],
        "norms": [(torch.ones(16), torch.zeros(16))],
        "paddings": [1],
    }
    assert blocks._suits(**arguments) == amx()
    assert not blocks._suits(**{**arguments, **change})

"""The compiled kernel against the same operations of PyTorch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core.kernels import build, fused, instance_norm_relu_pool
from dd_core.kernels.fused import fused_status


def reference(x, weight, bias):
    return F.avg_pool2d(F.relu(F.group_norm(x, x.shape[1], weight, bias)), 2)


def tensors(n, c, h, w, seed, dtype=torch.float32):
    draws = torch.Generator().manual_seed(seed)
    x = torch.randn(n, c, h, w, generator=draws, dtype=torch.float64) * 3 + 1
    x = x.to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(c, generator=draws)
    bias = torch.randn(c, generator=draws)
    return x, weight, bias


def test_kernel_is_in_use_where_there_is_a_compiler():
    import shutil

    expected = shutil.which("c++") or shutil.which("g++")
    assert (fused_status() == "compiled kernel") == bool(expected)


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 5),
    c=st.sampled_from([16, 32, 48]),
    h=st.integers(2, 9),
    w=st.integers(2, 9),
    seed=st.integers(0, 999),
)
def test_value_and_gradients_equal_pytorch(n, c, h, w, seed):
    x, weight, bias = tensors(n, c, h, w, seed)
    inputs = [t.requires_grad_() for t in (x, weight, bias)]
    got, expected = instance_norm_relu_pool(*inputs), reference(*inputs)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-4)
    outer = torch.randn(got.shape, generator=torch.Generator().manual_seed(seed))
    for a, b in zip(
        torch.autograd.grad(got, inputs, outer),
        torch.autograd.grad(expected, inputs, outer),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=2e-4, rtol=2e-3)


def test_bfloat16_is_as_near_to_float64_as_rounding_allows():
    x, weight, bias = tensors(4, 32, 16, 16, 0, torch.bfloat16)
    exact = reference(x.double(), weight.double(), bias.double())
    got = instance_norm_relu_pool(x, weight, bias)
    assert got.dtype == torch.bfloat16
    assert (got.double() - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_large_mean_does_not_cancel():
    x, weight, bias = tensors(2, 16, 8, 8, 0)
    x = x + 3000
    expected = reference(x.double(), weight.double(), bias.double()).float()
    torch.testing.assert_close(
        instance_norm_relu_pool(x, weight, bias), expected, atol=2e-3, rtol=0
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_nan_passes_through(dtype):
    x, weight, bias = tensors(2, 16, 4, 4, 0, dtype)
    x[0, 3, 1, 1] = float("nan")
    got = instance_norm_relu_pool(x, weight, bias)
    assert got[0, 3].isnan().all() and not got[1].isnan().any()
    assert not got[0, :3].isnan().any()


def test_result_does_not_depend_on_threads():
    x, weight, bias = tensors(7, 32, 8, 8, 0)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        results.append(instance_norm_relu_pool(x, weight, bias))
    torch.set_num_threads(before)
    assert torch.equal(*results)


def test_odd_channels_take_pytorch():
    x, weight, bias = tensors(2, 5, 6, 6, 0)
    torch.testing.assert_close(instance_norm_relu_pool(x, weight, bias), reference(x, weight, bias))


def test_without_compiler_pytorch_is_used_and_said_so(monkeypatch):
    monkeypatch.setattr(build.shutil, "which", lambda name: None)
    fused._library.cache_clear()
    try:
        assert "no C++ compiler" in fused_status()
        x, weight, bias = tensors(2, 16, 4, 4, 0)
        torch.testing.assert_close(
            instance_norm_relu_pool(x, weight, bias), reference(x, weight, bias)
        )
    finally:
        monkeypatch.undo()
        fused._library.cache_clear()


def test_folder_that_others_can_write_is_not_used(tmp_path):
    assert build._usable(tmp_path / "own")
    (tmp_path / "own").chmod(0o777)
    assert not build._usable(tmp_path / "own")


def test_hanging_compiler_is_answered_by_pytorch(monkeypatch):
    def hang(*arguments, **options):
        raise build.subprocess.TimeoutExpired("c++", 120)

    monkeypatch.setattr(fused, "load_library", hang)
    fused._library.cache_clear()
    try:
        assert "PyTorch operations" in fused_status()
    finally:
        monkeypatch.undo()
        fused._library.cache_clear()


def test_unwritable_cache_falls_to_the_temporary_folder(monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert not build._usable(blocked / "dd-core")
    monkeypatch.setattr(build.tempfile, "tempdir", str(tmp_path))
    library = build.load_library("instance_norm_relu_pool.cpp")
    assert hasattr(library, "forward_float32")
    assert list(tmp_path.glob("dd-core-*/instance_norm_relu_pool-*.so"))

"""The empirical characteristic function of torch tensors."""

import numpy as np
import pytest

from cfmetrics import (
    CharacteristicParts,
    characteristic_function,
)
from cfmetrics import characteristic_parts as parts_of

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("chunk_size", [None, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, chunk_size):
    rng = np.random.default_rng(3)
    x, t = rng.normal(size=(2, 13, 3)).astype(dtype), rng.normal(size=(6, 3)).astype(dtype)
    ours = characteristic_function(torch.tensor(x), torch.tensor(t), chunk_size=chunk_size)
    expected = characteristic_function(x, t)
    assert str(ours.dtype) == f"torch.{expected.dtype}"
    np.testing.assert_allclose(ours.numpy(), expected, atol=1e-6 if dtype == "float32" else 1e-14)


def test_half_precision_is_summed_in_float32():
    # In bfloat16 a sum of ones stops at 256.
    x = torch.zeros(5000, 1, dtype=torch.bfloat16)
    assert parts_of(x, torch.ones(1, 1, dtype=torch.bfloat16)).real == 1


def test_under_autocast_sums_are_float32():
    x, t = torch.zeros(5000, 1), torch.ones(1, 1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        real, _ = parts_of(x, t)
    assert real.dtype == torch.float32
    assert real == 1


def test_gradient_is_the_derivative():
    x = torch.randn(2, 5, 3, dtype=torch.float64, requires_grad=True)
    t = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: parts_of(a, b, chunk_size=2), (x, t))
    assert torch.autograd.gradcheck(characteristic_function, (x, t))


def test_nan_in_torch_gives_nan():
    x = torch.tensor([[0.0], [float("nan")]])
    assert torch.isnan(parts_of(x, torch.ones(2, 1)).real).all()


@pytest.mark.parametrize(
    ("x_dtype", "t_dtype", "expected"),
    [
        (torch.float32, torch.float32, torch.float32),
        (torch.float64, torch.float32, torch.float64),
        (torch.bfloat16, torch.bfloat16, torch.float32),
        (torch.bfloat16, torch.float16, torch.float32),
        (torch.float16, torch.float64, torch.float64),
        (torch.int32, torch.float32, torch.float64),
    ],
)
def test_result_dtype(x_dtype, t_dtype, expected):
    parts = parts_of(torch.ones((4, 2), dtype=x_dtype), torch.ones((3, 2), dtype=t_dtype))
    assert isinstance(parts, CharacteristicParts)
    assert parts.real.dtype == expected
    assert parts.imag.dtype == expected

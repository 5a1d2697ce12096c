"""Kernels of torch tensors: agreement with NumPy, gradients, precision, compilation."""

import numpy as np
import pytest

from cfmetrics import kernel_matrix
from cfmetrics.kernels import KERNELS

torch = pytest.importorskip("torch")

every_kernel = pytest.mark.parametrize("kernel", KERNELS)


@every_kernel
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(kernel, dtype):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6, 3)).astype(dtype), rng.normal(size=(5, 3)).astype(dtype)
    options = {"kernel": kernel, "bandwidth": [0.7, 3.0]}
    ours = kernel_matrix(torch.tensor(x), torch.tensor(y), **options)
    expected = kernel_matrix(x, y, **options)
    assert str(ours.dtype) == f"torch.{expected.dtype}"
    tolerance = 2e-6 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance, atol=tolerance)


@every_kernel
def test_gradient_is_the_derivative(kernel):
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(n, 3, dtype=torch.float64, generator=generator).requires_grad_() for n in (4, 3)
    )
    assert torch.autograd.gradcheck(lambda a, b: kernel_matrix(a, b, kernel=kernel), (x, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kernel", [k for k in KERNELS if k not in ("linear", "polynomial")])
def test_gradient_is_zero_where_observations_coincide(kernel, dtype):
    x = torch.randn(1, 30, dtype=dtype, generator=torch.Generator().manual_seed(1))
    x, y = x.requires_grad_(), x.detach().clone()
    value = kernel_matrix(x, y, kernel=kernel)
    value.backward()
    torch.testing.assert_close(value.detach(), torch.ones(1, 1, dtype=dtype))
    assert (x.grad == 0).all()


@every_kernel
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(kernel, dtype):
    x = torch.randn(6, 3, generator=torch.Generator().manual_seed(2)).to(dtype)
    ours = kernel_matrix(x, x, kernel=kernel)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, kernel_matrix(x.float(), x.float(), kernel=kernel))


@every_kernel
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_autocast_changes_nothing(kernel, dtype):
    x = torch.randn(6, 3, dtype=dtype, generator=torch.Generator().manual_seed(3))
    expected = kernel_matrix(x, x, kernel=kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = kernel_matrix(x, x, kernel=kernel)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)


@every_kernel
def test_nan_gives_nan(kernel):
    x = torch.tensor([[0.0, 1.0], [float("nan"), 1.0]])
    value = kernel_matrix(x, x, kernel=kernel)
    assert torch.isnan(value[1]).all()


@every_kernel
def test_compiles_to_one_graph(kernel):
    x = torch.randn(2, 6, 3, generator=torch.Generator().manual_seed(4))
    y = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))

    def matrix(a, b):
        return kernel_matrix(a, b, kernel=kernel, bandwidth=[0.5, 2.0])

    torch.compiler.reset()
    compiled = torch.compile(matrix, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x, y), matrix(x, y))

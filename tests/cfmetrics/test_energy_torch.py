"""The energy distance of torch tensors: agreement with NumPy, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import energy_distance

torch = pytest.importorskip("torch")

dimensions = pytest.mark.parametrize("d", [1, 4])


@dimensions
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, d):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 21, d)).astype(dtype), rng.normal(size=(8, d)).astype(dtype)
    for squared in (True, False):
        expected = energy_distance(x, y, squared=squared)
        for chunk_size in (None, 5):
            ours = energy_distance(
                torch.tensor(x), torch.tensor(y), squared=squared, chunk_size=chunk_size
            )
            assert str(ours.dtype) == f"torch.{dtype}"
            tolerance = 2e-5 if dtype == "float32" else 1e-12
            np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance)


@dimensions
@pytest.mark.parametrize("squared", [True, False])
def test_gradient_is_the_derivative(d, squared):
    generator = torch.Generator().manual_seed(0)
    x, y = (
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in [(2, 5, d), (4, d)]
    )
    assert torch.autograd.gradcheck(lambda a, b: energy_distance(a, b, squared=squared), (x, y))


@dimensions
@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_for_equal_samples(d, squared, dtype):
    x = torch.randn(8, d, dtype=dtype, generator=torch.Generator().manual_seed(1))
    x, y = x.requires_grad_(), x.detach().clone()
    for other in (y, y.flip(0), y[:1].expand(3, d)):
        x.grad = None
        value = energy_distance(x, other, squared=squared)
        value.backward()
        assert torch.isfinite(x.grad).all()
        assert value > 1e-3 or (x.grad.abs() < (1e-4 if squared else 0.5)).all()


@pytest.mark.parametrize(("backend", "d"), [("eager", 1), ("eager", 4), ("aot_eager", 1)])
def test_compiles_to_one_graph(backend, d):
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(3, 9, d, generator=generator), torch.randn(3, 6, d, generator=generator)
    y.requires_grad_()

    def objective(y):
        return energy_distance(x, y) + energy_distance(x, y, squared=True, chunk_size=4)

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(y), objective(y))
    gradients = [torch.autograd.grad(f(y).sum(), y)[0] for f in (objective, compiled)]
    torch.testing.assert_close(*gradients)


@dimensions
def test_half_precision_and_autocast_are_computed_in_float32(d):
    x = (torch.randn(40, d, generator=torch.Generator().manual_seed(3)) + 10).bfloat16()
    y = x[:30] + 1
    expected = energy_distance(x.float(), y.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in ((x, y), (x.float(), y.float())):
            ours = energy_distance(a, b)
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, expected)


@dimensions
def test_nan_gives_nan(d):
    x = torch.zeros(4, d)
    y = x.clone()
    y[2] = float("nan")
    assert torch.isnan(energy_distance(x, y))
    assert torch.isnan(energy_distance(y, x, squared=True))


@dimensions
def test_vectorises_under_vmap(d):
    x, y = torch.randn(3, 7, d), torch.randn(3, 5, d)
    torch.testing.assert_close(torch.vmap(energy_distance)(x, y), energy_distance(x, y))

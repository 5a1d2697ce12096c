"""The sliced Wasserstein distance of torch tensors: agreement, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import sliced_wasserstein

torch = pytest.importorskip("torch")

orders = pytest.mark.parametrize("p", [1, 1.5, 2])
sizes = pytest.mark.parametrize("m", [21, 8])


@orders
@sizes
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, m, p):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(m, 4)).astype(dtype)
    expected = sliced_wasserstein(x, y, p=p, rng=1)
    for chunk_size in (None, 50):
        ours = sliced_wasserstein(
            torch.tensor(x), torch.tensor(y), p=p, rng=1, chunk_size=chunk_size
        )
        assert str(ours.dtype) == f"torch.{dtype}"
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance)


@orders
@pytest.mark.parametrize("m", [5, 4])
def test_gradient_is_the_derivative(m, p):
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in [(2, 5, 3), (m, 3), (6, 3)]
    ]

    def distance(x, y, u):
        return sliced_wasserstein(x, y, projections=u, p=p)

    assert torch.autograd.gradcheck(distance, inputs)


@orders
def test_gradient_is_zero_for_equal_samples(p):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1), requires_grad=True)
    sliced_wasserstein(x, x.detach().clone(), p=p, rng=0).backward()
    assert (x.grad == 0).all()
    x.grad = None
    sliced_wasserstein(x, x.detach().repeat(2, 1), p=p, rng=0).backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize(("backend", "m"), [("eager", 21), ("eager", 8), ("aot_eager", 8)])
def test_compiles_to_one_graph(backend, m):
    generator = torch.Generator().manual_seed(2)
    x, y, u = (torch.randn(shape, generator=generator) for shape in [(3, 21, 4), (3, m, 4), (9, 4)])
    y.requires_grad_()

    def objective(y):
        plain = sliced_wasserstein(x, y, projections=u)
        return plain + sliced_wasserstein(x, y, projections=u, p=1, chunk_size=4)

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(y), objective(y))
    gradients = [torch.autograd.grad(f(y).sum(), y)[0] for f in (objective, compiled)]
    torch.testing.assert_close(*gradients)


def test_half_precision_and_autocast_are_computed_in_float32():
    x = (torch.randn(40, 3, generator=torch.Generator().manual_seed(3)) + 10).bfloat16()
    y = x[:30] + 1
    expected = sliced_wasserstein(x.float(), y.float(), rng=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in ((x, y), (x.float(), y.float())):
            ours = sliced_wasserstein(a, b, rng=0)
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, expected)


@sizes
def test_nan_gives_nan(m):
    x, y = torch.zeros(21, 2), torch.zeros(m, 2)
    y[1] = float("nan")
    assert torch.isnan(sliced_wasserstein(x, y, rng=0))


@sizes
def test_vectorises_under_vmap(m):
    x, y, u = torch.randn(3, 21, 2), torch.randn(3, m, 2), torch.randn(4, 2)
    mapped = torch.vmap(lambda a, b: sliced_wasserstein(a, b, projections=u))(x, y)
    torch.testing.assert_close(mapped, sliced_wasserstein(x, y, projections=u))

"""The CF and NCF distance of torch tensors: agreement with NumPy, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import (
    cf_distance,
    cf_distance_parts,
    characteristic_parts,
    ncf_distance,
    ncf_distance_parts,
)

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.9, 0.1), (0.0, 1.0), (1.0, 0.0)])
def test_gradient_is_the_derivative(alpha, beta):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 6, 3), (2, 4, 3), (5, 3)]
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in shapes
    ]

    def distance(x, y, t):
        return ncf_distance(x, y, frequencies=t, alpha=alpha, beta=beta)

    assert torch.autograd.gradcheck(distance, inputs)


def test_gradient_is_finite_where_the_square_root_has_none():
    x = torch.randn(8, 2, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    zero = torch.tensor([[0.0, 0.0], [torch.pi, 0.0]], requires_grad=True)  # Phi = 0 at (1, 0).
    t = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.3, -2.0]])
    for a, b in [(x, y), (zero, zero.detach()), (x, zero)]:
        a.grad = None
        ncf_distance(a, b, frequencies=t, alpha=0.9, beta=0.1).backward()
        assert torch.isfinite(a.grad).all()
    p = torch.zeros(2, 3, requires_grad=True)  # Exactly 0, where a modulus has no gradient.
    ncf_distance_parts((p[0], p[1]), (torch.ones(3), torch.zeros(3))).backward()
    assert torch.isfinite(p.grad).all()
    ncf_distance(x.detach(), y, frequencies=t).backward()
    assert (y.grad.abs() < 1e-3).all()


def test_descent_moves_one_sample_onto_the_other():
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(200, 2, generator=generator) + 1.0
    y = torch.randn(50, 2, generator=generator).requires_grad_()
    t = torch.randn(64, 2, generator=generator)
    before = ncf_distance(x, y, frequencies=t).item()
    optimiser = torch.optim.Adam([y], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        ncf_distance(x, y, frequencies=t).backward()
        optimiser.step()
    assert ncf_distance(x, y, frequencies=t).item() < before / 5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_compiles_to_one_graph(backend, dtype):
    def objective(x, y, t, alpha):
        distances = ncf_distance(x, y, frequencies=t, alpha=alpha, beta=0.5, chunk_size=16)
        return distances + ncf_distance_parts(
            characteristic_parts(x, t), characteristic_parts(y, t), alpha=alpha, beta=0.2
        )

    generator = torch.Generator().manual_seed(2)
    x, y, t = (
        torch.randn(shape, generator=generator).to(dtype)
        for shape in [(3, 20, 8), (3, 6, 8), (16, 8)]
    )
    y.requires_grad_()
    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend=backend)
    values, gradients = [], []
    for function in (objective, compiled):
        value = function(x, y, t, 0.7)
        values.append(value.detach())
        gradients.append(torch.autograd.grad(value.sum(), y)[0])
    assert values[1].shape == (3,)
    assert values[1].dtype == torch.float32
    assert gradients[1].dtype == dtype
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(gradients[1], gradients[0])
    assert (gradients[0] != 0).any()


def test_vectorises_under_vmap():
    x, y, t = torch.randn(3, 7, 2), torch.randn(3, 5, 2), torch.randn(6, 2)
    mapped = torch.vmap(lambda a, b: ncf_distance(a, b, frequencies=t))(x, y)
    torch.testing.assert_close(mapped, ncf_distance(x, y, frequencies=t))


@pytest.mark.parametrize("chunk_size", [None, 5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, chunk_size):
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(3, 8, 4)).astype(dtype)
    t = rng.normal(size=(9, 4)).astype(dtype)
    options = {"alpha": 0.8, "beta": 0.3, "chunk_size": chunk_size}
    expected = ncf_distance(x, y, frequencies=t, **options)
    x_, y_, t_ = torch.tensor(x), torch.tensor(y), torch.tensor(t)
    result = ncf_distance(x_, y_, frequencies=t_, **options)
    assert result.dtype == getattr(torch, dtype)
    np.testing.assert_allclose(result.numpy(), expected, rtol=2e-5 if dtype == "float32" else 1e-12)


def test_drawn_frequencies_do_not_depend_on_the_library():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2)) + 1
    options = {"n_frequencies": 32, "scale": 0.5, "rng": 9}
    tensor = ncf_distance(torch.tensor(x), torch.tensor(y), **options)
    np.testing.assert_allclose(tensor.numpy(), ncf_distance(x, y, **options), rtol=1e-12)
    assert ncf_distance(torch.tensor(x).bfloat16(), torch.tensor(y).bfloat16(), **options) > 0.1


@pytest.mark.parametrize("method", ["sampled", "closed_form"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cf_distance_of_torch_equals_numpy(dtype, method):
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(8, 4)).astype(dtype)
    options = {"method": method, "rng": 1, "kernel": "laplace"}
    expected = cf_distance(x, y, **options)
    for chunk_size in (None, 5):
        ours = cf_distance(torch.tensor(x), torch.tensor(y), chunk_size=chunk_size, **options)
        assert str(ours.dtype) == f"torch.{dtype}"
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance)


@pytest.mark.parametrize("squared", [True, False])
def test_gradient_of_cf_distance_is_the_derivative(squared):
    generator = torch.Generator().manual_seed(3)
    inputs = [
        torch.rand(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in [(2, 6, 3), (4, 3), (5, 3), (5,)]
    ]

    def sampled(x, y, t, w):
        return cf_distance(x, y, frequencies=t, weights=w, squared=squared)

    def closed_form(x, y):
        return cf_distance(x, y, bandwidth=0.5, method="closed_form", squared=squared)

    assert torch.autograd.gradcheck(sampled, inputs)
    assert torch.autograd.gradcheck(closed_form, inputs[:2])


@pytest.mark.parametrize("method", ["sampled", "closed_form"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_of_cf_distance_is_finite_for_equal_samples(method, dtype):
    x = torch.randn(8, 2, dtype=dtype, generator=torch.Generator().manual_seed(4))
    x, y = x.requires_grad_(), x.detach().clone()
    for other in (y, y.flip(0)):
        x.grad = None
        cf_distance(x, other, bandwidth=1.0, method=method, rng=0).backward()
        assert torch.isfinite(x.grad).all()
    x.grad = None
    cf_distance(x, y, bandwidth=1.0, rng=0).backward()
    assert (x.grad == 0).all()
    p = torch.zeros(2, 3, requires_grad=True)
    cf_distance_parts((p[0], p[1]), (torch.zeros(3), torch.zeros(3))).backward()
    assert (p.grad == 0).all()


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_cf_distance_compiles_to_one_graph(backend):
    generator = torch.Generator().manual_seed(5)
    x, y, t, w = (
        torch.rand(shape, generator=generator) for shape in [(3, 9, 4), (3, 6, 4), (16, 4), (16,)]
    )
    y.requires_grad_()

    def objective(y):
        sampled = cf_distance(x, y, frequencies=t, weights=w, chunk_size=4)
        known = cf_distance_parts(characteristic_parts(x, t), characteristic_parts(y, t))
        return sampled + known + cf_distance(x, y, bandwidth=2.0, method="closed_form")

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(y), objective(y))
    gradients = [torch.autograd.grad(f(y).sum(), y)[0] for f in (objective, compiled)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", ["rbf", "laplace_l1"])
def test_cf_distance_of_half_precision_is_computed_in_float32(dtype, kernel):
    # In float16 a few of so many Cauchy frequencies would be infinite.
    x = torch.randn(20, 2, generator=torch.Generator().manual_seed(6)).to(dtype)
    options = {"kernel": kernel, "rng": 0, "n_frequencies": 50_000}
    ours = cf_distance(x, x + 1, **options)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, cf_distance(x.float(), (x + 1).float(), **options))


def test_cf_distance_of_nan_is_nan():
    x = torch.tensor([[0.0], [float("nan")]])
    for options in ({}, {"bandwidth": 1.0}, {"method": "closed_form"}):
        assert torch.isnan(cf_distance(x, torch.zeros(3, 1), rng=0, **options))


def test_numpy_weights_of_tensors_are_named():
    x, t = torch.zeros(3, 2), torch.ones(4, 2)
    with pytest.raises(TypeError, match="weights is a ndarray but x is a torch tensor; pass"):
        cf_distance(x, x, frequencies=t, weights=np.ones(4))
    parts = characteristic_parts(x, t)
    with pytest.raises(TypeError, match=r"weights is a ndarray but x_parts.real is a torch"):
        cf_distance_parts(parts, parts, weights=np.ones(4))

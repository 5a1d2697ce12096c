"""The spectral distance of torch tensors: agreement with NumPy, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import spectral_distance

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, root):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(3, 8, 4)).astype(dtype)
    options = {"root": root, "kernel": "laplace", "bandwidth": "median", "rng": 1}
    alpha = np.array([0.1, 0.5, 0.9])
    expected = spectral_distance(x, y, alpha=alpha, **options)
    x_, y_ = torch.tensor(x), torch.tensor(y)
    for chunk_size in (None, 5):
        ours = spectral_distance(
            x_, y_, alpha=torch.tensor(alpha), chunk_size=chunk_size, **options
        )
        assert str(ours.dtype) == f"torch.{dtype}"
        tolerance = 2e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance)


@pytest.mark.parametrize("root", [False, True])
def test_gradient_is_the_derivative(root):
    generator = torch.Generator().manual_seed(0)
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in [(2, 6, 3), (2, 4, 3), (5, 3)]
    ]
    alpha = torch.tensor([0.3, 0.6], dtype=torch.float64, requires_grad=True)

    def distance(x, y, t, a):
        return spectral_distance(x, y, frequencies=t, alpha=a, root=root)

    assert torch.autograd.gradcheck(distance, [*inputs, alpha])


@pytest.mark.parametrize("root", [False, True])
def test_gradient_is_finite_for_equal_samples(root):
    x = torch.randn(8, 2, generator=torch.Generator().manual_seed(1), requires_grad=True)
    spectral_distance(x, x.detach().clone(), root=root, alpha=0.8, rng=0).backward()
    assert (x.grad.abs() < 1e-3).all()


def test_compiles_to_one_graph():
    generator = torch.Generator().manual_seed(2)
    x, y, t = (torch.randn(shape, generator=generator) for shape in [(3, 9, 4), (3, 6, 4), (16, 4)])
    alpha = torch.tensor([0.2, 0.5, 0.9])
    y.requires_grad_()

    def objective(y):
        plain = spectral_distance(x, y, frequencies=t, alpha=alpha)
        return plain + spectral_distance(x, y, frequencies=t, root=True, chunk_size=4)

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), objective(y))
    gradients = [torch.autograd.grad(f(y).sum(), y)[0] for f in (objective, compiled)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kernel", ["rbf", "laplace"])
def test_half_precision_is_computed_in_float32(dtype, kernel):
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(3)).to(dtype)
    options = {"kernel": kernel, "rng": 0, "n_frequencies": 20_000}
    ours = spectral_distance(x, x + 1, **options)
    assert ours.dtype == torch.float32
    expected = spectral_distance(x.float(), (x + 1).float(), **options)
    torch.testing.assert_close(ours, expected)


def test_nan_gives_nan():
    x = torch.tensor([[0.0], [float("nan")]])
    assert torch.isnan(spectral_distance(x, x, rng=0))
    assert torch.isnan(spectral_distance(x, x, bandwidth="median", rng=0))


def test_numpy_weights_of_tensors_are_named():
    x = torch.zeros(2, 3, 2)
    with pytest.raises(TypeError, match="alpha is a ndarray but x is a torch tensor; pass torch"):
        spectral_distance(x, x, alpha=np.ones(2))

"""The MMD of torch tensors: agreement with NumPy and torchmetrics, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import mmd
from cfmetrics.kernels import KERNELS
from cfmetrics.mean_discrepancy import ESTIMATORS

torch = pytest.importorskip("torch")

every_estimator = pytest.mark.parametrize("estimator", ESTIMATORS)
every_kernel = pytest.mark.parametrize("kernel", KERNELS)


@every_estimator
@every_kernel
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_torch_equals_numpy(dtype, kernel, estimator):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 21, 4)).astype(dtype), rng.normal(size=(18, 4)).astype(dtype) + 1
    options = {"kernel": kernel, "estimator": estimator}
    expected = mmd(x, y, **options)
    for chunk_size in (None, 5):
        ours = mmd(torch.tensor(x), torch.tensor(y), chunk_size=chunk_size, **options)
        assert str(ours.dtype) == f"torch.{dtype}"
        tolerance = 5e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(ours.numpy(), expected, rtol=tolerance, atol=tolerance)


def test_unbiased_polynomial_mmd_equals_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(30, 8, dtype=torch.float64, generator=generator) for _ in range(2))
    torch.testing.assert_close(mmd(x, y + 1, kernel="polynomial"), poly_mmd(x, y + 1))
    ours = mmd(x, y + 1, kernel="polynomial", shape=2)
    torch.testing.assert_close(ours, poly_mmd(x, y + 1, degree=2))


@every_estimator
@pytest.mark.parametrize("kernel", ["rbf", "laplace", "laplace_l1", "cauchy", "linear"])
def test_gradient_is_the_derivative(kernel, estimator):
    generator = torch.Generator().manual_seed(2)
    x, y = (
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in [(2, 5, 3), (6, 3)]
    )

    def discrepancy(a, b):
        return mmd(a, b, kernel=kernel, bandwidth=[0.7, 2.0], estimator=estimator, chunk_size=4)

    assert torch.autograd.gradcheck(discrepancy, (x, y))


@every_kernel
@every_estimator
def test_gradient_is_finite_for_equal_samples(kernel, estimator):
    x = torch.randn(8, 5, generator=torch.Generator().manual_seed(3), requires_grad=True)
    mmd(x, x.detach().clone(), kernel=kernel, bandwidth=2.0, estimator=estimator).backward()
    assert torch.isfinite(x.grad).all()
    if estimator == "biased":  # A minimum.
        assert (x.grad.abs() < 1e-4).all()


def test_second_derivative():
    x = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    y = torch.randn(3, 2, dtype=torch.float64)
    for kernel in ("rbf", "laplace"):
        assert torch.autograd.gradgradcheck(
            lambda a, k=kernel: mmd(a, y, kernel=k, bandwidth=1.0), x
        )


@pytest.mark.parametrize(
    ("backend", "estimator"), [*(("eager", name) for name in ESTIMATORS), ("aot_eager", "biased")]
)
def test_compiles_to_one_graph(backend, estimator):
    generator = torch.Generator().manual_seed(4)
    x, y = torch.randn(3, 9, 4, generator=generator), torch.randn(3, 7, 4, generator=generator)
    y.requires_grad_()
    kernel = {"biased": "laplace", "block": "cauchy", "linear": "laplace_l1"}.get(estimator, "rbf")

    def objective(y):
        options = {"estimator": estimator, "kernel": kernel}
        return mmd(x, y, bandwidth=[1.0, 3.0], chunk_size=5, **options)

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend=backend)
    torch.testing.assert_close(compiled(y), objective(y))
    gradients = [torch.autograd.grad(f(y).sum(), y)[0] for f in (objective, compiled)]
    torch.testing.assert_close(*gradients)


def test_vectorises_under_vmap():
    x, y = torch.randn(3, 7, 2), torch.randn(3, 5, 2)
    for kernel in ("rbf", "laplace", "laplace_l1"):
        mapped = torch.vmap(lambda a, b, k=kernel: mmd(a, b, kernel=k, bandwidth=1.0))(x, y)
        torch.testing.assert_close(mapped, mmd(x, y, kernel=kernel, bandwidth=1.0))


@every_estimator
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast_are_computed_in_float32(dtype, estimator):
    x = (torch.randn(40, 3, generator=torch.Generator().manual_seed(5)) + 10).to(dtype)
    y = x[:30] + 1
    expected = mmd(x.float(), y.float(), estimator=estimator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for a, b in ((x, y), (x.float(), y.float())):
            ours = mmd(a, b, estimator=estimator)
            assert ours.dtype == torch.float32
            torch.testing.assert_close(ours, expected)


@every_estimator
def test_nan_gives_nan(estimator):
    x = torch.tensor([[0.0], [1.0], [float("nan")], [2.0]])
    assert torch.isnan(mmd(x, x, bandwidth=1.0, estimator=estimator))
    assert torch.isnan(mmd(x, x, estimator=estimator))


def test_descent_moves_one_sample_onto_the_other():
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(100, 2, generator=generator) + 1.0
    y = torch.randn(30, 2, generator=generator).requires_grad_()
    options = {"estimator": "biased", "bandwidth": [0.5, 1.0, 2.0]}
    before = mmd(x, y, **options).item()
    optimiser = torch.optim.Adam([y], lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        mmd(x, y, **options).backward()
        optimiser.step()
    assert mmd(x, y, **options).item() < before / 10


def test_a_mixture_of_libraries_is_named():
    with pytest.raises(TypeError, match="y is a ndarray but x is a torch tensor; pass torch"):
        mmd(torch.zeros(3, 2), np.zeros((3, 2)))

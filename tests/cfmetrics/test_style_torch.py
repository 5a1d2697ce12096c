"""Style and diversity of torch tensors: agreement with NumPy and torch, gradients, compilation."""

import numpy as np
import pytest

from cfmetrics import (
    bounded_intra_class_diversity,
    channel_moments,
    channel_moments_distance,
    gram_distance,
    gram_matrix,
    intra_class_diversity,
)

torch = pytest.importorskip("torch")
F = torch.nn.functional

MAPS = {
    "moments": channel_moments_distance,
    "moments of every sample": lambda x, y: channel_moments_distance(x, y, statistics="sample"),
    "relative moments": lambda x, y: channel_moments_distance(x, y, relative=True),
    "gram": gram_distance,
    "correlation": lambda x, y: gram_distance(x, y, correlation=True),
}
FEATURES = {
    "diversity": lambda x, _: intra_class_diversity(x),
    "sum of diversity": lambda x, _: intra_class_diversity(x, 2, reduction="sum"),
    "bounded diversity": bounded_intra_class_diversity,
    "bounded diversity of many": lambda x, y: bounded_intra_class_diversity(
        x[..., :3], y[..., :3], rank=2
    ),
}
DISTANCES = {**MAPS, **FEATURES}


def case(name, dtype=torch.float64, seed=0):
    """Two samples of two classes for one of the distances."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4, 2, 3, 3), (2, 3, 2, 3, 2)] if name in MAPS else [(2, 7, 6), (2, 5, 6)]
    scale = torch.ones(1) if name in MAPS else 1.5 ** torch.arange(6)  # Distinct variances.
    return [
        (torch.randn(s, generator=generator, dtype=torch.float64) * scale[-s[-1] :]).to(dtype)
        for s in shapes
    ]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", DISTANCES)
def test_torch_equals_numpy(name, dtype):
    x, y = case(name, getattr(torch, dtype))
    result = DISTANCES[name](x, y)
    assert result.dtype == x.dtype
    expected = DISTANCES[name](x.numpy(), y.numpy())
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-4 if dtype == "float32" else 1e-9)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_is_the_derivative(name):
    x, y = case(name)
    x.requires_grad_()
    y.requires_grad_("bounded" not in name)  # Its directions are held fixed.
    assert torch.autograd.gradcheck(DISTANCES[name], (x, y))


@pytest.mark.parametrize("name", DISTANCES)
def test_half_precision_and_autocast_compute_in_single(name):
    x, y = case(name, torch.bfloat16)
    expected = DISTANCES[name](x.float(), y.float())
    half = DISTANCES[name](x, y)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(DISTANCES[name](x.float(), y.float()), expected)
        assert gram_matrix(torch.ones(1, 2, 2, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    "name", ["moments of every sample", "relative moments", "correlation", *FEATURES]
)
def test_compiles_to_one_graph(name):
    x, y = case(name, torch.float32)
    x.requires_grad_()
    torch.compiler.reset()
    compiled = torch.compile(DISTANCES[name], fullgraph=True, backend="aot_eager")
    values = [function(x, y) for function in (DISTANCES[name], compiled)]
    torch.testing.assert_close(values[1], values[0])
    gradients = [torch.autograd.grad(value.sum(), x)[0] for value in values]
    torch.testing.assert_close(gradients[1], gradients[0])
    assert (gradients[0] != 0).any()


def test_moments_are_those_of_instance_norm():
    maps = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    mean, std = channel_moments(maps, statistics="sample")
    restored = F.instance_norm(maps) * std[:, None, None] + mean[:, None, None]
    torch.testing.assert_close(restored, maps)


def test_moments_are_the_running_statistics_of_an_instance_norm():
    norm = torch.nn.InstanceNorm2d(3, momentum=1.0, track_running_stats=True).double()
    maps = torch.randn(1, 3, 5, 4, dtype=torch.float64)
    norm(maps)  # It stores the unbiased variance.
    mean, std = channel_moments(maps, eps=norm.eps)
    torch.testing.assert_close(mean, norm.running_mean)
    torch.testing.assert_close(std, (norm.running_var + norm.eps).sqrt())


@pytest.mark.parametrize(("n", "k"), [(10, 2), (6, 5), (25, 5)])
def test_diversity_is_the_negative_of_kl_div(n, k):
    x = torch.randn(n, 8, dtype=torch.float64, requires_grad=True)
    distances = torch.cdist(x, x).detach().fill_diagonal_(torch.inf)
    means = x[distances.argsort(dim=1)[:, :k]].mean(1)
    p, q = x.log_softmax(1), means.log_softmax(1)
    expected = -F.kl_div(q, p, reduction="batchmean", log_target=True)
    ours = intra_class_diversity(x, k)
    torch.testing.assert_close(ours, expected)
    gradients = [torch.autograd.grad(value, x, retain_graph=True)[0] for value in (ours, expected)]
    torch.testing.assert_close(*gradients)
    through_one_side = -F.kl_div(q.detach(), p, reduction="batchmean", log_target=True)
    assert not torch.allclose(torch.autograd.grad(through_one_side, x)[0], gradients[0])


def test_gradients_are_finite_where_a_root_has_none():
    constant = torch.ones(2, 3, 2, 4, 4)
    for name in MAPS:
        x = constant.clone().requires_grad_()
        DISTANCES[name](x, torch.randn(2, 5, 2, 4, 4)).sum().backward()
        assert torch.isfinite(x.grad).all()
    for name in FEATURES:
        x = torch.ones(2, 4, 6, requires_grad=True)
        DISTANCES[name](x, torch.randn(2, 7, 6)).sum().backward()
        assert torch.isfinite(x.grad).all()
    x = torch.ones(2, 4, 6, requires_grad=True)
    bounded_intra_class_diversity(torch.randn(2, 7, 6), x).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("name", [name for name in FEATURES if "sum" not in name])
def test_a_single_member_has_a_zero_gradient(name):
    x = torch.randn(3, 1, 6, requires_grad=True)
    value = DISTANCES[name](x, torch.randn(3, 5, 6))
    assert (value == 0).all()
    value.sum().backward()
    assert (x.grad == 0).all()


def test_nan_gives_nan():
    for name in [*MAPS, "diversity"]:
        x, y = case(name)
        x[0].view(-1)[0] = torch.nan
        result = DISTANCES[name](x, y)
        assert torch.isnan(result[0]) and torch.isfinite(result[1])


def test_descent_matches_the_spread():
    generator = torch.Generator().manual_seed(2)
    y = torch.randn(200, 4, generator=generator) * torch.tensor([4.0, 3.0, 2.0, 1.0])
    x = (0.1 * torch.randn(10, 4, generator=generator)).requires_grad_()
    before = bounded_intra_class_diversity(x, y).item()
    optimiser = torch.optim.Adam([x], lr=0.3)
    for _ in range(60):
        optimiser.zero_grad()
        bounded_intra_class_diversity(x, y).backward()
        optimiser.step()
    assert bounded_intra_class_diversity(x, y).item() < before / 100

"""Moments of cos/sin features of torch tensors."""

import array_api_compat.numpy as numpy_namespace
import numpy as np
import pytest

from cfmetrics.two_sample import asymptotic
from cfmetrics.two_sample.asymptotic import feature_moments, wald_test

torch = pytest.importorskip("torch")


def moments_of(x, t, covariance=True):
    import array_api_compat.torch as torch_namespace

    return feature_moments(torch_namespace, x, t, covariance=covariance)


@pytest.mark.parametrize("rows", [3, 1024])
def test_torch_equals_numpy(monkeypatch, rows):
    monkeypatch.setattr(asymptotic, "_CPU_CHUNK_BYTES", 0)
    monkeypatch.setattr(asymptotic, "_COVARIANCE_ROWS", rows)
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(50, 3)), rng.normal(size=(4, 3))
    ours = moments_of(torch.tensor(x), torch.tensor(t))
    expected = feature_moments(numpy_namespace, x, t, covariance=True)
    assert ours.n == expected.n
    assert ours.mean.dtype == torch.float64
    np.testing.assert_allclose(ours.mean.numpy(), expected.mean, atol=1e-14)
    np.testing.assert_allclose(ours.scatter.numpy(), expected.scatter, atol=1e-13)


@pytest.mark.parametrize("covariance", [True, False])
def test_float32_features_are_summed_in_float64(covariance):
    x = torch.randn(50_000, 1, generator=torch.Generator().manual_seed(0))
    moments = moments_of(x, torch.ones(1, 1), covariance)
    expected = torch.stack([x.cos().double().mean(), x.sin().double().mean()])
    assert moments.mean.dtype == torch.float64
    np.testing.assert_allclose(moments.mean.numpy(), expected.numpy(), atol=1e-13)


def test_wald_takes_tensors():
    x = torch.randn(100, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    n, mean, scatter = moments_of(x, torch.tensor([[0.4], [0.8]], dtype=torch.float64))
    ours = wald_test(mean, scatter / n, n, mean + 0.2, scatter / n, n)
    mean, cov = mean.numpy(), scatter.numpy() / n
    assert ours == wald_test(mean, cov, n, mean + 0.2, cov, n)

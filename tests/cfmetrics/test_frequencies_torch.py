"""The median heuristic of torch tensors."""

import numpy as np
import pytest

from cfmetrics import median_bandwidth

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_torch_equals_numpy(dtype):
    rng = np.random.default_rng(0)
    x, y = (10 * rng.normal(size=(900, 3))).astype(dtype), np.arange(600).reshape(200, 3)
    y = y.astype(dtype)
    ours = median_bandwidth(torch.tensor(x), torch.tensor(y), rng=1)
    assert isinstance(ours, float)
    assert ours == median_bandwidth(x, y, rng=1)
    assert median_bandwidth(torch.tensor(x)) == median_bandwidth(x)


def test_half_precision_and_gradients():
    x = torch.tensor([[0.0], [3.0], [5.0]], requires_grad=True)
    assert median_bandwidth(x) == 3.0
    assert median_bandwidth(x.bfloat16()) == 3.0


def test_nan_gives_nan():
    assert np.isnan(median_bandwidth(torch.tensor([0.0, 1.0, float("nan")])))


def test_a_mixture_of_libraries_is_named():
    with pytest.raises(TypeError, match="y is a ndarray but x is a torch tensor; pass torch"):
        median_bandwidth(torch.zeros(3), np.zeros(3))

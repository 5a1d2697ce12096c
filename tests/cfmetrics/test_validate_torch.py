"""What the package says about bad torch input."""

import numpy as np
import pytest

from cfmetrics import (
    CharacteristicParts,
    amplitude_phase,
    characteristic_parts,
    ncf_distance,
    ncf_distance_parts,
)

torch = pytest.importorskip("torch")

X, T = np.zeros((4, 2)), np.ones((3, 2))


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_bad_torch_dtype_is_named(dtype):
    with pytest.raises(TypeError, match=f"x has dtype {dtype}; pass real numbers"):
        characteristic_parts(torch.zeros(4, 2, dtype=dtype), torch.ones(3, 2))


def test_two_devices_are_named():
    with pytest.raises(ValueError, match="frequencies is on device meta but x is on cpu"):
        characteristic_parts(torch.zeros(4, 2), torch.ones(3, 2, device="meta"))


def test_half_precision_parts_are_widened():
    zero = torch.zeros(3, dtype=torch.float16)
    amplitude, phase = amplitude_phase((zero + 1, zero), (zero + 0.5, zero))
    assert amplitude.dtype == phase.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": torch.zeros(4, 2)}, "y is a ndarray but x is a torch tensor; pass torch"),
        ({"frequencies": torch.ones(3, 2)}, "x is a ndarray but frequencies is a torch"),
    ],
)
def test_a_mixture_of_libraries_is_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        ncf_distance(**{"x": X, "y": X, "frequencies": T, **arguments})


@pytest.mark.parametrize("function", [amplitude_phase, ncf_distance_parts])
def test_a_mixture_of_parts_is_named(function):
    parts = CharacteristicParts(np.ones(3), np.zeros(3))
    with pytest.raises(TypeError, match=r"x_parts.real is a ndarray but y_parts.real"):
        function(parts, (torch.ones(3), torch.ones(3)))

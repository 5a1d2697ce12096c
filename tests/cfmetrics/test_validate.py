"""What the package says about bad input, and what importing it does."""

import subprocess
import sys

import numpy as np
import pytest

import cfmetrics
from cfmetrics import (
    CharacteristicParts,
    amplitude_phase,
    ncf_distance,
    ncf_distance_parts,
)

X, T = np.zeros((4, 2)), np.ones((3, 2))
NAN = np.array([[0.0, 1.0], [np.nan, np.inf]])
PARTS = CharacteristicParts(np.ones(3), np.zeros(3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y": NAN}, ValueError, r"y holds 2 NaN or infinite values, the first at index \(1, 0\)"),
        ({"frequencies": NAN}, ValueError, "frequencies holds 2 NaN"),
        ({"x": np.zeros((0, 2))}, ValueError, r"x has shape \(0, 2\), which holds no observation"),
        ({"y": np.zeros((3, 0))}, ValueError, r"y has shape \(3, 0\), which holds no observation"),
        ({"x": np.zeros(0)}, ValueError, r"x has shape \(0,\), which holds no observation"),
        ({"x": np.float64(1)}, ValueError, "x is a single number; pass a sample of shape"),
        ({"y": np.zeros((4, 3))}, ValueError, "x has 2 features but y has 3"),
        ({"y": np.zeros(4)}, ValueError, "x has 2 features but y has 1"),
        (
            {"x": np.zeros((2, 4, 2)), "y": np.zeros((3, 4, 2))},
            ValueError,
            r"the batch shapes of x and y are \(2,\) and \(3,\)",
        ),
        (
            {"frequencies": np.ones(3)},
            ValueError,
            r"frequencies has shape \(3,\), so 1 features, but x has 2; pass .* \(F, 2\)",
        ),
        ({"frequencies": np.ones((1, 3, 2))}, ValueError, r"frequencies has shape \(1, 3, 2\)"),
        ({"frequencies": np.ones((0, 2))}, ValueError, r"frequencies has shape \(0, 2\).* F >= 1"),
        ({"frequencies": np.float64(1)}, ValueError, r"frequencies has shape \(\)"),
        ({"x": X > 0}, TypeError, "x has dtype bool; pass real numbers"),
        ({"x": X.astype(complex)}, TypeError, "x has dtype complex128; pass real numbers"),
        ({"y": X.astype(object)}, TypeError, "y has dtype object; pass real numbers"),
        ({"y": [["a", "b"]]}, TypeError, "y has dtype <U1; pass real numbers"),
        ({"y": [[1.0], [2.0, 3.0]]}, ValueError, "y cannot be read as one array"),
        ({"x": np.ma.masked_array(X)}, TypeError, "x is a masked array"),
        ({"alpha": -1}, ValueError, "alpha is -1 and beta is 0.5; pass weights >= 0"),
        ({"beta": -0.1}, ValueError, "alpha is 0.5 and beta is -0.1; pass weights >= 0"),
        ({"alpha": 0, "beta": 0.0}, ValueError, "alpha and beta are both 0; make at least one"),
        ({"alpha": float("nan")}, ValueError, "alpha is nan; pass a finite number"),
        ({"beta": "1"}, TypeError, "beta is a str; pass a plain number"),
        ({"chunk_size": 0}, ValueError, "chunk_size is 0; pass a whole number >= 1"),
        ({"chunk_size": 1.5}, TypeError, "chunk_size must be an integer, not 1.5"),
        ({"frequencies": None, "n_frequencies": 0}, ValueError, "n_frequencies is 0"),
        ({"frequencies": None, "scale": -1.0}, ValueError, "scale is -1.0; pass a number > 0"),
    ],
)
def test_bad_input_is_named(arguments, error, message):
    with pytest.raises(error, match=message):
        ncf_distance(**{"x": X, "y": X, "frequencies": T, **arguments})


@pytest.mark.parametrize("function", [amplitude_phase, ncf_distance_parts])
@pytest.mark.parametrize(
    ("other", "error", "message"),
    [
        (np.ones(3), TypeError, "y_parts is a ndarray; pass the CharacteristicParts"),
        ((np.ones(3),) * 3, TypeError, "y_parts is a tuple; pass the CharacteristicParts"),
        ((np.ones(2), np.ones(2)), ValueError, "the same number of frequencies"),
        ((np.ones(3), np.ones(2)), ValueError, "real and imag must have one shape"),
        ((np.ones(3), np.full(3, np.nan)), ValueError, "y_parts.imag holds 3 NaN"),
    ],
)
def test_bad_parts_are_named(function, other, error, message):
    with pytest.raises(error, match=message):
        function(PARTS, other)


def test_batches_of_parts_must_match():
    two, three = ((np.ones((n, 3)), np.ones((n, 3))) for n in (2, 3))
    with pytest.raises(ValueError, match="batch shapes of x_parts and y_parts"):
        amplitude_phase(two, three)


def test_inputs_are_not_changed():
    x, t = np.arange(8.0).reshape(4, 2), np.ones((3, 2))
    ncf_distance(x, x + 1, frequencies=t, chunk_size=2)
    np.testing.assert_array_equal(x, np.arange(8.0).reshape(4, 2))
    np.testing.assert_array_equal(t, 1)


def test_import_and_numpy_use_leave_torch_alone():
    code = (
        "import sys, cfmetrics\n"
        "cfmetrics.ncf_distance([0.0, 1.0], [2.0], rng=0)\n"
        "assert 'torch' not in sys.modules and 'scipy' not in sys.modules, 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


PUBLIC = """
    AmplitudePhase Attribution CFState ChannelMoments CharacteristicParts TestResult
    amplitude_phase bounded_intra_class_diversity cf_2samp cf_agg_2samp cf_attribution
    cf_distance cf_distance_parts cf_learned_2samp channel_moments channel_moments_distance
    characteristic_function characteristic_parts class_weights energy_2samp energy_distance
    gram_distance gram_matrix intra_class_diversity kernel_matrix median_bandwidth mmd mmd_2samp
    ncf_distance ncf_distance_parts normal_frequencies sample_frequencies
    scale_mixture_frequencies scf_2samp sliced_wasserstein sliced_wasserstein_2samp
    spectral_distance two_sample_test
"""


def test_public_names():
    assert cfmetrics.__all__ == sorted(cfmetrics.__all__)
    assert cfmetrics.__all__ == PUBLIC.split()
    for name in cfmetrics.__all__:
        public = getattr(cfmetrics, name)
        assert public.__doc__, name

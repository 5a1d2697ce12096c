"""The strategies give what they say, and the package obeys its laws on what they give."""

import importlib
import sys

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import cfmetrics
from cfmetrics import characteristic_function, characteristic_parts
from cfmetrics import strategies as our

law = settings(deadline=None, max_examples=40, derandomize=True)


@law
@given(st.data(), st.sampled_from([None, 1, 4]), st.sampled_from([np.float32, np.float64]))
def test_samples_have_the_shape_and_the_range(data, n_features, dtype):
    options = {"min_size": 2, "max_size": 5, "max_abs": 0.1, "dtype": dtype}
    x = data.draw(our.samples(n_features, **options))
    assert x.dtype == dtype
    assert 2 <= len(x) <= 5
    assert x.shape[1] == n_features or (n_features is None and x.shape[1] <= 3)
    assert (abs(x) <= np.float32(0.1)).all()


@law
@given(our.comparisons())
def test_comparisons_fit_together(case):
    x, y, t = case
    assert x.shape[1] == y.shape[1] == t.shape[1]
    amplitude, phase = cfmetrics.amplitude_phase(
        characteristic_parts(x, t), characteristic_parts(y, t)
    )
    difference = characteristic_function(x, t) - characteristic_function(y, t)
    np.testing.assert_allclose(amplitude + phase, abs(difference) ** 2, atol=1e-13)


def test_samples_reach_the_awkward_cases():
    def found(condition):
        return find(our.sample_pairs(), condition, settings=settings(max_examples=2000))

    assert found(lambda pair: len(pair[0]) == 1 < len(pair[1]))
    assert found(lambda pair: pair[0].shape[1] > len(pair[0]) > 1)
    assert found(lambda pair: len(pair[0]) > 2 and len(np.unique(pair[0], axis=0)) == 2)
    assert found(lambda pair: len(pair[0]) > 1 and np.ptp(pair[0][:, 0]) == 0 < np.ptp(pair[0]))


@law
@given(our.sample_pairs(2), our.rotations(2), our.frequency_matrices(2), our.seeds())
def test_the_distance_turns_with_the_samples(pair, rotation, t, seed):
    x, y = pair
    assert 0 <= seed < 2**32
    expected = cfmetrics.cf_distance(x, y, frequencies=t)
    turned = cfmetrics.cf_distance(x @ rotation, y @ rotation, frequencies=t @ rotation)
    np.testing.assert_allclose(turned, expected, atol=1e-7)
    closed = {"method": "closed_form", "bandwidth": 1.0}
    expected = cfmetrics.cf_distance(x, y, **closed)
    np.testing.assert_allclose(
        cfmetrics.cf_distance(x @ rotation, y @ rotation, **closed), expected, atol=1e-7
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: our.samples(0), "n_features is 0"),
        (lambda: our.samples(min_size=0), "min_size is 0"),
        (lambda: our.frequency_matrices(max_abs=0), "max_abs is 0"),
        (lambda: our.rotations(0), "n_features is 0"),
    ],
)
def test_bad_arguments(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_without_hypothesis_the_error_names_the_way_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    monkeypatch.delitem(sys.modules, "cfmetrics.strategies")
    with pytest.raises(ImportError, match="pip install hypothesis"):
        importlib.import_module("cfmetrics.strategies")

"""Hypothesis strategies for property tests of your own distances and tests.

This module needs hypothesis (`pip install hypothesis`, the extra `cfmetrics[testing]`), and
nothing else in the package imports it.

Example:
    A law that any distance between samples should obey, tested on small samples of every kind:

    >>> from hypothesis import given, settings
    >>> from cfmetrics import ncf_distance
    >>> from cfmetrics.strategies import comparisons
    >>> @settings(deadline=None)
    ... @given(comparisons())
    ... def test_symmetry(case):
    ...     x, y, t = case
    ...     assert ncf_distance(x, y, frequencies=t) == ncf_distance(y, x, frequencies=t)
    >>> test_symmetry()
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate
from cfmetrics.closed_forms import (
    CharacteristicFunction,
    NormalPair,
    bernoulli,
    cauchy,
    dirac,
    exponential,
    laplace,
    normal,
    uniform,
)

try:
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
except ImportError as error:
    raise ImportError(
        "cfmetrics.strategies needs hypothesis; install it with: pip install hypothesis"
    ) from error

__all__ = [
    "Comparison",
    "characteristic_functions",
    "comparisons",
    "frequency_matrices",
    "normal_pairs",
    "rotations",
    "sample_pairs",
    "samples",
    "seeds",
]

Matrix: TypeAlias = NDArray[np.float64]

_MAX_FEATURES = 3


class Comparison(NamedTuple):
    """Two samples (n, d) and (m, d), and frequencies (F, d) at which to compare them."""

    x: Matrix
    y: Matrix
    frequencies: Matrix


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `rng` arguments, from 0 to 2^32 - 1.

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(deadline=None)
        ... @given(seeds())
        ... def test_generator(seed):
        ...     assert 0 <= np.random.default_rng(seed).random() < 1
        >>> test_generator()
    """
    return st.integers(0, 2**32 - 1)


def samples(
    n_features: int | None = None,
    *,
    min_size: int = 1,
    max_size: int = 8,
    max_abs: float = 4.0,
    dtype: Any = np.float64,
) -> st.SearchStrategy[Matrix]:
    """Small samples of shape (n, d): also single rows, ties, constant columns and d > n.

    Args:
        n_features: Number of features d; by default from 1 to 3.
        min_size: Least number of observations n.
        max_size: Largest number of observations.
        max_abs: Bound on the absolute value of every number.
        dtype: Real floating dtype, float32 or float64.

    Returns:
        Strategy for arrays.

    Raises:
        TypeError: A size is not an integer, or the bound is not a number.
        ValueError: A size or the bound is not positive.

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(deadline=None)
        ... @given(samples(2, max_size=5))
        ... def test_shape(x):
        ...     assert len(x) <= 5 and x.shape[1] == 2
        >>> test_shape()
    """
    rows = st.integers(_validate.count("min_size", min_size), _validate.count("max_size", max_size))
    numbers = _numbers(max_abs, dtype)
    return _features(n_features).flatmap(
        lambda d: rows.flatmap(lambda n: hnp.arrays(dtype, (n, d), elements=numbers))
    )


def sample_pairs(
    n_features: int | None = None, **options: Any
) -> st.SearchStrategy[tuple[Matrix, Matrix]]:
    """Pairs of samples with one number of features and sizes of their own.

    Args:
        n_features: Number of features d; by default from 1 to 3.
        **options: Further arguments of `samples`.

    Returns:
        Strategy for pairs of arrays, (n, d) and (m, d).

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(deadline=None)
        ... @given(sample_pairs())
        ... def test_features(pair):
        ...     assert pair[0].shape[1] == pair[1].shape[1]
        >>> test_features()
    """

    def pair(d: int) -> st.SearchStrategy[tuple[Matrix, Matrix]]:
        return st.tuples(samples(d, **options), samples(d, **options))

    return _features(n_features).flatmap(pair)


def frequency_matrices(
    n_features: int | None = None, *, max_size: int = 4, max_abs: float = 4.0
) -> st.SearchStrategy[Matrix]:
    """Frequencies of shape (F, d): also zeros and repeated rows.

    Args:
        n_features: Number of features d; by default from 1 to 3.
        max_size: Largest number of frequencies F.
        max_abs: Bound on the absolute value of every coordinate.

    Returns:
        Strategy for arrays in float64.

    Raises:
        TypeError: The size is not an integer, or the bound is not a number.
        ValueError: The size or the bound is not positive.

    Example:
        >>> from hypothesis import given, settings
        >>> from cfmetrics import characteristic_parts
        >>> @settings(deadline=None)
        ... @given(frequency_matrices(1))
        ... def test_bound(t):
        ...     assert (abs(characteristic_parts([0.3, 1.0], t).real) <= 1).all()
        >>> test_bound()
    """
    return samples(n_features, max_size=max_size, max_abs=max_abs)


def comparisons(n_features: int | None = None, **options: Any) -> st.SearchStrategy[Comparison]:
    """Two samples together with frequencies, all with the same number of features.

    Args:
        n_features: Number of features d; by default from 1 to 3.
        **options: Further arguments of `samples`.

    Returns:
        Strategy for `Comparison(x, y, frequencies)`.

    Example:
        See the example of the module.
    """

    def comparison(d: int) -> st.SearchStrategy[Comparison]:
        return st.builds(
            Comparison, samples(d, **options), samples(d, **options), frequency_matrices(d)
        )

    return _features(n_features).flatmap(comparison)


def rotations(n_features: int) -> st.SearchStrategy[Matrix]:
    """Orthogonal matrices (d, d), uniformly distributed (Haar): rotations and reflections.

    Args:
        n_features: Number of features d.

    Returns:
        Strategy for arrays.

    Raises:
        TypeError: d is not an integer.
        ValueError: d is not positive.

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(deadline=None)
        ... @given(rotations(3))
        ... def test_inverse(q):
        ...     np.testing.assert_allclose(q @ q.T, np.eye(3), atol=1e-12)
        >>> test_inverse()
    """
    d = _validate.count("n_features", n_features)

    def draw(seed: int) -> Matrix:
        q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((d, d)))
        rotation: Matrix = q * np.sign(np.diag(r))
        return rotation

    return seeds().map(draw)


def characteristic_functions() -> st.SearchStrategy[CharacteristicFunction]:
    """Distributions of all seven kinds, with locations in [-3, 3] and scales in [0.1, 3].

    Example:
        >>> from hypothesis import given, settings
        >>> @settings(deadline=None)
        ... @given(characteristic_functions())
        ... def test_phi_at_zero_is_one(phi):
        ...     assert phi(np.zeros(1)) == 1
        >>> test_phi_at_zero_is_one()
    """
    location, scale = _numbers(3.0), st.floats(0.1, 3.0)
    return st.one_of(
        st.builds(dirac, location),
        st.builds(bernoulli, st.floats(0, 1)),
        st.builds(normal, location, scale),
        st.builds(lambda low, width: uniform(low, low + width), location, scale),
        st.builds(exponential, scale),
        st.builds(laplace, location, scale),
        st.builds(cauchy, location, scale),
    )


def normal_pairs(
    n_features: int | None = None, *, points: bool | None = None
) -> st.SearchStrategy[NormalPair]:
    """Pairs of isotropic normal distributions with known distances.

    Args:
        n_features: Number of features d; by default from 1 to 3.
        points: Whether both are point masses (True), neither is (False), or either may be (None).

    Returns:
        Strategy for `NormalPair`, with means in [-2, 2] and standard deviations up to 2.

    Example:
        >>> from hypothesis import given, settings
        >>> from cfmetrics import energy_distance
        >>> @settings(deadline=None)
        ... @given(normal_pairs(1, points=True))
        ... def test_energy(pair):
        ...     energy = energy_distance(*pair.samples(2, 3), squared=True)
        ...     np.testing.assert_allclose(energy, pair.squared_energy(), atol=1e-12)
        >>> test_energy()
    """
    stds = {
        True: st.just(0.0),
        False: st.floats(0.1, 2.0),
        None: st.just(0.0) | st.floats(0.1, 2.0),
    }

    def pair(d: int) -> st.SearchStrategy[NormalPair]:
        mean = st.tuples(*[_numbers(2.0)] * d)
        return st.builds(NormalPair, mean, mean, stds[points], stds[points])

    return _features(n_features).flatmap(pair)


def _features(n_features: int | None) -> st.SearchStrategy[int]:
    if n_features is None:
        return st.integers(1, _MAX_FEATURES)
    return st.just(_validate.count("n_features", n_features))


def _numbers(max_abs: float, dtype: Any = np.float64) -> st.SearchStrategy[float]:
    bound = _validate.positive("max_abs", max_abs)
    width = 8 * np.dtype(dtype).itemsize
    # Rounded to float32, so that it is a bound there too.
    bound = float(np.float32(bound)) if width == 32 else bound
    return st.floats(-bound, bound, allow_subnormal=False, width=width)

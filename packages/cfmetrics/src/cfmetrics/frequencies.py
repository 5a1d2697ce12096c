"""Samplers of frequencies at which characteristic functions are compared."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate

RNG: TypeAlias = np.random.Generator | int | None
"""A generator, a seed, or None for fresh entropy."""


def normal_frequencies(
    n_frequencies: int, n_features: int, *, scale: float = 1.0, rng: RNG = None
) -> NDArray[np.float64]:
    """Draw frequencies t ~ N(0, scale^2 I).

    This is the spectral measure of the RBF kernel with bandwidth sigma = 1/scale (Bochner):
    E exp(i <t, x - y>) = exp(-|x - y|^2 / (2 sigma^2)). Hence E |Phi_x(t) - Phi_y(t)|^2 over these
    frequencies is the biased squared MMD of that kernel. Reference: A. Rahimi and B. Recht,
    "Random features for large-scale kernel machines", NeurIPS 2007, Section 3.

    Args:
        n_frequencies: Number of frequencies F, at least 1.
        n_features: Number of features d of the samples, at least 1.
        scale: Standard deviation of every coordinate, in radians per unit of the samples. Larger
            values look at finer differences.
        rng: Generator or seed.

    Returns:
        Frequencies of shape (F, d), in float64. For torch samples use
        `torch.as_tensor(t, dtype=x.dtype, device=x.device)`.

    Raises:
        TypeError: A count is not an integer, `scale` is not a number, or `rng` is neither a
            generator nor a seed.
        ValueError: A count or `scale` is not positive.

    Example:
        >>> normal_frequencies(4, 2, rng=0).shape
        (4, 2)
    """
    rows = _validate.count("n_frequencies", n_frequencies)
    columns = _validate.count("n_features", n_features)
    scale = _validate.positive("scale", scale)
    return scale * _validate.generator(rng).standard_normal((rows, columns))

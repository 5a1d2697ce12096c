"""Characteristic-function discrepancies between samples, for NumPy arrays and torch tensors.

The characteristic function of a distribution P is Phi(t) = E exp(i <t, X>); it determines P. This
package estimates it from samples and compares two samples by the moduli (amplitude) and the
angles (phase) of their estimates. NumPy in, NumPy out; torch in, torch out, differentiable and on
the same device. Importing `cfmetrics` never imports torch.

Example:
    >>> import numpy as np
    >>> import cfmetrics
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.normal(size=(500, 3)), rng.normal(loc=1.0, size=(400, 3))
    >>> t = cfmetrics.normal_frequencies(128, 3, rng=1)
    >>> near = cfmetrics.ncf_distance(x[:250], x[250:], frequencies=t)
    >>> far = cfmetrics.ncf_distance(x, y, frequencies=t)
    >>> bool(near < far)
    True
"""

from cfmetrics.cf import AmplitudePhase, amplitude_phase, ncf_distance, ncf_distance_parts
from cfmetrics.characteristic import (
    CharacteristicParts,
    characteristic_function,
    characteristic_parts,
)
from cfmetrics.frequencies import normal_frequencies

__all__ = [
    "AmplitudePhase",
    "CharacteristicParts",
    "amplitude_phase",
    "characteristic_function",
    "characteristic_parts",
    "ncf_distance",
    "ncf_distance_parts",
    "normal_frequencies",
]

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

from cfmetrics.cf import (
    AmplitudePhase,
    amplitude_phase,
    cf_distance,
    cf_distance_parts,
    ncf_distance,
    ncf_distance_parts,
)
from cfmetrics.characteristic import (
    CharacteristicParts,
    characteristic_function,
    characteristic_parts,
)
from cfmetrics.diversity import bounded_intra_class_diversity, intra_class_diversity
from cfmetrics.energy import energy_distance
from cfmetrics.frequencies import (
    median_bandwidth,
    normal_frequencies,
    sample_frequencies,
    scale_mixture_frequencies,
)
from cfmetrics.kernels import kernel_matrix
from cfmetrics.mean_discrepancy import mmd
from cfmetrics.sliced import sliced_wasserstein
from cfmetrics.spectral import class_weights, spectral_distance
from cfmetrics.state import CFState
from cfmetrics.style import (
    ChannelMoments,
    channel_moments,
    channel_moments_distance,
    gram_distance,
    gram_matrix,
)
from cfmetrics.two_sample.aggregate import cf_agg_2samp
from cfmetrics.two_sample.attribution import Attribution, cf_attribution
from cfmetrics.two_sample.cf import cf_2samp
from cfmetrics.two_sample.dispatch import two_sample_test
from cfmetrics.two_sample.learned import cf_learned_2samp
from cfmetrics.two_sample.quadratic import energy_2samp, mmd_2samp
from cfmetrics.two_sample.result import TestResult
from cfmetrics.two_sample.sliced import sliced_wasserstein_2samp
from cfmetrics.two_sample.smooth import scf_2samp

__all__ = [
    "AmplitudePhase",
    "Attribution",
    "CFState",
    "ChannelMoments",
    "CharacteristicParts",
    "TestResult",
    "amplitude_phase",
    "bounded_intra_class_diversity",
    "cf_2samp",
    "cf_agg_2samp",
    "cf_attribution",
    "cf_distance",
    "cf_distance_parts",
    "cf_learned_2samp",
    "channel_moments",
    "channel_moments_distance",
    "characteristic_function",
    "characteristic_parts",
    "class_weights",
    "energy_2samp",
    "energy_distance",
    "gram_distance",
    "gram_matrix",
    "intra_class_diversity",
    "kernel_matrix",
    "median_bandwidth",
    "mmd",
    "mmd_2samp",
    "ncf_distance",
    "ncf_distance_parts",
    "normal_frequencies",
    "sample_frequencies",
    "scale_mixture_frequencies",
    "scf_2samp",
    "sliced_wasserstein",
    "sliced_wasserstein_2samp",
    "spectral_distance",
    "two_sample_test",
]

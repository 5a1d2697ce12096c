"""One entrance to all tests, and the permutation test of any statistic."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from cfmetrics import _validate
from cfmetrics._validate import Array
from cfmetrics.frequencies import RNG
from cfmetrics.two_sample.aggregate import cf_agg_2samp
from cfmetrics.two_sample.cf import cf_2samp
from cfmetrics.two_sample.features import to_numpy
from cfmetrics.two_sample.learned import cf_learned_2samp
from cfmetrics.two_sample.permutation import permutation_result
from cfmetrics.two_sample.prepare import NanPolicy, prepare, undefined_result
from cfmetrics.two_sample.quadratic import energy_2samp, mmd_2samp
from cfmetrics.two_sample.relabel import Relabelings
from cfmetrics.two_sample.result import TestResult
from cfmetrics.two_sample.sliced import sliced_wasserstein_2samp
from cfmetrics.two_sample.smooth import scf_2samp

TESTS: Mapping[str, Callable[..., TestResult]] = MappingProxyType(
    {
        "cf": cf_2samp,
        "cf_agg": cf_agg_2samp,
        "cf_learned": cf_learned_2samp,
        "scf": scf_2samp,
        "mmd": mmd_2samp,
        "energy": energy_2samp,
        "sliced_wasserstein": sliced_wasserstein_2samp,
    }
)
"""The tests by the name of their statistic."""


def two_sample_test(
    x: Array,
    y: Array,
    *,
    statistic: str | Callable[[Array, Array], Any] = "cf",
    n_resamples: int = 999,
    rng: RNG = None,
    nan_policy: NanPolicy = "raise",
    **options: Any,
) -> TestResult:
    """Test whether two samples have one distribution, by a statistic of your choice.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature; NumPy array or torch tensor.
        y: Sample of shape (m, d), or (m,).
        statistic: Name of a test of this package: "cf", "cf_agg", "cf_learned", "scf", "mmd",
            "energy" or "sliced_wasserstein". Or a function of two samples that returns a number,
            large where they differ, such as any distance of this package: it is called for every
            relabeling with samples (n, d) and (m, d), or (n,) and (m,) where those were given.
        n_resamples: Number B of random relabelings.
        rng: Generator or seed.
        nan_policy: What to do with NaN: "raise", "omit" or "propagate", as in `cf_2samp`.
        **options: Further arguments of the named test.

    Returns:
        Result of the named test, or of the permutation test of the function.

    Raises:
        TypeError: An option does not belong to the named test, or as `cf_2samp`.
        ValueError: The name is unknown, the function returns NaN, or as `cf_2samp`.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import two_sample_test
        >>> rng = np.random.default_rng(0)
        >>> x, y = rng.normal(size=60), rng.normal(scale=2.0, size=50)
        >>> two_sample_test(x, y, statistic="energy", rng=1).pvalue < 0.05
        True
        >>> ratio = lambda a, b: abs(np.log(a.std() / b.std()))
        >>> two_sample_test(x, y, statistic=ratio, n_resamples=99, rng=1).pvalue
        0.01
    """
    common: dict[str, Any] = {"n_resamples": n_resamples, "rng": rng, "nan_policy": nan_policy}
    if isinstance(statistic, str):
        _validate.choice("statistic", statistic, TESTS)
        return TESTS[statistic](x, y, **common, **options)
    if not callable(statistic):
        raise TypeError(
            f"statistic is a {type(statistic).__name__}; pass a name or a function of two samples"
        )
    if options:
        raise TypeError(
            f"{', '.join(options)}: options are for a named statistic; bind them to your "
            f"function, as functools.partial does"
        )
    return _permute(x, y, statistic, **common)


def _permute(
    x: Array,
    y: Array,
    statistic: Callable[[Array, Array], Any],
    n_resamples: int,
    rng: RNG,
    nan_policy: NanPolicy,
) -> TestResult:
    resamples = _validate.count("n_resamples", n_resamples)
    generator = _validate.generator(rng)
    samples = prepare(x, y, nan_policy, test="two_sample_test")
    name = f"two_sample_test({getattr(statistic, '__name__', repr(statistic))})"
    if samples.has_nan:
        return undefined_result(samples, test=name, method="permutation")
    relabelings = Relabelings(samples.n, samples.m, resamples, generator)
    pooled = samples.xp.concat((samples.x, samples.y))
    if np.ndim(x) == 1:
        pooled = pooled[:, 0]
    labels = relabelings.all()
    values = np.array([_value(statistic, pooled, row, index) for index, row in enumerate(labels)])
    return permutation_result(values, samples, relabelings, test=name, details={})


def _value(
    statistic: Callable[[Array, Array], Any], pooled: Array, label: Any, index: int
) -> float:
    first, second = np.flatnonzero(label), np.flatnonzero(~label)
    returned = statistic(pooled[first], pooled[second])
    try:
        value = to_numpy(returned).item()
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"statistic returned {returned!r:.80}; it must return one number"
        ) from error
    if not np.isfinite(value):
        which = "the samples" if index == 0 else f"relabeling {index}"
        raise ValueError(f"statistic returned {value} for {which}; it must return a finite number")
    return value

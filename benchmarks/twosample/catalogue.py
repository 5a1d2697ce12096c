"""The two-sample tests that are compared: those of cfmetrics and those of its peers.

Nothing is imported before a test is called, so that a package that is not installed costs a row of
the table and not the run.
"""

import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Call = Callable[..., float]
"""Takes x, y, the number of relabelings and a seed, and returns the p-value."""

MEDIAN_POINTS = 500
"""Pooled observations whose median distance is a peer's bandwidth, as in cfmetrics."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One test.

    Attributes:
        key: Its name on the command line and in the JSON file.
        title: Its name in tables and plots.
        package: What it needs, as it is imported.
        install: What to install for it.
        call: The test; options come as keywords.
        kind: The samples that it gets: NumPy arrays in float64, or torch tensors in float32.
        largest: Largest n for which the power benchmark can wait; None for no limit.
        univariate: Whether it takes one feature only.
        ours: Whether it is a test of cfmetrics.
    """

    key: str
    title: str
    package: str
    install: str
    call: Call
    kind: Literal["numpy", "torch"] = "numpy"
    largest: int | None = None
    univariate: bool = False
    ours: bool = False

    @property
    def missing(self) -> str | None:
        """Say what to install, or None where nothing is missing."""
        needs = [self.package] + ["torch"] * (self.kind == "torch")
        absent = [name for name in needs if importlib.util.find_spec(name) is None]
        if not absent:
            return None
        return (
            f"not installed: pip install {self.install if absent[0] == self.package else 'torch'}"
        )


def _ours(name: str, title: str | None = None, **options: Any) -> Entry:
    test, defaults = f"{name}_2samp", dict(options.pop("options", {}))

    def call(x: Any, y: Any, resamples: int, seed: int, **more: Any) -> float:
        import cfmetrics

        function = getattr(cfmetrics, test)
        pvalue: float = function(x, y, n_resamples=resamples, rng=seed, **defaults, **more).pvalue
        return pvalue

    key = options.pop("key", name)
    return Entry(
        key, title or test, "cfmetrics", "./packages/cfmetrics", call, ours=True, **options
    )


def _pted(x: Any, y: Any, resamples: int, seed: int, **options: Any) -> float:
    from pted import pted

    # One tail: by default it also rejects where the samples are too much alike.
    return float(pted(x, y, permutations=resamples, two_tailed=False, rng=seed, **options))


def _pted_landmarks(x: Any, y: Any, resamples: int, seed: int) -> float:
    return _pted(x, y, resamples, seed, n_landmarks=256)


def _dcor(x: Any, y: Any, resamples: int, seed: int) -> float:
    from dcor.homogeneity import energy_test

    return float(energy_test(x, y, num_resamples=resamples, random_state=seed).pvalue)


def _ctt(level: int) -> Call:
    def call(x: Any, y: Any, resamples: int, seed: int) -> float:
        import numpy as np
        from goodpoints.ctt import ctt

        # Its kernel is exp(-|z|^2 / lam^2), ours is exp(-|z|^2 / 2 s^2).
        bandwidth = np.sqrt(2) * _median_distance(x, y, seed)
        seeds = {"null_seed": seed, "statistic_seed": seed + 1}
        result = ctt(x, y, level, B=resamples, lam=float(bandwidth), **seeds)
        return float(np.mean(result.estimator_values >= result.statistic_values))

    return call


def _median_distance(x: Any, y: Any, seed: int) -> float:
    import numpy as np
    from scipy.spatial.distance import pdist

    rng = np.random.default_rng(seed)
    total = len(x) + len(y)
    rows = rng.choice(total, min(total, MEDIAN_POINTS), replace=False)
    pooled = np.concatenate([x[rows[rows < len(x)]], y[rows[rows >= len(x)] - len(x)]])
    return float(np.median(pdist(pooled)))


def _quadratic_mmd(x: Any, y: Any, resamples: int, seed: int) -> float:
    """Test with the whole kernel matrix, whose rows and columns every relabeling copies.

    This is what alibi-detect's MMDDrift does on torch. Installing that package takes NumPy back to
    1.26, on which the other peers would then be measured; hence a plain form of it.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)
    z, n = torch.cat((x, y)), len(x)
    some = z[torch.randperm(len(z), generator=generator)[:MEDIAN_POINTS]]
    unit = torch.pdist(some).median()
    kernel = torch.cdist(z, z).div_(unit).square_().mul_(-0.5).exp_().fill_diagonal_(0)

    def statistic(k: torch.Tensor) -> float:
        m = len(k) - n
        within_x, within_y = k[:n, :n].sum() / (n * (n - 1)), k[n:, n:].sum() / (m * (m - 1))
        return float(within_x + within_y - 2 * k[:n, n:].mean())

    observed, reached = statistic(kernel), 1
    for _ in range(resamples):
        order = torch.randperm(len(z), generator=generator)
        reached += statistic(kernel[order][:, order]) >= observed
    return reached / (resamples + 1)


def _hyppo_smooth(x: Any, y: Any, resamples: int, seed: int) -> float:
    from hyppo.ksample import SmoothCFTest

    return float(SmoothCFTest().test(x, y, random_state=seed + 1)[1])  # 0 would mean no seed


def _hyppo_mmd(x: Any, y: Any, resamples: int, seed: int) -> float:
    from hyppo.ksample import MMD

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(MMD().test(x, y, random_state=seed)[1])


def _epps_singleton(x: Any, y: Any, resamples: int, seed: int) -> float:
    from scipy.stats import epps_singleton_2samp

    return float(epps_singleton_2samp(x[:, 0], y[:, 0]).pvalue)


def _kolmogorov_smirnov(x: Any, y: Any, resamples: int, seed: int) -> float:
    from scipy.stats import ks_2samp

    return float(ks_2samp(x[:, 0], y[:, 0]).pvalue)


def _peer(key: str, title: str, package: str, call: Call, **options: Any) -> Entry:
    return Entry(key, title, package, options.pop("install", package), call, **options)


ENTRIES: dict[str, Entry] = {
    entry.key: entry
    for entry in (
        _ours("cf"),
        _ours("cf", "cf_2samp (torch, float32)", key="cf-torch", kind="torch"),
        _ours("cf_agg"),
        _ours("cf_learned"),
        _ours("scf"),
        _ours("mmd"),
        _ours("energy"),
        _ours("sliced_wasserstein"),
        _peer("pted-landmarks", "pted, 256 landmarks", "pted", _pted_landmarks),
        _peer("pted-landmarks-torch", "pted, 256 landmarks (torch, float32)", "pted",
            _pted_landmarks, kind="torch"),
        _peer("ctt-2", "goodpoints CTT, g = 2", "goodpoints", _ctt(2)),
        _peer("ctt-4", "goodpoints CTT, g = 4", "goodpoints", _ctt(4)),
        _peer("hyppo-scf", "hyppo SmoothCFTest", "hyppo", _hyppo_smooth),
        _peer("hyppo-mmd", "hyppo MMD (chi-square)", "hyppo", _hyppo_mmd, largest=200),
        _peer("pted", "pted, all pairs", "pted", _pted),
        _peer("pted-torch", "pted, all pairs (torch, float32)", "pted", _pted, kind="torch"),
        _peer("dcor", "dcor energy_test", "dcor", _dcor),
        _peer("alibi-style", "quadratic MMD as in alibi-detect (torch)", "torch", _quadratic_mmd,
            kind="torch"),
        _peer("epps-singleton", "SciPy epps_singleton_2samp", "scipy", _epps_singleton,
            univariate=True),
        _peer("ks", "SciPy ks_2samp", "scipy", _kolmogorov_smirnov, univariate=True),
    )
}  # fmt: skip
"""Every test by its key."""

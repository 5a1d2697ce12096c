"""What a two-sample test returns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cfmetrics import _validate

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class TestResult:
    """Result of a two-sample test; unpacks as `statistic, pvalue = result`.

    Attributes:
        statistic: Value of the test statistic. Large values speak against equal distributions.
        pvalue: Probability, where the distributions are equal, of a statistic at least this large.
        test: Name of the test function.
        method: "permutation" (random relabelings), "exact" (every relabeling), "asymptotic" or
            "epps_singleton".
        n: Number of observations of x that were used.
        m: Number of observations of y that were used.
        n_features: Number of features d.
        null_distribution: Statistics of the relabeled samples: of the random ones, without the
            observed one; or of every one, where the method is "exact". None for "asymptotic".
        details: What else the test chose or found, by name, such as the bandwidth.

    Example:
        >>> import numpy as np
        >>> from cfmetrics import energy_2samp
        >>> rng = np.random.default_rng(0)
        >>> result = energy_2samp(rng.normal(size=60), rng.normal(1.0, size=50), rng=1)
        >>> statistic, pvalue = result
        >>> pvalue
        0.001
    """

    __test__ = False  # Not a test class, whatever pytest makes of its name.

    statistic: float
    pvalue: float
    test: str
    method: str
    n: int
    m: int
    n_features: int
    null_distribution: NDArray[np.float64] | None = field(default=None, compare=False)
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def __iter__(self) -> Iterator[float]:
        yield self.statistic
        yield self.pvalue

    def __repr__(self) -> str:
        null = self.null_distribution
        count = "" if null is None else f", null_distribution=<{len(null)} values>"
        return (
            f"TestResult(test={self.test!r}, statistic={self.statistic:.6g}, "
            f"pvalue={self.pvalue:.4g}, method={self.method!r}{count}, "
            f"n={self.n}, m={self.m}, n_features={self.n_features})"
        )

    def confidence_interval(self, confidence_level: float = 0.95) -> tuple[float, float]:
        """Bound the p-value that all relabelings would give, from the random ones that were drawn.

        The interval of Clopper and Pearson (1934) for the share of relabelings whose statistic
        reaches the observed one. It says whether more resamples could change a decision. For the
        methods "exact" and "asymptotic" nothing was drawn, and both bounds are the p-value.

        Args:
            confidence_level: Probability that the interval covers, between 0 and 1.

        Returns:
            Lower and upper bound.

        Raises:
            ValueError: The level is not between 0 and 1.

        Example:
            >>> import numpy as np
            >>> from cfmetrics import energy_2samp
            >>> rng = np.random.default_rng(0)
            >>> result = energy_2samp(rng.normal(size=60), rng.normal(0.3, size=50), rng=1)
            >>> low, high = result.confidence_interval()
            >>> low < result.pvalue < high
            True
        """
        level = _validate.positive("confidence_level", confidence_level)
        if level >= 1:
            raise ValueError(f"confidence_level is {level}; pass a number between 0 and 1")
        if self.method != "permutation" or self.null_distribution is None:
            return self.pvalue, self.pvalue
        from scipy.special import betaincinv

        draws = len(self.null_distribution)
        reached = round(self.pvalue * (draws + 1)) - 1
        tail = (1 - level) / 2
        low = float(betaincinv(reached, draws - reached + 1, tail)) if reached else 0.0
        high = float(betaincinv(reached + 1, draws - reached, 1 - tail)) if reached < draws else 1.0
        return low, high

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the null distribution as a histogram, with the observed statistic.

        Args:
            ax: Axes to draw into; by default the current ones of pyplot.

        Returns:
            The axes.

        Raises:
            ImportError: matplotlib is not installed; the extra `cfmetrics[plot]` brings it.
            ValueError: The test was asymptotic, so it has no null distribution to draw.

        Example:
            >>> import numpy as np
            >>> from cfmetrics import energy_2samp
            >>> result = energy_2samp(np.arange(9.0), np.arange(9.0) + 2, rng=0)
            >>> ax = result.plot()  # doctest: +SKIP
        """
        from cfmetrics.two_sample.plot import plot_null_distribution

        return plot_null_distribution(self, ax)

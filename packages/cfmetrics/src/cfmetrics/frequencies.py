"""Samplers of frequencies at which characteristic functions are compared."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cfmetrics import _validate
from cfmetrics._validate import Array

Frequencies: TypeAlias = NDArray[np.float64]

SHAPES: Mapping[str, float] = {"rational_quadratic": 1.0, "matern": 3.0}
"""Default of the shape parameter of the kernels that have one and a spectral measure."""

_LEAST_CHI2 = 1e-30
"""Keeps the frequencies of a Student t distribution below about 1e15, finite in float32 too."""

_FAR = 1e100
"""Farther outliers, in typical sizes, are moved here: the squares of the others do not vanish."""

RNG: TypeAlias = np.random.Generator | int | None
"""A generator, a seed, or None for fresh entropy."""


def normal_frequencies(
    n_frequencies: int, n_features: int, *, scale: float = 1.0, rng: RNG = None
) -> Frequencies:
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


def sample_frequencies(
    n_frequencies: int,
    n_features: int,
    *,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] = 1.0,
    shape: float | None = None,
    orthogonal: bool = False,
    rng: RNG = None,
) -> Frequencies:
    """Draw frequencies from the spectral measure of a kernel.

    Every kernel k(u, v) below depends on z = u - v only and has k(u, u) = 1. By Bochner's theorem
    there is one distribution of t, the spectral measure, with E cos <t, z> = k. Hence
    E |Phi_x(t) - Phi_y(t)|^2 over these frequencies is the biased squared MMD of the kernel. With
    sigma = `bandwidth`, a = nu = `shape` and g ~ N(0, I):

        "rbf"                 k = exp(-|z|^2 / 2 sigma^2)
                              t = g / sigma
        "laplace"             k = exp(-|z| / sigma)
                              t = g / (sigma |u|), u ~ N(0, 1)
        "laplace_l1"          k = exp(-sum_i |z_i| / sigma)
                              t_i = Cauchy / sigma
        "cauchy"              k = prod_i 1 / (1 + z_i^2 / sigma^2)
                              t_i = Laplace / sigma
        "rational_quadratic"  k = (1 + |z|^2 / 2 a sigma^2)^-a
                              t = sqrt(s) g / sigma, s ~ Gamma(a) / a
        "imq"                 k = (1 + |z|^2 / sigma^2)^(-1/2)
                              t = sqrt(2 s) g / sigma, s ~ Gamma(1/2)
        "matern"              k = the Matern kernel of smoothness nu / 2
                              t = g / (sigma sqrt(c / nu)), c ~ chi2(nu)

    The frequencies of "matern" follow the multivariate Student t distribution with nu degrees of
    freedom; nu = 1 is "laplace". References: A. Rahimi and B. Recht, "Random features for
    large-scale kernel machines", NeurIPS 2007, Theorem 1 and Figure 1; C. E. Rasmussen and C. K. I.
    Williams, "Gaussian Processes for Machine Learning", 2006, Section 4.2.

    Args:
        n_frequencies: Number of frequencies F, at least 1.
        n_features: Number of features d of the samples, at least 1.
        kernel: Name of the kernel.
        bandwidth: Length scale sigma, in the unit of the samples; larger values look at coarser
            differences. Several stand for the mean of the kernels: the frequencies are shared out
            among them as evenly as possible, in order.
        shape: Shape parameter: a of "rational_quadratic" (default 1.0), degrees of freedom nu of
            "matern" (default 3.0).
        orthogonal: Make the directions in each block of d frequencies orthogonal to each other.
            Each frequency alone keeps its distribution; together they cover the directions more
            evenly, which lowers the variance of averages over them. Not for "laplace_l1" and
            "cauchy", whose directions are not uniform. Reference: F. X. Yu et al., "Orthogonal
            random features", NeurIPS 2016.
        rng: Generator or seed.

    Returns:
        Frequencies of shape (F, d), in float64 and radians per unit of the samples. For torch
        samples use `torch.as_tensor(t, dtype=x.dtype, device=x.device)`.

    Raises:
        TypeError: A count is not an integer, a parameter is not a number, or `rng` is neither a
            generator nor a seed.
        ValueError: The kernel is unknown, has no shape but one is given, or has no orthogonal form;
            a count or parameter is not positive; there are fewer frequencies than bandwidths, or
            more than fit into memory.

    Example:
        >>> import numpy as np
        >>> t = sample_frequencies(20_000, 2, kernel="laplace", bandwidth=0.5, rng=0)
        >>> z = np.array([0.3, 0.4])
        >>> bool(abs(np.cos(t @ z).mean() - np.exp(-0.5 / 0.5)) < 0.02)
        True
    """
    rows = _validate.count("n_frequencies", n_frequencies)
    columns = _validate.count("n_features", n_features)
    _validate.choice("kernel", kernel, _SAMPLERS)
    shape = _validate.kernel_shape(kernel, shape, SHAPES)
    sigmas = np.array(_validate.bandwidths(bandwidth))
    if orthogonal and kernel not in ISOTROPIC:
        raise ValueError(
            f"orthogonal is {orthogonal}, but the frequencies of kernel {kernel!r} prefer some "
            f"directions; leave it out, or choose one of {', '.join(map(repr, ISOTROPIC))}"
        )
    shares = _shares(rows, len(sigmas), "bandwidth")
    _validate.affordable("n_frequencies", rows, 8 * rows * columns)
    generator = _validate.generator(rng)
    points = _SAMPLERS[kernel](generator, rows, columns, shape)
    if orthogonal and columns > 1:
        radii = np.linalg.norm(points, axis=1, keepdims=True)
        points = radii * _orthogonal_directions(generator, rows, columns)
    points /= np.repeat(sigmas, shares)[:, None]
    return points


def scale_mixture_frequencies(
    n_frequencies: int, n_features: int, scales: ArrayLike, *, rng: RNG = None
) -> Frequencies:
    """Draw frequencies from an equal mixture of centred normal distributions.

    Component k is N(0, diag(scales[k]^2)). Their mixture is the spectral measure of the mean of RBF
    kernels with bandwidths 1/scales[k] (one for every feature where `scales` has two axes). The
    frequencies are shared out among the components as evenly as possible, in order. Reference:
    NCFM (arXiv 2502.20653), whose sampling network learns such scales.

    Args:
        n_frequencies: Number of frequencies F, at least the number of components.
        n_features: Number of features d of the samples, at least 1.
        scales: Standard deviations > 0, of shape (K,), or (K, d) for one per feature, in radians
            per unit of the samples.
        rng: Generator or seed.

    Returns:
        Frequencies of shape (F, d), in float64.

    Raises:
        TypeError: A count is not an integer, the scales are not real numbers, or `rng` is neither a
            generator nor a seed.
        ValueError: The scales have another shape or are not positive; there are fewer frequencies
            than components, or more than fit into memory.

    Example:
        >>> t = scale_mixture_frequencies(6, 2, [0.1, 1.0, 10.0], rng=0)
        >>> t.shape
        (6, 2)
        >>> bool((abs(t[:2]) < 1).all() and (abs(t[4:]) > 1).any())
        True
    """
    rows = _validate.count("n_frequencies", n_frequencies)
    columns = _validate.count("n_features", n_features)
    _, (widths,) = _validate.float_arrays({"scales": scales})
    widths = _validate.scales(widths, columns)
    shares = _shares(rows, len(widths), "scales")
    _validate.affordable("n_frequencies", rows, 8 * rows * columns)
    points = _validate.generator(rng).standard_normal((rows, columns))
    return np.repeat(widths.astype(np.float64), shares, axis=0) * points


def median_bandwidth(
    x: Array, y: Array | None = None, *, max_points: int = 1000, rng: RNG = None
) -> float:
    """Choose a bandwidth from the data: the median distance between distinct points.

    The points of both samples are pooled, and `max_points` of them are drawn uniformly where there
    are more. Pairs of equal points are left out, so that ties do not make the bandwidth zero. The
    result does not depend on which point belongs to which sample, so permutation tests that use it
    remain exact. The distances are computed in float64 from inner products. Reference: A. Gretton
    et al., "A kernel two-sample test", JMLR 13 (2012), Section 8.

    Args:
        x: Sample of shape (n, d), or (n,) for one feature.
        y: Second sample, (m, d) or (m,); or None for one sample alone.
        max_points: Number of points to look at, at least 2. Time and memory grow with its square:
            1000 points take about 30 MB.
        rng: Generator or seed for the draw of points; not used where there are few points.

    Returns:
        The median Euclidean distance, in the unit of the samples; 1.0 if all points are equal (or
        there is only one). A plain number, of which torch computes no gradient.

    Raises:
        TypeError: NumPy and torch are mixed, a dtype is boolean, complex or an object, or
            `max_points` is not an integer.
        ValueError: A shape does not fit, a sample is empty, or a NumPy array is not finite. (NaN in
            a torch tensor may give NaN.)

    Example:
        >>> import numpy as np
        >>> median_bandwidth(np.array([0.0, 0.0, 1.0]), np.array([3.0]))
        2.0
    """
    if _validate.count("max_points", max_points) < 2:
        raise ValueError(f"max_points is {max_points}; pass at least 2, since distances need pairs")
    given = {"x": x} if y is None else {"x": x, "y": y}
    _, arrays = _validate.float_arrays(given)
    pool = [_validate.samples(name, array) for name, array in zip(given, arrays, strict=True)]
    _validate.same_features(pool[0], pool[-1])
    for name, sample in zip(given, pool, strict=True):
        if sample.ndim > 2:
            raise ValueError(
                f"{name} has shape {tuple(sample.shape)}; pass one sample of shape (n, d), such as "
                f"{name}.reshape(-1, {sample.shape[-1]})"
            )
    return float(median_scales(pool, max_points, _validate.generator(rng)))


def median_scales(
    pool: Sequence[Array], max_points: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """Compute the median bandwidth of every entry of a batch of checked samples (..., n, d).

    All entries use the same rows, so each gets what it would get alone from the same seed.
    """
    sizes = [sample.shape[-2] for sample in pool]
    chosen = np.arange(sum(sizes))
    if len(chosen) > max_points:
        chosen = np.sort(generator.choice(len(chosen), max_points, replace=False, shuffle=False))
    rows, start = [], 0
    for sample, size in zip(pool, sizes, strict=True):
        inside = chosen[(chosen >= start) & (chosen < start + size)] - start
        rows.append(_to_numpy(sample, inside))
        start += size
    batch = np.broadcast_shapes(*(part.shape[:-2] for part in rows))
    points = np.concatenate(
        [np.broadcast_to(part, batch + part.shape[-2:]) for part in rows], axis=-2
    )
    medians = np.empty(batch)
    for index in np.ndindex(batch):
        medians[index] = _median_distance(points[index])
    return medians


def _to_numpy(sample: Array, rows: NDArray[np.intp]) -> NDArray[np.float64]:
    if _validate.is_torch(sample):
        sample = sample.detach()[..., rows.tolist(), :].cpu().double().numpy()
        return np.asarray(sample)
    return np.asarray(sample[..., rows, :], dtype=np.float64)


def _median_distance(points: NDArray[np.float64]) -> float:
    # Centred at the median, so that outliers cost the other points no digits.
    points = points - np.median(points, axis=0)
    sizes = np.abs(points).max(axis=1)
    size = sizes.max()
    if not math.isfinite(size):
        return math.nan
    if size == 0:
        return 1.0
    with np.errstate(over="ignore"):
        size = min(size, _FAR * np.median(sizes[sizes > 0]))
        points = np.clip(points / size, -1, 1)
    products = points @ points.T
    norms = np.diag(products)
    squares = norms[:, None] + norms - 2 * products
    _, group = np.unique(points, axis=0, return_inverse=True)
    group = group.reshape(-1)  # NumPy 2.0 gives it a second axis.
    distances = np.sqrt(squares[(group[:, None] != group) & (squares > 0)])
    return float(size * np.median(distances)) if distances.size else 1.0


def _shares(rows: int, components: int, name: str) -> NDArray[np.intp]:
    if components > rows:
        raise ValueError(
            f"n_frequencies is {rows}, but {name} has {components} components; pass at least one "
            f"frequency for each"
        )
    shares: NDArray[np.intp] = rows // components + (np.arange(components) < rows % components)
    return shares


def _orthogonal_directions(generator: np.random.Generator, rows: int, columns: int) -> Frequencies:
    """Draw unit vectors, uniform, and orthogonal to each other within blocks of `columns` rows."""
    blocks = []
    for start in range(0, rows, columns):
        normal = generator.standard_normal((columns, min(columns, rows - start)))
        q, r = np.linalg.qr(normal)
        blocks.append((q * np.where(np.diag(r) < 0, -1.0, 1.0)).T)  # The signs make it uniform.
    return np.concatenate(blocks)


def _rbf(g: np.random.Generator, rows: int, columns: int, shape: float) -> Frequencies:
    return g.standard_normal((rows, columns))


def _student(g: np.random.Generator, rows: int, columns: int, shape: float) -> Frequencies:
    points = g.standard_normal((rows, columns))
    return points / np.sqrt(np.maximum(g.chisquare(shape, (rows, 1)), _LEAST_CHI2) / shape)


def _rational_quadratic(g: np.random.Generator, rows: int, columns: int, a: float) -> Frequencies:
    points = g.standard_normal((rows, columns))
    return points * np.sqrt(g.standard_gamma(a, (rows, 1)) / a)


_Sampler: TypeAlias = Callable[[np.random.Generator, int, int, float], Frequencies]

_SAMPLERS: Mapping[str, _Sampler] = {
    "rbf": _rbf,
    "laplace": lambda g, rows, columns, shape: _student(g, rows, columns, 1.0),
    "laplace_l1": lambda g, rows, columns, shape: g.standard_cauchy((rows, columns)),
    "cauchy": lambda g, rows, columns, shape: g.laplace(size=(rows, columns)),
    "rational_quadratic": _rational_quadratic,
    "imq": lambda g, rows, columns, shape: _rational_quadratic(g, rows, columns, 0.5),
    "matern": _student,
}
"""Draw from the spectral measure of each kernel with bandwidth 1."""

SPECTRAL_KERNELS = tuple(_SAMPLERS)
"""Names of the kernels that have a spectral measure."""

ISOTROPIC = ("rbf", "laplace", "rational_quadratic", "imq", "matern")
"""Kernels of the Euclidean distance: their frequencies have uniform directions."""

"""The spectral distribution distance (SDD), with amplitude and phase weights for every class."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cfmetrics import _numerics, _validate
from cfmetrics._points import samples_and_points
from cfmetrics._validate import Array, Namespace
from cfmetrics.cf import SQUARE_FLOOR, split_square
from cfmetrics.characteristic import mean_cos_sin
from cfmetrics.frequencies import RNG


def spectral_distance(
    x: Array,
    y: Array,
    *,
    frequencies: Array | None = None,
    alpha: Array | float = 0.5,
    root: bool = False,
    kernel: str = "rbf",
    bandwidth: float | Sequence[float] | str = 1.0,
    shape: float | None = None,
    n_frequencies: int = 1024,
    rng: RNG = None,
    chunk_size: int | None = None,
) -> Array:
    """Measure the spectral distribution distance of two samples, or of every class of a batch.

    With the amplitude part A and the phase part P of `amplitude_phase`, at frequencies t drawn from
    the spectral measure of a kernel, entry c of the batch has

        L_c = (1/F) sum_t (alpha_c A_c(t) + (1 - alpha_c) P_c(t)),

    or, with `root`, the mean of the square roots of the same terms, floored at 1e-12. With alpha =
    0.5 and no root, L is half the squared `cf_distance`, so half the biased squared MMD of the
    kernel as the number of frequencies grows. With `root` it is `ncf_distance` with weights alpha
    and 1 - alpha, at the frequencies of a fixed kernel. alpha = 1 ignores shifts, alpha = 0 ignores
    a loss of amplitude; in between L is 0 only where the characteristic functions agree at all t.
    L without the root does not obey the triangle inequality.

    Reference: CSDM (arXiv 2603.01698), where alpha_c is `alpha_head` for frequent classes and
    1 - alpha_head for rare ones (see `class_weights`). The text at hand does not say whether a
    square root is taken; without it L reduces to the paper's squared distance, so that is the
    default.

    Args:
        x: Sample of shape (..., n, d) with any leading batch axes (such as classes), or (n,).
        y: Sample of shape (..., m, d), or (m,); m may differ from n, batch axes broadcast.
        frequencies: Points of evaluation, of shape (F, d), or (F,) for one feature; the parameters
            of the kernel are then not used. By default `n_frequencies` are drawn as
            `sample_frequencies` does. Under `torch.compile` pass them.
        alpha: Weight of the amplitude part, from 0 to 1: one number, or an array that broadcasts to
            the batch, such as one for every class.
        root: Take the square root at every frequency.
        kernel: Name of a kernel of `sample_frequencies`.
        bandwidth: Length scale of the kernel in the unit of the samples; several, for the mean of
            the kernels; or "median", for `median_bandwidth(x, y)` of every entry of the batch.
        shape: Shape parameter of the kernel, as in `sample_frequencies`.
        n_frequencies: Number of frequencies to draw.
        rng: Generator or seed for the draws.
        chunk_size: Observations handled at a time, as in `characteristic_parts`.

    Returns:
        One value for every entry of the batch, a scalar where there is no batch; in float32, or
        float64 for float64 and integer samples.

    Raises:
        TypeError: NumPy and torch are mixed, or a dtype is boolean, complex or an object.
        ValueError: A shape does not fit, a sample is empty, alpha is not within 0 and 1, the kernel
            is unknown, a parameter of it is not positive, or a NumPy array is not finite. (The
            values of torch tensors are not checked; NaN gives NaN.)

    Example:
        Two classes, of which one is shifted and one is wider:

        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(2, 400, 3))
        >>> y = np.stack([x[0] + 1, x[1] * 2])
        >>> amplitude_only, phase_only = (
        ...     spectral_distance(x, y, alpha=alpha, rng=1) for alpha in (1.0, 0.0)
        ... )
        >>> amplitude_only > phase_only
        array([False,  True])
        >>> spectral_distance(x, y, alpha=class_weights([500, 20], 0.8), rng=1).shape
        (2,)
    """
    given = {} if _validate.is_number(alpha) else {"alpha": alpha}
    xp, x, y, points, arrays = samples_and_points(
        x, y, frequencies, given, kernel, bandwidth, shape, n_frequencies, rng
    )
    batch = _numerics.batch_shape(x, y)
    share = _alphas(arrays["alpha"], batch) if arrays else _validate.fraction("alpha", alpha)
    p = mean_cos_sin(xp, x, points, chunk_size)
    q = mean_cos_sin(xp, y, points, chunk_size)
    return _numerics.result(_distance(xp, p, q, share, root), p.real)


def class_weights(
    class_counts: ArrayLike, alpha_head: float, *, n_head: int | None = None
) -> NDArray[np.float64]:
    """Choose the amplitude weight of every class of a long-tailed set.

    The `n_head` largest classes, the head, get `alpha_head`; the others, the tail, get
    1 - alpha_head. Among equal counts the earlier class is taken to be larger. Reference: CSDM
    (arXiv 2603.01698), whose Figure 3 finds alpha_head of 0.7 to 0.9 best for strong imbalance; the
    split into halves is a choice made here.

    Args:
        class_counts: Number of observations of every class, of shape (C,).
        alpha_head: Weight of the amplitude part in the head, from 0 to 1.
        n_head: Number of head classes, 1 to C; by default half of them, rounded up.

    Returns:
        Weights of shape (C,), the `alpha` of `spectral_distance`.

    Raises:
        TypeError: `alpha_head` or `n_head` is not a number, or the counts are not real numbers.
        ValueError: The counts are not one row of numbers >= 0, `alpha_head` is not within 0 and 1,
            or `n_head` is not from 1 to C.

    Example:
        >>> class_weights([500, 20, 100], 0.75)
        array([0.75, 0.25, 0.75])
    """
    alpha_head = _validate.fraction("alpha_head", alpha_head)
    _, (counts,) = _validate.float_arrays({"class_counts": np.asarray(class_counts)})
    if counts.ndim != 1 or counts.size == 0:
        raise ValueError(f"class_counts has shape {counts.shape}; pass one count for each class")
    if (counts < 0).any():
        raise ValueError(f"class_counts holds {counts.min()}; pass counts >= 0")
    size = -(-counts.size // 2) if n_head is None else _validate.count("n_head", n_head)
    if size > counts.size:
        raise ValueError(f"n_head is {n_head}; pass at most {counts.size}, the number of classes")
    weights = np.full(counts.size, 1 - alpha_head)
    weights[np.argsort(-counts, kind="stable")[:size]] = alpha_head
    return weights


def _alphas(alpha: Array, batch: tuple[int, ...]) -> Array:
    """View alphas that broadcast to the batch as (..., 1), to go with frequencies."""
    shape = tuple(alpha.shape)
    inner = batch[max(0, len(batch) - len(shape)) :]
    if len(shape) > len(batch) or any(a not in (1, b) for a, b in zip(shape, inner, strict=True)):
        raise ValueError(
            f"alpha has shape {shape}, which does not broadcast to the batch {batch} of x and y; "
            f"pass a number, or one for each entry of the batch"
        )
    if not _validate.is_torch(alpha) and ((alpha < 0) | (alpha > 1)).any():
        raise ValueError(f"alpha holds {alpha.min()} to {alpha.max()}; pass numbers from 0 to 1")
    return alpha[..., None]


def _distance(
    xp: Namespace,
    p: tuple[Array, Array],
    q: tuple[Array, Array],
    alpha: Array | float,
    root: bool,
) -> Array:
    amplitude, phase = split_square(xp, p, q)
    if not isinstance(alpha, float):
        alpha = xp.astype(alpha, amplitude.dtype)
    squares = alpha * amplitude + (1 - alpha) * phase
    if root:
        squares = xp.sqrt(_numerics.at_least(xp, squares, SQUARE_FLOOR))
    return squares.mean(axis=-1)

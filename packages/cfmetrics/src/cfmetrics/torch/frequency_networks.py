"""Modules that give the frequencies of a characteristic-function loss: fixed, drawn or learned.

Each has `forward(generator=None)`, which returns frequencies of shape (F, d) in radians per unit of
the samples. What is random comes from `generator`, a torch.Generator on the module's device, or
else from torch's global generator of that device. Pass the latter under
`torch.compile(fullgraph=True)`, which traces no generator object.
"""

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from cfmetrics import _validate
from cfmetrics.frequencies import RNG, SHAPES, sample_frequencies

__all__ = [
    "FixedFrequencies",
    "KernelFrequencies",
    "ScaleMixtureFrequencies",
    "TanhFrequencies",
]

_UNIT_SOFTPLUS = math.log(math.e - 1)
"""The point where softplus is 1."""


@final
class FixedFrequencies(nn.Module):
    """Give the same frequencies always; they are stored as a buffer.

    Args:
        frequencies: Frequencies of shape (F, d), or (F,) for one feature. A NumPy array is
            converted to torch's default dtype; a tensor keeps its own.

    Raises:
        TypeError: The dtype is not an integer or a real number.
        ValueError: The shape is another one, or a NumPy array is not finite.

    Example:
        >>> FixedFrequencies(torch.ones(4, 2))().shape
        torch.Size([4, 2])
    """

    frequencies: Tensor

    def __init__(self, frequencies: Tensor | NDArray[np.floating]) -> None:
        super().__init__()
        _, (points,) = _validate.float_arrays({"frequencies": frequencies})
        points = _validate.frequency_matrix(points, 1 if points.ndim < 2 else points.shape[-1])
        if not isinstance(points, Tensor):
            points = torch.as_tensor(points, dtype=torch.get_default_dtype())
        self.register_buffer("frequencies", points.detach().clone())

    def forward(self, generator: Generator | None = None) -> Tensor:
        """Return the frequencies; nothing is random here."""
        return self.frequencies

    def extra_repr(self) -> str:
        """Show the shape."""
        return _sizes(*self.frequencies.shape)


@final
class KernelFrequencies(nn.Module):
    """Give frequencies of the spectral measure of a kernel, drawn once or anew in training.

    The first draw is that of `cfmetrics.sample_frequencies`, and is stored as a buffer. With
    `redraw`, each forward in training mode draws others from the same distribution, by torch and on
    the module's device; the buffer stays as it is, and serves in evaluation mode.

    Args:
        n_frequencies: Number of frequencies F.
        n_features: Number of features d of the samples.
        kernel: Name of the kernel, as in `sample_frequencies`.
        bandwidth: Length scale in the unit of the samples, or several, among which the frequencies
            are shared out.
        shape: Shape parameter of the kernel, as in `sample_frequencies`.
        redraw: Whether to draw anew at every forward in training mode.
        rng: NumPy generator or seed for the first draw.

    Raises:
        TypeError: As `sample_frequencies`.
        ValueError: As `sample_frequencies`.

    Example:
        >>> frequencies = KernelFrequencies(64, 3, kernel="laplace", redraw=True, rng=0)
        >>> bool((frequencies() == frequencies()).any())
        False
        >>> bool((frequencies.eval()() == frequencies()).all())
        True
    """

    frequencies: Tensor
    bandwidths: Tensor

    def __init__(
        self,
        n_frequencies: int,
        n_features: int,
        *,
        kernel: str = "rbf",
        bandwidth: float | Sequence[float] = 1.0,
        shape: float | None = None,
        redraw: bool = False,
        rng: RNG = None,
    ) -> None:
        super().__init__()
        drawn = sample_frequencies(
            n_frequencies, n_features, kernel=kernel, bandwidth=bandwidth, shape=shape, rng=rng
        )
        sigmas = np.asarray(_validate.bandwidths(bandwidth))
        rows = sigmas[_components(n_frequencies, len(sigmas))]
        dtype = torch.get_default_dtype()
        self.kernel = kernel
        self.bandwidth = bandwidth
        self.shape = _validate.kernel_shape(kernel, shape, SHAPES)
        self.redraw = redraw
        self.register_buffer("frequencies", torch.as_tensor(drawn, dtype=dtype))
        per_row = torch.as_tensor(rows, dtype=dtype)[:, None]
        self.register_buffer("bandwidths", per_row, persistent=False)

    def forward(self, generator: Generator | None = None) -> Tensor:
        """Return the stored frequencies or, where they are redrawn, new ones from `generator`."""
        if not (self.redraw and self.training):
            return self.frequencies
        points = _unit_draw(self.kernel, self.shape, self.frequencies, generator)
        return (points / self.bandwidths).to(self.frequencies.dtype)

    def extra_repr(self) -> str:
        """Show the shape, the kernel and whether the frequencies are redrawn."""
        sizes = _sizes(*self.frequencies.shape)
        return f"{sizes}, kernel={self.kernel!r}, bandwidth={self.bandwidth}, redraw={self.redraw}"


@final
class ScaleMixtureFrequencies(nn.Module):
    """Learn a scale mixture of normals: the sampling network psi as the NCFM paper describes it.

    At every forward a small network turns noise z_k ~ N(0, I) into positive scales s_k of
    K components, and the frequencies of component k are

        t = s_k * g,    g ~ N(0, I),    s_k = scale * softplus(network(z_k) + log(e - 1)),

    so that t follows the integral of N(t | 0, diag(s^2)) over a learned distribution of s.
    Frequencies are shared out among the components as evenly as possible, in order. The gradient
    reaches the network through s_k: minimise a loss over the samples while maximising it over these
    parameters. Draws are new at every forward, also in evaluation mode.

    From the paper (NCFM, arXiv 2502.20653, Section 4.2): the scale mixture of normals, learned by
    maximising the distance, and K = F/16. Our own choices, which the paper's text leaves open: the
    network (two linear layers with a LeakyReLU of slope 0.2, `width` noise inputs and hidden
    units), diagonal covariances, softplus, and the start at scales near `scale`. The official code
    does something else: `TanhFrequencies`.

    Trap: nothing bounds the scales from above. At high frequencies any two small samples look far
    apart, whatever their distributions, so an unchecked maximiser runs there; use a small learning
    rate and weight decay.

    Args:
        n_frequencies: Number of frequencies F.
        n_features: Number of features d of the samples.
        n_components: Number of components K; by default F/16, but at least 1.
        per_feature: Whether every feature has its own scale, or one scale holds for all.
        scale: The scale at which learning starts, about 1/bandwidth of a kernel.
        width: Number of noise inputs and of hidden units.

    Raises:
        TypeError: A count is not an integer, or `scale` is not a number.
        ValueError: A count or `scale` is not positive, or there are more components than
            frequencies.

    Example:
        >>> psi = ScaleMixtureFrequencies(1024, 8)
        >>> psi().shape, psi.scales().shape
        (torch.Size([1024, 8]), torch.Size([64, 8]))
    """

    component: Tensor

    def __init__(
        self,
        n_frequencies: int,
        n_features: int,
        *,
        n_components: int | None = None,
        per_feature: bool = True,
        scale: float = 1.0,
        width: int = 64,
    ) -> None:
        super().__init__()
        n_frequencies = _validate.count("n_frequencies", n_frequencies)
        self.n_features = _validate.count("n_features", n_features)
        if n_components is None:
            n_components = max(1, n_frequencies // 16)
        self.n_components = _validate.count("n_components", n_components)
        if n_components > n_frequencies:
            raise ValueError(
                f"n_components is {n_components}, but n_frequencies is {n_frequencies}; pass at "
                f"least one frequency for each component"
            )
        self.scale = _validate.positive("scale", scale)
        self.width = _validate.count("width", width)
        self.network = nn.Sequential(
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, n_features if per_feature else 1),
        )
        component = torch.as_tensor(_components(n_frequencies, n_components))
        self.register_buffer("component", component, persistent=False)

    def scales(self, generator: Generator | None = None) -> Tensor:
        """Draw scales of the components: shape (K, d), or (K, 1) without `per_feature`."""
        noise = _normal((self.n_components, self.width), self.network, generator)
        return self.scale * nn.functional.softplus(self.network(noise) + _UNIT_SOFTPLUS)

    def forward(self, generator: Generator | None = None) -> Tensor:
        """Draw frequencies of shape (F, d), with a gradient to the network."""
        scales = self.scales(generator)
        size = (self.component.shape[0], self.n_features)
        return scales[self.component] * _normal(size, self.network, generator)

    def extra_repr(self) -> str:
        """Show the shape and the number of components."""
        sizes = _sizes(self.component.shape[0], self.n_features)
        return f"{sizes}, n_components={self.n_components}, scale={self.scale}, width={self.width}"


@final
class TanhFrequencies(nn.Module):
    """Learn frequencies in (-1, 1): the sampling network psi of the official NCFM code.

    Noise z of shape (F/repeats, d), normal with the given variance, goes through three times a
    linear layer (d to d) and batch normalisation; after the first two follows a LeakyReLU of slope
    0.2, after the third a tanh. Every row of the result is then repeated, so only F/repeats of the
    F frequencies are distinct: a mean over them is the mean over the distinct ones. In training
    mode the batch normalisation takes its statistics from the draw, in evaluation mode from its
    running averages; the noise is new at every forward in both.

    This is not the scale mixture of normals of the paper's text, which `ScaleMixtureFrequencies`
    is: no entry exceeds 1, so features should be normalised to about unit length, as in that code.
    Reference: the official code of NCFM (arXiv 2502.20653).

    Args:
        n_frequencies: Number of frequencies F, a multiple of `repeats`; at least two distinct rows.
        n_features: Number of features d of the samples.
        variance: Variance of the noise.
        repeats: How often each row is repeated: 16 in the official code.

    Raises:
        TypeError: A count is not an integer, or `variance` is not a number.
        ValueError: A count or `variance` is not positive, or F is not a multiple of `repeats`
            greater than it.

    Example:
        >>> t = TanhFrequencies(64, 8)()
        >>> t.shape, t.unique(dim=0).shape
        (torch.Size([64, 8]), torch.Size([4, 8]))
    """

    def __init__(
        self, n_frequencies: int, n_features: int, *, variance: float = 1.0, repeats: int = 16
    ) -> None:
        super().__init__()
        self.n_frequencies = _validate.count("n_frequencies", n_frequencies)
        self.n_features = _validate.count("n_features", n_features)
        self.variance = _validate.positive("variance", variance)
        self.repeats = _validate.count("repeats", repeats)
        if n_frequencies % repeats or n_frequencies == repeats:
            raise ValueError(
                f"n_frequencies is {n_frequencies} and repeats is {repeats}; pass a multiple of "
                f"repeats, at least {2 * repeats} (batch normalisation needs two distinct rows)"
            )
        self.network = nn.Sequential(
            nn.Linear(n_features, n_features),
            nn.BatchNorm1d(n_features),
            nn.LeakyReLU(0.2),
            nn.Linear(n_features, n_features),
            nn.BatchNorm1d(n_features),
            nn.LeakyReLU(0.2),
            nn.Linear(n_features, n_features),
            nn.BatchNorm1d(n_features),
            nn.Tanh(),
        )

    def forward(self, generator: Generator | None = None) -> Tensor:
        """Draw frequencies of shape (F, d), with a gradient to the network."""
        size = (self.n_frequencies // self.repeats, self.n_features)
        noise = math.sqrt(self.variance) * _normal(size, self.network, generator)
        distinct: Tensor = self.network(noise)
        return distinct.repeat(self.repeats, 1)

    def extra_repr(self) -> str:
        """Show the shape and the parameters."""
        sizes = _sizes(self.n_frequencies, self.n_features)
        return f"{sizes}, variance={self.variance}, repeats={self.repeats}"


def _components(rows: int, components: int) -> NDArray[np.intp]:
    """Index of the component that each row belongs to: even shares, in order."""
    parts = np.array_split(np.arange(rows), components)
    return np.repeat(np.arange(components), [len(part) for part in parts])


def _normal(size: tuple[int, int], network: nn.Module, generator: Generator | None) -> Tensor:
    like = next(network.parameters())
    return torch.randn(size, generator=generator, dtype=like.dtype, device=like.device)


def _unit_draw(kernel: str, shape: float, like: Tensor, generator: Generator | None) -> Tensor:
    """Draw from the spectral measure of a kernel with bandwidth 1, as sample_frequencies does."""
    dtype = torch.float32 if like.dtype.itemsize < 4 else like.dtype
    rows, columns = like.shape

    def uniform(*size: int) -> Tensor:
        return torch.rand(size, generator=generator, dtype=dtype, device=like.device)

    def gamma(a: float) -> Tensor:
        # What torch.distributions.Gamma calls; it takes no generator itself.
        concentration = torch.full((rows, 1), a, dtype=dtype, device=like.device)
        return torch._standard_gamma(concentration, generator=generator)

    if kernel == "laplace_l1":
        return torch.tan(math.pi * (uniform(rows, columns) - 0.5))
    if kernel == "cauchy":
        exponential = -torch.log1p(-uniform(2, rows, columns))
        return exponential[0] - exponential[1]
    normal = torch.randn(like.shape, generator=generator, dtype=dtype, device=like.device)
    if kernel in ("laplace", "matern"):
        freedom = 1.0 if kernel == "laplace" else shape
        square = (2 * gamma(freedom / 2)).clamp_min(torch.finfo(dtype).tiny) / freedom
        return normal / square.sqrt()
    if kernel in ("rational_quadratic", "imq"):
        a = 0.5 if kernel == "imq" else shape
        return normal * (gamma(a) / a).sqrt()
    return normal


def _sizes(n_frequencies: int, n_features: int) -> str:
    return f"n_frequencies={n_frequencies}, n_features={n_features}"

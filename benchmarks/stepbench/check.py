"""The same inputs through cfmetrics and through the official loss function."""

from dataclasses import dataclass
from itertools import product

from stepbench import workload as w
from stepbench.checkout import Checkout

TOLERANCE = 1e-5
_WEIGHTS = ((0.5, 0.5), (0.9, 0.1), (0.1, 0.9), (1.0, 0.0), (0.0, 1.0))
_FEATURES = w.WIDTH * (w.SIZE // 2**w.DEPTH) ** 2


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case.

    Attributes:
        case: What was compared, in words.
        ours: Value of ``cfmetrics.ncf_distance`` in float32.
        official: Value of the official ``CFLossFunc`` in float32.
        gradient: Largest difference of the gradients with regard to the synthetic features, as a
            part of the largest official entry; in float64, since the official form of the phase
            part loses the gradient's last digits in float32.
    """

    case: str
    ours: float
    official: float
    gradient: float

    @property
    def difference(self) -> float:
        """Absolute difference of the values."""
        return abs(self.ours - self.official)

    @property
    def good(self) -> bool:
        """Whether values and gradients agree to the tolerance."""
        return max(self.difference, self.gradient) <= TOLERANCE


def compare(checkout: Checkout) -> list[Comparison]:
    """Compare values and gradients on unit features of every workload's size.

    Raises:
        ImportError: cfmetrics, torch or a part of the checkout cannot be imported.
    """
    checkout.load_all()
    return [
        _compare(checkout, work, *weights)
        for work, weights in product(w.WORKLOADS.values(), _WEIGHTS)
    ]


def _compare(checkout: Checkout, work: w.Workload, alpha: float, beta: float) -> Comparison:
    import torch
    from torch.nn.functional import normalize

    from cfmetrics import ncf_distance

    draw = torch.Generator().manual_seed(w.SEED)
    views = work.ipc * w.RHO**2
    real = normalize(torch.randn(work.real, _FEATURES, generator=draw).relu(), dim=1)
    synthetic = normalize(torch.randn(views, _FEATURES, generator=draw).relu() ** 1.5, dim=1)
    frequencies = torch.randn(work.frequencies, _FEATURES, generator=draw)
    loss = checkout.load("NCFM.NCFM").CFLossFunc(alpha_for_loss=alpha, beta_for_loss=beta)

    def both(dtype: torch.dtype) -> tuple[list[float], list[torch.Tensor]]:
        x, t = real.to(dtype), frequencies.to(dtype)
        leaf = synthetic.to(dtype).requires_grad_()
        pair = (
            ncf_distance(x, leaf, frequencies=t, alpha=alpha, beta=beta),
            loss(x, leaf, t),
        )
        gradients = [torch.autograd.grad(value, leaf)[0] for value in pair]
        return [float(value) for value in pair], gradients

    (ours, official), _ = both(torch.float32)
    _, (found, wanted) = both(torch.float64)
    gap = float((found - wanted).abs().max() / wanted.abs().max())
    return Comparison(f"{work.title}, alpha {alpha}, beta {beta}", ours, official, gap)

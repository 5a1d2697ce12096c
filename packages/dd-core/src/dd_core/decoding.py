"""Multi-formation: how one synthetic image holds several views.

IDC (Kim et al. 2022, section 4.1, and its code): an image is a rho x rho grid of small views, and
each is enlarged bilinearly to the full size. NCFM uses rho = 2.

Three forms: ``single`` cuts every image by rho. ``multi`` uses every image at each factor from 1
to rho. ``bound`` cuts each image once, by the largest factor that keeps a class within a number
of views.
"""

from __future__ import annotations

from itertools import groupby
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Form", "decode", "factors_of"]

Form = Literal["single", "multi", "bound"]


def factors_of(
    n: int, factor: int, form: Form = "single", bound: int = 128
) -> tuple[tuple[int, ...], ...]:
    """The factors that each of the n images of a class is cut by; factor f gives f^2 views.

    Args:
        n: Images of the class.
        factor: rho, the largest factor.
        form: ``single``, ``multi`` or ``bound``.
        bound: Most views of the class, for ``bound``; at least n.

    Returns:
        For each image its factors. For ``bound``, with u views used and l images left, the next
        min((bound - u - l) // f^2, l) images are cut by f, for f from rho down to 2; what is left
        is used whole. One view is so held back for every image that is not yet cut.

    Example:
        >>> factors_of(2, 2), factors_of(2, 2, "multi")
        (((2,), (2,)), ((1, 2), (1, 2)))
        >>> factors_of(4, 3, "bound", 16)  # 9 + 4 + 1 + 1 = 15 views
        ((3,), (2,), (1,), (1,))
    """
    if form == "single":
        return ((factor,),) * n
    if form == "multi":
        return (tuple(range(1, factor + 1)),) * n
    plan: list[tuple[int, ...]] = []
    used = 0
    for f in range(factor, 1, -1):
        left = n - len(plan)
        many = min(max(0, bound - used - left) // f**2, left)
        plan += [(f,)] * many
        used += many * f**2
    return (*plan, *[(1,)] * (n - len(plan)))


def decode(pixels: Tensor, factor: int, form: Form = "single", bound: int = 128) -> Tensor:
    """Cuts each image into its views and enlarges each bilinearly to the full size.

    Args:
        pixels: Shape (groups, n, channels, size, size), from 0 to 1; a group is a class.
        factor: rho. Where a factor does not divide the size, as 3 for 32 px in ``multi``, the
            image is first extended with grey (0.5) to the right and below, as IDC does.
        form: ``single``, ``multi`` or ``bound``; see `factors_of`.
        bound: Most views of a group, for ``bound``.

    Returns:
        Shape (groups, views, channels, size, size). The views of one image stand together, by
        rising factor, and those of one factor row by row. Differentiable.

    Example:
        >>> decode(torch.zeros(10, 1, 3, 32, 32), 2).shape
        torch.Size([10, 4, 3, 32, 32])
        >>> decode(torch.zeros(10, 1, 3, 32, 32), 2, "multi").shape
        torch.Size([10, 5, 3, 32, 32])
    """
    if factor == 1:
        return pixels
    parts, start = [], 0
    for factors, run in groupby(factors_of(pixels.shape[1], factor, form, bound)):
        stop = start + len(list(run))
        views = [_cut(pixels[:, start:stop], f) for f in factors]
        parts.append(_join(views, 2).flatten(1, 2))
        start = stop
    return _join(parts, 1)


def _cut(pixels: Tensor, factor: int) -> Tensor:
    """All views by one factor, of shape (groups, n, factor^2, channels, size, size)."""
    if factor == 1:
        return pixels.unsqueeze(2)
    groups, n, channels, size, _ = pixels.shape
    small = -(-size // factor)
    extra = small * factor - size
    if extra:
        pixels = F.pad(pixels, (0, extra, 0, extra), value=0.5)
    views = pixels.reshape(groups * n, channels, factor, small, factor, small)
    views = views.permute(0, 2, 4, 1, 3, 5).reshape(-1, channels, small, small)
    return _enlarge(views, size).view(groups, n, factor**2, channels, size, size)


def _enlarge(views: Tensor, size: int) -> Tensor:
    """Bilinear enlargement of square images.

    On the CPU as products with one matrix for rows and one for columns: the gradient of PyTorch's
    own operation takes ten times as long.
    """
    if views.device.type != "cpu":
        return F.interpolate(views, size=(size, size), mode="bilinear", align_corners=False)
    small = views.shape[-1]
    identity = torch.eye(small, dtype=views.dtype).unsqueeze(0)
    matrix = F.interpolate(identity, size=size, mode="linear", align_corners=False)[0]
    wide = (views.reshape(-1, small) @ matrix).view(-1, small, size)
    return (matrix.mT.expand(len(wide), size, small) @ wide).view(*views.shape[:2], size, size)


def _join(parts: list[Tensor], dim: int) -> Tensor:
    """Like `torch.cat`, but without a copy of a single part."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim)

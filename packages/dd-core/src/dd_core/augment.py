"""Siamese differentiable augmentation: one draw, applied alike to real and synthetic images.

A strategy is a string such as ``flip_color_crop_cutout``; the parts are applied in the fixed order
flip, colour, geometry, cutout. Geometry is ``crop``, ``scale`` or ``rotate``; alternatives such as
``crop/scale/rotate`` mean that each draw takes one of them. The strengths are those of DSA (Zhao &
Bilen 2021), applied to normalised images: brightness +-0.5, saturation 0 to 2, contrast 0.5 to
1.5, crop by an eighth of the size, scale 1/1.2 to 1.2, rotation +-15 degrees, cutout of half the
size, black being the mean (zero).

A strategy of one part with alternatives of any kind, ``color/crop/cutout/flip/scale/rotate``, takes
one of them for each group: the strategy of DSA and DM.

Randomness is an argument: `draw` returns the drawn parameters as tensors, and
`apply` is a pure, differentiable function of images and parameters. Flip, crop and scale act
on rows and columns separately, so they are two matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from dd_core.errors import SettingsError

__all__ = ["Augmentation", "Draw", "apply", "normalize"]

_GEOMETRY = ("crop", "scale", "rotate")
_CROP, _SCALE, _ROTATE, _CUTOUT = 0.125, 1.2, 15.0, 0.5


@dataclass(frozen=True, slots=True)
class Draw:
    """Drawn parameters of G groups of images; None means that a part does not take place.

    Attributes:
        color: (G, 3): brightness added, saturation factor, contrast factor.
        rows: (G, size, size): weights of input rows for each output row.
        columns: (G, size, size): the same for columns.
        angle: (G,): rotation in radians.
        mask: (G, size, size): 0 inside the cutout, 1 outside.
    """

    color: Tensor | None = None
    rows: Tensor | None = None
    columns: Tensor | None = None
    angle: Tensor | None = None
    mask: Tensor | None = None

    def group(self, start: int, stop: int) -> Draw:
        """The draw of groups start to stop - 1; a draw of one group serves all groups."""
        parts = [getattr(self, f.name) for f in fields(self)]
        if all(part is None or len(part) == 1 for part in parts):
            return self
        return Draw(*(None if part is None else part[start:stop] for part in parts))


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A parsed strategy string.

    Example:
        >>> Augmentation.parse("flip_color_crop/scale").geometry
        ('crop', 'scale')
        >>> Augmentation.parse("flip/color/crop").one_of
        ('flip', 'color', 'crop')
    """

    flip: bool = False
    color: bool = False
    geometry: tuple[str, ...] = ()
    cutout: bool = False
    one_of: tuple[str, ...] = ()

    @classmethod
    def parse(cls, strategy: str) -> Augmentation:
        """Reads a strategy string.

        Raises:
            SettingsError: A part is unknown, twice there, or two geometries stand side by side.
        """
        parts = [] if strategy in ("", "none") else strategy.split("_")
        if len(parts) == 1 and _is_one_of(choices := tuple(parts[0].split("/"))):
            return cls(one_of=choices)
        geometry: tuple[str, ...] = ()
        for part in parts:
            choices = tuple(part.split("/"))
            if all(choice in _GEOMETRY for choice in choices) and not geometry:
                geometry = choices
            elif part not in ("flip", "color", "cutout") or parts.count(part) > 1:
                raise SettingsError(
                    f"augmentation is {strategy!r}; {part!r} is unknown or one too many. Join "
                    "flip, color, one of crop, scale, rotate (or crop/scale/rotate for any one "
                    "of them) and cutout with '_'; or give all alternatives in one part, as in "
                    "'color/crop/cutout/flip/scale/rotate', or 'none'."
                )
        return cls("flip" in parts, "color" in parts, geometry, "cutout" in parts)

    def draw(
        self,
        groups: int,
        size: int,
        generator: torch.Generator,
        device: torch.device | str = "cpu",
    ) -> Draw:
        """Draws parameters for G groups; the choice among geometries is one for all groups.

        Args:
            groups: G, such as the number of classes, or of images.
            size: Height and width of the images.
            generator: A generator on the CPU, whatever the device: the draws are the same.
            device: Where the parameters are put. What is drawn is a few numbers a group; the
                matrices and masks that they mean are made on the device.
        """
        if self.one_of:
            return self._draw_one_of(groups, size, generator, device)

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            drawn = torch.rand(groups, *shape, generator=generator) * (high - low) + low
            return drawn.to(device)

        rows = columns = color = angle = mask = None
        flipped = uniform(0, 1) < 0.5 if self.flip else None
        if self.color:
            color = torch.stack((uniform(-0.5, 0.5), uniform(0, 2), uniform(0.5, 1.5)), 1)
        if self.geometry:
            chosen = int(torch.randint(len(self.geometry), (), generator=generator))
            match self.geometry[chosen]:
                case "crop":
                    reach = int(size * _CROP + 0.5)
                    shift = torch.randint(-reach, reach + 1, (2, groups), generator=generator)
                    shift = shift.to(device)
                    rows, columns = _shift_matrix(shift[0], size), _shift_matrix(shift[1], size)
                case "scale":
                    rows = _scale_matrix(uniform(1 / _SCALE, _SCALE), size)
                    columns = _scale_matrix(uniform(1 / _SCALE, _SCALE), size)
                case "rotate":
                    angle = uniform(-_ROTATE, _ROTATE) * (math.pi / 180)
        if flipped is not None:
            mirror = _mirror_matrix(flipped, size)
            columns = mirror if columns is None else columns @ mirror
        if self.cutout:
            mask = _cutout_mask(groups, size, generator, device)
        return Draw(color, rows, columns, angle, mask)

    def _draw_one_of(
        self, groups: int, size: int, generator: torch.Generator, device: torch.device | str
    ) -> Draw:
        """One of the alternatives for each group; the others do nothing to it."""
        chosen = torch.randint(len(self.one_of), (groups,), generator=generator).to(device)
        identity = torch.eye(size, device=device).expand(groups, size, size)
        neutral = {
            "color": torch.tensor([0.0, 1.0, 1.0], device=device).expand(groups, 3),
            "rows": identity,
            "columns": identity,
            "angle": torch.zeros(groups, device=device),
            "mask": torch.ones(groups, size, size, device=device),
        }
        parameters: dict[str, Tensor] = {}
        for number, kind in enumerate(self.one_of):
            drawn = Augmentation.parse(kind).draw(groups, size, generator, device)
            taken = chosen == number
            for field in fields(drawn):
                value = getattr(drawn, field.name)
                if value is None:
                    continue
                before = parameters.get(field.name, neutral[field.name])
                shape = (-1, *[1] * (value.ndim - 1))
                parameters[field.name] = torch.where(taken.view(shape), value, before)
        return Draw(**parameters)


def _is_one_of(choices: tuple[str, ...]) -> bool:
    """Whether these are alternatives of more kinds than geometry, each there once."""
    known = {"flip", "color", "cutout", *_GEOMETRY}
    mixed = not set(choices) <= set(_GEOMETRY)
    return (
        len(choices) > 1 and mixed and set(choices) <= known and len(set(choices)) == len(choices)
    )


def normalize(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Subtracts the mean and divides by the standard deviation of each channel.

    Args:
        images: (..., channels, height, width), uint8 from 0 to 255 or float from 0 to 1.
        mean: Channel means of images scaled to [0, 1].
        std: Channel standard deviations, likewise.

    Returns:
        float32 of the same shape.
    """
    shape = (len(mean), 1, 1)
    scale = torch.tensor(std, device=images.device).reciprocal().view(shape)
    offset = -torch.tensor(mean, device=images.device).view(shape) * scale
    if images.dtype == torch.uint8:
        scale = scale / 255
    return torch.addcmul(offset, images.float(), scale)


def apply(images: Tensor, draw: Draw) -> Tensor:
    """Augments images, the i-th group with the i-th parameters.

    Args:
        images: Normalised images of shape (G, n, channels, size, size).
        draw: Parameters of G groups, or of one group for all.

    Returns:
        The same shape; differentiable in the images.
    """
    x = images
    if draw.color is not None:
        x = _color(x, draw.color)
    if draw.columns is not None:
        x = (x.flatten(1, 3) @ draw.columns.mT).view(x.shape)
    if draw.rows is not None:
        x = draw.rows[:, None, None] @ x
    if draw.angle is not None:
        x = _rotate(x, draw.angle)
    if draw.mask is not None:
        x = x * draw.mask[:, None, None]
    return x


def _color(x: Tensor, color: Tensor) -> Tensor:
    """Brightness, saturation, contrast, gathered into one affine map of x and two means of x."""
    brightness, saturation, contrast = color.view(-1, 3, 1, 1, 1, 1).unbind(1)
    gray = x.mean(2, keepdim=True)
    level = gray.mean((3, 4), keepdim=True)
    rest = torch.addcmul((1 - contrast) * level + brightness, contrast * (1 - saturation), gray)
    return torch.addcmul(rest, contrast * saturation, x)


def _rotate(x: Tensor, angle: Tensor) -> Tensor:
    groups, n = x.shape[:2]
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    theta = torch.stack((cos, -sin, zero, sin, cos, zero), 1).view(-1, 2, 3)
    theta = theta.expand(groups, 2, 3).repeat_interleave(n, 0)
    flat = x.flatten(0, 1)
    grid = F.affine_grid(theta.to(x.dtype), list(flat.shape), align_corners=False)
    return F.grid_sample(flat, grid, padding_mode="zeros", align_corners=False).view(x.shape)


def _shift_matrix(shift: Tensor, size: int) -> Tensor:
    """Output position i reads input position i + shift; zero beyond the border."""
    index = torch.arange(size, device=shift.device)
    return (index == index[:, None] + shift[:, None, None]).float()


def _mirror_matrix(flipped: Tensor, size: int) -> Tensor:
    identity = torch.eye(size, device=flipped.device)
    return torch.where(flipped[:, None, None], identity.flip(1), identity)


def _scale_matrix(ratio: Tensor, size: int) -> Tensor:
    """Bilinear resampling about the centre; output position i reads at ratio * its offset."""
    index = torch.arange(size, dtype=torch.float32, device=ratio.device)
    centre = (size - 1) / 2
    position = (index[:, None] - centre) * ratio[:, None, None] + centre
    return (1 - (position - index).abs()).clamp(min=0)


def _cutout_mask(
    groups: int, size: int, generator: torch.Generator, device: torch.device | str
) -> Tensor:
    hole = int(size * _CUTOUT + 0.5)
    start = torch.randint(0, size + 1 - hole % 2, (2, groups, 1), generator=generator) - hole // 2
    start, index = start.to(device), torch.arange(size, device=device)
    rows, columns = ((index >= s) & (index < s + hole) for s in start)
    inside = rows[:, :, None] & columns[:, None, :]
    return torch.logical_not(inside).float()

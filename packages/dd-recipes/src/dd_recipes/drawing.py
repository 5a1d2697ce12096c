"""How all pictures look: style, colours, pixels as matplotlib wants them, and PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["COLOURS", "STYLE", "as_pixels", "colours", "save_figure"]

COLOURS = ("#1f6fb4", "#d1632a", "#2f8f5b", "#7a4fa3")
STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}
_DPI = 160


def colours(n: int) -> list[str]:
    """One colour a line."""
    return [COLOURS[i % len(COLOURS)] for i in range(n)]


def as_pixels(image: NDArray[Any]) -> NDArray[Any]:
    """(channels, h, w) as matplotlib wants it: (h, w) for one channel, else (h, w, channels)."""
    return image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG file; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})

"""How all pictures look: style, colours, pixels as matplotlib wants them, and PNG files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["COLOURS", "STYLE", "as_pixels", "colours", "legend_below", "save_figure"]

COLOURS = (
    "#1f6fb4", "#d1632a", "#2f8f5b", "#7a4fa3",
    "#b8902b", "#c2478c", "#3fa7b5", "#7f7f7f", "#8c564b",
)  # fmt: skip
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


def legend_below(figure: Figure) -> None:
    """A legend of all lines under the axes, where it hides none; the figure grows by its height.

    Args:
        figure: With a constrained layout, and lines that have labels.
    """
    names = [text for axes in figure.axes for text in axes.get_legend_handles_labels()[1]]
    width, height = figure.get_size_inches()
    entry = _LETTER * max(map(len, names)) + _HANDLE
    columns = min(max(1, int(width / entry)), len(names))
    lines = -(-len(names) // columns)
    figure.set_size_inches(width, height + _LINE * lines)
    figure.legend(loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


_LETTER, _HANDLE, _LINE = 0.075, 0.6, 0.2  # inches of a legend


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a PNG file; the same figure gives the same bytes."""
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=_DPI, metadata={"Software": None})

"""How a test looks in every plot: colours that colour-blind readers can tell apart.

The colour (Okabe and Ito) says what a test measures, a filled marker on a whole line that it is
one of cfmetrics, an open marker on a dashed line that it is a peer's.
"""

from typing import Any

from twosample.catalogue import ENTRIES

BLUE, RED, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GREY = "#E69F00", "#56B4E9", "#000000", "#777777"

_LOOKS = {
    "cf": (BLUE, "o"),
    "cf-torch": (BLUE, "o"),
    "cf_agg": (RED, "s"),
    "cf_learned": (GREEN, "^"),
    "scf": (PURPLE, "v"),
    "mmd": (BLACK, "D"),
    "energy": (ORANGE, "P"),
    "sliced_wasserstein": (SKY, "X"),
    "pted": (ORANGE, "o"),
    "pted-torch": (ORANGE, "o"),
    "pted-landmarks": (GREY, "s"),
    "pted-landmarks-torch": (GREY, "s"),
    "ctt-2": (BLACK, "^"),
    "ctt-4": (BLACK, "^"),
    "hyppo-scf": (PURPLE, "v"),
    "hyppo-mmd": (BLACK, "o"),
    "dcor": (ORANGE, "D"),
    "alibi-style": (BLACK, "D"),
    "epps-singleton": (BLUE, "D"),
    "ks": (SKY, "o"),
}


def look(key: str) -> dict[str, Any]:
    """Give the keywords of a line or of points for one test."""
    colour, marker = _LOOKS[key]
    ours = ENTRIES[key].ours
    return {
        "color": colour,
        "marker": marker,
        "linestyle": "-" if ours else (0, (4, 2)),
        "linewidth": 1.8 if ours else 1.2,
        "markersize": 6,
        "markerfacecolor": colour if ours else "none",
        "markeredgecolor": colour,
        "label": ENTRIES[key].title,
    }


def settings() -> dict[str, Any]:
    """Give the settings of matplotlib for all plots."""
    return {
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#DDDDDD",
        "grid.linewidth": 0.6,
        "savefig.dpi": 120,
        "savefig.facecolor": "white",
    }


QUICK = "A quick run, to see that the script works: the values mean nothing"
"""Written over a plot of a quick run, so that it is not taken for a result."""

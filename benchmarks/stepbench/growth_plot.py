"""The plot of how an iteration's cost grows: one panel a factor, on one scale of seconds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stepbench.growth import TITLES
from twosample.style import BLUE, GREY, QUICK, settings

_PANEL = 3.1  # inches


def draw(factors: Mapping[str, Sequence[Mapping[str, Any]]], path: Path, *, quick: bool) -> None:
    """Draw seconds an iteration against each factor, log-log.

    Args:
        factors: For each factor rows with ``value``, ``turns``, ``seconds`` and, in the first
            row, ``slope``.
        path: The file to write.
        quick: Whether the values mean nothing; the plot then says so.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    with pyplot.rc_context(settings()):
        figure, axes = pyplot.subplots(
            1, len(factors), figsize=(_PANEL * len(factors) + 0.6, 3.5), sharey=True, squeeze=False
        )
        for axis, (name, rows) in zip(axes[0], factors.items(), strict=True):
            _panel(axis, name, rows)
            axis.yaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.yaxis.set_major_formatter(ticker.FormatStrFormatter("%g"))
            axis.yaxis.set_minor_formatter(ticker.NullFormatter())
        axes[0][0].set_ylabel("seconds an iteration")
        if quick:
            figure.suptitle(QUICK, color="red", fontsize=10)
        figure.tight_layout()
        figure.savefig(path)
        pyplot.close(figure)


def _panel(axis: Any, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    values = [row["value"] for row in rows]
    seconds = [row["seconds"] for row in rows]
    low = [row["seconds"] - min(row["turns"]) for row in rows]
    high = [max(row["turns"]) - row["seconds"] for row in rows]
    axis.set_xscale("log")
    axis.set_yscale("log")
    power, label = (2, "as the pixels") if name == "resolution" else (1, "in proportion")
    ends = [values[0], values[-1]]
    axis.plot(
        ends, [seconds[0], seconds[0] * (ends[1] / ends[0]) ** power], color=GREY,
        linestyle=(0, (4, 2)), linewidth=1, label=label,
    )  # fmt: skip
    axis.errorbar(
        values, seconds, yerr=[low, high], color=BLUE, marker="o", markersize=6, linewidth=1.8,
        capsize=3, label="measured",
    )  # fmt: skip
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.set_xticks([], minor=True)
    axis.set_xlabel(TITLES[name])
    axis.set_title(f"slope {rows[0]['slope']:.2f}", fontsize=10)
    axis.legend(frameon=False, fontsize=8, loc="upper left")

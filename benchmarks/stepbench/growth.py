"""One iteration of dd-core at many sizes, in turns: what makes it longer, and by how much."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from stepbench import workload as w

_WARM_UP = 2
_MOST_ITERATIONS = 50
_EXTRACTORS = 2


@dataclass(frozen=True, slots=True)
class Point:
    """What one iteration works on.

    Attributes:
        ipc: Synthetic images a class.
        classes: Number of classes.
        resolution: Height and width of the images; the ConvNet has a block more for each doubling
            from 32, so that it always ends at 4 x 4.
        frequencies: Frequencies t of the characteristic function.
        real: Real images a class.
        width: Channels of the ConvNet.
    """

    ipc: int = 10
    classes: int = 10
    resolution: int = 32
    frequencies: int = 1024
    real: int = 128
    width: int = w.WIDTH

    @property
    def depth(self) -> int:
        """Blocks of the ConvNet.

        >>> [Point(resolution=size).depth for size in (32, 64, 128)]
        [3, 4, 5]
        """
        return int(math.log2(self.resolution)) - 2


BASE = Point()
FACTORS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "ipc": (1, 10, 50),
        "classes": (10, 30, 100),
        "resolution": (32, 64, 128),
        "frequencies": (256, 512, 1024, 2048, 4096),
    }
)
TITLES: Mapping[str, str] = MappingProxyType(
    {
        "ipc": "images a class",
        "classes": "classes",
        "resolution": "resolution in px",
        "frequencies": "frequencies",
    }
)
OFFICIAL = tuple(Point(ipc=ipc, real=1024, frequencies=4096) for ipc in (10, 50))
"""CIFAR-10 with the official numbers of real images and frequencies, at IPC 10 and 50."""
MOST_RATIO = 1.5
"""What IPC 50 may cost at most, IPC 10 being 1."""


def points_of(factor: str) -> list[Point]:
    """The sizes at which one factor is measured, the others being those of the base.

    >>> [point.classes for point in points_of("classes")]
    [10, 30, 100]
    """
    return [replace(BASE, **{factor: value}) for value in FACTORS[factor]]


def quick(point: Point) -> Point:
    """A point that takes no time, to see that everything runs."""
    return Point(
        ipc=max(1, point.ipc // 5),
        classes=point.classes // 5,
        resolution=point.resolution // 2,
        frequencies=point.frequencies // 16,
        real=8,
        width=8,
    )


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds of one iteration at one point, turn by turn."""

    point: Point
    turns: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """Median over the turns."""
        return statistics.median(self.turns)


def measure(
    points: Sequence[Point],
    *,
    rounds: int,
    seconds: float,
    threads: int,
    precision: str = "auto",
    say: Callable[[str], None] = lambda text: None,
) -> tuple[str, list[Timing]]:
    """Time all points in turns, so that a machine that slows down slows all of them.

    Args:
        points: What to measure.
        rounds: Turns of each point; who begins changes every round.
        seconds: Least length of a turn, but for one iteration at least.
        threads: CPU threads.
        precision: ``auto``, ``float32`` or ``bfloat16``, as ``choose_runtime`` takes it.
        say: Told what is being done.

    Returns:
        How it was computed, in words, and the timings in the order of the points.
    """
    from dd_core import choose_runtime

    runtime = choose_runtime("cpu", precision, "auto", threads)
    steppers = []
    for number, point in enumerate(points):
        say(f"preparing {number + 1} of {len(points)}")
        steppers.append(_Stepper(point, runtime))
    timings = [Timing(point) for point in points]
    for turn in range(rounds):
        say(f"round {turn + 1} of {rounds}")
        shift = turn * len(points) // rounds
        for index in (*range(shift, len(points)), *range(shift)):
            timings[index].turns.append(steppers[index].turn(seconds))
    return runtime.summary, timings


class _Stepper:
    """A distillation of random images, ready to run."""

    def __init__(self, point: Point, runtime: Any) -> None:
        import torch

        from dd_core import (
            Distiller,
            DistillSettings,
            ExtractorPool,
            LabeledImages,
            NetworkSettings,
            SyntheticSettings,
            Term,
        )

        shape = (point.classes * max(point.real, 4), 3, point.resolution, point.resolution)
        images = LabeledImages(
            torch.randint(256, shape, dtype=torch.uint8),
            torch.arange(point.classes).repeat_interleave(shape[0] // point.classes),
            w.MEAN,
            w.STD,
            tuple(str(label) for label in range(point.classes)),
        )
        network = NetworkSettings(depth=point.depth, width=point.width)
        settings = DistillSettings(
            objectives=(Term("ncfm", 300.0, {"n_frequencies": point.frequencies}),),
            synthetic=SyntheticSettings(ipc=point.ipc, factor=w.RHO, init="noise"),
            batch_real=point.real,
            augmentation=w.AUGMENTATION,
        )
        pool = ExtractorPool.random(
            network, channels=w.CHANNELS, size=point.resolution, n_classes=point.classes,
            count=_EXTRACTORS, seed=w.SEED,
        )  # fmt: skip
        self._distiller = Distiller(images, settings, network, pool, seed=w.SEED, runtime=runtime)
        self._iteration = 0
        for _ in range(_WARM_UP):
            self._last = self._run(1)

    def turn(self, seconds: float) -> float:
        """Run for about so long; returns the seconds of one iteration."""
        count = round(seconds / self._last)
        return self._run(max(1, min(count, _MOST_ITERATIONS)))

    def _run(self, iterations: int) -> float:
        begun = time.perf_counter()
        for _ in range(iterations):
            self._distiller.step(self._iteration)
            self._iteration += 1
        return (time.perf_counter() - begun) / iterations


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Slope of the least-squares line through the logarithms; 1 is growth in proportion.

    >>> round(slope([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])

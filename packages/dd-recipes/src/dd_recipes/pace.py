"""How fast this machine trains and distils, from a few steps on random images."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.minmax import Distiller
from dd_core.networks import network_for
from dd_core.runtime import Runtime
from dd_core.settings import DistillSettings, NetworkSettings, StudentSettings
from dd_core.training import TrainingSet, train

__all__ = ["Shape", "blank_images", "iteration_seconds", "relative_cost", "training_seconds"]

_CLASSES = 2  # of the trial; the cost of an iteration is proportional to the classes
_STEPS = (4, 12)  # of a training: the least, and the most, of batches that take hardly any time
_ENOUGH = 1.0  # seconds of training after which a trial of two steps will do
_SMALL = 256 * 32 * 32  # pixels after which the least is enough
_FULL = 64 * 32 * 32  # pixels that keep the cores of a processor busy: more cost in proportion


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cost of an image depends on.

    Attributes:
        network: Architecture.
        channels: Colour channels.
        size: Height and width.
        n_classes: Classes.
    """

    network: NetworkSettings
    channels: int
    size: int
    n_classes: int


def blank_images(shape: Shape, per_class: int, *, random: bool = False) -> LabeledImages:
    """Images of a data set's size without its content; memory is taken as they are written to.

    Args:
        shape: Channels, size and classes.
        per_class: Images of each class.
        random: Random pixels in place of whatever the memory holds.
    """
    n = shape.n_classes * per_class
    dimensions = (n, shape.channels, shape.size, shape.size)
    pixels = torch.empty(dimensions, dtype=torch.uint8)
    if random:
        pixels.random_(0, 256)
    labels = torch.arange(shape.n_classes).repeat_interleave(per_class)
    names = tuple(str(label) for label in range(shape.n_classes))
    return LabeledImages(
        pixels, labels, (0.5,) * shape.channels, (0.25,) * shape.channels, names
    )  # fmt: skip


def training_seconds(
    shape: Shape, batch: int, augmentation: str, cutmix: float, runtime: Runtime
) -> float:
    """Seconds to train a network on one image, forward, backward and step: a median of few steps.

    Args:
        shape: Network and images.
        batch: Images a step.
        augmentation: Strategy string.
        cutmix: Probability of CutMix.
        runtime: Device and precision.
    """
    batch = min(batch, _full(shape, runtime))
    images = blank_images(replace(shape, n_classes=_CLASSES), batch, random=True)
    network = network_for(images, shape.network, 0).to(runtime.device)
    optimizer = torch.optim.SGD(network.parameters(), 0.01, momentum=0.9)
    data = TrainingSet(
        images.pixels.to(runtime.device), images.labels.to(runtime.device),
        images.mean, images.std,
    )  # fmt: skip
    least, most = _STEPS
    steps = max(least, min(most, _SMALL // (batch * shape.size**2)))
    settings = StudentSettings(
        steps=steps, batch_size=batch, augmentation=augmentation, cutmix=cutmix
    )
    clock = _Clock(runtime)

    def lap(*_: object) -> None:
        clock.lap()
        if clock.laps > 1 and clock.seconds > _ENOUGH:
            raise _Stop

    with tempfile.TemporaryDirectory() as folder, suppress(_Stop):
        train(
            network, optimizer, data, settings, seeds=[0], runtime=runtime,
            state=Path(folder) / "state", key="pace", checkpoint_seconds=1e9,
            after_step=lap,
        )  # fmt: skip
    return clock.median() / batch


def _full(shape: Shape, runtime: Runtime) -> int:
    """Images that keep a processor's cores busy, so that twice as many take twice the time."""
    return max(1, _FULL // shape.size**2) if runtime.device.type == "cpu" else sys.maxsize


def relative_cost(shape: Shape, other: NetworkSettings) -> float:
    """What another ConvNet costs an image, in the cost of a shape's own: a ratio of products.

    Products of a 3 x 3 convolution are 9 * inputs * outputs * pixels; norms, pools and the
    classifier are left out. Networks that are no ConvNets count as one of depth 3 and width 128.

    Example:
        >>> shape = Shape(NetworkSettings(depth=1, width=64), channels=3, size=32, n_classes=10)
        >>> relative_cost(shape, NetworkSettings(depth=1, width=128))
        2.0
    """
    return _products(shape, other) / _products(shape, shape.network)


def _products(shape: Shape, network: NetworkSettings) -> float:
    usual = NetworkSettings()
    convnet = network.architecture == "convnet"
    depth, width = (network.depth, network.width) if convnet else (usual.depth, usual.width)
    inputs = [shape.channels] + [width] * (depth - 1)
    return float(sum(9 * n * width * shape.size**2 / 4**block for block, n in enumerate(inputs)))


def iteration_seconds(
    shape: Shape, settings: DistillSettings, runtime: Runtime, *, warm: bool = False
) -> float:
    """Seconds of one iteration of a distillation, from a trial with one or two classes.

    Where an extractor is held for k iterations, the trial goes through the k, so that the forward
    pass of the real images is counted once for each. The frequencies are drawn for all classes
    together; trials of one and of two classes with hardly any images tell what that takes, and
    the rest grows with the classes.

    Args:
        shape: Extractor and images.
        settings: The distillation.
        runtime: Device and precision.
        warm: Whether such a trial came before, so that nothing is left to set up in a first cycle.
    """
    classes = 1 if settings.batch_real >= 2 * _full(shape, runtime) else _CLASSES
    few = replace(shape, n_classes=min(classes, shape.n_classes))
    synthetic = settings.synthetic
    init = replace(synthetic, init="real", init_file="") if synthetic.init == "file" else synthetic
    trial, shared = replace(settings, synthetic=init), 0.0
    if _shares_frequencies(settings):
        least = replace(trial, batch_real=1, synthetic=replace(init, ipc=1))
        one = _pace(replace(shape, n_classes=1), least, runtime, warm=warm)
        two = _pace(replace(shape, n_classes=2), least, runtime, warm=True)
        shared, warm = max(0.0, 2 * one - two), True
    pace = _pace(few, trial, runtime, warm=warm)
    shared = min(pace, shared)
    return shared + (pace - shared) * shape.n_classes / few.n_classes


def _shares_frequencies(settings: DistillSettings) -> bool:
    """Whether an iteration draws frequencies once for all classes, through psi or without."""
    draws = any("n_frequencies" in term.options for term in settings.objectives)
    return draws and settings.step == "joint" and settings.frequency_draws == "shared"


def _pace(shape: Shape, settings: DistillSettings, runtime: Runtime, *, warm: bool) -> float:
    """Seconds of an iteration on images of these classes, a mean over one cycle of ``hold``."""
    settings, synthetic = _with_heads(settings, shape.n_classes), settings.synthetic
    enough = max(settings.batch_real, synthetic.ipc * synthetic.factor**2)
    images = blank_images(shape, enough, random=True)
    pool = None
    if settings.extractor == "blend":
        pool = ExtractorPool.random(
            shape.network, channels=shape.channels, size=shape.size, n_classes=shape.n_classes,
            count=1, seed=0,
        )  # fmt: skip
    distiller = Distiller(images, settings, shape.network, pool, seed=0, runtime=runtime)
    done = 0 if warm else 1
    for iteration in range(done):
        distiller.step(iteration)
    clock = _Clock(runtime)
    for iteration in range(done, done + settings.hold):  # of which one begins a cycle
        distiller.step(iteration)
    clock.lap()
    return clock.median() / settings.hold


def _with_heads(settings: DistillSettings, n_classes: int) -> DistillSettings:
    """The settings with no more classes for the head than the trial has; the cost is the same."""
    terms = tuple(
        replace(term, options={**term.options, "n_head": min(int(heads), n_classes)})
        if (heads := term.options.get("n_head"))
        else term
        for term in settings.objectives
    )
    return replace(settings, objectives=terms)


class _Stop(Exception):
    """A trial has taken long enough; nothing is wrong."""


class _Clock:
    """Laps between calls; the first lap of several, in which things are set up, is left out."""

    def __init__(self, runtime: Runtime) -> None:
        self._finish: Callable[[], None] = (
            torch.cuda.synchronize if runtime.device.type == "cuda" else lambda: None
        )
        self._laps = list[float]()
        self._last = self._now()

    def _now(self) -> float:
        self._finish()
        return time.perf_counter()

    def lap(self) -> None:
        now = self._now()
        self._laps.append(now - self._last)
        self._last = now

    @property
    def laps(self) -> int:
        return len(self._laps)

    @property
    def seconds(self) -> float:
        return sum(self._laps)

    def median(self) -> float:
        return statistics.median(self._laps[1:] or self._laps)

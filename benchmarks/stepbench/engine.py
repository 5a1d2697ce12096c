"""Whole iterations of dd-core's ``step="per_class"`` and of the official code on equal inputs.

Equal are the real images, the synthetic start, the weights of the two networks and the frequencies
of each class. Neither side augments, since the official code draws its own random numbers for that;
its normalisation stays. All else is each side's own: loss functions, decoding of the views, order
of the classes, optimiser, clamp. As each class's step moves the images of all classes, losses agree
beyond the first only where the steps agree too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from stepbench import workload as w
from stepbench.checkout import Checkout
from stepbench.official import Iteration, arguments

if TYPE_CHECKING:
    from torch import Tensor

    from dd_core import Distiller, DistillSettings

TOLERANCE = 1e-4
"""Largest difference of a loss, as a part of it. Sums of float32 in another order differ by about
1e-7; AdamW's first steps, as long as the rate however small a gradient is, make 1e-5 of it."""

PIXEL_TOLERANCE = 0.01
"""Largest difference of the pixels, as a part of how far they moved, both in the mean."""

ITERATIONS = 3
_WORK = w.Workload("check", ipc=2, real=16, frequencies=256)
_SPARE = 8  # real images a class that the official loader never uses
_LOSSES = ("match", "calibration")


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss of one iteration, the mean over the classes.

    Attributes:
        iteration: Number of the iteration, from 1.
        name: ``match`` or ``calibration``.
        ours: Value with ``step="per_class"``.
        official: Value of the official functions.
        joint: Value with ``step="joint"``, which should differ from the second iteration on.
    """

    iteration: int
    name: str
    ours: float
    official: float
    joint: float

    @property
    def difference(self) -> float:
        """Difference of ours from the official value, as a part of the latter."""
        return abs(self.ours - self.official) / abs(self.official)

    @property
    def joint_difference(self) -> float:
        """The same with the joint step."""
        return abs(self.joint - self.official) / abs(self.official)


@dataclass(frozen=True, slots=True)
class EngineCheck:
    """What came of the comparison.

    Attributes:
        losses: Both losses of every iteration.
        pixels: Mean absolute difference of the synthetic images at the end.
        moved: Mean absolute change of the official ones from the start to the end.
    """

    losses: tuple[Loss, ...]
    pixels: float
    moved: float

    @property
    def largest(self) -> float:
        """Largest difference of a loss."""
        return max(each.difference for each in self.losses)

    @property
    def control(self) -> float:
        """Largest difference of a loss with the joint step: what the check is able to see."""
        return max(each.joint_difference for each in self.losses)

    @property
    def equal(self) -> bool:
        """Whether losses and pixels agree."""
        return self.largest <= TOLERANCE and self.pixels <= PIXEL_TOLERANCE * self.moved

    @property
    def good(self) -> bool:
        """Whether they agree, and the losses of another step would not have agreed."""
        return self.equal and self.control > 10 * TOLERANCE


def check_engine(checkout: Checkout) -> EngineCheck:
    """Run a few iterations of both sides in float32.

    Raises:
        ImportError: dd-core, torch or a part of the checkout cannot be imported.
    """
    import torch

    checkout.load_all()
    pixels, labels = _real_images()
    settings = _official_settings()
    ours = _distiller(settings, pixels, labels)
    joint = _distiller(replace(settings, step="joint"), pixels, labels)
    args = arguments(checkout, _WORK)
    args.aug_type = "none"
    official = Iteration(checkout, args, _WORK, pixels, labels)
    start = ours.pixels.detach().flatten(0, 1).clone()
    official.condenser.data.data = start.clone()
    model, trained = (_network(checkout, args) for _ in range(2))
    losses: list[Loss] = []
    for iteration in range(ITERATIONS):
        with _recorded() as frequencies:
            found = ours.step(iteration).tolist()
        control = joint.step(iteration).tolist()
        _copy_weights(ours.extractor.blended, model)
        assert ours.extractor.trained is not None
        _copy_weights(ours.extractor.trained, trained)
        drawn = iter(frequencies)
        wanted = official.run(model, trained, lambda _, drawn=drawn: next(drawn))
        losses += [
            Loss(iteration + 1, name, a, b / w.CLASSES, c)
            for name, a, b, c in zip(_LOSSES, found, wanted, control, strict=True)
        ]
    with torch.no_grad():
        end = official.condenser.data.clamp(0, 1)  # which it does when the next iteration begins
        gap = float((ours.pixels.flatten(0, 1) - end).abs().mean())
        moved = float((end - start).abs().mean())
    return EngineCheck(tuple(losses), gap, moved)


def _official_settings() -> "DistillSettings":
    from dd_core import DistillSettings, SyntheticSettings, Term

    return DistillSettings(
        objectives=(Term("ncfm", 300.0, {"n_frequencies": _WORK.frequencies, "alpha": 0.5}),),
        synthetic=SyntheticSettings(ipc=_WORK.ipc, factor=w.RHO, init="mix"),
        iterations=ITERATIONS,
        batch_real=_WORK.real,
        real_batches="first",
        step="per_class",
        optimizer="adamw",
        learning_rate=1e-3,
        weight_decay=5e-4,
        schedule="plateau",
        augmentation="none",
        frequency_draws="per_class",
        calibration=1.0,
    )


def _real_images() -> tuple[Any, Any]:
    """Random images of all classes in mixed order, more than one iteration uses."""
    pixels, labels = w.random_images(replace(_WORK, real=_WORK.real + _SPARE))
    order = np.random.default_rng(w.SEED).permutation(len(labels))
    return pixels[order], labels[order]


def _distiller(settings: "DistillSettings", pixels: Any, labels: Any) -> "Distiller":
    import torch

    from dd_core import Distiller, ExtractorPool, LabeledImages, NetworkSettings, choose_runtime

    names = tuple(str(label) for label in range(w.CLASSES))
    images = LabeledImages(torch.from_numpy(pixels), torch.from_numpy(labels), w.MEAN, w.STD, names)
    network = NetworkSettings(depth=w.DEPTH, width=w.WIDTH, norm="instance")
    pool = ExtractorPool.random(
        network, channels=w.CHANNELS, size=w.SIZE, n_classes=w.CLASSES, count=2, seed=w.SEED
    )
    runtime = choose_runtime("cpu", "float32", "off")
    return Distiller(images, settings, network, pool, seed=w.SEED, runtime=runtime)


@contextmanager
def _recorded() -> "Iterator[list[Tensor]]":
    """Keep the frequencies that our step draws meanwhile: those of each class in turn."""
    from dd_core.objectives.matching import Matching

    drawn: list[Tensor] = []
    sample = Matching.sample

    def record(self: Matching, *arguments: Any) -> "tuple[Tensor, ...]":
        found = sample(self, *arguments)
        drawn.append(found[0])
        return found

    with mock.patch.object(Matching, "sample", record):
        yield drawn


def _network(checkout: Checkout, args: Any) -> Any:
    """Build its ConvNet."""
    network = checkout.load("utils.utils").get_feature_extractor(args)[0]
    return network.requires_grad_(False).eval()


def _copy_weights(ours: Any, official: Any) -> None:
    """Give its ConvNet the weights of ours; layers are named otherwise."""
    names = {"convolutions": "layers.conv", "norms": "layers.norm", "classifier": "classifier"}
    weights = {}
    for name, tensor in ours.state_dict().items():
        head, _, rest = name.partition(".")
        weights[f"{names[head]}.{rest}"] = tensor
    official.load_state_dict(weights)

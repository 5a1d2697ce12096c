"""One loop that trains a classifier; the pool of extractors and the students both use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dd_core.augment import Augmentation, apply, normalize
from dd_core.checkpoint import load_state, optimizer_tensors, restore_optimizer, save_state
from dd_core.errors import NonFiniteError
from dd_core.images import LabeledImages
from dd_core.runtime import Runtime, generator

__all__ = [
    "TrainingSet",
    "TrainingSettings",
    "confusion_of",
    "total_steps",
    "train",
    "unfinished_progress",
]


_GUARD_INTERVAL = 25


class TrainingSettings(Protocol):
    """What the loop reads of settings; pretraining and students both have it."""

    @property
    def epochs(self) -> int:
        """Passes over the set."""

    @property
    def batch_size(self) -> int:
        """Images a step, at most the size of the set."""

    @property
    def learning_rate(self) -> float:
        """Rate before the first milestone."""

    @property
    def milestones(self) -> tuple[float, ...]:
        """Fractions of the training at which the rate falls."""

    @property
    def gamma(self) -> float:
        """Factor of the rate at each milestone."""

    @property
    def augmentation(self) -> str:
        """Strategy string."""

    @property
    def cutmix(self) -> float:
        """Probability of CutMix for a batch."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Images (uint8, or float in [0, 1]) of shape (n, channels, size, size) and labels.

    Labels are int64 of shape (n,), or float32 probabilities of the classes, of shape (n,
    n_classes): the loss is the cross-entropy either way. Images may stay on the host while the
    labels are on the device that trains.
    """

    images: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.images)


def total_steps(n: int, settings: TrainingSettings) -> int:
    """Optimiser steps: as set, or epochs * n / batch, batches being full always."""
    fixed: int = getattr(settings, "steps", 0)
    return fixed or max(1, round(settings.epochs * n / min(settings.batch_size, n)))


def train(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: TrainingSet,
    settings: TrainingSettings,
    *,
    seed: int,
    runtime: Runtime,
    state: Path,
    key: str,
    checkpoint_seconds: float,
    after_step: Callable[[int, Tensor, dict[str, object]], None],
) -> dict[str, object]:
    """Trains in place, storing its state now and then and going on from it.

    Batches are taken from one endless stream of permutations, so that each is full. Every draw
    follows from the seed and the step alone.

    Args:
        network: Returns logits; its parameters are trained. It is put in training mode.
        optimizer: Over the network's parameters; its rate follows ``settings``.
        data: The training set; its labels are on the runtime's device.
        settings: Epochs, batch size, rate, milestones, augmentation, CutMix.
        seed: Seed of order and augmentation.
        runtime: Device and precision.
        state: File of the unfinished state; removed by the caller when its result is stored.
        key: What the state belongs to.
        checkpoint_seconds: Time between two states.
        after_step: Called with the number of steps complete, the loss, and a dictionary of
            JSON-able facts that is stored with the state.

    Returns:
        The facts; ``seconds`` among them is the time of all attempts.

    Raises:
        NonFiniteError: The loss is NaN or infinite; the state before that step is stored.
    """
    augmentation = Augmentation.parse(settings.augmentation)
    batch = min(settings.batch_size, len(data))
    steps = total_steps(len(data), settings)
    forward = runtime.optimize(network.train())
    facts: dict[str, object] = {"seconds": 0.0}
    first, saved_at = 0, time.perf_counter()
    if (stored := load_state(state, key=key)) is not None:
        tensors, facts = stored
        network.load_state_dict({k: v for k, v in tensors.items() if "optimizer." not in k})
        restore_optimizer(optimizer, tensors)
        first = int(str(facts["step"]))
    earlier, started = float(str(facts.get("seconds", 0.0))), time.perf_counter()

    def save_now(step: int) -> None:
        facts["step"] = step
        save_state(state, {**network.state_dict(), **optimizer_tensors(optimizer)}, facts, key=key)

    for step in range(first, steps):
        index = _batch_of_stream(step, batch, len(data), seed)
        draws = generator(seed, "batch", step)
        chosen = data.images[index.to(data.images.device)].to(data.labels.device)
        images = normalize(chosen, data.mean, data.std)
        draw = augmentation.draw(batch, images.shape[-1], draws).to(images.device)
        images = apply(images[:, None], draw)[:, 0]
        images, other, share = _cutmix(images, settings.cutmix, draws)
        logits = forward(images.to(runtime.dtype))
        labels = data.labels[index.to(data.labels.device)]
        loss = share * F.cross_entropy(logits, labels)
        if other is not None:
            loss = loss + (1 - share) * F.cross_entropy(logits, labels[other])
        looked = runtime.device.type == "cpu" or step % _GUARD_INTERVAL == 0
        if looked and not torch.isfinite(loss):
            if _finite(network):
                save_now(step)
            raise NonFiniteError(
                f"The training loss is {loss.item()} at step {step} of {steps}. No state after it "
                "is stored; lower learning_rate, or use precision float32."
            )
        passed = sum(step >= milestone * steps for milestone in settings.milestones)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.gamma**passed
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        facts["seconds"] = earlier + time.perf_counter() - started
        after_step(step + 1, loss.detach(), facts)
        if time.perf_counter() - saved_at > checkpoint_seconds and step + 1 < steps:
            if _finite(network):
                save_now(step + 1)
            saved_at = time.perf_counter()
    return facts


def _finite(network: nn.Module) -> bool:
    """Whether all weights and running statistics are; the latter see a bad batch first."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


@torch.no_grad()
def confusion_of(network: nn.Module, images: LabeledImages, runtime: Runtime) -> Tensor:
    """How often an image of a class was taken for another, by the network in evaluation mode.

    Returns:
        int64 of shape (n_classes, n_classes) on the CPU: rows are true classes, columns predicted.
    """
    n, training = images.n_classes, network.training
    counts = torch.zeros(n * n, dtype=torch.int64, device=runtime.device)
    network.eval()
    for start in range(0, len(images), runtime.chunk_images):
        part = slice(start, start + runtime.chunk_images)
        x = normalize(images.take(part), images.mean, images.std)
        predicted = network(x.to(runtime.dtype)).argmax(1)
        counts += torch.bincount(images.labels[part] * n + predicted, minlength=n * n)
    network.train(training)
    return counts.view(n, n).cpu()


def unfinished_progress(state: Path, *, key: str) -> tuple[int, float]:
    """Steps and seconds that a stored unfinished state holds; zeros where there is none."""
    stored = load_state(state, key=key)
    if stored is None:
        return 0, 0.0
    return int(stored[1]["step"]), float(stored[1]["seconds"])


def _batch_of_stream(step: int, batch: int, n: int, seed: int) -> Tensor:
    """Positions step * batch and following in a stream of permutations of n images."""
    begin, end = step * batch, (step + 1) * batch
    parts = []
    for epoch in range(begin // n, (end - 1) // n + 1):
        order = _permutation(n, seed, epoch)
        parts.append(order[max(begin - epoch * n, 0) : end - epoch * n])
    return torch.cat(parts)


@lru_cache(maxsize=32)  # one stream for each network that is trained at the same time
def _permutation(n: int, seed: int, epoch: int) -> Tensor:
    return torch.randperm(n, generator=generator(seed, "order", epoch))


def _cutmix(
    images: Tensor, probability: float, draws: torch.Generator
) -> tuple[Tensor, Tensor | None, float]:
    """CutMix (Yun et al. 2019) with beta = 1: a box of each image comes from another.

    Returns the images, the indices of the others (None without CutMix) and the share of the
    image's own label.
    """
    coin, keep, *centre = torch.rand(4, generator=draws).tolist()
    other = torch.randperm(len(images), generator=draws)
    if coin >= probability:
        return images, None, 1.0
    size = images.shape[-1]
    half = size * (1 - keep) ** 0.5 / 2
    top, left = (max(0, int(c * size - half)) for c in centre)
    bottom, right = (min(size, int(c * size + half)) for c in centre)
    other = other.to(images.device)
    images = images.clone()
    images[:, :, top:bottom, left:right] = images[other, :, top:bottom, left:right]
    return images, other, 1 - (bottom - top) * (right - left) / size**2

"""One loop that trains a classifier; the pool of extractors and the students both use it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
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
    seeds: Sequence[int],
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
        network: Returns logits; its parameters are trained. It is put in training mode. With
            several seeds it is as many networks side by side, as `stack_networks` makes it; each
            sees batches of its own.
        optimizer: Over the network's parameters; its rate follows ``settings``.
        data: The training set; its labels are on the runtime's device.
        settings: Epochs, batch size, rate, milestones, augmentation, CutMix.
        seeds: Seed of order and augmentation of each network.
        runtime: Device and precision.
        state: File of the unfinished state; removed by the caller when its result is stored.
        key: What the state belongs to.
        checkpoint_seconds: Time between two states.
        after_step: Called with the number of steps complete, the loss of each network, and a
            dictionary of JSON-able facts that is stored with the state.

    Returns:
        The facts; ``seconds`` among them is the time of all attempts.

    Raises:
        NonFiniteError: A loss is NaN or infinite; the state before that step is stored.
    """
    batches = _Batches(data, settings, Augmentation.parse(settings.augmentation), tuple(seeds))
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
        parts = list(batches.of(step))
        images = torch.cat([part.images for part in parts], 1)
        logits = forward(images.to(runtime.dtype)).chunk(len(parts), 1)
        losses = torch.stack([part.loss(each) for part, each in zip(parts, logits, strict=True)])
        looked = runtime.device.type == "cpu" or step % _GUARD_INTERVAL == 0
        if looked and not torch.isfinite(losses).all():
            if _finite(network):
                save_now(step)
            bad = losses[~torch.isfinite(losses)][0].item()
            raise NonFiniteError(
                f"The training loss is {bad} at step {step} of {steps}. No state after it "
                "is stored; lower learning_rate, or use precision float32."
            )
        passed = sum(step >= milestone * steps for milestone in settings.milestones)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * settings.gamma**passed
        optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        optimizer.step()
        facts["seconds"] = earlier + time.perf_counter() - started
        after_step(step + 1, losses.detach(), facts)
        if time.perf_counter() - saved_at > checkpoint_seconds and step + 1 < steps:
            if _finite(network):
                save_now(step + 1)
            saved_at = time.perf_counter()
    return facts


def _finite(network: nn.Module) -> bool:
    """Whether all weights and running statistics are; the latter see a bad batch first."""
    return all(bool(torch.isfinite(tensor).all()) for tensor in network.state_dict().values())


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch of one network: its images, labels, and those that CutMix put into them."""

    images: Tensor
    labels: Tensor
    others: Tensor | None
    share: float

    def loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy, that of the labels mixed as the images are."""
        loss = self.share * F.cross_entropy(logits, self.labels)
        if self.others is not None:
            loss = loss + (1 - self.share) * F.cross_entropy(logits, self.others)
        return loss


@dataclass(frozen=True, slots=True)
class _Batches:
    """The batches of networks that are trained in step, on the device of the labels."""

    data: TrainingSet
    settings: TrainingSettings
    augmentation: Augmentation
    seeds: tuple[int, ...]

    def of(self, step: int) -> Iterator[_Batch]:
        """One batch for each seed; all are read and normalised at once."""
        data, batch = self.data, min(self.settings.batch_size, len(self.data))
        index = torch.cat([_batch_of_stream(step, batch, len(data), seed) for seed in self.seeds])
        chosen = data.images[index.to(data.images.device)].to(data.labels.device)
        labels = data.labels[index.to(data.labels.device)].split(batch)
        images = normalize(chosen, data.mean, data.std).split(batch)
        for seed, x, own in zip(self.seeds, images, labels, strict=True):
            draws = generator(seed, "batch", step)
            draw = self.augmentation.draw(batch, x.shape[-1], draws, x.device)
            augmented = apply(x[:, None], draw)[:, 0]
            mixed, other, share = _cutmix(augmented, self.settings.cutmix, draws)
            yield _Batch(mixed, own, None if other is None else own[other], share)


@torch.no_grad()
def confusion_of(network: nn.Module, images: LabeledImages, runtime: Runtime) -> Tensor:
    """How often an image of a class was taken for another, by the network in evaluation mode.

    Returns:
        int64 of shape (copies, n_classes, n_classes) on the CPU, copies being the networks that
        are side by side in this one: rows are true classes, columns predicted.
    """
    n, training, copies = images.n_classes, network.training, getattr(network, "copies", 1)
    counts = torch.zeros(copies, n * n, dtype=torch.int64, device=runtime.device)
    network.eval()
    chunk = max(1, runtime.chunk_images // copies)
    for start in range(0, len(images), chunk):
        part = slice(start, start + chunk)
        x = normalize(images.take(part), images.mean, images.std).to(runtime.dtype)
        logits = network(x.repeat(1, copies, 1, 1))
        for count, each in zip(counts, logits.chunk(copies, 1), strict=True):
            count += torch.bincount(images.labels[part] * n + each.argmax(1), minlength=n * n)
    network.train(training)
    return counts.view(copies, n, n).cpu()


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

"""Trains the pool of extractors; each network is stored as soon as it is done."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from dd_core.checkpoint import fingerprint, load_state, save_state
from dd_core.errors import DataError
from dd_core.events import Listener, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.networks import network_for
from dd_core.progress import Phase
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, PretrainSettings
from dd_core.training import TrainingSet, total_steps, train, unfinished_progress

__all__ = ["pretrain_pool"]


def pretrain_pool(
    images: LabeledImages,
    network: NetworkSettings,
    settings: PretrainSettings,
    *,
    folder: Path,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str = "pool",
    checkpoint_seconds: float = 5.0,
) -> ExtractorPool:
    """Trains networks one after the other with SGD and keeps initial and trained weights.

    Source: NCFM, Sec. 4.2.3 and the official pretraining script (20 networks, 60 epochs).

    Args:
        images: Real training images.
        network: The architecture of all networks.
        settings: Number, length and rates.
        folder: Where weights and unfinished states are kept; a second call goes on from there.
        seed: Seed of weights, order and augmentation.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phase in the events.
        checkpoint_seconds: Time between two stored states.

    Raises:
        CheckpointError: The folder belongs to other settings, or a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    images = images.to(runtime.device)
    data = TrainingSet(images.pixels, images.labels, images.mean, images.std)
    steps = total_steps(len(data), settings)
    key = fingerprint(asdict(network), asdict(settings), seed, images.fingerprint(), runtime.dtype)
    stored = [load_state(_path(folder, i), key=key) for i in range(settings.networks)]
    complete = sum(entry is not None for entry in stored)
    earlier = sum(float(entry[1]["seconds"]) for entry in stored if entry is not None)
    begun = [
        (0, 0.0) if entry is not None else unfinished_progress(_unfinished(folder, i), key=key)
        for i, entry in enumerate(stored)
    ]
    progress = Phase(
        phase,
        settings.networks * steps,
        "step",
        listen,
        done=complete * steps + sum(done for done, _ in begun),
        seconds=earlier + sum(seconds for _, seconds in begun),
    )
    for number, entry in enumerate(stored):
        if entry is None:
            stored[number] = _train_one(
                data, images, network, settings, number,
                folder=folder, seed=seed, runtime=runtime, key=key,
                progress=progress, checkpoint_seconds=checkpoint_seconds,
            )  # fmt: skip
    if complete < settings.networks:
        progress.finish()
    initial, trained = (tuple(_side(entry, side) for entry in stored) for side in _SIDES)
    seconds = sum(float(str(entry[1]["seconds"])) for entry in stored if entry is not None)
    return ExtractorPool(initial, trained, seconds)


_SIDES = ("initial", "trained")


def _train_one(
    data: TrainingSet,
    images: LabeledImages,
    network: NetworkSettings,
    settings: PretrainSettings,
    number: int,
    *,
    folder: Path,
    seed: int,
    runtime: Runtime,
    key: str,
    progress: Phase,
    checkpoint_seconds: float,
) -> tuple[dict[str, Tensor], dict[str, object]]:
    model = network_for(images, network, generator(seed, "pool", number).initial_seed())
    tensors = {f"initial.{k}": v.detach().clone() for k, v in model.named_parameters()}
    model = model.to(runtime.device)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    unfinished = _unfinished(folder, number)
    before = progress.done - unfinished_progress(unfinished, key=key)[0]

    def after_step(step: int, loss: Tensor, facts: dict[str, object]) -> None:
        values = {"loss": loss.item()} if progress.due() else None
        progress.advance(before + step, values)

    facts = train(
        model, optimizer, data, settings,
        seed=generator(seed, "pool training", number).initial_seed(), runtime=runtime,
        state=unfinished, key=key, checkpoint_seconds=checkpoint_seconds, after_step=after_step,
    )  # fmt: skip
    tensors |= {f"trained.{k}": v.detach().cpu() for k, v in model.named_parameters()}
    facts = {"seconds": facts["seconds"]}
    save_state(_path(folder, number), tensors, facts, key=key)
    unfinished.unlink(missing_ok=True)
    return tensors, facts


def _path(folder: Path, number: int) -> Path:
    return folder / f"network_{number:03d}.safetensors"


def _unfinished(folder: Path, number: int) -> Path:
    return folder / f"network_{number:03d}.unfinished"


def _side(
    entry: tuple[dict[str, Tensor], dict[str, object]] | None, side: str
) -> dict[str, Tensor]:
    if entry is None:
        raise DataError("a network of the pool is missing; run the pretraining again.")
    return {k.removeprefix(f"{side}."): v for k, v in entry[0].items() if k.startswith(f"{side}.")}

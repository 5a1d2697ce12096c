"""Trains the pool of extractors; each network is stored as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from dd_core._arguments import as_instance, as_number, as_path, as_seed
from dd_core.checkpoint import fingerprint, load_state, save_state
from dd_core.events import Listener, ignore
from dd_core.extractors import (
    ExtractorPool,
    join_sides,
    network_file,
    network_weights,
    pool_manifest,
)
from dd_core.images import LabeledImages
from dd_core.networks import network_for
from dd_core.progress import Phase
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, PretrainSettings
from dd_core.side_by_side import count_workers, run_side_by_side
from dd_core.training import TrainingSet, total_steps, train, unfinished_progress

__all__ = ["pretrain_pool"]

_AfterStep = Callable[[int, Tensor], None]


def pretrain_pool(
    images: LabeledImages,
    network: NetworkSettings,
    settings: PretrainSettings,
    *,
    folder: Path | str,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str = "pool",
    checkpoint_seconds: float = 5.0,
    workers: int | Literal["auto"] = 1,
) -> ExtractorPool:
    """Trains networks with SGD and keeps initial and trained weights.

    Source: NCFM, Sec. 4.2.3 and the official pretraining script (20 networks, 60 epochs).

    Networks may be trained side by side, each with its share of the CPU threads. A network's
    result follows from the seed, its number and its threads, not from what runs beside it: two
    workers with one thread each give the bits that one worker with one thread gives. Other
    numbers of threads change it by rounding.

    Args:
        images: Real training images.
        network: The architecture of all networks.
        settings: Number, length and rates.
        folder: Where weights and unfinished states are kept; a second call goes on from there,
            and `ExtractorPool.load` reads it when all networks are done.
        seed: Seed of weights, order and augmentation.
        runtime: Device and precision.
        listen: Receives events, in the thread of the caller.
        phase: Name of the phase in the events.
        checkpoint_seconds: Time between two stored states.
        workers: Networks trained at a time, each with ``runtime.threads // workers`` threads;
            ``auto`` takes one for each thread on the CPU, and 1 elsewhere.

    Raises:
        CheckpointError: The folder belongs to other settings, or a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
        SettingsError: An argument is of the wrong type or impossible, or ``workers`` is more than
            1 for compiled networks.
    """
    as_instance("images", images, LabeledImages)
    as_instance("network", network, NetworkSettings)
    as_instance("settings", settings, PretrainSettings)
    as_instance("runtime", runtime, Runtime)
    folder, seed = as_path("folder", folder), as_seed(seed)
    checkpoint_seconds = as_number("checkpoint_seconds", checkpoint_seconds)
    count_workers(workers, runtime, settings.networks)
    images = images.to(runtime.device)
    trainer = _Trainer(
        images, network, settings, folder, seed, runtime, checkpoint_seconds,
        fingerprint(asdict(network), asdict(settings), seed, images.fingerprint(), runtime.dtype),
    )  # fmt: skip
    done, seconds, missing = trainer.progress()
    progress = Phase(
        phase, settings.networks * trainer.steps, "step", listen, done=sum(done), seconds=seconds
    )

    def report(number: int, step: int, loss: Tensor) -> None:
        done[number] = step
        progress.advance(sum(done), {"loss": loss.item()} if progress.due() else None)

    many = count_workers(workers, runtime, len(missing))
    run_side_by_side(trainer.run, missing, many, report, threads=runtime.threads)
    if missing:
        progress.finish()
    return ExtractorPool.load(folder)


@dataclass(frozen=True)
class _Trainer:
    """Trains the networks of one pool, one a call, in any order and thread."""

    images: LabeledImages
    network: NetworkSettings
    settings: PretrainSettings
    folder: Path
    seed: int
    runtime: Runtime
    checkpoint_seconds: float
    key: str

    @property
    def steps(self) -> int:
        """Optimiser steps of one network."""
        return total_steps(len(self.images), self.settings)

    def progress(self) -> tuple[list[int], float, list[int]]:
        """Steps of each network from earlier attempts, their time together, and who is missing."""
        done, seconds, missing = [], 0.0, []
        for number in range(self.settings.networks):
            stored = load_state(network_file(self.folder, number), key=self.key)
            if stored is not None:
                steps, time = self.steps, float(stored[1]["seconds"])
            else:
                steps, time = unfinished_progress(self._unfinished(number), key=self.key)
                missing.append(number)
            done.append(steps)
            seconds += time
        return done, seconds, missing

    def run(self, number: int, after_step: _AfterStep) -> None:
        """Trains one network, from its stored state if there is one, and stores it."""
        images, settings = self.images, self.settings
        model = network_for(
            images, self.network, generator(self.seed, "pool", number).initial_seed()
        )
        initial = {name: t.clone() for name, t in network_weights(model).items()}
        model = model.to(self.runtime.device)
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        facts = train(
            model, optimizer,
            TrainingSet(images.pixels, images.labels, images.mean, images.std), settings,
            seed=generator(self.seed, "pool training", number).initial_seed(),
            runtime=self.runtime, state=self._unfinished(number), key=self.key,
            checkpoint_seconds=self.checkpoint_seconds,
            after_step=lambda step, loss, _: after_step(step, loss),
        )  # fmt: skip
        manifest = pool_manifest(images, self.network, settings.networks)
        save_state(
            network_file(self.folder, number),
            join_sides(initial, network_weights(model)),
            {"seconds": facts["seconds"], "pool": manifest},
            key=self.key,
        )
        self._unfinished(number).unlink(missing_ok=True)

    def _unfinished(self, number: int) -> Path:
        return self.folder / f"network_{number:03d}.unfinished"

"""Trains the pool of extractors; each network is stored as soon as it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from dd_core._arguments import as_count, as_instance, as_number, as_path, as_seed
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
from dd_core.networks import Network, network_for, stack_networks, unstack_network
from dd_core.progress import Phase
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, PretrainSettings
from dd_core.side_by_side import count_workers, run_side_by_side
from dd_core.together import (
    computes_as_one,
    kept_choice,
    lot_file,
    lot_of,
    lot_starts,
    step_seconds,
)
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
    numbers of threads change it by rounding, and so does a GPU that computes several networks as
    one (`dd_core.networks.stack_networks`).

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
        workers: Networks trained at a time. On the CPU each has ``runtime.threads // workers``
            threads, and ``auto`` takes one for each thread. On a GPU ``auto`` takes all, as many
            as its memory holds, or 1, whichever is fastest in a trial of some steps; the folder
            keeps what was chosen.

    Raises:
        CheckpointError: The folder belongs to other settings, or a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
        SettingsError: An argument is of the wrong type or impossible, or ``workers`` is more than
            1 for compiled networks on the CPU.
    """
    as_instance("images", images, LabeledImages)
    as_instance("network", network, NetworkSettings)
    as_instance("settings", settings, PretrainSettings)
    as_instance("runtime", runtime, Runtime)
    folder, seed = as_path("folder", folder), as_seed(seed)
    checkpoint_seconds = as_number("checkpoint_seconds", checkpoint_seconds)
    together = 1
    if not (as_one := computes_as_one(runtime)):
        count_workers(workers, runtime, settings.networks)
    elif workers != "auto":
        together = min(as_count("workers", workers), settings.networks)
    images = images.to(runtime.device)
    trainer = _Trainer(
        images, network, settings, folder, seed, runtime, checkpoint_seconds,
        fingerprint(asdict(network), asdict(settings), seed, images.fingerprint(), runtime.dtype),
    )  # fmt: skip
    if as_one and workers == "auto":
        together = kept_choice(folder, trainer.key, settings.networks, trainer.steps, trainer.trial)
    trainer = replace(trainer, together=together)
    done, seconds, missing = trainer.progress()
    progress = Phase(
        phase, settings.networks * trainer.steps, "step", listen, done=sum(done), seconds=seconds
    )

    def report(first: int, step: int, loss: Tensor) -> None:
        for number in trainer.lot(first):
            done[number] = step
        progress.advance(sum(done), {"loss": loss.item()} if progress.due() else None)

    many = 1 if as_one else count_workers(workers, runtime, len(missing))
    firsts = lot_starts(missing, together)
    run_side_by_side(trainer.run, firsts, many, report, threads=runtime.threads)
    if missing:
        progress.finish()
    return ExtractorPool.load(folder)


@dataclass(frozen=True)
class _Trainer:
    """Trains the networks of one pool, a lot a call, in any order and thread.

    A lot is ``together`` networks, one network for the device.
    """

    images: LabeledImages
    network: NetworkSettings
    settings: PretrainSettings
    folder: Path
    seed: int
    runtime: Runtime
    checkpoint_seconds: float
    key: str
    together: int = 1

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
                lot = self.lot(number)
                steps, time = unfinished_progress(self._unfinished(lot), key=self.key)
                time /= len(lot)
                missing.append(number)
            done.append(steps)
            seconds += time
        return done, seconds, missing

    def lot(self, number: int) -> range:
        """The networks that are trained with this one."""
        return lot_of(number, self.together, self.settings.networks)

    def run(self, first: int, after_step: _AfterStep) -> None:
        """Trains one lot, from its stored state if there is one, and stores its networks."""
        lot = self.lot(first)
        models, stack, optimizer = self._begin(lot)
        initial = [
            {name: t.clone() for name, t in network_weights(model).items()} for model in models
        ]
        facts: dict[str, Any] = train(
            stack, optimizer, self._data, self.settings, seeds=self._seeds(lot),
            runtime=self.runtime, state=self._unfinished(lot), key=self.key,
            checkpoint_seconds=self.checkpoint_seconds,
            after_step=lambda step, losses, _: after_step(step, losses.mean()),
        )  # fmt: skip
        unstack_network(stack, models)
        manifest = pool_manifest(self.images, self.network, self.settings.networks)
        for number, before, model in zip(lot, initial, models, strict=True):
            save_state(
                network_file(self.folder, number),
                join_sides(before, network_weights(model)),
                {"seconds": facts["seconds"] / len(lot), "pool": manifest},
                key=self.key,
            )
        self._unfinished(lot).unlink(missing_ok=True)

    def trial(self, together: int) -> float:
        """Seconds of a step of that many networks as one."""
        lot = range(together)
        _, stack, optimizer = self._begin(lot)
        return step_seconds(
            stack, optimizer, self._data, self.settings, seeds=self._seeds(lot),
            runtime=self.runtime,
        )  # fmt: skip

    def _begin(self, lot: range) -> tuple[list[Network], Network, torch.optim.Optimizer]:
        """Untrained networks on the CPU, the same as one on the device, and its optimiser."""
        settings = self.settings
        starts = [generator(self.seed, "pool", number).initial_seed() for number in lot]
        models = [network_for(self.images, self.network, start) for start in starts]
        stack = stack_networks(models).to(self.runtime.device)
        optimizer = torch.optim.SGD(
            stack.parameters(), lr=settings.learning_rate, momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )  # fmt: skip
        return models, stack, optimizer

    @property
    def _data(self) -> TrainingSet:
        images = self.images
        return TrainingSet(images.pixels, images.labels, images.mean, images.std)

    def _seeds(self, lot: range) -> list[int]:
        return [generator(self.seed, "pool training", n).initial_seed() for n in lot]

    def _unfinished(self, lot: range) -> Path:
        return lot_file(self.folder, "network", lot)

"""A whole distillation: the one outer loop, stored now and then, resumed to the same bits."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from dd_core._arguments import as_bytes, as_count, as_instance, as_path, as_seed
from dd_core.artifact import DistilledSet
from dd_core.checkpoint import (
    fingerprint,
    load_record,
    load_state,
    locked,
    save_record,
    save_state,
)
from dd_core.errors import CheckpointError, NonFiniteError, SettingsError
from dd_core.events import Listener, Message, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.memory import Chunks, plan_memory
from dd_core.minmax import Distiller
from dd_core.progress import Phase
from dd_core.ranks import Ranks
from dd_core.runtime import Runtime
from dd_core.selection import as_distilled
from dd_core.settings import DistillSettings, NetworkSettings

__all__ = ["Distillation", "distill", "snapshot_folder"]

_COMPLETE = "complete.json"
_ASK_INTERVAL = 10


@dataclass(frozen=True)
class Distillation:
    """What a distillation gave.

    Attributes:
        distilled: The synthetic set.
        history: Mean loss over the classes of each iteration: ``match`` and ``calibration``.
        seconds: Time over all attempts.
    """

    distilled: DistilledSet
    history: dict[str, list[float]]
    seconds: float


def distill(
    images: LabeledImages,
    settings: DistillSettings,
    network: NetworkSettings,
    *,
    pool: ExtractorPool | None,
    folder: Path | str,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str | None = None,
    checkpoint_seconds: float = 5.0,
    memory_budget: int | None = None,
    ranks: Ranks | None = None,
    snapshots: Sequence[int] = (),
) -> Distillation:
    """Distils a set, storing its state now and then; a second call goes on from there.

    On the same CPU an interrupted and resumed run gives the same pixels, bit for bit. On CUDA the
    backward pass of bilinear resampling adds in no fixed order, so there they agree to rounding.

    Where memory runs out, half as many images are computed at once from then on, with one line in
    the log; numbers change by rounding only.

    Args:
        images: Real training images.
        settings: The method and all that it needs.
        network: The extractors' architecture.
        pool: Extractors from `pretrain_pool`; None for random ones.
        folder: Where state and result are kept; on several ranks the same folder for all.
        seed: Seed of every draw.
        runtime: Device and precision.
        listen: Receives events, on the first rank only.
        phase: Name of the phase in the events, by default ``distill`` and the method.
        checkpoint_seconds: Time between two stored states.
        memory_budget: Bytes that the run may take, see `plan_memory`.
        ranks: The processes that share the classes, from `join_ranks`.
        snapshots: Iterations, from 1 to ``settings.iterations``, after which the set is stored
            too, each as a `DistilledSet` in ``snapshots/ITERATION`` of the folder; see
            `snapshot_folder`.

    Raises:
        SettingsError, DataError: The settings do not fit the images, the budget is too small, or
            a snapshot is of no iteration.
        CheckpointError: The folder holds another run, or a damaged file.
        NonFiniteError: The loss is NaN or infinite; the last good state is stored.
    """
    as_instance("images", images, LabeledImages)
    as_instance("settings", settings, DistillSettings)
    as_instance("network", network, NetworkSettings)
    as_instance("runtime", runtime, Runtime)
    folder, seed = as_path("folder", folder), as_seed(seed)
    memory_budget = None if memory_budget is None else as_bytes("memory_budget", memory_budget)
    ranks = ranks or Ranks()
    listen = listen if ranks.first else ignore
    moments = _moments(snapshots, settings.iterations)
    pool = None if settings.extractor == "random" else pool
    start = settings.synthetic.init_file
    key = fingerprint(
        asdict(settings), asdict(network), seed, images.fingerprint(), runtime.dtype,
        None if pool is None else pool.fingerprint(),
        *([DistilledSet.load(Path(start)).fingerprint()] if start else []),
        *([moments] if moments else []),
    )  # fmt: skip
    name = phase or f"distill {settings.method}"
    with locked(folder) if ranks.first else nullcontext():
        if (complete := _load_complete(folder, key)) is not None:
            total = settings.iterations
            Phase(name, total, "iteration", listen, done=total, seconds=complete.seconds)
            return complete
        plan = plan_memory(
            images, settings, network, runtime,
            networks=1 if pool is None else len(pool), budget=memory_budget, ranks=ranks.size,
        )  # fmt: skip
        distiller = Distiller(
            images, settings, network, pool,
            seed=seed, runtime=runtime, chunks=plan.chunks, ranks=ranks,
        )  # fmt: skip
        if images.smallest_class < settings.batch_real:
            short = sum(size < settings.batch_real for size in images.class_sizes)
            text = f"{short} of {images.n_classes} classes have fewer than batch_real = "
            listen(Message(f"{text}{settings.batch_real} images and give all of theirs", "warning"))
        listen(Message(f"memory besides the program's own: {plan.summary}"))
        run = _Run(distiller, network, folder, key, name, listen, checkpoint_seconds)
        return run.to_the_end(moments)


def snapshot_folder(folder: Path | str, iteration: int) -> Path:
    """Where `distill` keeps the set as it was after an iteration, in the folder given to it."""
    return as_path("folder", folder) / "snapshots" / f"{iteration:06d}"


def _moments(snapshots: Sequence[int], iterations: int) -> tuple[int, ...]:
    moments = tuple(sorted({as_count("snapshots", number) for number in snapshots}))
    if moments and moments[-1] > iterations:
        raise SettingsError(
            f"snapshots are {moments}, but there are {iterations} iterations; give at most that."
        )
    return moments


class _Run:
    """The outer loop of one distillation with its stored states."""

    def __init__(
        self,
        distiller: Distiller,
        network: NetworkSettings,
        folder: Path,
        key: str,
        phase: str,
        listen: Listener,
        checkpoint_seconds: float,
    ) -> None:
        self._distiller, self._network, self._folder, self._key = distiller, network, folder, key
        self._listen, self._checkpoint_seconds = listen, checkpoint_seconds
        self._state = folder / "state.safetensors"
        self._first, seconds = 0, 0.0
        if (stored := load_state(self._state, key=key)) is not None:
            tensors, facts = stored
            best, since, factor = facts["plateau"]
            distiller.restore(tensors, (math.inf if best is None else best, since, factor))
            # The chunks too: in others the same sums would round otherwise.
            distiller.chunks = distiller.chunks.within(*facts["chunks"])
            self._first, seconds = facts["iteration"], facts["seconds"]
        distiller.on_short_memory = self._say_short_memory
        distiller.ranks.barrier()  # nobody writes before all have read
        total = distiller.settings.iterations
        self._progress = Phase(phase, total, "iteration", listen, done=self._first, seconds=seconds)
        self._saved_at = time.perf_counter()

    def to_the_end(self, snapshots: Sequence[int]) -> Distillation:
        """Runs all iterations that are left and stores the result."""
        distiller, progress = self._distiller, self._progress
        total = distiller.settings.iterations
        for iteration in range(self._first, total):
            losses = self._step(iteration)
            values = None
            if progress.due():
                values = {"match": losses[0].item()}
                if distiller.settings.calibration:
                    values["calibration"] = losses[1].item()
            progress.advance(iteration + 1, values)
            if iteration + 1 in snapshots:
                self._keep(iteration + 1)
            self._save_if_due(iteration + 1)
        _require_finite(distiller.state(), total)
        history = dict(zip(("match", "calibration"), distiller.history.tolist(), strict=True))
        result = Distillation(self._distilled(total), history, progress.seconds)
        if distiller.ranks.first:
            result.distilled.save(self._folder / "distilled")
            facts = {
                "seconds": result.seconds,
                "history": result.history,
                "distilled": result.distilled.fingerprint(),
            }
            save_record(self._folder / _COMPLETE, facts, key=self._key)
            self._state.unlink(missing_ok=True)
        distiller.ranks.barrier()
        progress.finish()
        return result

    def _step(self, iteration: int) -> Tensor:
        distiller = self._distiller
        try:
            return distiller.step(iteration)
        except NonFiniteError:
            if distiller.settings.step == "joint":
                self._save(iteration)  # a good state, from before the bad step; all ranks are here
            raise

    def _say_short_memory(self, iteration: int, chunks: Chunks) -> None:
        text = f"out of memory at iteration {iteration}: {chunks.images} real images and "
        self._listen(Message(f"{text}{chunks.views} views at once from now on", "warning"))

    def _keep(self, iteration: int) -> None:
        """Stores the set; again, with the same pixels, where a run goes on from before it."""
        _require_finite({"pixels": self._distiller.pixels}, iteration)
        distilled = self._distilled(iteration)
        if self._distiller.ranks.first:
            distilled.save(snapshot_folder(self._folder, iteration))

    def _distilled(self, iteration: int) -> DistilledSet:
        """The set as it is; collective."""
        distiller, settings = self._distiller, self._distiller.settings
        synthetic = settings.synthetic
        provenance: dict[str, object] = {
            "method": settings.method,
            "settings": asdict(settings),
            "network": asdict(self._network),
            "seed": distiller.seed,
            "precision": distiller.runtime.precision,
            "iteration": iteration,
            "seconds": self._progress.seconds,
        }
        return as_distilled(
            distiller.all_pixels(), distiller.images, synthetic.factor, provenance,
            decode=synthetic.decode, bound=synthetic.bound,
        )  # fmt: skip

    def _save_if_due(self, iteration: int) -> None:
        ranks = self._distiller.ranks
        due = time.perf_counter() - self._saved_at > self._checkpoint_seconds
        if ranks.size > 1:
            # The first rank's clock decides; all take part, so asking is not for every iteration.
            due = iteration % _ASK_INTERVAL == 0 and ranks.any(due and ranks.first)
        if due:
            self._save(iteration)
            self._saved_at = time.perf_counter()

    def _save(self, iteration: int) -> None:
        distiller = self._distiller
        best, since, factor = distiller.schedule.plateau
        facts = {
            "iteration": iteration,
            "seconds": self._progress.seconds,
            "plateau": [best if math.isfinite(best) else None, since, factor],
            "chunks": [distiller.chunks.images, distiller.chunks.views],
        }
        tensors = distiller.state()
        _require_finite(tensors, iteration)
        if distiller.ranks.first:
            save_state(self._state, tensors, facts, key=self._key)


def _require_finite(tensors: Mapping[str, Tensor], iteration: int) -> None:
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"{name} is not finite after iteration {iteration}. The last good state is kept; "
                "begin in another folder with a lower learning_rate or in float32."
            )


def _load_complete(folder: Path, key: str) -> Distillation | None:
    facts = load_record(folder / _COMPLETE, key=key)
    if facts is None:
        return None
    distilled = DistilledSet.load(folder / "distilled")
    if distilled.fingerprint() != facts["distilled"]:
        raise CheckpointError(
            f"{folder / 'distilled'} is not the set that this run made. Put it back, or delete "
            f"{folder / _COMPLETE} to distil again."
        )
    return Distillation(distilled, facts["history"], facts["seconds"])

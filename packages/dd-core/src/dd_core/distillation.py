"""A whole distillation: the one outer loop, stored now and then, resumed to the same bits."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from dd_core.artifact import DistilledSet
from dd_core.checkpoint import fingerprint, load_state, save_state, write_atomically
from dd_core.errors import CheckpointError, NonFiniteError
from dd_core.events import Listener, Message, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.minmax import Distiller
from dd_core.progress import Phase
from dd_core.runtime import Runtime
from dd_core.selection import as_distilled
from dd_core.settings import DistillSettings, NetworkSettings

__all__ = ["Distillation", "distill"]

_COMPLETE = "complete.json"


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
    folder: Path,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str | None = None,
    checkpoint_seconds: float = 5.0,
) -> Distillation:
    """Distils a set, storing its state now and then; a second call goes on from there.

    On the same CPU an interrupted and resumed run gives the same pixels, bit for bit. On CUDA the
    backward pass of bilinear resampling adds in no fixed order, so there they agree to rounding.

    Args:
        images: Real training images.
        settings: The method and all that it needs.
        network: The extractors' architecture.
        pool: Extractors from `pretrain_pool`; None for random ones.
        folder: Where state and result are kept.
        seed: Seed of every draw.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phase in the events, by default ``distill`` and the method.
        checkpoint_seconds: Time between two stored states.

    Raises:
        SettingsError, DataError: The settings do not fit the images.
        CheckpointError: The folder holds another run, or a damaged file.
        NonFiniteError: The loss is NaN or infinite; the last good state is stored.
    """
    key = fingerprint(
        asdict(settings), asdict(network), seed, images.fingerprint(), runtime.dtype,
        None if pool is None else pool.fingerprint(),
    )  # fmt: skip
    if (complete := _load_complete(folder, key)) is not None:
        phase_name = phase or f"distill {settings.method}"
        Phase(phase_name, settings.iterations, "iteration", listen,
              done=settings.iterations, seconds=complete.seconds)  # fmt: skip
        return complete
    distiller = Distiller(images, settings, network, pool, seed=seed, runtime=runtime)
    if distiller.batch_real < settings.batch_real:
        smallest = f"the smallest class has {distiller.batch_real} images"
        listen(Message(f"batch_real is {distiller.batch_real}: {smallest}", "warning"))
    state = folder / "state.safetensors"
    first, seconds = 0, 0.0
    if (stored := load_state(state, key=key)) is not None:
        tensors, facts = stored
        best, since, factor = facts["plateau"]
        distiller.restore(tensors, (math.inf if best is None else best, since, factor))
        first, seconds = facts["iteration"], facts["seconds"]
    progress = Phase(
        phase or f"distill {settings.method}",
        settings.iterations, "iteration", listen, done=first, seconds=seconds,
    )  # fmt: skip

    def save(iteration: int) -> None:
        _require_finite(distiller, iteration)
        best, since, factor = distiller.plateau
        plateau = [best if math.isfinite(best) else None, since, factor]
        facts = {"iteration": iteration, "seconds": progress.seconds, "plateau": plateau}
        save_state(state, distiller.state(), facts, key=key)

    saved_at = time.perf_counter()
    for iteration in range(first, settings.iterations):
        try:
            losses = distiller.step(iteration)
        except NonFiniteError:
            if bool(torch.isfinite(distiller.pixels).all()):
                save(iteration)  # a good state, from before the bad step
            raise
        values = None
        if progress.due():
            values = {"match": losses[0].item(), "calibration": losses[1].item()}
        progress.advance(iteration + 1, values)
        if time.perf_counter() - saved_at > checkpoint_seconds:
            save(iteration + 1)
            saved_at = time.perf_counter()
    _require_finite(distiller, settings.iterations)
    result = _complete(distiller, network, progress.seconds)
    result.distilled.save(folder / "distilled")
    facts = {"key": key, "seconds": result.seconds, "history": result.history}
    write_atomically(folder / _COMPLETE, json.dumps(facts).encode())
    state.unlink(missing_ok=True)
    progress.finish()
    return result


def _require_finite(distiller: Distiller, iteration: int) -> None:
    if not bool(torch.isfinite(distiller.pixels).all()):
        raise NonFiniteError(
            f"The pixels are not finite after iteration {iteration}. The last good state is kept; "
            "lower learning_rate, or use precision float32."
        )


def _complete(distiller: Distiller, network: NetworkSettings, seconds: float) -> Distillation:
    provenance: dict[str, object] = {
        "method": distiller.settings.method,
        "settings": asdict(distiller.settings),
        "network": asdict(network),
        "seed": distiller.seed,
        "precision": distiller.runtime.precision,
        "seconds": seconds,
    }
    distilled = as_distilled(
        distiller.pixels, distiller.images, distiller.settings.synthetic.factor, provenance
    )
    names = ("match", "calibration")
    history = dict(zip(names, distiller.history.tolist(), strict=True))
    return Distillation(distilled, history, seconds)


def _load_complete(folder: Path, key: str) -> Distillation | None:
    path = folder / _COMPLETE
    if not path.exists():
        return None
    try:
        facts = json.loads(path.read_bytes())
        found, history, seconds = facts["key"], facts["history"], float(facts["seconds"])
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); delete it to distil again.") from None
    if found != key:
        raise CheckpointError(
            f"{path} belongs to a distillation with other settings, data or seed. Use another "
            "folder, or delete this one."
        )
    return Distillation(DistilledSet.load(folder / "distilled"), history, seconds)

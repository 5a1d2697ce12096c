"""The phases of one cell: pool of extractors, small set, students.

Pools and sets lie in folders named after what they depend on, so that cells share them; each is
made by one process while others that need it wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from dd_core.artifact import DistilledSet
from dd_core.evaluation import Evaluation, evaluate
from dd_core.events import Listener, Message
from dd_core.extractors import ExtractorPool, frozen_network, network_weights
from dd_core.images import LabeledImages
from dd_core.networks import Network
from dd_core.pretrain import pretrain_pool
from dd_core.runtime import Runtime
from dd_core.selection import select_herding, select_kmeans, select_random
from dd_core.soft_labels import label_with_teacher
from dd_recipes.helpers import Call, Helpers, distill_together
from dd_recipes.recipe import Cell
from dd_recipes.runfolder import RunFolder, readable, waiting, write_json
from dd_recipes.sets import load_set, read_record, write_record
from dd_recipes.shelf import Shelf
from dd_recipes.work import Work

__all__ = ["Bench", "SmallSet", "make_set", "train_students"]


@dataclass(frozen=True, slots=True)
class Bench:
    """What the phases of all cells of one run share.

    Attributes:
        folder: The run folder.
        seed: Seed of everything.
        runtime: Device and precision.
        listen: Receives events.
        checkpoint_seconds: Time between two stored states.
        shelf: The data sets.
        helpers: Other processes, which share the distillations.
    """

    folder: RunFolder
    seed: int
    runtime: Runtime
    listen: Listener
    checkpoint_seconds: float
    shelf: Shelf
    helpers: Helpers

    @property
    def common(self) -> dict[str, Any]:
        """Arguments that all phase functions of dd-core take alike."""
        return {
            "seed": self.seed,
            "runtime": self.runtime,
            "listen": self.listen,
            "checkpoint_seconds": self.checkpoint_seconds,
        }


@dataclass(frozen=True, slots=True)
class SmallSet:
    """A small set in its folder.

    Attributes:
        key: Name of its folder.
        folder: The folder.
        distilled: The set.
        seconds: Time of its distillation; None for a choice of real images.
    """

    key: str
    folder: Path
    distilled: DistilledSet
    seconds: float | None


def make_set(bench: Bench, work: Work) -> SmallSet:
    """The small set of a cell: as it is stored, or made now.

    Args:
        bench: The run.
        work: The cell with its images.
    """
    key = work.set_key
    with _stored_or_held(bench, work, key) as stored:
        if stored is not None:
            return stored
        make = _unlabelled if key == work.plain_key else _labelled
        return _store(bench, work, key, *make(bench, work))


def train_students(
    bench: Bench,
    cell: Cell,
    small: DistilledSet,
    test: LabeledImages,
    folder: str = "students",
    part: str = "",
) -> Evaluation:
    """Trains the students of a cell on a set and tests them.

    Args:
        bench: The run.
        cell: The cell.
        small: What they are trained on.
        test: What they are tested on.
        folder: Where they are kept, in the cell's folder.
        part: What of the cell it is, for its name in the events.
    """
    return evaluate(
        small, test, cell.student_network, cell.students,
        folder=bench.folder.cell(cell.name) / folder,
        phase=f"students {cell.name}{part}", **bench.common,
    )  # fmt: skip


@contextmanager
def _stored_or_held(bench: Bench, work: Work, key: str) -> Iterator[SmallSet | None]:
    """The set if it is complete; else None, while its folder is held for making it."""
    if (stored := _stored(bench, key)) is not None:
        yield stored
        return

    def say() -> None:
        text = f"{work.cell.name} waits for its small set, which another process makes"
        bench.listen(Message(text))

    with waiting(bench.folder.set(key), say):
        yield _stored(bench, key)


def _stored(bench: Bench, key: str) -> SmallSet | None:
    folder = bench.folder.set(key)
    found = load_set(folder)
    return None if found is None else SmallSet(key, folder, found[0], found[1]["seconds"])


def _store(
    bench: Bench, work: Work, key: str, distilled: DistilledSet, record: dict[str, Any]
) -> SmallSet:
    folder, source = bench.folder.set(key), work.cell.data
    facts = asdict(source) | {
        "path": Path(source.path).name,  # nobody else's folders
        "fingerprint": work.data.train.fingerprint(),
    }
    distilled = replace(distilled, provenance={**distilled.provenance, "data": facts})
    distilled.save(folder / "distilled")
    write_record(folder, distilled, record)
    return SmallSet(key, folder, distilled, record["seconds"])


def _labelled(bench: Bench, work: Work) -> tuple[DistilledSet, dict[str, Any]]:
    """The set with its teacher's labels; the set without them is shared with other cells."""
    key, form = work.plain_key, work.cell.soft_labels
    with _stored_or_held(bench, work, key) as stored:
        plain = stored or _store(bench, work, key, *_unlabelled(bench, work))
    teacher = _first_network(_pool(bench, work), work.data.train.to(bench.runtime.device))
    assert form != "none"
    labelled = label_with_teacher(plain.distilled, teacher, form=form)
    losses = read_record(plain.folder).get("losses", {})
    return labelled, {"seconds": plain.seconds, "losses": losses, "unlabelled": key}


def _unlabelled(bench: Bench, work: Work) -> tuple[DistilledSet, dict[str, Any]]:
    """The set itself, and what is worth knowing of how it was made."""
    cell, images = work.cell, work.data.train
    chosen: dict[str, Any] = {"seconds": None, "losses": {}}
    if cell.kind == "random":
        return select_random(images, cell.synthetic, seed=bench.seed), chosen
    if cell.kind == "distill":
        bench.helpers.ranks.share(images.n_classes)  # refuses too many before a pool is trained
    pool = _pool(bench, work) if cell.looks_through_pool else None
    if cell.kind == "distill":
        return _distilled(bench, work, pool)
    assert pool is not None
    images = images.to(bench.runtime.device)
    features = _first_network(pool, images).features
    if cell.kind == "herding":
        return select_herding(images, cell.synthetic, features=features), chosen
    return select_kmeans(images, cell.synthetic, seed=bench.seed, features=features), chosen


def _distilled(
    bench: Bench, work: Work, pool: ExtractorPool | None
) -> tuple[DistilledSet, dict[str, Any]]:
    cell, device = work.cell, bench.runtime.device
    assert cell.distill is not None
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    call = Call(
        cell, tuple(work.snapshots), bench.folder.set(work.plain_key) / "distillation",
        None if pool is None else bench.folder.pool(work.pool_key),
        bench.shelf.root_of(cell.data), bench.seed, bench.runtime.as_record(),
        bench.checkpoint_seconds,
    )  # fmt: skip
    with bench.helpers.called(call) as ranks:
        result = distill_together(call, work.data.train, pool, bench.runtime, ranks, bench.listen)
    record: dict[str, Any] = {"seconds": result.seconds, "losses": result.history}
    if device.type == "cuda":
        record["gigabytes"] = torch.cuda.max_memory_allocated(device) / 1e9
    return result.distilled, record


def _pool(bench: Bench, work: Work) -> ExtractorPool:
    """The pool that a cell needs: as it is stored, or trained now."""
    cell, folder = work.cell, bench.folder.pool(work.pool_key)
    if readable(folder / "pool.json"):
        return ExtractorPool.load(folder)

    def say() -> None:
        text = f"{cell.name} waits for its pool of extractors, which another process trains"
        bench.listen(Message(text))

    with waiting(folder, say):
        pool = pretrain_pool(
            work.data.train, cell.network, cell.pretrain, folder=folder,
            phase=f"pool {cell.name}", workers="auto", **bench.common,
        )  # fmt: skip
        about = {"data": work.data.name, "network": asdict(cell.network), "networks": len(pool)}
        write_json(folder / "pool.json", {"seconds": pool.seconds, **about})
    return pool


def _first_network(pool: ExtractorPool, images: LabeledImages) -> Network:
    """The first trained network of a pool, on the images' device."""
    pool.require_fit(pool.network, images)
    network = frozen_network(pool.network, images)
    with torch.no_grad():
        for name, weights in network_weights(network).items():
            weights.copy_(pool.trained[0][name])
    return network

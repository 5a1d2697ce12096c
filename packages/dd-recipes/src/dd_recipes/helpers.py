"""Processes that torchrun starts beside the first: they share the classes of its distillations.

The first process runs the cells. Before each distillation it tells the others what it is, and all
compute it together; between distillations, while the first trains extractors and students, the
others wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dd_core.distillation import Distillation, distill
from dd_core.events import Listener, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.ranks import Ranks, join_ranks
from dd_core.runtime import Runtime
from dd_recipes.recipe import Cell
from dd_recipes.shelf import Shelf
from dd_recipes.work import training_images

__all__ = ["Call", "Helpers", "distill_together", "joined"]

_PATIENCE_SECONDS = 30 * 24 * 3600.0  # the first trains students meanwhile; torchrun sees failures


@dataclass(frozen=True, slots=True)
class Call:
    """A distillation in which all processes take part.

    Attributes:
        cell: The cell.
        snapshots: Iterations after which the pixels are kept too.
        folder: Folder of the distillation.
        pool: Folder of the extractors, if there are any.
        data_root: Folder of the data sets, as for `dd_recipes.shelf.Shelf`.
        seed: Seed of the run.
        runtime: What `Runtime.as_record` gives.
        checkpoint_seconds: Time between two stored states.
    """

    cell: Cell
    snapshots: tuple[int, ...]
    folder: Path
    pool: Path | None
    data_root: Path | None
    seed: int
    runtime: dict[str, Any]
    checkpoint_seconds: float


class Helpers:
    """The other processes, as the first one sees them.

    Args:
        ranks: This process among them; alone by default.
    """

    def __init__(self, ranks: Ranks | None = None) -> None:
        self.ranks = ranks or Ranks()
        self._at_work = False

    @contextmanager
    def called(self, call: Call) -> Iterator[Ranks]:
        """Has them compute a distillation; this process must do so meanwhile."""
        self.ranks.broadcast(call)
        self._at_work = True
        yield self.ranks
        self._at_work = False  # not after an error: who knows what they wait for

    def dismiss(self) -> None:
        """Lets them end, unless an error left them in the middle of something."""
        if not self._at_work:
            self.ranks.broadcast(None)


@contextmanager
def joined() -> Iterator[Helpers | None]:
    """Joins the processes that torchrun started: the others on the first, None on those.

    The others take part in all that the first calls them to, before they get None.
    """
    with join_ranks(timeout_seconds=_PATIENCE_SECONDS) as ranks:
        if not ranks.first:
            _serve(ranks)
            yield None
            return
        helpers = Helpers(ranks)
        try:
            yield helpers
        finally:
            helpers.dismiss()


def distill_together(
    call: Call,
    train: LabeledImages,
    pool: ExtractorPool | None,
    runtime: Runtime,
    ranks: Ranks,
    listen: Listener = ignore,
) -> Distillation:
    """This process's part of a distillation.

    Args:
        call: The distillation.
        train: Its images.
        pool: Its extractors, if there are any.
        runtime: Device and precision of this process.
        ranks: This process among those that take part.
        listen: Receives events, on the first process only.
    """
    assert call.cell.distill is not None
    return distill(
        train, call.cell.distill, call.cell.network, pool=pool, folder=call.folder,
        seed=call.seed, runtime=runtime, listen=listen, phase=f"distill {call.cell.name}",
        checkpoint_seconds=call.checkpoint_seconds, ranks=ranks, snapshots=call.snapshots,
    )  # fmt: skip


def _serve(ranks: Ranks) -> None:
    """Takes part in distillations until the first process needs no help any more."""
    shelf: Shelf | None = None
    nothing: Call | None = None
    while (call := ranks.broadcast(nothing)) is not None:
        if shelf is None or shelf.root != call.data_root:
            shelf = Shelf(call.data_root, ignore)
        train = training_images(call.cell, shelf.load(call.cell.data).train, call.seed)
        pool = None if call.pool is None else ExtractorPool.load(call.pool)
        runtime = Runtime.from_record(call.runtime)
        if runtime.device.type == "cuda":
            runtime = replace(runtime, device_name=ranks.device)
        distill_together(call, train, pool, runtime, ranks)

"""Processes that torchrun starts beside the first: they share the classes of its distillations.

The first process runs the cells. Before each distillation it tells the others what it is, and all
compute it together; between distillations, while the first trains extractors and students, the
others wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch.distributed as dist

from dd_core.distillation import Distillation, distill
from dd_core.events import Listener, ignore
from dd_core.extractors import ExtractorPool
from dd_core.images import LabeledImages
from dd_core.ranks import Ranks, join_ranks
from dd_core.runtime import Runtime, choose_runtime
from dd_recipes.jobs import is_torchrun
from dd_recipes.recipe import Cell
from dd_recipes.shelf import Shelf
from dd_recipes.work import training_images

__all__ = ["Call", "Helpers", "distill_together", "joined"]

_PATIENCE_DAYS = 30  # the first process trains students meanwhile; torchrun sees failures
_GRACE_SECONDS = 30.0


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
    """The other processes, as the first one sees them; by default there are none.

    Args:
        ranks: This process among them.
        line: What the first tells the others by.
    """

    def __init__(self, ranks: Ranks | None = None, line: _Line | None = None) -> None:
        self.ranks, self._line = ranks or Ranks(), line or _Line(1)
        self._at_work = False

    @contextmanager
    def called(self, call: Call) -> Iterator[Ranks]:
        """Has them compute a distillation; this process must do so meanwhile."""
        self._at_work = True
        self._line.tell(call)
        self._line.wait()
        yield self.ranks
        self._at_work = False

    @property
    def lost(self) -> bool:
        """Whether an error ended a distillation: nobody knows what they wait for."""
        return self._at_work and self.ranks.size > 1

    def dismiss(self) -> None:
        """Lets them end, unless they are lost; torchrun ends those."""
        if not self.lost:
            self._line.tell(None)


class _Line:
    """Calls from the first process to the others, which may wait for them for days.

    The exchange within a distillation has a time limit of minutes.
    """

    def __init__(self, size: int) -> None:
        patience = timedelta(days=_PATIENCE_DAYS)
        self._group: Any = None
        if size > 1:
            self._group = dist.new_group(backend="gloo", timeout=patience)

    def tell(self, call: Call | None) -> Call | None:
        """What the first process says, on all of them."""
        said = [call]
        if self._group is not None:
            dist.broadcast_object_list(said, src=0, group=self._group)
        return said[0]

    def wait(self) -> None:
        """Returns when all processes are here."""
        if self._group is not None:
            dist.barrier(group=self._group)


@contextmanager
def joined() -> Iterator[Helpers | None]:
    """Joins the processes that torchrun started: the others on the first, None on those.

    The others take part in all that the first calls them to, before they get None.
    """
    if not is_torchrun():
        yield Helpers()
        return
    with join_ranks() as ranks:
        line = _Line(ranks.size)
        if not ranks.first:
            _serve(ranks, line)
            yield None
            return
        helpers = Helpers(ranks, line)
        try:
            yield helpers
        except BaseException:
            with suppress(RuntimeError):  # of a broken connection, which would hide the error
                helpers.dismiss()
            raise
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


def _serve(ranks: Ranks, line: _Line) -> None:
    """Takes part in distillations until the first process needs no help any more."""
    shelf: Shelf | None = None
    while (call := line.tell(None)) is not None:
        if shelf is None or shelf.root != call.data_root:
            shelf = Shelf(call.data_root, ignore)
        train = training_images(call.cell, shelf.load(call.cell.data).train, call.seed)
        pool = None if call.pool is None else ExtractorPool.load(call.pool)
        runtime = Runtime.from_record(call.runtime)
        device = ranks.device if runtime.device.type == "cuda" else "cpu"
        here = choose_runtime(device, runtime.precision, "on" if runtime.compile else "off")
        runtime = replace(runtime, device_name=here.device_name, threads=here.threads)
        line.wait()
        try:
            distill_together(call, train, pool, runtime, ranks)
        except Exception:
            time.sleep(_GRACE_SECONDS)  # the first says what happened, if it happened there too
            raise

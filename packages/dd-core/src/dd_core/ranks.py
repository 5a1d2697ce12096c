"""Several processes that share the classes of one distillation (torchrun)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from dd_core.errors import SettingsError

__all__ = ["Ranks", "join_ranks"]


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those that share the work; by default it is alone.

    Attributes:
        rank: Number of this process, from 0.
        size: Number of processes.

    Example:
        >>> [list(Ranks(rank, 2).share(5)) for rank in range(2)]
        [[0, 1, 2], [3, 4]]
    """

    rank: int = 0
    size: int = 1

    @property
    def device(self) -> str:
        """This process's device, for `choose_runtime`: its own GPU among several, else ``auto``."""
        if self.size > 1 and torch.cuda.is_available():
            return f"cuda:{torch.cuda.current_device()}"
        return "auto"

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def share(self, n_classes: int) -> range:
        """Consecutive classes of this process; sizes differ by at most one.

        Raises:
            SettingsError: There are more processes than classes.
        """
        if self.size > n_classes:
            raise SettingsError(
                f"there are {self.size} processes for {n_classes} classes; start at most "
                f"{n_classes} (torchrun --nproc-per-node)."
            )
        each, more = divmod(n_classes, self.size)
        start = self.rank * each + min(self.rank, more)
        return range(start, start + each + (self.rank < more))

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, on each of them."""
        if self.size == 1:
            return tensor
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on some process; the same answer on each."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag))).item())

    def gather(self, tensor: Tensor) -> Tensor:
        """Tensors of all processes' classes in the order of the classes, on each process.

        A tensor without dimensions, such as an optimiser's count of steps, is alike everywhere
        and stays as it is.
        """
        if self.size == 1 or tensor.ndim == 0:
            return tensor
        parts: list[Tensor | None] = [None] * self.size
        dist.all_gather_object(parts, tensor.detach().cpu())
        return torch.cat([part for part in parts if part is not None]).to(tensor.device)

    def barrier(self) -> None:
        """Waits until all processes are here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def join_ranks(*, timeout_seconds: float = 600.0) -> Iterator[Ranks]:
    """Joins the processes that torchrun started; alone where it started none.

    Tensors on CUDA devices are exchanged by NCCL, each process taking the device of its local
    rank, and others by Gloo.

    Args:
        timeout_seconds: How long a process waits for one that does not answer.

    Example:
        >>> with join_ranks() as ranks:
        ...     ranks.size
        1
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks()
        return
    cuda = torch.cuda.is_available()
    if cuda:
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise SettingsError(
                f"there is no CUDA device for process {number} of this machine, which has "
                f"{torch.cuda.device_count()}; start as many processes as it has devices "
                "(torchrun --nproc-per-node), or hide them (CUDA_VISIBLE_DEVICES='')."
            )
        torch.cuda.set_device(number)
    timeout = timedelta(seconds=timeout_seconds)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timeout)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()

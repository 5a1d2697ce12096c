"""Seconds of an iteration and peak memory of a distillation, without any training."""

from __future__ import annotations

import ctypes
import gc
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from dd_core.extractors import ExtractorPool
from dd_core.minmax import Distiller
from dd_core.progress import Phase
from dd_core.runtime import Runtime
from dd_recipes.phases import Bench
from dd_recipes.work import Work

__all__ = ["Speed", "measure_speed"]

_WARM_UP, _TIMED = 3, 7
_STATUS = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Speed:
    """What an iteration takes.

    Attributes:
        times: Seconds of each timed iteration.
        gigabytes: On CUDA the peak of allocated memory; on the CPU how much the memory of the
            process grew at most.
    """

    times: tuple[float, ...]
    gigabytes: float

    @property
    def seconds(self) -> float:
        """Median seconds of an iteration."""
        return statistics.median(self.times)


def measure_speed(bench: Bench, work: Work) -> Speed:
    """Runs a few iterations on the real images, after a few that are not counted.

    The extractors are untrained, as many as the cell's pool has: their weights do not matter to
    time or memory.
    """
    total = _WARM_UP + _TIMED
    phase = Phase(f"speed {work.cell.name}", total, "iteration", bench.listen)
    _step(_distiller(bench, work), 0)  # so that what libraries keep for good is not counted
    meter = _Meter(bench.runtime)
    distiller = _distiller(bench, work)
    times = []
    for iteration in range(total):
        times.append(_step(distiller, iteration))
        phase.advance(iteration + 1, {"seconds": times[-1]})
    phase.finish()
    return Speed(tuple(times[_WARM_UP:]), meter.gigabytes())


def _distiller(bench: Bench, work: Work) -> Distiller:
    cell, train = work.cell, work.data.train
    assert cell.distill is not None
    settings = replace(cell.distill, iterations=max(cell.distill.iterations, _WARM_UP + _TIMED))
    pool = None
    if settings.extractor == "blend":
        pool = ExtractorPool.random(
            cell.network, channels=train.channels, size=train.size, n_classes=train.n_classes,
            count=cell.pretrain.networks, seed=bench.seed,
        )  # fmt: skip
    return Distiller(train, settings, cell.network, pool, seed=bench.seed, runtime=bench.runtime)


def _step(distiller: Distiller, iteration: int) -> float:
    """Seconds of an iteration."""
    start = time.perf_counter()
    distiller.step(iteration).sum().item()  # waits for the device
    return time.perf_counter() - start


class _Meter:
    """Peak memory since it was made."""

    def __init__(self, runtime: Runtime) -> None:
        self._device = runtime.device
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        _give_back()
        self._before = _resident("VmRSS") or _highest()

    def gigabytes(self) -> float:
        """The peak."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / 1e9
        return max(0, (_resident("VmHWM") or _highest()) - self._before) / 1e9


def _give_back() -> None:
    """Returns freed memory to the system and lets Linux forget the peak so far."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # not allowed in some containers: then the peak is that of the process
        return


def _resident(name: str) -> int:
    """A figure of Linux on this process's memory, in bytes; 0 elsewhere."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def _highest() -> int:
    """The highest memory of this process, in bytes; 0 where nobody says."""
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak

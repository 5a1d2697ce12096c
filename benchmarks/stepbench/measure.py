"""Both sides in turns, and what came of it."""

import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from stepbench.checkout import Checkout
from stepbench.worker import Options, Turn, Usage, Worker
from stepbench.workload import Workload

_WARM_UP = {"ours": 3, "official": 1}
_MOST_ITERATIONS = 100
_PACKAGES = ("cfmetrics", "dd-core", "torch", "numpy")


@dataclass(frozen=True, slots=True)
class Sample:
    """What one side did on one workload."""

    summary: str
    warmup_seconds: float
    turns: Sequence[Turn]
    usage: Usage

    @property
    def seconds(self) -> float:
        """Median over the turns of the seconds of one iteration."""
        return statistics.median(turn.seconds for turn in self.turns)

    @property
    def cpu_seconds(self) -> float:
        """Median over the turns of the processor seconds of one iteration."""
        return statistics.median(turn.cpu_seconds for turn in self.turns)

    @property
    def peak(self) -> float:
        """Peak memory of the measured iterations in MB, less what the imports take."""
        return self.usage.steps - self.usage.imports


@dataclass(frozen=True, slots=True)
class Result:
    """Both sides on one workload."""

    work: Workload
    ours: Sample
    official: Sample

    @property
    def ratio(self) -> float:
        """How many times as long the official iteration takes."""
        return self.official.seconds / self.ours.seconds

    @property
    def cpu_ratio(self) -> float:
        """The same in processor seconds."""
        return self.official.cpu_seconds / self.ours.cpu_seconds

    @property
    def ratios(self) -> list[float]:
        """The same, round by round."""
        pairs = zip(self.ours.turns, self.official.turns, strict=True)
        return [official.seconds / ours.seconds for ours, official in pairs]

    def as_record(self, checkout: Checkout, options: Options) -> dict[str, Any]:
        """Return a row for the JSON file."""
        return {
            "workload": self.work.name,
            "ours_s": self.ours.seconds,
            "official_s": self.official.seconds,
            "ratio": self.ratio,
            "ratio_rounds": self.ratios,
            "ours_cpu_s": self.ours.cpu_seconds,
            "official_cpu_s": self.official.cpu_seconds,
            "ours_warmup_s": self.ours.warmup_seconds,
            "ours_peak_mb": self.ours.peak,
            "official_peak_mb": self.official.peak,
            "ours_memory_mb": asdict(self.ours.usage),
            "official_memory_mb": asdict(self.official.usage),
            "n": len(self.ours.turns),
            "settings": asdict(self.work),
            "ours_runtime": self.ours.summary,
            "official_runtime": self.official.summary,
            "official_commit": checkout.commit(),
            "threads": options.threads,
            "allocator": options.allocator,
            "cpu": processor(),
            "versions": {"python": platform.python_version(), **_versions()},
        }


def measure(work: Workload, options: Options, *, rounds: int, seconds: float) -> Result:
    """Measure both sides of a workload in turns.

    Args:
        work: The workload.
        options: Settings of the sides.
        rounds: Turns of each side; which one goes first changes every round.
        seconds: Least length of a turn: as many iterations as take about this long.

    Raises:
        BenchmarkError: A side cannot start, or fails.
    """
    with Worker("ours", work, options) as ours, Worker("official", work, options) as official:
        turns: dict[str, list[Turn]] = {"ours": [], "official": []}
        warm = {worker.name: _warm_up(worker) for worker in (ours, official)}
        for number in range(rounds):
            for worker in (ours, official) if number % 2 == 0 else (official, ours):
                count = round(seconds / warm[worker.name][-1])
                turns[worker.name].append(worker.run(max(1, min(count, _MOST_ITERATIONS))))
        samples = [
            Sample(worker.summary, sum(warm[worker.name]), turns[worker.name], worker.usage())
            for worker in (ours, official)
        ]
    return Result(work, *samples)


def processor() -> str:
    """Return the processor's name, as the system tells it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _warm_up(worker: Worker) -> list[float]:
    """Run what is not measured, one iteration at a time, and start the memory's peak anew."""
    seconds = [worker.run(1).seconds for _ in range(_WARM_UP[worker.name])]
    worker.usage()
    return seconds


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found

"""Runs rows of the accuracy table: data, pools, distillation, students. All of it resumes."""

import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from accuracy.rows import Row, Split
from dd_core import (
    ExtractorPool,
    LabeledImages,
    NetworkSettings,
    PretrainSettings,
    choose_runtime,
    distill,
    evaluate,
    pretrain_pool,
    read_cifar10,
)
from dd_core.datasets import long_tailed, subset
from dd_core.events import Event, Message, PhaseAdvanced

NETWORK = NetworkSettings()
HELD_OUT = 500
SPLIT_SEED, POOL_SEED, DISTILL_SEED, STUDENT_SEED = 2026, 1, 1, 11
IMBALANCE = 100
POOL = PretrainSettings(networks=5, epochs=6, batch_size=128)
POOL_LONG_TAILED = PretrainSettings(networks=4, epochs=8, batch_size=128)
_SAY_SECONDS = 20.0


@dataclass(frozen=True)
class Bench:
    """The data and folders that all rows share.

    Attributes:
        data: Folder of CIFAR-10.
        out: Folder of results.
        split: What the students are tested on: held-out training images, or the test set.
        threads: CPU threads; None takes PyTorch's choice.
        quick: Random extractors and a few test images, to see that everything runs.
        pool: Folder of the pool of the balanced set; by default in ``out``.
    """

    data: Path
    out: Path
    split: Split
    threads: int | None = None
    quick: bool = False
    pool: Path | None = None
    listen: Callable[[Event], None] = field(default_factory=lambda: Progress())

    @cached_property
    def _parts(self) -> tuple[LabeledImages, LabeledImages, LabeledImages, LabeledImages]:
        """All training images, those left to train on, those held out, the test images."""
        data = read_cifar10(self.data)
        return data.train, *hold_out(data.train), data.test

    @property
    def tested_on(self) -> LabeledImages:
        """Images that the students are tested on."""
        _, _, held, test = self._parts
        images = test if self.split == "test" else held
        return subset(images, torch.arange(0, len(images), 50)) if self.quick else images

    def training(self, row: Row) -> tuple[str, LabeledImages]:
        """A row's training images, and a name for them.

        The balanced rows leave the held-out images out in either case. The long-tailed set takes
        all images of the largest class, so with ``test`` it is made of the whole training set
        (5000 to 50 a class), and with ``validation`` of what is left (4500 to 45).
        """
        whole, rest, *_ = self._parts
        if not row.long_tailed:
            return "balanced", rest
        images = whole if self.split == "test" else rest
        return f"long-tailed-{self.split}", long_tailed(images, IMBALANCE)

    def run(self, name: str, row: Row) -> dict[str, Any]:
        """Runs one row, or what is missing of it, and returns its record."""
        runtime = choose_runtime("cpu", row.precision, row.compile, self.threads)
        kind, images = self.training(row)
        random = row.settings.extractor == "random"
        pool = None if random else self._pool(kind, images, row)
        folder = self.out / (name if kind == "balanced" else f"{name}-{self.split}")
        made = distill(
            images, row.settings, NETWORK, pool=pool, folder=folder / "distillation",
            seed=DISTILL_SEED, runtime=runtime, listen=self.listen, phase=f"{name}: distillation",
        )  # fmt: skip
        result = evaluate(
            made.distilled, self.tested_on, NETWORK, row.students,
            folder=folder / f"students-{self.split}", seed=STUDENT_SEED, runtime=runtime,
            listen=self.listen, phase=f"{name}: students",
        )  # fmt: skip
        return {
            "row": name,
            "title": row.title,
            "tested_on": self.split,
            "n_test": len(self.tested_on),
            "class_sizes": list(images.class_sizes),
            "iterations": row.settings.iterations,
            "seconds": made.seconds,
            "last": list(result.last),
            "best": list(result.best),
            "n": result.n,
            "mean": result.mean,
            "deviation": result.std if result.n > 1 else None,
            "student_seconds": result.seconds,
            "pool_seconds": pool.seconds if pool else 0.0,
            "runtime": runtime.summary,
            "settings": asdict(row.settings),
            "students": asdict(row.students),
        }

    def _pool(self, kind: str, images: LabeledImages, row: Row) -> ExtractorPool:
        """The pool of a training set, from its folder where it is there; the same for all rows."""
        if self.quick:
            return ExtractorPool.random(
                NETWORK, channels=images.channels, size=images.size, n_classes=images.n_classes,
                count=1, seed=POOL_SEED,
            )  # fmt: skip
        folder = self.out / f"pool-{kind}"
        if self.pool and not row.long_tailed:
            folder = self.pool
        return pretrain_pool(
            images, NETWORK, POOL_LONG_TAILED if row.long_tailed else POOL, folder=folder,
            seed=POOL_SEED, runtime=choose_runtime("cpu", threads=self.threads),
            listen=self.listen, phase=f"pool, {kind}",
        )  # fmt: skip


def hold_out(train: LabeledImages) -> tuple[LabeledImages, LabeledImages]:
    """Splits 500 images of each class off, on which everything is chosen."""
    draws = torch.Generator().manual_seed(SPLIT_SEED)
    keep = torch.ones(len(train), dtype=torch.bool)
    for label in range(train.n_classes):
        index = train.of_class(label)
        keep[index[torch.randperm(len(index), generator=draws)[:HELD_OUT]]] = False
    return subset(train, keep), subset(train, ~keep)


class Progress:
    """Prints messages, and now and then where a phase is, to the standard error."""

    def __init__(self) -> None:
        self._said = 0.0

    def __call__(self, event: Event) -> None:
        """Takes notice of an event."""
        now = time.monotonic()
        if isinstance(event, Message):
            self._print(event.text)
        elif isinstance(event, PhaseAdvanced) and now - self._said > _SAY_SECONDS:
            self._said = now
            values = "".join(f", {name} {value:.4g}" for name, value in event.values.items())
            self._print(f"{event.phase}: {event.done} of {event.total}{values}")

    @staticmethod
    def _print(text: str) -> None:
        print(f"  {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)

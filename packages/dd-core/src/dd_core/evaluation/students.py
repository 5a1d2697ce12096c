"""Students: networks trained from scratch on a set, tested on real images."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dd_core._arguments import as_count, as_instance, as_path, as_seed
from dd_core.artifact import DistilledSet
from dd_core.checkpoint import fingerprint, load_record, locked, save_record
from dd_core.errors import DataError
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.networks import Network, network_for, stack_networks
from dd_core.progress import Phase
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, StudentSettings
from dd_core.side_by_side import count_workers, in_rounds, run_side_by_side
from dd_core.together import (
    computes_as_one,
    kept_choice,
    lot_file,
    lot_of,
    lot_starts,
    step_seconds,
)
from dd_core.training import (
    TrainingSet,
    confusion_of,
    total_steps,
    train,
    unfinished_progress,
)

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Test accuracies of n students, in percent.

    Attributes:
        last: After the last epoch: the result.
        best: The best of the test evaluations of each student. It is chosen on the test set, so
            it is no result; papers that report it are compared with it.
        curves: For each student, pairs of epoch and test accuracy.
        seconds: Time of training and testing, over all attempts; students that are trained side by
            side share it.
        confusion: int64 of shape (n, n_classes, n_classes): test images of each student after its
            last epoch, rows by true class, columns by predicted class. None where it was made by
            hand without.

    Example:
        >>> found = Evaluation((50.0, 52.0), (51.0, 52.0), (((1.0, 50.0),), ((1.0, 52.0),)), 1.0)
        >>> low, high = found.interval
        >>> f"{found.mean} from {low:.1f} to {high:.1f}, n = {found.n}"
        '51.0 from 38.3 to 63.7, n = 2'
    """

    last: tuple[float, ...]
    best: tuple[float, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]
    seconds: float
    confusion: Tensor | None = field(default=None, compare=False, repr=False)

    @property
    def n(self) -> int:
        """Number of students."""
        return len(self.last)

    @property
    def mean(self) -> float:
        """Mean of the last accuracies."""
        return statistics.fmean(self.last)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1) of the last accuracies; NaN for one student."""
        return statistics.stdev(self.last) if self.n > 1 else float("nan")

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of 95 % for the mean of all such students; None for one student.

        It speaks of other students of the same set, not of other sets.
        """
        if self.n == 1:
            return None
        from scipy.stats import t

        half = float(t.ppf(0.975, self.n - 1)) * self.std / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    def as_record(self) -> dict[str, Any]:
        """What JSON can say: percent and seconds; the confusion matrices added up."""
        return {
            "mean": self.mean,
            "std": self.std if self.n > 1 else None,
            "n": self.n,
            "interval": None if self.interval is None else list(self.interval),
            "last": list(self.last),
            "best": list(self.best),
            "curves": [[list(point) for point in curve] for curve in self.curves],
            "confusion": None if self.confusion is None else self.confusion.sum(0).tolist(),
            "seconds": self.seconds,
        }


def evaluate(
    data: DistilledSet | LabeledImages,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    *,
    folder: Path | str,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str = "students",
    checkpoint_seconds: float = 5.0,
    workers: int | Literal["auto"] = "auto",
) -> Evaluation:
    """Trains students on a set and tests each; a second call goes on from the folder.

    The i-th student of two sets starts from the same weights, so sets are compared in pairs.
    The test images choose nothing: the result is the last epoch's.

    Views and test images are normalised with the set's own ``mean`` and ``std``; those of
    ``test`` are not read. A set with soft labels is trained on with them, unless the settings say
    otherwise: the loss of a view is -sum_c p_c log softmax(z)_c.

    On the CPU, students are trained side by side, each with its share of the threads. A student's
    result follows from the seed, its number and its threads, not from what runs beside it; other
    numbers of threads or workers change it by rounding. On a GPU, students are computed as one
    network with a group for each (`dd_core.networks.stack_networks`), with the same result as one
    by one but for rounding.

    Args:
        data: A distilled or selected set, or real images, such as a whole training set.
        test: Real test images, of the same classes, size and channels.
        network: The students' architecture.
        settings: Number and training of the students: the protocol.
        folder: Where results and unfinished states are kept; one process at a time.
        seed: Seed of weights, order and augmentation; not negative.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phase in the events.
        checkpoint_seconds: Time between two stored states.
        workers: Students at a time. ``auto`` is one for each thread on the CPU. On a GPU it is
            all, as many as its memory holds, or 1, whichever is fastest in a trial of some steps;
            the folder keeps what was chosen.

    Raises:
        SettingsError: An argument is of the wrong type, ``seed`` is negative, or ``workers`` is
            more than 1 for compiled networks on the CPU.
        DataError: The test images are of other classes, size or channels than the set.
        CheckpointError: The folder belongs to another evaluation, another process works in it, or
            a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    folder, seed = as_path("folder", folder), as_seed(seed)
    network = as_instance("network", network, NetworkSettings)
    settings = as_instance("settings", settings, StudentSettings)
    if not isinstance(data, LabeledImages):
        as_instance("data", data, DistilledSet)
    _check_alike(data, as_instance("test", test, LabeledImages))
    many, together = 1, 1
    if not (as_one := computes_as_one(runtime)):
        many = count_workers(workers, runtime, settings.students)
    elif workers != "auto":
        together = min(as_count("workers", workers), settings.students)
    key = fingerprint(
        asdict(network), asdict(settings), seed, runtime.dtype,
        replace(test, mean=data.mean, std=data.std).fingerprint(), data.fingerprint(),
    )  # fmt: skip
    classroom = _Classroom(
        _training_set(data, settings, runtime.device),
        replace(test, mean=data.mean, std=data.std).to(runtime.device),
        network, settings, folder, seed, runtime, checkpoint_seconds, key,
    )  # fmt: skip
    with locked(folder):
        if as_one and workers == "auto":
            together = kept_choice(folder, key, settings.students, classroom.steps, classroom.trial)
        return _evaluate(replace(classroom, together=together), many, phase, listen)


def _training_set(
    data: DistilledSet | LabeledImages, settings: StudentSettings, device: torch.device
) -> TrainingSet:
    """What the students see: decoded views, or real images, with the labels that are asked for."""
    if isinstance(data, LabeledImages):
        real = data.to(device)
        return TrainingSet(real.pixels, real.labels, real.mean, real.std)
    images, labels = data.decoded()
    if data.soft_labels is not None and settings.labels == "stored":
        labels = data.soft_targets()
    return TrainingSet(images.to(device), labels.to(device), data.mean, data.std)


def _check_alike(data: DistilledSet | LabeledImages, test: LabeledImages) -> None:
    """Refuses test images that students of the set cannot be tested on.

    Raises:
        DataError: They are of other classes, in another order, or of other size or channels.
    """
    ours, theirs = data.class_names, test.class_names
    if ours != theirs:
        same = sorted(ours) == sorted(theirs)
        place = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), -1)
        at = f"; label {place} is {ours[place]!r} in data and {theirs[place]!r} in test"
        raise DataError(
            f"class_names of test are {'in another order than' if same else 'not'} those of data "
            f"({len(ours)} classes in data, {len(theirs)} in test{at if place >= 0 else ''}). Give "
            "test images of the same classes in the same order; where only the names differ, use "
            "dataclasses.replace(data, class_names=test.class_names)."
        )
    pixels = data.images if isinstance(data, DistilledSet) else data.pixels
    shape = (pixels.shape[1], pixels.shape[-1])
    if shape != (test.channels, test.size):
        raise DataError(
            f"test images have {test.channels} channels and {test.size} px, those of data "
            f"{shape[0]} and {shape[1]} px; give test images of the same size and channels."
        )


@dataclass(frozen=True)
class _Classroom:
    """Trains and tests the students of one evaluation, a lot a call, in any order and thread.

    A lot is ``together`` students, one network for the device; ``beside`` lots train at a time.
    """

    training: TrainingSet
    test: LabeledImages
    network: NetworkSettings
    settings: StudentSettings
    folder: Path
    seed: int
    runtime: Runtime
    checkpoint_seconds: float
    key: str
    together: int = 1
    beside: int = 1

    @property
    def steps(self) -> int:
        """Optimiser steps of one student."""
        return total_steps(len(self.training), self.settings)

    def record(self, number: int) -> dict[str, object] | None:
        """What is stored of a student; None where it is not done."""
        return load_record(self._path(number), key=self.key)

    def progress(self, number: int) -> tuple[int, float]:
        """Steps and seconds of a student from earlier attempts."""
        if (stored := self.record(number)) is not None:
            return self.steps, float(str(stored["seconds"]))
        lot = self.lot(number)
        steps, seconds = unfinished_progress(self._state(lot), key=self.key)
        return steps, seconds / len(lot)

    def lot(self, number: int) -> range:
        """The students that are trained with this one."""
        return lot_of(number, self.together, self.settings.students)

    def run(self, first: int, report: Callable[[int, Mapping[str, Tensor | float]], None]) -> None:
        """Trains one lot, from its stored state if there is one, and stores what it reached."""
        settings, lot = self.settings, self.lot(first)
        students, optimizer = self._begin(lot)
        count = min(settings.evaluations, self.steps)
        moments = {round(self.steps * (i + 1) / count) for i in range(count)}
        shown: dict[str, Tensor | float] = {}

        def after_step(step: int, losses: Tensor, facts: dict[str, Any]) -> None:
            if step in moments:
                counts = confusion_of(students, self.test, self.runtime)
                accuracies = [100 * int(each.trace()) / len(self.test) for each in counts]
                epoch = step * min(settings.batch_size, len(self.training)) / len(self.training)
                curves = facts.get("curves") or [facts.get("curve", []) for _ in lot]
                facts["curves"] = [
                    [*curve, [epoch, accuracy]]
                    for curve, accuracy in zip(curves, accuracies, strict=True)
                ]
                shown["accuracy"] = statistics.fmean(accuracies)
                if step == self.steps:
                    facts["confusions"] = counts.tolist()
            report(step, {**shown, "loss": losses.mean()})

        facts: dict[str, Any] = train(
            students, optimizer, self.training, settings, seeds=self._seeds(lot),
            runtime=self.runtime, state=self._state(lot), key=self.key,
            checkpoint_seconds=self.checkpoint_seconds, after_step=after_step,
        )  # fmt: skip
        for place, number in enumerate(lot):
            record = {
                "curve": facts["curves"][place],
                "confusion": facts["confusions"][place],
                "seconds": facts["seconds"] / len(lot) / self.beside,
            }
            save_record(self._path(number), record, key=self.key)
        self._state(lot).unlink(missing_ok=True)

    def trial(self, together: int) -> float:
        """Seconds of a step of that many students as one network."""
        lot = range(together)
        students, optimizer = self._begin(lot)
        return step_seconds(
            students, optimizer, self.training, self.settings, seeds=self._seeds(lot),
            runtime=self.runtime,
        )  # fmt: skip

    def _begin(self, lot: range) -> tuple[Network, torch.optim.Optimizer]:
        """Untrained students as one network on the device, and their optimiser."""
        starts = [generator(self.seed, "student", number).initial_seed() for number in lot]
        each = [network_for(self.test, self.network, start) for start in starts]
        students = stack_networks(each).to(self.runtime.device)
        return students, _optimizer(students, self.settings)

    def _seeds(self, lot: range) -> list[int]:
        return [generator(self.seed, "student training", n).initial_seed() for n in lot]

    def _path(self, number: int) -> Path:
        return self.folder / f"student_{number:03d}.json"

    def _state(self, lot: range) -> Path:
        return lot_file(self.folder, "student", lot)


def _evaluate(classroom: _Classroom, many: int, phase: str, listen: Listener) -> Evaluation:
    """`evaluate` in a folder that is held."""
    numbers = range(classroom.settings.students)
    records = [classroom.record(number) for number in numbers]
    before = [classroom.progress(number) for number in numbers]
    done = [steps for steps, _ in before]
    progress = Phase(
        phase, len(numbers) * classroom.steps, "step", listen,
        done=sum(done), seconds=sum(seconds for _, seconds in before),
    )  # fmt: skip

    def report(first: int, step: int, values: Mapping[str, Tensor | float]) -> None:
        for number in classroom.lot(first):
            done[number] = step
        shown = {name: float(value) for name, value in values.items()} if progress.due() else None
        progress.advance(sum(done), shown)

    missing = [number for number in numbers if records[number] is None]
    firsts = lot_starts(missing, classroom.together)
    for workers, group in in_rounds(firsts, len(numbers), many):
        room = replace(classroom, beside=workers)
        run_side_by_side(room.run, group, workers, report, threads=room.runtime.threads)
    found = [record for record in map(classroom.record, numbers) if record is not None]
    curves = tuple(tuple((e, a) for e, a in _curve(record)) for record in found)
    last = tuple(curve[-1][1] for curve in curves)
    best = tuple(max(a for _, a in curve) for curve in curves)
    if missing:
        progress.finish({"accuracy": last[-1]})
    seconds = sum(float(str(record["seconds"])) for record in found)
    confusion = torch.tensor([record["confusion"] for record in found], dtype=torch.int64)
    return Evaluation(last, best, curves, seconds, confusion)


def _optimizer(student: nn.Module, s: StudentSettings) -> torch.optim.Optimizer:
    if s.optimizer == "sgd":
        return torch.optim.SGD(
            student.parameters(), s.learning_rate, s.momentum, weight_decay=s.weight_decay
        )
    kind = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
    return kind(student.parameters(), s.learning_rate, weight_decay=s.weight_decay, fused=True)


def _curve(record: dict[str, object]) -> list[list[float]]:
    curve = record.get("curve", [])
    return list(curve) if isinstance(curve, list) else []

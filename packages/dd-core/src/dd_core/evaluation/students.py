"""Students: networks trained from scratch on a distilled set, tested on real images."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from dd_core._arguments import as_instance, as_path, as_seed
from dd_core.artifact import DistilledSet
from dd_core.checkpoint import fingerprint, load_record, locked, save_record
from dd_core.errors import DataError
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.networks import network_for
from dd_core.progress import Phase
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, StudentSettings
from dd_core.training import TrainingSet, accuracy, total_steps, train, unfinished_progress

__all__ = ["Evaluation", "evaluate"]


@dataclass(frozen=True)
class Evaluation:
    """Test accuracies of n students, in percent.

    Attributes:
        last: After the last epoch: the result.
        best: The best of the test evaluations of each student. It is chosen on the test set, so
            it is no result; papers that report it are compared with it.
        curves: For each student, pairs of epoch and test accuracy.
        seconds: Time of training and testing, over all attempts.
    """

    last: tuple[float, ...]
    best: tuple[float, ...]
    curves: tuple[tuple[tuple[float, float], ...], ...]
    seconds: float

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


def evaluate(
    data: DistilledSet,
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
) -> Evaluation:
    """Trains students on the decoded set and tests each; a second call goes on from the folder.

    The i-th student of two sets starts from the same weights, so sets are compared in pairs.
    The test images choose nothing: the result is the last epoch's.

    Views and test images are normalised with the set's own ``mean`` and ``std``; those of
    ``test`` are not read. A set with soft labels is trained on with them: the loss of a view is
    -sum_c p_c log softmax(z)_c. ``dataclasses.replace(data, soft_labels=None)`` is the same set
    with its labels alone.

    Args:
        data: A distilled or selected set.
        test: Real test images, of the same classes, size and channels.
        network: The students' architecture.
        settings: Number and training of the students.
        folder: Where results and unfinished states are kept; one process at a time.
        seed: Seed of weights, order and augmentation; not negative.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phase in the events.
        checkpoint_seconds: Time between two stored states.

    Raises:
        SettingsError: An argument is of the wrong type, or ``seed`` is negative.
        DataError: The test images are of other classes, size or channels than the set.
        CheckpointError: The folder belongs to another evaluation, another process works in it, or
            a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    folder, seed = as_path("folder", folder), as_seed(seed)
    network = as_instance("network", network, NetworkSettings)
    settings = as_instance("settings", settings, StudentSettings)
    _check_alike(as_instance("data", data, DistilledSet), as_instance("test", test, LabeledImages))
    with locked(folder):
        return _evaluate(
            data, replace(test, mean=data.mean, std=data.std), network, settings,
            folder=folder, seed=seed, runtime=runtime, listen=listen, phase=phase,
            checkpoint_seconds=checkpoint_seconds,
        )  # fmt: skip


def _check_alike(data: DistilledSet, test: LabeledImages) -> None:
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
    shape = (data.images.shape[1], data.images.shape[-1])
    if shape != (test.channels, test.size):
        raise DataError(
            f"test images have {test.channels} channels and {test.size} px, those of data "
            f"{shape[0]} and {shape[1]} px; give test images of the same size and channels."
        )


def _evaluate(
    data: DistilledSet,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    *,
    folder: Path,
    seed: int,
    runtime: Runtime,
    listen: Listener,
    phase: str,
    checkpoint_seconds: float,
) -> Evaluation:
    """`evaluate` in a folder that is held, of test images that are normalised as the set is."""
    device = runtime.device
    test = test.to(device)
    images, labels = data.decoded()
    if data.soft_labels is not None:
        labels = data.soft_targets()
    training = TrainingSet(images.to(device), labels.to(device), data.mean, data.std)
    key = fingerprint(
        asdict(network), asdict(settings), seed, runtime.dtype, test.fingerprint(),
        data.fingerprint(),
    )  # fmt: skip
    records = [load_record(_path(folder, i), key=key) for i in range(settings.students)]
    states = [folder / f"student_{i:03d}.unfinished" for i in range(settings.students)]
    begun = [
        (0, 0.0) if record is not None else unfinished_progress(state, key=key)
        for record, state in zip(records, states, strict=True)
    ]
    steps = total_steps(len(training), settings)
    progress = Phase(
        phase, settings.students * steps, "step", listen,
        done=steps * sum(r is not None for r in records) + sum(done for done, _ in begun),
        seconds=sum(float(str(r["seconds"])) for r in records if r) + sum(s for _, s in begun),
    )  # fmt: skip
    complete = all(record is not None for record in records)
    for number, record in enumerate(records):
        if record is None:
            done = progress.done - begun[number][0]
            records[number] = _one_student(
                training, test, network, settings, number, done=done, key=key, folder=folder,
                state=states[number], seed=seed, runtime=runtime, progress=progress,
                checkpoint_seconds=checkpoint_seconds,
            )  # fmt: skip
    found = [record for record in records if record is not None]
    curves = tuple(tuple((e, a) for e, a in _curve(record)) for record in found)
    last = tuple(curve[-1][1] for curve in curves)
    best = tuple(max(a for _, a in curve) for curve in curves)
    if not complete:
        progress.finish({"accuracy": last[-1]})
    return Evaluation(last, best, curves, sum(float(str(r["seconds"])) for r in found))


def _one_student(
    training: TrainingSet,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    number: int,
    *,
    done: int,
    key: str,
    folder: Path,
    state: Path,
    seed: int,
    runtime: Runtime,
    progress: Phase,
    checkpoint_seconds: float,
) -> dict[str, object]:
    start = generator(seed, "student", number).initial_seed()
    student = network_for(test, network, start).to(runtime.device)
    optimizer = _optimizer(student, settings)
    steps = total_steps(len(training), settings)
    count = min(settings.evaluations, steps)
    moments = {round(steps * (i + 1) / count) for i in range(count)}
    shown: dict[str, float] = {}

    def after_step(step: int, loss: Tensor, facts: dict[str, object]) -> None:
        if step in moments:
            shown["accuracy"] = accuracy(student, test, runtime)
            epoch = step * min(settings.batch_size, len(training)) / len(training)
            facts["curve"] = [*_curve(facts), [epoch, shown["accuracy"]]]
        if progress.due():
            shown["loss"] = loss.item()
        progress.advance(done + step, shown)

    facts = train(
        student, optimizer, training, settings,
        seed=generator(seed, "student training", number).initial_seed(), runtime=runtime,
        state=state, key=key, checkpoint_seconds=checkpoint_seconds, after_step=after_step,
    )  # fmt: skip
    record = {"curve": facts["curve"], "seconds": facts["seconds"]}
    save_record(_path(folder, number), record, key=key)
    state.unlink(missing_ok=True)
    return record


def _optimizer(student: nn.Module, s: StudentSettings) -> torch.optim.Optimizer:
    if s.optimizer == "sgd":
        return torch.optim.SGD(
            student.parameters(), s.learning_rate, s.momentum, weight_decay=s.weight_decay
        )
    kind = torch.optim.AdamW if s.optimizer == "adamw" else torch.optim.Adam
    return kind(student.parameters(), s.learning_rate, weight_decay=s.weight_decay, fused=True)


def _path(folder: Path, number: int) -> Path:
    return folder / f"student_{number:03d}.json"


def _curve(record: dict[str, object]) -> list[list[float]]:
    curve = record.get("curve", [])
    return list(curve) if isinstance(curve, list) else []

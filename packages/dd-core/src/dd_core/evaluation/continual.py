"""Class-incremental learning with the small set as memory (GDumb, Prabhu et al. 2020).

Classes come in an order, some at each step. After each step students are trained from scratch on
the memory of all classes seen so far, and tested on these classes. Each student has an order of
its own, since the luck of the order is most of what an accuracy of the first steps varies by.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from dd_core._arguments import as_instance, as_path, as_seed
from dd_core.artifact import DistilledSet
from dd_core.errors import DataError, SettingsError
from dd_core.evaluation.classes import classes_seen, of_classes, real_of_classes
from dd_core.evaluation.each import Part, evaluate_each
from dd_core.evaluation.students import Evaluation
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.runtime import Runtime, generator
from dd_core.settings import NetworkSettings, StudentSettings

__all__ = ["Continual", "ContinualStep", "evaluate_continual"]


@dataclass(frozen=True)
class ContinualStep:
    """Students after one step.

    Attributes:
        seen: Classes seen so far.
        new: How many of them came with this step.
        students: Their accuracies on the test images of the classes that each has seen.
    """

    seen: int
    new: int
    students: Evaluation


@dataclass(frozen=True)
class Continual:
    """Accuracies in class-incremental learning, in percent.

    Attributes:
        steps: One entry a step; the last one is of all classes.
        orders: For each student the names of the classes, in the order in which they came.
    """

    steps: tuple[ContinualStep, ...]
    orders: tuple[tuple[str, ...], ...]

    @property
    def curve(self) -> tuple[tuple[int, tuple[float, ...]], ...]:
        """For each step the number of classes seen, and the accuracy of each student."""
        return tuple((step.seen, step.students.last) for step in self.steps)

    @property
    def averages(self) -> tuple[float, ...]:
        """The average incremental accuracy of each student: its mean over the steps."""
        by_student = zip(*(step.students.last for step in self.steps), strict=True)
        return tuple(statistics.fmean(values) for values in by_student)

    @property
    def n(self) -> int:
        """Number of students at each step, and of orders."""
        return len(self.averages)

    @property
    def mean(self) -> float:
        """The average incremental accuracy: the mean over the steps of their mean accuracies."""
        return statistics.fmean(self.averages)

    @property
    def std(self) -> float:
        """Sample standard deviation (n - 1) of `averages`; NaN for one student.

        It is over students and orders of the classes, not over other sets.
        """
        return statistics.stdev(self.averages) if self.n > 1 else float("nan")

    @property
    def seconds(self) -> float:
        """Time of the students of all steps."""
        return sum(step.students.seconds for step in self.steps)

    def as_record(self) -> dict[str, Any]:
        """The result as JSON can say it; a deviation of one student is None."""
        return {
            "n_steps": len(self.steps),
            "mean": self.mean,
            "std": self.std if self.n > 1 else None,
            "n": self.n,
            "averages": list(self.averages),
            "orders": [list(order) for order in self.orders],
            "seconds": self.seconds,
            "steps": [_record(step) for step in self.steps],
        }


def _record(step: ContinualStep) -> dict[str, Any]:
    found = step.students
    return {
        "classes": step.seen,
        "new": step.new,
        "mean": found.mean,
        "std": found.std if found.n > 1 else None,
        "n": found.n,
        "last": list(found.last),
        "seconds": found.seconds,
    }


def evaluate_continual(
    data: DistilledSet | LabeledImages,
    test: LabeledImages,
    network: NetworkSettings,
    settings: StudentSettings,
    *,
    n_steps: int,
    folder: Path | str,
    seed: int,
    runtime: Runtime,
    listen: Listener = ignore,
    phase: str = "students",
    checkpoint_seconds: float = 5.0,
    workers: int | Literal["auto"] = "auto",
) -> Continual:
    r"""Class-incremental learning as in GDumb: at each step, students of the memory so far.

    The classes come in a random order, about C / K at each of K steps, an order for each student.
    After step k a new student is trained on the images of all classes seen, whose classifier knows
    these classes alone, and tested on all test images of these classes: its accuracy is A_k. The
    single number is the average incremental accuracy (iCaRL, Rebuffi et al. 2017, section 4):

    .. math::
        \bar A = \frac{1}{K} \sum_{k=1}^{K} A_k .

    Nothing is learned on the way but the memory, so the last step is `evaluate` on the whole set
    but for the order of the classes. A set that was distilled from all classes together (with a
    pool of extractors that were trained on all of them, as NCFM does) knows more than a memory
    that is built class by class could; so do a teacher's labels. Compare sets that were made
    alike. Soft labels are normalised over the classes seen, see `of_classes`; with
    ``settings.labels = "hard"`` they are not used.

    Args:
        data: The memory of all classes: a distilled or selected set; or real images, for what a
            memory of everything would reach.
        test: Real test images, of the same classes, size and channels.
        network: The students' architecture.
        settings: Number and training of the students of each step.
        n_steps: K, from 1 to the number of classes; usual are 5 and 10. Where the first step has a
            single class, its accuracy is 100.
        folder: Where results and unfinished states are kept, in ``step_01/order_000`` and so on;
            a second call goes on from there.
        seed: Seed of the orders of the classes, and of the students; the i-th order and the
            weights of the i-th student are the same for all sets.
        runtime: Device and precision.
        listen: Receives events.
        phase: Name of the phases in the events; the step is added.
        checkpoint_seconds: Time between two stored states.
        workers: Students at a time, see `evaluate`.

    Raises:
        SettingsError: An argument is of the wrong type, or ``n_steps`` is out of range.
        DataError: The test images are of other classes, size or channels than the memory.
        CheckpointError: The folder belongs to another evaluation, another process works in it, or
            a file in it is damaged.
        NonFiniteError: A loss is NaN or infinite.
    """
    folder, seed = as_path("folder", folder), as_seed(seed)
    as_instance("test", test, LabeledImages)
    if not isinstance(data, DistilledSet | LabeledImages):
        raise SettingsError(
            f"data is of type {type(data).__name__}; give a DistilledSet or LabeledImages."
        )
    if data.class_names != test.class_names:
        raise DataError(
            f"class_names of test ({len(test.class_names)}) are not those of data "
            f"({len(data.class_names)}), in the same order; give test images of the same classes."
        )
    n_classes, part_of = len(data.class_names), _part_of(data)
    seeds = [
        generator(seed, "continual student", number).initial_seed()
        for number in range(as_instance("settings", settings, StudentSettings).students)
    ]
    seen = [classes_seen(n_classes, n_steps, seed=own) for own in seeds]
    steps: list[ContinualStep] = []
    for step in range(n_steps):
        parts = [
            Part(
                part_of(each[step]), real_of_classes(test, each[step]),
                folder / f"step_{step + 1:02d}" / f"order_{number:03d}", own,
            )
            for number, (each, own) in enumerate(zip(seen, seeds, strict=True))
        ]  # fmt: skip
        students = evaluate_each(
            parts, network, settings, runtime=runtime, listen=listen,
            phase=f"{phase}, step {step + 1} of {n_steps}", workers=workers,
            checkpoint_seconds=checkpoint_seconds,
        )  # fmt: skip
        count, before = len(seen[0][step]), steps[-1].seen if steps else 0
        # A confusion of students that number their classes differently says nothing.
        steps.append(ContinualStep(count, count - before, replace(students, confusion=None)))
    orders = tuple(tuple(data.class_names[label] for label in each[-1]) for each in seen)
    return Continual(tuple(steps), orders)


def _part_of(
    data: DistilledSet | LabeledImages,
) -> Callable[[Sequence[int]], DistilledSet | LabeledImages]:
    """Gives the images of some classes."""
    if isinstance(data, DistilledSet):
        return partial(of_classes, data)
    return partial(real_of_classes, data)

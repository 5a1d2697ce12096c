"""What is in a small set: its views beside the real images of their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from dd_core._arguments import as_count, as_instance, as_seed
from dd_core.artifact import DistilledSet
from dd_core.errors import DataError
from dd_core.evaluation.class_content import How, compare_class
from dd_core.evaluation.feature_space import FeatureSpace
from dd_core.evaluation.set_content import ClassContent, PValues, SetContent
from dd_core.events import Listener, ignore
from dd_core.images import LabeledImages
from dd_core.progress import Phase
from dd_core.runtime import Runtime

__all__ = ["compare_with_real", "holm"]


def compare_with_real(
    data: DistilledSet,
    train: LabeledImages,
    space: FeatureSpace | None = None,
    *,
    seed: int,
    runtime: Runtime,
    n_frequencies: int = 256,
    n_resamples: int | None = None,
    n_neighbours: int = 5,
    n_draws: int = 20,
    most_real: int = 5000,
    listen: Listener = ignore,
    phase: str = "content",
) -> SetContent:
    r"""Compares the views of a set with the real training images of their classes.

    Students see decoded views, so these are compared, class by class, in one feature space. The
    real images of a class are halved by the seed. The views are compared with the first half R:

    - distance: that of the empirical characteristic functions at F frequencies t of the spectral
      measure of the Gaussian kernel, whose bandwidth is the median distance of real images of the
      class,

      .. math::
          d^2 = \frac{1}{F} \sum_t |\Phi_{views}(t) - \Phi_R(t)|^2
              = \frac{1}{F} \sum_t \underbrace{(|\Phi_{views}| - |\Phi_R|)^2}_{amplitude}
              + \frac{1}{F} \sum_t phase(t) ,

      the amplitude part telling of spread and shape, the phase part of location
      (`cfmetrics.cf_distance`, `cfmetrics.amplitude_phase`);
    - the permutation tests of d^2 and of both parts (`cfmetrics.cf_2samp`,
      `cfmetrics.cf_attribution`), and their p-values after Holm's step-down method over the
      classes (Holm 1979, "A simple sequentially rejective multiple test procedure");
    - coverage and density, see `coverage_density`.

    A few images never have the characteristic function of thousands: so beside each number stands
    that of as many real images, drawn from the other half and compared with the same R. Halves,
    frequencies and draws follow from the seed alone, so two sets of one data set are compared
    alike. Training images that the set holds unchanged are left out of both halves: a random
    selection of real images is then what random real images are.

    Nearest real images are sought among all of the class.

    A set that is far from real images is not a bad one: distillation by matching gradients or
    trajectories leaves the real distribution on purpose. These numbers describe a set; its worth
    is what students learn from it.

    Time grows with the real images through the network, and with the square of ``most_real``;
    memory holds the features of ``most_real`` images of one class.

    Args:
        data: The set; its views are normalised as the space says.
        train: Real training images of the same classes, size and channels.
        space: The feature space; by default `FeatureSpace.random`, the same for every seed here.
        seed: Seed of halves, frequencies, relabelings and draws.
        runtime: Device and precision.
        n_frequencies: F.
        n_resamples: Relabelings of each test. By default 999, or 50 times the classes less 1,
            but at most 4,999: an adjusted p-value cannot fall below classes / (n_resamples + 1).
        n_neighbours: k of coverage and density.
        n_draws: Draws of random real images, at least 2; where they cannot be disjoint, their
            deviation is left out.
        most_real: Real images of a class that are compared with; of larger classes as many are
            drawn. The nearest are sought among all.
        listen: Receives events.
        phase: Name of the phase in the events.

    Raises:
        SettingsError: An argument is of the wrong type or out of range.
        DataError: The images are of other classes, size or channels than the set; a class has too
            few; or features are not finite.

    Example:
        >>> from dd_core import SyntheticSettings, select_random
        >>> import torch
        >>> draws = torch.Generator().manual_seed(0)
        >>> pixels = torch.randint(0, 256, (60, 1, 8, 8), generator=draws, dtype=torch.uint8)
        >>> labels = torch.arange(60) % 2
        >>> real = LabeledImages(pixels, labels, (0.5,), (0.3,), ("shirt", "bag"))
        >>> chosen = select_random(real, SyntheticSettings(ipc=3, factor=1), seed=0)
        >>> found = compare_with_real(chosen, real, seed=0,
        ...                           runtime=Runtime("cpu", "float32", compile=False, threads=1))
        >>> found.copies, found.differing()
        (6, 0)
    """
    as_instance("data", data, DistilledSet)
    as_instance("train", train, LabeledImages)
    as_instance("runtime", runtime, Runtime)
    resamples = min(max(999, 50 * data.n_classes - 1), 4999)
    how = How(
        seed=as_seed(seed),
        n_frequencies=as_count("n_frequencies", n_frequencies),
        n_resamples=resamples if n_resamples is None else as_count("n_resamples", n_resamples),
        n_neighbours=as_count("n_neighbours", n_neighbours),
        n_draws=as_count("n_draws", n_draws, least=2),
        most_real=as_count("most_real", most_real, least=2 * (n_neighbours + 1)),
    )
    _check(data, train, how)
    train = train.to(runtime.device)
    if space is None:
        space = FeatureSpace.random(train, runtime=runtime)
    as_instance("space", space, FeatureSpace)
    progress = Phase(phase, data.n_classes, "class", listen)
    views, labels = data.decoded()
    found = []
    for label in range(data.n_classes):
        places = (labels == label).nonzero()[:, 0]
        found.append(compare_class(views[places], places, label, train, space, how, runtime))
        progress.advance(label + 1)
    return SetContent(
        space=space.description, classes=_adjusted(found), seconds=progress.finish(), train=train,
        **{name: value for name, value in asdict(how).items() if name != "most_real"},
    )  # fmt: skip


def holm(pvalues: Sequence[float | None]) -> tuple[float | None, ...]:
    """Adjusted p-values: the family's error rate is at most a where those up to a are rejected.

    The i-th smallest of m is multiplied by m + 1 - i, never below the one before, at most 1.
    Missing ones stay missing and do not count. Reference: S. Holm, "A simple sequentially
    rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).

    Example:
        >>> holm([0.01, None, 0.04, 0.03])
        (0.03, None, 0.06, 0.06)
    """
    known = sorted((p, place) for place, p in enumerate(pvalues) if p is not None)
    adjusted: list[float | None] = [None] * len(pvalues)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        adjusted[place] = least
    return tuple(adjusted)


def _check(data: DistilledSet, train: LabeledImages, how: How) -> None:
    """Refuses real images that the set cannot be compared with."""
    if data.class_names != train.class_names:
        missing = [name for name in data.class_names if name not in train.class_names]
        why = f"; train lacks {missing[0]!r}" if missing else ""
        raise DataError(
            f"class_names of train are not those of data ({len(data.class_names)} classes in "
            f"data, {len(train.class_names)} in train{why}). Give the training images of the same "
            "classes in the same order."
        )
    ours, theirs = tuple(data.images.shape[1:]), tuple(train.pixels.shape[1:])
    if ours != theirs:
        raise DataError(
            f"train has images of shape {theirs} (channels, height, width), data of {ours}; give "
            "training images of the same channels and size."
        )
    least = 2 * (how.n_neighbours + 1)
    if train.smallest_class < least:
        name = train.class_names[train.class_sizes.index(train.smallest_class)]
        raise DataError(
            f"class {name!r} of train has {train.smallest_class} images, but n_neighbours = "
            f"{how.n_neighbours} needs at least {least}; give more images, or fewer neighbours."
        )


def _adjusted(classes: Sequence[ClassContent]) -> tuple[ClassContent, ...]:
    """The classes with their p-values adjusted over all of them, each kind by itself."""
    kinds = ("distance", "amplitude", "phase")
    columns = [holm([getattr(one.pvalues, kind) for one in classes]) for kind in kinds]
    return tuple(
        replace(one, adjusted=PValues(*found))
        for one, *found in zip(classes, *columns, strict=True)
    )

"""Settings to distil one's own data with: ours (``best``), as measured on CIFAR-10.

benchmarks/README.md says what each of them reaches there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dd_core.settings import (
        DistillSettings,
        PretrainSettings,
        StudentSettings,
        SyntheticSettings,
        Term,
    )

__all__ = ["METHODS", "distill_settings", "pool_settings", "student_settings"]

METHODS = {
    "ncfm": "characteristic functions, amplitude and phase (NCFM)",
    "csdm": "spectral distances that weigh head and tail classes apart (CSDM), for long tails",
    "dm": "mean features under random networks (DM); needs no trained networks",
    "ddm": "DM with style matching and diversity (DDM); needs no trained networks",
}
"""What each method matches."""

_POOL_STEPS = 800
_MOST_POOL_EPOCHS = 100


def distill_settings(method: str, *, ipc: int, factor: int, iterations: int) -> DistillSettings:
    """The distillation of one method.

    Args:
        method: A name of `METHODS`.
        ipc: Images a class.
        factor: Views along a side of an image.
        iterations: Outer iterations.

    Example:
        >>> distill_settings("dm", ipc=10, factor=1, iterations=100).extractor
        'random'
    """
    from dd_core.settings import DistillSettings, SyntheticSettings

    init = SyntheticSettings(ipc=ipc, factor=factor, init="mix" if factor > 1 else "real")
    batch_real = 128 if ipc == 1 else 256
    if method in ("dm", "ddm"):
        return _mean_matching(method, init, iterations, batch_real)
    return DistillSettings(
        objectives=(_characteristic(method),),
        synthetic=init,
        iterations=iterations,
        batch_real=batch_real,
        hold=5,
        learning_rate=3e-3,
        schedule="cosine",
    )


def _characteristic(method: str) -> Term:
    from dd_core.settings import Term

    if method == "ncfm":
        return Term("ncfm", 300.0, {"n_frequencies": 1024, "alpha": 0.5})
    options: dict[str, bool | int | float | str] = {
        "kernel": "rbf", "bandwidth": 1.0, "alpha_head": 0.8, "root": True, "n_frequencies": 1024,
    }  # fmt: skip
    return Term("csdm", 300.0, options)


def _mean_matching(
    method: str, init: SyntheticSettings, iterations: int, batch_real: int
) -> DistillSettings:
    from dataclasses import replace

    from dd_core.settings import DistillSettings, Term

    more = (Term("style_moments", 1e4), Term("style_gram", 1e4), Term("diversity", 10.0))
    return DistillSettings(
        objectives=(Term("dm", 1.0), *(more if method == "ddm" else ())),
        synthetic=replace(init, space="normalized", clamp="none"),
        iterations=iterations,
        batch_real=batch_real,
        hold=5,
        extractor="random",
        optimizer="sgd",
        learning_rate=1.0,
        momentum=0.5,
        weight_decay=0.0,
        augmentation="flip_color_crop/scale/rotate_cutout",
        calibration=0.0,
    )


def pool_settings(n_images: int, networks: int, epochs: int | None) -> PretrainSettings:
    """The pool of extractors: about 800 steps a network, from 4 to 100 epochs.

    Example:
        >>> pool_settings(50_000, 4, None).epochs, pool_settings(500, 4, None).epochs
        (5, 100)
    """
    from dd_core.settings import PretrainSettings

    batch_size = 256 if n_images >= 20_000 else 64
    if epochs is None:
        wanted = math.ceil(_POOL_STEPS * batch_size / n_images)
        epochs = min(max(wanted, 4), _MOST_POOL_EPOCHS)
    return PretrainSettings(networks=networks, epochs=epochs, batch_size=batch_size)


def student_settings(students: int, steps: int) -> StudentSettings:
    """The students: as many steps for every set, whatever its size."""
    from dd_core.settings import StudentSettings

    return StudentSettings(students=students, epochs=1, steps=steps)

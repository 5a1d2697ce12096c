"""One iteration of dd-core's distillation on a workload, with the settings of the official run."""

import numpy as np

from stepbench import workload as w


def load_all() -> None:
    """Import everything that one iteration needs."""
    import dd_core.extractors
    import dd_core.images
    import dd_core.minmax
    import dd_core.runtime
    import dd_core.settings  # noqa: F401


class OurSide:
    """One workload of dd-core, ready to run iteration by iteration.

    Args:
        work: The workload.
        threads: CPU threads.
        precision: ``auto``, ``float32`` or ``bfloat16``, as ``choose_runtime`` takes it.
        compiled: ``auto``, ``on`` or ``off``, likewise.
    """

    def __init__(self, work: w.Workload, threads: int, precision: str, compiled: str) -> None:
        import torch

        from dd_core.extractors import ExtractorPool
        from dd_core.images import LabeledImages
        from dd_core.minmax import Distiller
        from dd_core.runtime import choose_runtime
        from dd_core.settings import DistillSettings, NetworkSettings, SyntheticSettings, Term

        pixels, labels = w.random_images(work)
        images = LabeledImages(
            torch.from_numpy(pixels),
            torch.from_numpy(labels),
            mean=w.MEAN,
            std=w.STD,
            class_names=tuple(str(label) for label in np.unique(labels)),
        )
        network = NetworkSettings(depth=w.DEPTH, width=w.WIDTH, norm="instance")
        ncfm = {"n_frequencies": work.frequencies, "alpha": 0.5}
        settings = DistillSettings(
            objectives=(Term("ncfm", 300.0, ncfm),),
            synthetic=SyntheticSettings(ipc=work.ipc, factor=w.RHO, init="mix"),
            batch_real=work.real,
            step="joint",
            optimizer="adamw",
            schedule="plateau",
            hold=1,
            augmentation=w.AUGMENTATION,
            augmentation_draws="per_class",
            frequency_draws="shared",
            calibration=1.0,
        )
        pool = ExtractorPool.random(
            network,
            channels=w.CHANNELS,
            size=w.SIZE,
            n_classes=w.CLASSES,
            count=w.EXTRACTORS,
            seed=w.SEED,
        )
        runtime = choose_runtime("cpu", precision, compiled, threads)
        self._distiller = Distiller(images, settings, network, pool, seed=w.SEED, runtime=runtime)
        self.summary = runtime.summary

    def step(self, iteration: int) -> None:
        """Run one iteration: all classes, match and calibration, optimiser step and clamp."""
        self._distiller.step(iteration)

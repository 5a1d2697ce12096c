"""How much memory a distillation needs, and how many images to compute at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dd_core.errors import SettingsError
from dd_core.images import LabeledImages
from dd_core.kernels import amx_in_use, kept_bytes
from dd_core.networks import network_for
from dd_core.objectives.build import build_matching
from dd_core.runtime import Runtime
from dd_core.settings import DistillSettings, NetworkSettings
from dd_core.synthetic import n_views

__all__ = ["Chunks", "MemoryPlan", "is_out_of_memory", "plan_memory"]

_MIB = 2**20
_CPU_VIEWS = 80
_CPU_LIBRARIES = 140 * _MIB
"""What PyTorch and oneDNN take at their first passes, as measured on Linux with torch 2.15."""


@dataclass(frozen=True, slots=True)
class Chunks:
    """How many images are computed at once. It changes numbers only by rounding.

    Attributes:
        images: Real images of one forward pass.
        views: Synthetic views of one forward and backward pass; a class's views stay together.
    """

    images: int
    views: int

    @classmethod
    def default(cls, runtime: Runtime) -> Chunks:
        """Enough to fill the device and, on the CPU, few enough for its cache."""
        cpu = runtime.device.type == "cpu"
        return cls(runtime.chunk_images, _CPU_VIEWS if cpu else 2**30)

    def within(self, images: int, views: int) -> Chunks:
        """No more than there are in all, so that half as many are really fewer."""
        return Chunks(min(self.images, max(1, images)), min(self.views, max(1, views)))

    def halved(self) -> Chunks:
        """Half as many, at least one."""
        return Chunks(max(1, self.images // 2), max(1, self.views // 2))


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """What a run needs, in bytes, as far as its own tensors go.

    The figures are computed from the shapes of all tensors that live at the same time. On CUDA the
    context is not in them.

    Attributes:
        chunks: Images computed at once.
        parts: Bytes by purpose; ``real pass`` and ``synthetic pass`` never live together.
    """

    chunks: Chunks
    parts: dict[str, int]

    @property
    def total(self) -> int:
        """Peak in bytes."""
        passes = ("real pass", "synthetic pass")
        standing = sum(size for name, size in self.parts.items() if name not in passes)
        return standing + max(self.parts[name] for name in passes)

    def smaller_peak(self) -> Chunks:
        """Chunks with half as many images in the pass that needs most, if that can be."""
        half, now = self.chunks.halved(), self.chunks
        real = Chunks(half.images, now.views)
        synthetic = Chunks(now.images, half.views)
        first, second = (
            (real, synthetic)
            if self.parts["real pass"] > self.parts["synthetic pass"]
            else (synthetic, real)
        )
        return first if first != now else second

    @property
    def summary(self) -> str:
        """One line for people."""
        parts = ", ".join(f"{name} {size / _MIB:.0f}" for name, size in self.parts.items())
        return (
            f"about {self.total / _MIB:.0f} MiB ({parts} MiB); {self.chunks.images} real images "
            f"and {self.chunks.views} synthetic views at once"
        )


def plan_memory(
    images: LabeledImages,
    settings: DistillSettings,
    network: NetworkSettings,
    runtime: Runtime,
    *,
    networks: int = 1,
    budget: int | None = None,
    ranks: int = 1,
) -> MemoryPlan:
    """Says before a run what memory it needs, and chooses chunks that keep within a budget.

    Args:
        images: Real training images.
        settings: The method.
        network: The extractors' architecture.
        runtime: Device and precision.
        networks: Networks in the pool.
        budget: Bytes that the run may take; by default as many images are computed at once as
            suit the device.
        ranks: Processes that share the classes.

    Raises:
        SettingsError: Even one image at a time needs more than the budget.
    """
    costs = _Costs(images, settings, network, runtime, networks, -(-images.n_classes // ranks))
    plan = costs.plan(Chunks.default(runtime).within(*costs.most))
    while budget is not None and plan.total > budget:
        smaller = plan.smaller_peak()
        if smaller == plan.chunks:
            raise SettingsError(
                f"memory_budget is {budget / _MIB:.0f} MiB, but the run needs "
                f"{plan.total / _MIB:.0f} MiB even with one class and one image at a time "
                f"({plan.summary}). Give more, or lower batch_real, ipc or n_frequencies."
            )
        plan = costs.plan(smaller)
    return plan


class _Costs:
    """Bytes of everything that a run holds, from shapes alone."""

    def __init__(
        self,
        images: LabeledImages,
        settings: DistillSettings,
        network: NetworkSettings,
        runtime: Runtime,
        networks: int,
        classes: int,
    ) -> None:
        self._settings, self._classes = settings, classes
        self._item = runtime.dtype.itemsize
        self._libraries = _CPU_LIBRARIES if runtime.device.type == "cpu" else 0
        self._image = images.channels * images.size**2
        mapped = bool(images.stored) or images.pixels.device != images.device
        self._stored = 0 if mapped else images.pixels.numel()
        self._batch = min(settings.batch_real, max(images.class_sizes))
        self._views = n_views(settings.synthetic)
        module = network_for(images, network, 0).requires_grad_(False).to("meta")
        self._features = module.n_features
        self._weights = sum(p.numel() for p in module.parameters()) * 4
        self._copies = 1 + (2 * networks + 1) * (settings.extractor == "blend")
        matching = build_matching(settings)
        self._matching = matching
        with torch.device("meta"):
            learned = matching.adversaries(module.n_features)
        self._adversary = 3 * 4 * sum(p.numel() for p in learned.parameters())
        self._frequencies = max(getattr(o, "n_frequencies", 0) for o in matching.objectives)
        if _in_cache(network, runtime, matching.tap):
            shape = (images.channels, images.size, images.size)
            convolutions = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
            blocks = [(m.out_channels, int(m.padding[0])) for m in convolutions]
            self._widest = 3 * self._image * self._item
            self._saved = self._widest + kept_bytes(shape, blocks)
        else:
            pair = (2, images.channels, images.size, images.size)
            self._widest, self._saved = _activations(module, pair, runtime.dtype)

    @property
    def most(self) -> tuple[int, int]:
        """Real images and synthetic views of an iteration."""
        return self._batch * self._classes, self._views * self._classes

    def plan(self, chunks: Chunks) -> MemoryPlan:
        """The plan for these chunks."""
        s, image, item = self._settings, self._image, self._item
        many = max(1, min(self._classes, chunks.views // self._views))
        many = many if s.step == "joint" else 1
        views, real = many * self._views, min(chunks.images, self._batch * self._classes)
        held = self._classes * self._batch * self._features * item
        block = max(self._batch, real) * image * (1 + 4 * 3)
        loss = many * sum(
            objective.loss_bytes(self._batch, self._views)
            for objective in self._matching.objectives
        )
        passes = 2 if s.calibration else 1
        synthetic = views * (passes * self._saved + 8 * 4 * image) + loss
        # In bfloat16 a kernel keeps them laid out in two ways besides.
        drawn = self._frequencies * self._features * (4 if item > 2 else 4 + 2 * item)
        pixels = self._classes * s.synthetic.ipc * image * 4
        moments = 1 if s.optimizer == "sgd" else 2
        return MemoryPlan(
            chunks,
            {
                "libraries": self._libraries,
                "real images": self._stored,
                "networks": self._weights * self._copies,
                "pixels": pixels * (2 + moments),
                "adversaries": self._adversary,
                "frequencies": drawn * (1 if s.frequency_draws == "shared" else many),
                "real features": 2 * held + self._classes * self._batch * image,
                "real pass": real * self._widest + block,
                "synthetic pass": synthetic,
            },
        )


def _in_cache(network: NetworkSettings, runtime: Runtime, tap: str) -> bool:
    """Whether a kernel takes image by image through the network and stores little between."""
    kernel = runtime.device.type == "cpu" and runtime.precision == "bfloat16" and amx_in_use()
    convnet = network.architecture == "convnet" and network.norm == "instance"
    return kernel and convnet and tap == "none" and not runtime.compile


def _activations(module: Any, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[int, int]:
    """Bytes an image: of the two widest tensors in a row, and of what the backward pass keeps."""
    sizes: list[int] = []
    seen: set[int] = set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in seen and tensor.ndim == 4:
            seen.add(id(tensor))
            sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    x = torch.zeros(shape, dtype=dtype, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        module.features(x)
    return 3 * max(sizes) // shape[0], sum(sizes) // shape[0]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the device, or the machine, has no memory left."""
    if isinstance(error, torch.cuda.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)

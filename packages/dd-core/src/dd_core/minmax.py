"""One iteration of the outer loop: match real and synthetic features, step the pixels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar, cast

import torch
from torch import Tensor

from dd_core.augment import Augmentation, Draw, apply, normalize
from dd_core.checkpoint import optimizer_tensors, restore_optimizer
from dd_core.drawn import Drawn, hand_on
from dd_core.errors import NonFiniteError, RunError, SettingsError
from dd_core.extractors import Extractor, ExtractorPool
from dd_core.images import LabeledImages
from dd_core.memory import Chunks, is_out_of_memory
from dd_core.objectives.base import ClassSlice, Features
from dd_core.objectives.build import build_matching
from dd_core.objectives.calibration import calibration_loss
from dd_core.optimizers import ascent_optimizer, base_rate, pixel_optimizer
from dd_core.ranks import Ranks
from dd_core.runtime import Runtime, generator
from dd_core.schedule import Schedule
from dd_core.settings import DistillSettings, NetworkSettings
from dd_core.synthetic import clamp_pixels, decode, initial_pixels, n_views, to_space, to_unit

__all__ = ["Distiller"]

_GUARD_INTERVAL = 25
T = TypeVar("T")


class Distiller:
    """The state of a distillation and its one step.

    In a joint step all classes take part: features of the real batch of every class, features of
    all synthetic views, one loss a class, their sum differentiated, one optimiser step, clamp. The
    sum is differentiated group by group of classes, which gives the same gradient in less memory.

    An adversary climbs by the same backward pass: its optimiser steps against the sign.

    On several ranks each holds consecutive classes, pixels and optimiser state of its own. A
    class's loss depends on that class's pixels alone and all draws follow from the iteration's
    number, so what is computed does not depend on the number of ranks but for rounding.

    Args:
        images: Real training images.
        settings: The method.
        network: The extractors' architecture.
        pool: Extractors; None only for ``extractor="random"``.
        seed: All draws follow from it and the iteration's number.
        runtime: Device and precision.
        chunks: How many images are computed at once; by default what suits the device.
        ranks: The processes that share the classes.

    Attributes:
        on_short_memory: Called with the iteration and the new chunks where memory ran out.

    Raises:
        SettingsError: A pool is missing, or the settings do not fit the images.
        DataError: A class has too few images to start from.
    """

    def __init__(
        self,
        images: LabeledImages,
        settings: DistillSettings,
        network: NetworkSettings,
        pool: ExtractorPool | None,
        *,
        seed: int = 0,
        runtime: Runtime,
        chunks: Chunks | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        if pool is None and settings.extractor == "blend":
            raise SettingsError("extractor is 'blend', which needs a pool; pretrain one first.")
        self.ranks = ranks or Ranks()
        self.classes = self.ranks.share(images.n_classes)
        self.images = images.to(runtime.device)
        self.settings, self.seed, self.runtime = settings, seed, runtime
        self.chunks = (chunks or Chunks.default(runtime)).within(
            min(settings.batch_real, max(images.class_sizes)) * len(self.classes),
            n_views(settings.synthetic) * len(self.classes),
        )
        self.matching = build_matching(settings)
        self.extractor = Extractor(
            network, self.images, None if settings.extractor == "random" else pool, seed
        )
        start = to_space(
            initial_pixels(self.images, settings.synthetic, seed),
            self.images.mean, self.images.std, settings.synthetic.space,
        )  # fmt: skip
        self.pixels = start[self.classes.start : self.classes.stop].clone().requires_grad_()
        self.optimizer = pixel_optimizer(self.pixels, settings)
        self.schedule = Schedule(settings, base_rate(settings, images.n_classes))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(generator(seed, "adversary").initial_seed())
            adversaries = self.matching.adversaries(self.extractor.blended.n_features)
        self.adversaries = adversaries.to(runtime.device)
        self.ascent = ascent_optimizer(self.adversaries, settings)
        self.history = torch.zeros(2, settings.iterations, device=runtime.device)
        self._counts = torch.tensor(self.images.class_sizes)
        self._augmentation = Augmentation.parse(settings.augmentation)
        self._tapped = runtime.optimize(self.extractor.blended.tapped)
        self._losses_of_group = runtime.optimize(self._group_losses)
        self.on_short_memory: Callable[[int, Chunks], None] = lambda iteration, chunks: None
        self._held = -1
        self._real: dict[int, tuple[Features, ...]] = {}
        self._draw = Draw()

    def step(self, iteration: int) -> Tensor:
        """Runs one iteration of all classes and returns its two mean losses, shape (2,)."""
        self._set_rate(iteration)
        together = self.settings.step == "joint"
        losses = self._joint(iteration) if together else self._per_class(iteration)
        self.history[:, iteration] = losses
        self._clamp()
        if self.settings.schedule == "plateau":
            self.schedule.observe(losses.sum().item())
        return losses

    def _joint(self, iteration: int) -> Tensor:
        """One optimiser step for all classes."""
        losses = self._within_memory(iteration, lambda: self._gradients(iteration))
        losses = self.ranks.sum(losses) / self.images.n_classes
        self._guard(iteration, losses)
        self.optimizer.step()
        self._ascend()
        return losses

    def _gradients(self, iteration: int) -> Tensor:
        """Summed losses of the own classes; their gradients are left with the parameters."""
        self._hold(iteration)
        losses = torch.zeros(2, device=self.runtime.device)
        if self.pixels.grad is None:
            self.pixels.grad = torch.zeros_like(self.pixels)
        self.optimizer.zero_grad(set_to_none=False)
        if self.ascent is not None:
            self.ascent.zero_grad()
        shared = self._shared(iteration)
        calibration = self._calibration_draw(iteration)
        for start, stop in self._groups():
            drawn = shared or [self._drawn(iteration, label) for label in range(start, stop)]
            # A leaf of its own, or the gradient of each group would be as large as all pixels.
            pixels = self._own(start, stop).detach().requires_grad_()
            pixels.grad = self.pixels.grad[start - self.classes.start : stop - self.classes.start]
            group = self._losses_of_group(
                pixels, self._real[start], [d.leaves for d in drawn],
                self._draw.group(start, stop), calibration.group(start, stop), start,
            )  # fmt: skip
            (group[0] + self.settings.calibration * group[1]).backward()
            losses += group.detach()
            if not shared:
                hand_on(drawn)
        hand_on(shared)
        return losses

    def _within_memory(self, iteration: int, compute: Callable[[], T]) -> T:
        """What ``compute`` returns; where memory runs out, again with half as many images at once.

        All ranks repeat together, so that what they exchange stays in step. ``compute`` must
        begin anew when it is called again, and exchange nothing.
        """
        while True:
            result: T | None = None
            error: BaseException | None = None
            try:
                result = compute()
            except (RuntimeError, MemoryError) as caught:
                if not is_out_of_memory(caught):
                    raise
                error = caught.with_traceback(None)  # its frames hold what must be freed
            if not self.ranks.any(error is not None):
                return cast(T, result)
            del result
            smaller = self.chunks.halved()
            if smaller == self.chunks:
                raise RunError(
                    f"There is no memory left at iteration {iteration}, with one image at a time "
                    f"({error or 'another process has none'}). Lower batch_real, ipc or the number "
                    "of frequencies; `plan_memory` says what a run needs."
                )
            self.chunks, self._held, self._real = smaller, -1, {}
            if self.runtime.device.type == "cuda":
                torch.cuda.empty_cache()
            self.on_short_memory(iteration, smaller)

    def _per_class(self, iteration: int) -> Tensor:
        """The official order: a step of the whole image tensor after each class's loss.

        A step for another class moves this one's pixels too: no gradient, but momentum.
        """
        self._within_memory(iteration, lambda: self._hold(iteration))
        losses = torch.zeros(2, device=self.runtime.device)
        calibration = self._calibration_draw(iteration)
        if self.pixels.grad is None:
            self.pixels.grad = torch.zeros_like(self.pixels)
        for part in (0, 1) if self.settings.calibration else (0,):
            weight = self.settings.calibration if part else 1.0
            for label in range(self.images.n_classes):
                self.optimizer.zero_grad(set_to_none=False)
                if label in self.classes:
                    drawn = self._drawn_for(iteration, label) if part == 0 else []
                    group = self._losses_of_group(
                        self._own(label, label + 1), self._real_of(label),
                        [d.leaves for d in drawn], self._draw.group(label, label + 1),
                        calibration.group(label, label + 1), label, part,
                    )  # fmt: skip
                    self._guard(iteration, group.detach())
                    (weight * group[part]).backward()
                    losses += group.detach()
                    hand_on(drawn)
                self.optimizer.step()
                if part == 0:
                    self._ascend()
        return self.ranks.sum(losses) / self.images.n_classes

    def state(self) -> dict[str, Tensor]:
        """Tensors that determine the rest of the run; on several ranks all must ask for it."""
        own = {"pixels": self.pixels.detach(), **optimizer_tensors(self.optimizer)}
        tensors = {name: self.ranks.gather(tensor) for name, tensor in own.items()}
        tensors["history"] = self.history
        for name, tensor in self.adversaries.state_dict().items():
            tensors[f"adversary.{name}"] = tensor
        if self.ascent is not None:
            for name, tensor in optimizer_tensors(self.ascent).items():
                tensors[f"ascent.{name}"] = tensor
        return tensors

    def restore(self, tensors: dict[str, Tensor], plateau: tuple[float, int, float]) -> None:
        """Puts back what `state` gave, whatever the number of ranks was."""
        own = slice(self.classes.start, self.classes.stop)
        with torch.no_grad():
            self.pixels.copy_(tensors["pixels"][own])
        self.history.copy_(tensors["history"])
        moments = {k: t for k, t in tensors.items() if k.startswith("optimizer.")}
        restore_optimizer(self.optimizer, {k: t[own] if t.ndim else t for k, t in moments.items()})
        self.adversaries.load_state_dict(_under("adversary.", tensors))
        if self.ascent is not None:
            restore_optimizer(self.ascent, _under("ascent.", tensors))
        self.schedule.plateau = plateau

    def all_pixels(self) -> Tensor:
        """The synthetic images of all classes, in [0, 1] but for a free ``clamp``; collective."""
        return self.ranks.gather(self._unit(self.pixels.detach()))

    @torch.no_grad()
    def _hold(self, iteration: int) -> None:
        """Draws extractor, real batch and augmentation, where it is time for new ones."""
        number = iteration // self.settings.hold
        if number == self._held:
            return
        self._real = {}
        self.extractor.draw(number)
        device = self.runtime.device
        self._draw = self._draws(generator(self.seed, "augmentation", number))
        n = self.settings.batch_real
        if self.settings.real_batches == "first":
            real, counts = self.images.first_batch(n, classes=self.classes)
        else:
            stream = generator(self.seed, "real", number, device=device)
            real, counts = self.images.draw_batch(n, stream, classes=self.classes)
        parts = dict(zip(self.classes, real.split(counts), strict=True))
        for start, stop in self._groups():
            batch = torch.stack([parts[label] for label in range(start, stop)])
            self._real[start] = self._embed_real(batch, start)
        self._held = number

    def _embed_real(self, real: Tensor, first: int) -> tuple[Features, ...]:
        """What the objectives keep of the real batches of consecutive classes of equal size."""
        n = real.shape[1]
        many = max(1, self.chunks.images // n)
        blocks = [
            self._forward_real(real[s : s + many], first + s) for s in range(0, len(real), many)
        ]
        vectors = torch.cat([vectors for vectors, _ in blocks])
        terms = zip(*(kept for _, kept in blocks), strict=True)
        return self.matching.embed(vectors, [_concatenated(term) for term in terms])

    def _forward_real(self, real: Tensor, first: int) -> tuple[Tensor, list[tuple[Tensor, ...]]]:
        """Vectors, and each objective's statistics, of some classes, in chunks of their images."""
        classes, n = real.shape[:2]
        draw = self._draw.group(first, first + classes)
        vectors: list[Tensor] = []
        kept: list[tuple[Tensor, ...]] = [() for _ in self.matching.objectives]
        for part in real.split(max(1, self.chunks.images // classes), 1):
            x = apply(normalize(part, self.images.mean, self.images.std), draw)
            flat, maps = self._tapped(x.flatten(0, 1).to(self.runtime.dtype), self.matching.tap)
            m = part.shape[1]
            vectors.append(flat.unflatten(0, (classes, m)))
            shaped = [each.unflatten(0, (classes, m)) for each in maps]
            new = self.matching.statistics(shaped)
            kept = [_add(old, now, m / n) for old, now in zip(kept, new, strict=True)]
        return torch.cat(vectors, 1), kept

    def _group_losses(
        self,
        pixels: Tensor,
        real: Sequence[Features],
        samples: Sequence[Sequence[Tensor]],
        draw: Draw,
        calibration: Draw,
        first: int,
        part: int | None = None,
    ) -> Tensor:
        """Matching and calibration loss, each summed over consecutive classes: shape (2,).

        Where ``part`` is 0 or 1 only that loss is computed; the other is zero.
        """
        s = self.settings.synthetic
        views = decode(self._unit(pixels), s.factor, s.decode, s.bound)
        x = normalize(views, self.images.mean, self.images.std)
        zero = x.new_zeros(())
        match = self._match(x, real, samples, draw, first) if part != 1 else zero
        wanted = self.settings.calibration and part != 0
        return torch.stack((match, self._calibrate(x, calibration, first) if wanted else zero))

    def _match(
        self,
        x: Tensor,
        real: Sequence[Features],
        samples: Sequence[Sequence[Tensor]],
        draw: Draw,
        first: int,
    ) -> Tensor:
        classes, n = x.shape[:2]
        augmented = apply(x, draw).flatten(0, 1).to(self.runtime.dtype)
        flat, maps = self.extractor.blended.tapped(augmented, self.matching.tap)
        kept = self.matching.statistics([each.unflatten(0, (classes, n)) for each in maps])
        features = self.matching.embed(flat.unflatten(0, (classes, n)), kept)
        if len(samples) == 1:
            group = ClassSlice(first, first + classes, self._counts)
            return self.matching.loss(real, features, samples[0], group).sum()
        each = [
            self.matching.loss(
                [r.classes(i, i + 1) for r in real],
                [f.classes(i, i + 1) for f in features],
                sample,
                ClassSlice(first + i, first + i + 1, self._counts),
            )
            for i, sample in enumerate(samples)
        ]
        return torch.cat(each).sum()

    def _calibrate(self, x: Tensor, draw: Draw, first: int) -> Tensor:
        trained = self.extractor.trained
        assert trained is not None  # the settings refuse calibration without a pool
        augmented = apply(x, draw).flatten(0, 1).to(self.runtime.dtype)
        logits = trained(augmented).unflatten(0, x.shape[:2])
        return calibration_loss(logits, first).sum()

    def _shared(self, iteration: int) -> list[Drawn]:
        """The random part of the iteration where all classes share it; else nothing."""
        return [self._drawn(iteration)] if self.settings.frequency_draws == "shared" else []

    def _drawn_for(self, iteration: int, label: int) -> list[Drawn]:
        """The random part for one class in turn, with the adversary as it is by then."""
        return self._shared(iteration) or [self._drawn(iteration, label)]

    def _drawn(self, iteration: int, *label: int) -> Drawn:
        device = self.runtime.device
        stream = generator(self.seed, "frequencies", iteration, *label, device=device)
        n_features = self.extractor.blended.n_features
        return Drawn(self.matching.sample(n_features, stream, self.adversaries))

    def _ascend(self) -> None:
        """Steps the adversaries up the loss summed over the classes of all ranks."""
        if self.ascent is None:
            return
        for parameter in self.adversaries.parameters():
            if parameter.grad is None:  # a rank without a class at this turn
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad = self.ranks.sum(parameter.grad)
        self.ascent.step()
        self.ascent.zero_grad()

    def _guard(self, iteration: int, losses: Tensor) -> None:
        """Stops before a step on a bad loss; off the CPU it looks now and then, not to wait."""
        if self.runtime.device.type != "cpu" and iteration % _GUARD_INTERVAL:
            return
        if not bool(torch.isfinite(losses).all()):
            match, calibration = losses.tolist()
            raise NonFiniteError(
                f"The loss at iteration {iteration} is not finite (matching {match}, calibration "
                f"{calibration}). No state after it is stored. Begin in another folder with a "
                f"lower learning_rate (it is {self.settings.learning_rate}) or in float32."
            )

    def _calibration_draw(self, iteration: int) -> Draw:
        if not self.settings.calibration:
            return Draw()
        return self._draws(generator(self.seed, "calibration", iteration))

    def _draws(self, stream: torch.Generator) -> Draw:
        shared = self.settings.augmentation_draws == "shared"
        groups = 1 if shared else self.images.n_classes
        return self._augmentation.draw(groups, self.images.size, stream, self.runtime.device)

    def _own(self, start: int, stop: int) -> Tensor:
        """Pixels of consecutive classes of this rank."""
        return self.pixels[start - self.classes.start : stop - self.classes.start]

    def _real_of(self, label: int) -> tuple[Features, ...]:
        """Real features of one class."""
        start = max(first for first in self._real if first <= label)
        return tuple(f.classes(label - start, label - start + 1) for f in self._real[start])

    def _groups(self) -> list[tuple[int, int]]:
        """Runs of own classes with equally large real batches, no longer than the chunk allows."""
        views = n_views(self.settings.synthetic)
        many = max(1, self.chunks.views // views)
        sizes = [min(size, self.settings.batch_real) for size in self.images.class_sizes]
        groups: list[tuple[int, int]] = []
        for label in self.classes:
            start, stop = groups[-1] if groups else (label, label)
            if (
                stop == label
                and label > start
                and label - start < many
                and sizes[label] == sizes[start]
            ):
                groups[-1] = (start, label + 1)
            else:
                groups.append((label, label + 1))
        return groups

    def _unit(self, pixels: Tensor) -> Tensor:
        """Pixels as an image has them, whatever space the optimiser moves them in."""
        images = self.images
        return to_unit(pixels, images.mean, images.std, self.settings.synthetic.space)

    @torch.no_grad()
    def _clamp(self) -> None:
        s = self.settings.synthetic
        if s.clamp == "unit":
            clamp_pixels(self.pixels, self.images.mean, self.images.std, s.space)

    def _set_rate(self, iteration: int) -> None:
        rate = self.schedule.rate(iteration)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def _add(old: tuple[Tensor, ...], new: tuple[Tensor, ...], share: float) -> tuple[Tensor, ...]:
    """Adds a share of some images to the means so far; nothing so far is a zero."""
    if share == 1.0:
        return new
    scaled = tuple(share * each for each in new)
    return tuple(a + b for a, b in zip(old, scaled, strict=True)) if old else scaled


def _concatenated(blocks: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Statistics of blocks of classes as those of all classes."""
    return tuple(torch.cat(parts) for parts in zip(*blocks, strict=True))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}

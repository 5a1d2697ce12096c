"""One iteration of the outer loop: match real and synthetic features, step the pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dd_core.augment import Augmentation, Draw, apply, normalize
from dd_core.checkpoint import optimizer_tensors, restore_optimizer
from dd_core.errors import NonFiniteError, SettingsError
from dd_core.extractors import Extractor, ExtractorPool
from dd_core.images import LabeledImages
from dd_core.objectives import build_objective, calibration_loss
from dd_core.runtime import Runtime, generator
from dd_core.settings import DistillSettings, NetworkSettings
from dd_core.synthetic import decode, initial_pixels

__all__ = ["Distiller"]

_PLATEAU_PATIENCE = 500
_GUARD_INTERVAL = 25
_SYNTHETIC_CHUNK = 80


class Distiller:
    """The state of a distillation and its one step.

    All classes take part in each step: features of the real batch of every class, features of
    all synthetic views, one loss a class, their sum differentiated, one optimiser step, clamp.
    Where the views of all classes would not fit the processor's cache, the sum is differentiated
    class group by class group, which gives the same gradient.

    The official loop steps one AdamW once a class, which moves a pixel sqrt(C) times as far as one
    joint step; so the joint step here has the rate ``learning_rate * sqrt(C)`` for AdamW.

    Args:
        images: Real training images.
        settings: The method.
        network: The extractors' architecture.
        pool: Extractors; None only for ``extractor="random"``.
        seed: All draws follow from it and the iteration's number.
        runtime: Device and precision.
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
    ) -> None:
        if pool is None and settings.extractor == "blend":
            raise SettingsError("extractor is 'blend', which needs a pool; pretrain one first.")
        self.images = images.to(runtime.device)
        self.settings, self.seed, self.runtime = settings, seed, runtime
        self.objective = build_objective(settings)
        self.extractor = Extractor(
            network, self.images, None if settings.extractor == "random" else pool, seed
        )
        self.pixels = initial_pixels(self.images, settings.synthetic, seed).requires_grad_()
        self.optimizer = self._make_optimizer()
        self.history = torch.zeros(2, settings.iterations, device=runtime.device)
        self.plateau = (math.inf, 0, 1.0)  # best loss, iterations since, factor of the rate
        self._augmentation = Augmentation.parse(settings.augmentation)
        self.batch_real = min(settings.batch_real, self.images.smallest_class)
        self._features = runtime.optimize(self.extractor.blended.features)
        self._synthetic = runtime.optimize(self._group_losses)
        self._held = -1
        self._real = torch.empty(0)
        self._draw = Draw()

    def step(self, iteration: int) -> Tensor:
        """Runs one iteration of all classes and returns its two mean losses, shape (2,)."""
        if iteration // self.settings.hold != self._held:
            self._hold(iteration // self.settings.hold)
        device = self.runtime.device
        stream = generator(self.seed, "frequencies", iteration, device=device)
        sample = self.objective.sample(self.extractor.blended.n_features, stream)
        calibration_draw = Draw()
        if self.settings.calibration:
            calibration_draw = self._draws(generator(self.seed, "calibration", iteration)).to(
                device
            )
        losses = torch.zeros(2, device=device)
        self.optimizer.zero_grad()
        for start, stop in self._class_groups():
            group = self._synthetic(
                self.pixels[start:stop],
                self._real[start:stop],
                sample,
                self._draw.group(start, stop),
                calibration_draw.group(start, stop),
                start,
            )
            (group[0] + self.settings.calibration * group[1]).backward()
            losses += group.detach() / self.images.n_classes
        self._guard(iteration, losses)
        self.history[:, iteration] = losses
        self._set_rate(iteration, losses)
        self.optimizer.step()
        with torch.no_grad():
            self.pixels.clamp_(0, 1)
        return losses

    def state(self) -> dict[str, Tensor]:
        """Tensors that determine the rest of the run."""
        return {
            "pixels": self.pixels,
            "history": self.history,
            **optimizer_tensors(self.optimizer),
        }

    def restore(self, tensors: dict[str, Tensor], plateau: tuple[float, int, float]) -> None:
        """Puts back what `state` gave."""
        with torch.no_grad():
            self.pixels.copy_(tensors["pixels"])
        self.history.copy_(tensors["history"])
        restore_optimizer(self.optimizer, tensors)
        self.plateau = plateau

    @torch.no_grad()
    def _hold(self, number: int) -> None:
        """Draws extractor, real batch and augmentation, and computes the real features."""
        self._held = number
        device = self.runtime.device
        self.extractor.draw(number)
        self._draw = self._draws(generator(self.seed, "augmentation", number)).to(device)
        stream = generator(self.seed, "real", number, device=device)
        real = self.images.draw_per_class(self.batch_real, stream)
        many = max(1, self.runtime.chunk_images // self.batch_real)
        starts = range(0, self.images.n_classes, many)
        self._real = torch.cat([self._embed_real(real[s : s + many], s) for s in starts])

    def _embed_real(self, real: Tensor, first: int) -> Tensor:
        """What the objective keeps of the real batch of consecutive classes."""
        classes, n = real.shape[:2]
        x = normalize(real, self.images.mean, self.images.std)
        x = apply(x, self._draw.group(first, first + classes)).flatten(0, 1)
        chunks = x.to(self.runtime.dtype).split(self.runtime.chunk_images)
        features = torch.cat([self._features(chunk) for chunk in chunks])
        return self.objective.embed(features.unflatten(0, (classes, n)))

    def _group_losses(
        self,
        pixels: Tensor,
        real: Tensor,
        sample: Tensor,
        draw: Draw,
        calibration: Draw,
        first: int,
    ) -> Tensor:
        """Matching and calibration loss, each summed over consecutive classes: shape (2,)."""
        views = decode(pixels, self.settings.synthetic.factor)
        x = normalize(views, self.images.mean, self.images.std)
        classes, n = x.shape[:2]
        augmented = apply(x, draw).flatten(0, 1).to(self.runtime.dtype)
        features = self.extractor.blended.features(augmented).unflatten(0, (classes, n))
        match = self.objective.loss(real, self.objective.embed(features), sample).sum()
        trained = self.extractor.trained
        if not self.settings.calibration or trained is None:
            return torch.stack((match, torch.zeros_like(match)))
        again = apply(x, calibration).flatten(0, 1).to(self.runtime.dtype)
        logits = trained(again).unflatten(0, (classes, n))
        return torch.stack((match, calibration_loss(logits, first).sum()))

    def _guard(self, iteration: int, losses: Tensor) -> None:
        """Stops before a step on a bad loss; off the CPU it looks now and then, not to wait."""
        if self.runtime.device.type != "cpu" and iteration % _GUARD_INTERVAL:
            return
        if not bool(torch.isfinite(losses).all()):
            match, calibration = losses.tolist()
            raise NonFiniteError(
                f"The loss at iteration {iteration} is not finite (matching {match}, calibration "
                f"{calibration}). No state after it is stored; lower learning_rate (it is "
                f"{self.settings.learning_rate}), or use precision float32."
            )

    def _draws(self, stream: torch.Generator) -> Draw:
        shared = self.settings.augmentation_draws == "shared"
        return self._augmentation.draw(
            1 if shared else self.images.n_classes, self.images.size, stream
        )

    def _class_groups(self) -> list[tuple[int, int]]:
        views = self.pixels.shape[1] * self.settings.synthetic.factor**2
        classes = self.images.n_classes
        many = classes if self.runtime.device.type != "cpu" else max(1, _SYNTHETIC_CHUNK // views)
        return [(s, min(s + many, classes)) for s in range(0, classes, many)]

    def _make_optimizer(self) -> torch.optim.Optimizer:
        s = self.settings
        if s.optimizer == "sgd":
            return torch.optim.SGD(
                [self.pixels], s.learning_rate, momentum=s.momentum, weight_decay=s.weight_decay
            )
        return torch.optim.AdamW([self.pixels], self._joint_rate(), weight_decay=s.weight_decay)

    def _joint_rate(self) -> float:
        s = self.settings
        joint = math.sqrt(self.images.n_classes) if s.optimizer == "adamw" else 1.0
        return s.learning_rate * joint

    def _set_rate(self, iteration: int, losses: Tensor) -> None:
        factor = 1.0
        if self.settings.schedule == "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * iteration / self.settings.iterations))
        elif self.settings.schedule == "plateau":
            best, since, factor = self.plateau
            now = losses.sum().item()
            best, since = (now, 0) if now < best * (1 - 1e-4) else (best, since + 1)
            if since > _PLATEAU_PATIENCE:
                since, factor = 0, factor / 2
            self.plateau = (best, since, factor)
        for group in self.optimizer.param_groups:
            group["lr"] = self._joint_rate() * factor

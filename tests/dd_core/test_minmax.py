"""The engine's step: against plain PyTorch, against itself in other chunks, orders and ranks."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dd_core import Distiller, DistillSettings, Runtime, SettingsError, SyntheticSettings, Term
from dd_core import minmax as module
from dd_core.augment import apply, normalize
from dd_core.memory import Chunks
from dd_core.objectives.base import Objective
from dd_core.objectives.build import build_matching
from dd_core.objectives.matching import Matching
from dd_core.ranks import Ranks
from dd_core.runtime import _compiler_works
from dd_core.synthetic import decode

SMALL = DistillSettings(
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 64}),),
    synthetic=SyntheticSettings(ipc=2, factor=2),
    iterations=6,
    batch_real=8,
)
WITH_PSI = replace(
    SMALL,
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 64, "psi": "scale_mixture"}),),
)


def ncfm_by_hand(real, synthetic, t, alpha=0.5):
    """The official formula for one class, in complex numbers."""
    phi = [torch.exp(1j * (F.normalize(f, dim=1) @ t.T)).mean(0) for f in (real, synthetic)]
    amplitude = (phi[0].abs() - phi[1].abs()) ** 2
    phase = 2 * (phi[0].abs() * phi[1].abs() - (phi[0] * phi[1].conj()).real)
    return 300 * (alpha * amplitude + (1 - alpha) * phase.clamp(min=1e-12)).sqrt().mean()


def assert_moved_alike(one, other):
    """Equal but for pixels with next to no gradient, where AdamW makes a step of rounding."""
    apart = (one - other).abs()
    assert apart.median() < 1e-6 and (apart > 5e-5).float().mean() < 0.01


class ByHand:
    """One iteration of NCFM in plain PyTorch, from the same draws."""

    def __init__(self, distiller, images, *, seed=0, iteration=0):
        self.images, self.distiller = images, distiller
        self.blended, self.trained = distiller.extractor.blended, distiller.extractor.trained
        stream = module.generator(seed, "real", iteration)
        real, counts = images.draw_batch(8, stream)
        self.draw = distiller._draws(module.generator(seed, "augmentation", iteration))
        self.again = distiller._draws(module.generator(seed, "calibration", iteration))
        self.t = torch.randn(
            64, 16 * 16, generator=module.generator(seed, "frequencies", iteration)
        )
        self.real = [
            self.blended.features(self._augmented(part[None], self.draw, c)[0])
            for c, part in enumerate(real.split(counts))
        ]

    def _augmented(self, x, draw, c):
        return apply(normalize(x, self.images.mean, self.images.std), draw.group(c, c + 1))

    def match(self, pixels, c, alpha=0.5):
        views = self._augmented(decode(pixels[c : c + 1], 2), self.draw, c)[0]
        return ncfm_by_hand(self.real[c], self.blended.features(views), self.t, alpha)

    def calibration(self, pixels, c):
        views = self._augmented(decode(pixels[c : c + 1], 2), self.again, c)[0]
        return F.cross_entropy(self.trained(views), torch.full((len(views),), c))


def test_joint_step_is_adamw_on_the_sum_of_matching_and_calibration(images, network, pool, runtime):
    term = Term("ncfm", 300.0, {"n_frequencies": 64, "alpha": 0.3})
    settings = replace(SMALL, objectives=(term,))
    distiller = Distiller(images, settings, network, pool, seed=3, runtime=runtime)
    pixels = distiller.pixels.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([pixels], lr=1e-3 * math.sqrt(3), weight_decay=5e-4)
    losses = distiller.step(0)
    hand = ByHand(distiller, images, seed=3)
    match = torch.stack([hand.match(pixels, c, 0.3) for c in range(3)])
    calibration = torch.stack([hand.calibration(pixels, c) for c in range(3)])
    torch.testing.assert_close(losses, torch.stack((match.mean(), calibration.mean())))
    (match.sum() + calibration.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(distiller.pixels, pixels.clamp(0, 1), atol=2e-5, rtol=0)


def test_per_class_step_is_the_official_order(images, network, pool, runtime):
    """A step of the whole tensor after each class's loss, then again for the calibration."""
    settings = replace(SMALL, step="per_class")
    distiller = Distiller(images, settings, network, pool, seed=3, runtime=runtime)
    pixels = distiller.pixels.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([pixels], lr=1e-3, weight_decay=5e-4)
    losses = distiller.step(0)
    hand = ByHand(distiller, images, seed=3)
    sums = []
    for loss in (hand.match, hand.calibration):
        total = 0.0
        for c in range(3):
            optimizer.zero_grad(set_to_none=False)
            value = loss(pixels, c)
            value.backward()
            optimizer.step()
            total += value.item()
        sums.append(total / 3)
    torch.testing.assert_close(losses, torch.tensor(sums), rtol=1e-4, atol=1e-5)
    assert_moved_alike(distiller.pixels, pixels.clamp(0, 1))


def test_joint_rate_moves_pixels_as_far_as_a_step_a_class():
    """One AdamW stepped once a class, as in the official loop, against lr * sqrt(C) once."""
    draws = torch.Generator().manual_seed(0)
    for classes in (2, 10, 40):
        official, joint = (torch.zeros(classes, 200, requires_grad=True) for _ in range(2))
        stepped = torch.optim.AdamW([official], lr=1e-3, weight_decay=5e-4)
        once = torch.optim.AdamW([joint], lr=1e-3 * math.sqrt(classes), weight_decay=5e-4)
        for _ in range(40):
            gradient = torch.randn(classes, 200, generator=draws) + 0.5
            for c in range(classes):
                official.grad = torch.zeros_like(gradient)
                official.grad[c] = gradient[c]
                stepped.step()
            joint.grad = gradient
            once.step()
        ratio = (official.abs().mean() / joint.abs().mean()).item()
        assert 0.8 < ratio < 1.25, (classes, ratio)


def test_calibration_steps_move_pixels_by_the_root_of_two_more():
    """The official order steps 2 C times an iteration where it calibrates."""
    draws = torch.Generator().manual_seed(0)
    classes = 10
    official, joint = (torch.zeros(classes, 200, requires_grad=True) for _ in range(2))
    stepped = torch.optim.AdamW([official], lr=1e-3, weight_decay=0.0)
    once = torch.optim.AdamW([joint], lr=1e-3 * math.sqrt(classes), weight_decay=0.0)
    for _ in range(60):
        parts = torch.randn(2, classes, 200, generator=draws) + 0.5
        for part in parts:
            for c in range(classes):
                official.grad = torch.zeros_like(part)
                official.grad[c] = part[c]
                stepped.step()
        joint.grad = parts.sum(0)
        once.step()
    ratio = (official.abs().mean() / joint.abs().mean()).item()
    assert 1.2 < ratio < 1.65, ratio


def test_joint_and_per_class_engines_move_pixels_alike(images, network, pool, runtime):
    moved = {}
    for step in ("joint", "per_class"):
        settings = replace(
            SMALL, step=step, calibration=0.0, iterations=30, frequency_draws="per_class"
        )
        distiller = Distiller(images, settings, network, pool, seed=1, runtime=runtime)
        before = distiller.pixels.detach().clone()
        for i in range(30):
            distiller.step(i)
        moved[step] = (distiller.pixels.detach() - before).flatten()
    ratio = (moved["per_class"].norm() / moved["joint"].norm()).item()
    cosine = F.cosine_similarity(moved["per_class"], moved["joint"], dim=0).item()
    assert 0.75 < ratio < 1.33 and cosine > 0.8, (ratio, cosine)


@pytest.mark.parametrize("frequencies", ["shared", "per_class"])
def test_chunks_change_nothing_but_rounding(frequencies, images, network, pool, runtime):
    settings = replace(SMALL, frequency_draws=frequencies)
    results = []
    for chunks in (Chunks(1, 1), Chunks(5, 16), Chunks(1000, 10_000)):
        distiller = Distiller(images, settings, network, pool, runtime=runtime, chunks=chunks)
        assert len(distiller._groups()) == {1: 3, 5: 2, 1000: 1}[chunks.images]
        losses = distiller.step(0)
        results.append((losses, distiller.pixels.grad.clone()))
    for losses, gradient in results[:2]:
        torch.testing.assert_close(losses, results[2][0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(gradient, results[2][1], atol=1e-5, rtol=1e-3)


def test_classes_of_unequal_size_give_what_they_have(images, network, pool, runtime):
    """A tail class smaller than the batch takes part with all its images."""
    keep = torch.ones(len(images), dtype=torch.bool)
    keep[images.of_class(1)[5:]] = False
    short = replace(images, pixels=images.pixels[keep], labels=images.labels[keep])
    settings = replace(SMALL, synthetic=SyntheticSettings(ipc=1))
    distiller = Distiller(short, settings, network, pool, seed=0, runtime=runtime)
    pixels = distiller.pixels.detach().clone()
    losses = distiller.step(0)
    assert distiller._groups() == [(0, 1), (1, 2), (2, 3)]
    assert [distiller._real[c][0].vectors.shape[1] for c in range(3)] == [8, 5, 8]
    hand = ByHand(distiller, short)
    by_hand = torch.stack([hand.match(pixels, c) for c in range(3)]).mean()
    torch.testing.assert_close(losses[0], by_hand)


def test_first_batches_are_always_the_same_images(images, network, pool, runtime):
    seen = []
    for kind in ("first", "fresh"):
        settings = replace(SMALL, real_batches=kind, augmentation="none", extractor="random",
                           calibration=0.0)  # fmt: skip
        distiller = Distiller(images, settings, network, None, runtime=runtime)
        distiller.extractor.draw = lambda number: None
        for i in range(2):
            distiller._hold(i)
            seen.append(distiller._real[0][0].vectors)
    assert torch.equal(seen[0], seen[1]) and not torch.equal(seen[2], seen[3])


def test_per_class_frequencies_differ_between_classes(images, network, pool, runtime):
    settings = replace(SMALL, frequency_draws="per_class")
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    a, b, again = (distiller._drawn(0, label).leaves[0] for label in (0, 1, 0))
    assert torch.equal(a, again) and not torch.equal(a, b)


@pytest.mark.parametrize("frequencies", ["shared", "per_class"])
def test_adversary_climbs_by_the_same_backward_pass(frequencies, images, network, pool, runtime):
    """psi steps along + gradient of the summed loss, taken at its parameters before the step."""
    settings = replace(WITH_PSI, calibration=0.0, frequency_draws=frequencies)
    distiller = Distiller(images, settings, network, pool, seed=2, runtime=runtime)
    parameters = [p.detach().clone() for p in distiller.adversaries.parameters()]
    psi, start = distiller.adversaries["0"], distiller.pixels.detach().clone()
    labels = [()] * 3 if frequencies == "shared" else [(c,) for c in range(3)]
    distiller._hold(0)
    hand = ByHand(distiller, images, seed=2)
    total = 0.0
    for c in range(3):
        stream = module.generator(2, "frequencies", 0, *labels[c])
        hand.t = distiller.matching.objectives[0].sample(256, stream, psi)
        total = total + hand.match(start, c)
    gradients = torch.autograd.grad(total, list(psi.parameters()))
    distiller.step(0)
    rate, decay = settings.ascent.learning_rate, settings.ascent.weight_decay
    for before, gradient, after in zip(parameters, gradients, psi.parameters(), strict=True):
        expected = before + rate * (gradient - decay * before)
        torch.testing.assert_close(after, expected, rtol=1e-3, atol=1e-5)
        assert not torch.equal(after, before)


def test_weighted_sum_of_objectives(images, network, pool, runtime):
    def loss(*terms):
        settings = replace(SMALL, objectives=terms, calibration=0.0)
        distiller = Distiller(images, settings, network, pool, runtime=runtime)
        return distiller.step(0)[0]

    ncfm, dm = Term("ncfm", 1.0, {"n_frequencies": 64}), Term("dm", 1.0)
    together = loss(replace(ncfm, weight=3.0), replace(dm, weight=0.5))
    torch.testing.assert_close(together, 3 * loss(ncfm) + 0.5 * loss(dm))


def test_style_terms_tap_feature_maps_in_any_chunks(images, network, pool, runtime):
    terms = (Term("dm"), Term("style_moments", 1e3), Term("style_gram", 10.0))
    settings = replace(SMALL, objectives=terms, calibration=0.0)
    losses = [
        Distiller(images, settings, network, pool, runtime=runtime, chunks=chunks).step(0)
        for chunks in (Chunks(3, 8), Chunks(500, 500))
    ]
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)
    assert losses[0][0] > 0


def test_two_taps_do_not_fit_together(images, network, pool, runtime):
    terms = (
        Term("style_gram", 1.0, {"layers": "conv"}),
        Term("style_moments", 1.0, {"layers": "norm"}),
    )
    with pytest.raises(SettingsError, match="tap feature maps at conv and norm"):
        Distiller(images, replace(SMALL, objectives=terms), network, pool, runtime=runtime)


@pytest.mark.parametrize(
    "settings",
    [SMALL, WITH_PSI, replace(SMALL, step="per_class"), replace(WITH_PSI, step="per_class")],
)
def test_ranks_compute_what_one_process_computes(settings, images, network, pool, runtime):
    """Two ranks in turn, their sums exchanged by hand, against one process."""
    whole = Distiller(images, settings, network, pool, seed=4, runtime=runtime)
    ranks = [Lockstep(rank, 2) for rank in range(2)]
    parts = [
        Distiller(images, settings, network, pool, seed=4, runtime=runtime, ranks=rank)
        for rank in ranks
    ]
    assert [list(part.classes) for part in parts] == [[0, 1], [2]]
    for i in range(3):
        whole.step(i)
        lockstep(ranks, [lambda part=part, i=i: part.step(i) for part in parts])
    pixels = torch.cat([part.pixels for part in parts])
    torch.testing.assert_close(pixels, whole.pixels, atol=1e-5, rtol=1e-4)
    for part in parts:
        torch.testing.assert_close(part.history, whole.history, rtol=1e-4, atol=1e-5)


class Lockstep(Ranks):
    """Ranks as threads of one process, for what does not need real processes."""

    def any(self, flag):
        return bool(self.sum(torch.tensor(float(flag))))

    def sum(self, tensor):
        import threading

        barrier, slots = _SHARED["barrier"], _SHARED["slots"]
        assert isinstance(barrier, threading.Barrier)
        slots[self.rank] = tensor
        barrier.wait(120)
        total = sum(slots.values())
        barrier.wait(120)
        return total.clone()


_SHARED = {}


def lockstep(ranks, functions):
    import threading
    from concurrent.futures import ThreadPoolExecutor

    _SHARED.update(barrier=threading.Barrier(len(ranks)), slots={})
    with ThreadPoolExecutor(len(ranks)) as executor:
        for future in [executor.submit(function) for function in functions]:
            future.result(300)


def test_sgd_rate_is_not_scaled(images, network, pool, runtime):
    settings = replace(SMALL, optimizer="sgd", learning_rate=0.01)
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    distiller.step(0)
    assert distiller.optimizer.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_normalized_space_starts_and_ends_as_images(optimizer, images, network, pool, runtime):
    settings = replace(
        SMALL, optimizer=optimizer, synthetic=SyntheticSettings(ipc=2, space="normalized")
    )
    unit = Distiller(images, SMALL, network, pool, runtime=runtime)
    free = Distiller(images, settings, network, pool, runtime=runtime)
    torch.testing.assert_close(free.all_pixels(), unit.pixels.detach(), atol=1e-6, rtol=0)
    torch.testing.assert_close(free.step(0), unit.step(0), rtol=1e-4, atol=1e-5)
    pixels = free.all_pixels()
    assert pixels.min() > -1e-6 and pixels.max() < 1 + 1e-6


@pytest.mark.parametrize("form", ["single", "multi", "bound"])
def test_space_does_not_change_the_loss(form, images, network, pool, runtime):
    """Also where a factor does not divide the size and views are padded with grey."""
    losses = []
    for space in ("unit", "normalized"):
        synthetic = SyntheticSettings(ipc=1, factor=4, decode=form, space=space, init="noise")
        settings = replace(SMALL, synthetic=synthetic)
        losses.append(Distiller(images, settings, network, pool, runtime=runtime).step(0))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-5)


def test_per_class_step_with_psi_by_hand(images, network, pool, runtime):
    """The official form: psi climbs after each class, the next class sees the new psi."""
    settings = replace(WITH_PSI, step="per_class", calibration=0.0)
    distiller = Distiller(images, settings, network, pool, seed=2, runtime=runtime)
    again = Distiller(images, settings, network, pool, seed=2, runtime=runtime)
    losses = distiller.step(0)
    again._hold(0)
    hand = ByHand(again, images, seed=2)
    psi, pixels = again.adversaries["0"], again.pixels.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([pixels], lr=1e-3, weight_decay=5e-4)
    ascent = torch.optim.SGD(psi.parameters(), lr=1e-3, momentum=0.5, weight_decay=5e-4)
    total = 0.0
    for c in range(3):
        stream = module.generator(2, "frequencies", 0)
        hand.t = again.matching.objectives[0].sample(256, stream, psi)
        value = hand.match(pixels, c)
        total += value.item()
        optimizer.zero_grad(set_to_none=False)
        ascent.zero_grad()
        value.backward()
        for parameter in psi.parameters():
            parameter.grad.neg_()  # climb by the official second backward pass
        optimizer.step()
        ascent.step()
    assert losses[0].item() == pytest.approx(total / 3, rel=1e-4)
    for ours, theirs in zip(distiller.adversaries.parameters(), psi.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert_moved_alike(distiller.pixels, pixels.clamp(0, 1))


def test_free_pixels_leave_the_range(images, network, pool, runtime):
    settings = replace(
        SMALL, learning_rate=0.5,
        synthetic=SyntheticSettings(ipc=1, space="normalized", clamp="none"),
    )  # fmt: skip
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    distiller.step(0)
    assert distiller.all_pixels().min() < 0


def test_held_draws_keep_network_and_real_features(images, network, pool, runtime):
    distiller = Distiller(images, replace(SMALL, hold=3), network, pool, runtime=runtime)
    seen = []
    for i in range(6):
        distiller.step(i)
        seen.append((distiller._real[0], distiller._draw))
    assert all(seen[i][0] is seen[0][0] for i in (1, 2))
    assert all(seen[i][0] is seen[3][0] for i in (4, 5))
    assert not torch.equal(seen[0][0][0].vectors, seen[3][0][0].vectors)


def test_blend_needs_a_pool(images, network, runtime):
    with pytest.raises(SettingsError, match="needs a pool"):
        Distiller(images, SMALL, network, None, runtime=runtime)


def test_bfloat16_run_is_near_to_float32(images, network, pool):
    results = []
    for precision in ("float32", "bfloat16"):
        runtime = Runtime("cpu", precision, compile=False, threads=2)
        distiller = Distiller(images, SMALL, network, pool, runtime=runtime)
        results.append(distiller.step(0))
    torch.testing.assert_close(*results, rtol=0.05, atol=0.02)


def test_compiled_step_equals_eager(images, network, pool, runtime):
    whole = Chunks(10_000, 10_000)  # one group: one graph to compile
    compiled = replace(runtime, compile=_compiler_works("cpu"))
    settings = replace(SMALL, calibration=0.0, augmentation="color")
    losses = [
        Distiller(images, settings, network, pool, runtime=r, chunks=whole).step(0)
        for r in (runtime, compiled)
    ]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)


def test_every_objective_of_a_matching_has_its_own_adversary():
    class Plain(Objective):
        def loss(self, real, synthetic, sample, classes):
            return torch.zeros(1)

    matching = Matching((Plain(), *build_matching(WITH_PSI).objectives), (1.0, 1.0))
    assert list(matching.adversaries(8)) == ["1"]

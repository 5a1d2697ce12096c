"""The engine: its step against plain PyTorch, its state, its guards."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from dd_core import (
    CheckpointError,
    Distiller,
    DistillSettings,
    NonFiniteError,
    Runtime,
    SettingsError,
    SyntheticSettings,
    distill,
)
from dd_core import minmax as module
from dd_core.augment import apply, normalize
from dd_core.checkpoint import load_state
from dd_core.events import Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_core.runtime import _compiler_works
from dd_core.synthetic import decode

SMALL = DistillSettings(
    synthetic=SyntheticSettings(ipc=2, factor=2),
    iterations=6,
    batch_real=8,
    n_frequencies=64,
)


class Stop(Exception):
    """What a listener raises to interrupt a run."""


def stop_after(done: int):
    def listen(event):
        if isinstance(event, PhaseAdvanced) and event.done >= done:
            raise Stop

    return listen


@pytest.fixture(autouse=True)
def every_step_is_reported(monkeypatch):
    monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)


def ncfm_by_hand(real, synthetic, t, alpha):
    """The official formula for one class, in complex numbers."""
    phi = [torch.exp(1j * (F.normalize(f, dim=1) @ t.T)).mean(0) for f in (real, synthetic)]
    amplitude = (phi[0].abs() - phi[1].abs()) ** 2
    phase = 2 * (phi[0].abs() * phi[1].abs() - (phi[0] * phi[1].conj()).real)
    return 300 * (alpha * amplitude + (1 - alpha) * phase.clamp(min=1e-12)).sqrt().mean()


def test_one_step_is_adamw_on_the_sum_of_matching_and_calibration(images, network, pool, runtime):
    settings = replace(SMALL, alpha=0.3)
    distiller = Distiller(images, settings, network, pool, seed=3, runtime=runtime)
    pixels = distiller.pixels.detach().clone().requires_grad_()
    optimizer = torch.optim.AdamW([pixels], lr=1e-3 * math.sqrt(3), weight_decay=5e-4)
    losses = distiller.step(0)

    stream = module.generator(3, "real", 0)
    real = normalize(images.draw_per_class(8, stream), images.mean, images.std)
    real = apply(real, distiller._draw)
    again = distiller._draws(module.generator(3, "calibration", 0))
    t = torch.randn(64, 16 * 16, generator=module.generator(3, "frequencies", 0))
    views = normalize(decode(pixels, 2), images.mean, images.std)
    blended, trained = distiller.extractor.blended, distiller.extractor.trained
    match = torch.stack(
        [
            ncfm_by_hand(blended.features(r), blended.features(s), t, 0.3)
            for r, s in zip(real, apply(views, distiller._draw), strict=True)
        ]
    )
    calibration = torch.stack(
        [
            F.cross_entropy(trained(s), torch.full((len(s),), c))
            for c, s in enumerate(apply(views, again))
        ]
    )
    torch.testing.assert_close(losses, torch.stack((match.mean(), calibration.mean())))
    (match.sum() + calibration.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(distiller.pixels, pixels.clamp(0, 1), atol=2e-5, rtol=0)


def test_class_groups_give_the_gradient_of_one_piece(images, network, pool, runtime, monkeypatch):
    results = []
    for chunk in (1, 10_000):
        monkeypatch.setattr(module, "_SYNTHETIC_CHUNK", chunk)
        distiller = Distiller(images, SMALL, network, pool, seed=0, runtime=runtime)
        assert len(distiller._class_groups()) == (3 if chunk == 1 else 1)
        distiller.step(0)
        results.append(distiller.pixels.grad.clone())
    torch.testing.assert_close(*results, atol=1e-5, rtol=1e-4)


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


def test_sgd_rate_is_not_scaled(images, network, pool, runtime):
    settings = replace(SMALL, optimizer="sgd", learning_rate=0.01)
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    distiller.step(0)
    assert distiller.optimizer.param_groups[0]["lr"] == 0.01


def test_cosine_schedule_falls_to_zero(images, network, pool, runtime):
    settings = replace(SMALL, schedule="cosine", optimizer="sgd", learning_rate=0.01)
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    rates = []
    for i in range(6):
        distiller.step(i)
        rates.append(distiller.optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(0.01)
    assert rates[3] == pytest.approx(0.005)
    assert rates == sorted(rates, reverse=True)


def test_plateau_halves_after_its_patience(images, network, pool, runtime, monkeypatch):
    monkeypatch.setattr(module, "_PLATEAU_PATIENCE", 2)
    settings = replace(SMALL, schedule="plateau", optimizer="sgd", learning_rate=0.01)
    distiller = Distiller(images, settings, network, pool, runtime=runtime)
    rates = []
    for i in range(6):
        distiller._set_rate(i, torch.tensor([5.0 - (i == 0), 0.0]))
        rates.append(distiller.optimizer.param_groups[0]["lr"])
    assert rates == [0.01, 0.01, 0.01, 0.005, 0.005, 0.005]


def test_held_draws_keep_network_and_real_features(images, network, pool, runtime):
    distiller = Distiller(images, replace(SMALL, hold=3), network, pool, runtime=runtime)
    seen = []
    for i in range(6):
        distiller.step(i)
        seen.append((distiller._real, distiller._draw))
    assert all(seen[i][0] is seen[0][0] for i in (1, 2))
    assert all(seen[i][0] is seen[3][0] for i in (4, 5))
    assert not torch.equal(seen[0][0], seen[3][0])


def test_distillation_lowers_the_loss_and_keeps_pixels_valid(images, network, runtime, tmp_path):
    settings = DistillSettings(
        method="dm",
        synthetic=SyntheticSettings(ipc=1, factor=1, init="noise"),
        iterations=40,
        batch_real=20,
        optimizer="adamw",
        learning_rate=0.02,
        extractor="random",
        calibration=0.0,
        augmentation="color_crop",
        loss_scale=1.0,
    )
    result = distill(images, settings, network, pool=None, folder=tmp_path, seed=0, runtime=runtime)
    losses = result.history["match"]
    assert len(losses) == 40
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])
    pixels = result.distilled.images
    assert pixels.min() >= 0 and pixels.max() <= 1
    # The bright square of each class has appeared.
    for c in range(3):
        start = c * 5
        square = pixels[c, 0, start : start + 5, start : start + 5].mean()
        assert square > pixels[c].mean() + 0.1


@pytest.mark.parametrize("settings", [SMALL, replace(SMALL, hold=2, schedule="plateau")])
def test_interrupted_run_resumes_to_the_same_bits(
    settings, images, network, pool, runtime, tmp_path
):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "checkpoint_seconds": 0.0}
    whole = distill(images, settings, network, folder=tmp_path / "whole", **options)
    for done in (1, 3, 4):
        with pytest.raises(Stop):
            distill(
                images, settings, network, folder=tmp_path / "parts",
                listen=stop_after(done), **options,
            )  # fmt: skip
    parts = distill(images, settings, network, folder=tmp_path / "parts", **options)
    assert torch.equal(whole.distilled.images, parts.distilled.images)
    assert whole.history == parts.history


def test_complete_run_is_loaded_not_repeated(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path}
    first = distill(images, SMALL, network, **options)
    events = []
    second = distill(images, SMALL, network, listen=events.append, **options)
    assert torch.equal(first.distilled.images, second.distilled.images)
    assert second.seconds == first.seconds and second.history == first.history
    assert events == [PhaseStarted("distill ncfm", 6, "iteration", 6)]


def test_events_of_a_run(images, network, pool, runtime, tmp_path):
    events = []
    settings = replace(SMALL, batch_real=50)
    distill(
        images, settings, network,
        pool=pool, seed=1, runtime=runtime, folder=tmp_path, listen=events.append, phase="mine",
    )  # fmt: skip
    assert events[0] == Message("batch_real is 20: the smallest class has 20 images", "warning")
    assert events[1] == PhaseStarted("mine", 6, "iteration", 0)
    assert isinstance(events[-1], PhaseFinished) and events[-1].seconds > 0
    assert set(events[2].values) == {"match", "calibration"}


def test_other_settings_or_seed_do_not_touch_a_folder(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "runtime": runtime, "folder": tmp_path}
    distill(images, SMALL, network, seed=1, **options)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for settings, seed in ((replace(SMALL, alpha=0.4), 1), (SMALL, 2)):
        with pytest.raises(CheckpointError, match="other settings, data or seed"):
            distill(images, settings, network, seed=seed, **options)
    assert before == {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}


def test_damaged_record_is_named(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "runtime": runtime, "folder": tmp_path, "seed": 1}
    distill(images, SMALL, network, **options)
    record = tmp_path / "complete.json"
    record.write_text(record.read_text()[:40])
    with pytest.raises(CheckpointError, match=r"complete\.json is damaged"):
        distill(images, SMALL, network, **options)


def test_nan_stops_with_the_last_good_state(images, network, pool, runtime, tmp_path, monkeypatch):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path}
    original = Distiller._group_losses
    calls = []

    def poisoned(self, *arguments):
        calls.append(1)
        factor = math.nan if len(calls) > 3 else 1.0
        return original(self, *arguments) * factor

    monkeypatch.setattr(Distiller, "_group_losses", poisoned)
    with pytest.raises(NonFiniteError, match="iteration 3 is not finite"):
        distill(images, SMALL, network, **options)
    tensors, facts = load_state(tmp_path / "state.safetensors", key=_key(tmp_path))
    assert facts["iteration"] == 3 and torch.isfinite(tensors["pixels"]).all()
    monkeypatch.undo()
    resumed = distill(images, SMALL, network, **options)
    whole = distill(images, SMALL, network, **{**options, "folder": tmp_path / "whole"})
    assert torch.equal(resumed.distilled.images, whole.distilled.images)


def test_bad_pixels_are_never_stored(images, network, pool, runtime, tmp_path, monkeypatch):
    """Where the guard did not look, as off the CPU, the last good state stays."""
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path}
    monkeypatch.setattr(Distiller, "_guard", lambda self, iteration, losses: None)
    original = Distiller._group_losses
    calls = []

    def poisoned(self, *arguments):
        calls.append(1)
        return original(self, *arguments) * (math.nan if len(calls) == 4 else 1.0)

    monkeypatch.setattr(Distiller, "_group_losses", poisoned)
    with pytest.raises(NonFiniteError, match="pixels are not finite after iteration 4"):
        distill(images, SMALL, network, checkpoint_seconds=0.0, **options)
    _, facts = load_state(tmp_path / "state.safetensors", key=_key(tmp_path))
    assert facts["iteration"] == 3
    monkeypatch.undo()
    resumed = distill(images, SMALL, network, **options)
    whole = distill(images, SMALL, network, **{**options, "folder": tmp_path / "whole"})
    assert torch.equal(resumed.distilled.images, whole.distilled.images)


def test_real_features_do_not_depend_on_the_chunk(images, network, pool, runtime, monkeypatch):
    results = []
    for chunk in (3, 8, 1000):
        monkeypatch.setattr(Runtime, "chunk_images", chunk)
        distiller = Distiller(images, SMALL, network, pool, runtime=runtime)
        distiller.step(0)
        results.append(distiller._real)
    torch.testing.assert_close(results[0], results[2], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(results[1], results[2], atol=1e-6, rtol=1e-5)


def _key(folder):
    from safetensors import safe_open

    with safe_open(folder / "state.safetensors", framework="pt") as file:
        return file.metadata()["key"]


def test_blend_needs_a_pool(images, network, runtime):
    with pytest.raises(SettingsError, match="needs a pool"):
        Distiller(images, SMALL, network, None, runtime=runtime)


def test_provenance_tells_how_the_set_was_made(images, network, pool, runtime, tmp_path):
    distill(images, SMALL, network, pool=pool, seed=5, runtime=runtime, folder=tmp_path)
    manifest = json.loads((tmp_path / "distilled" / "manifest.json").read_text())
    provenance = manifest["provenance"]
    assert provenance["seed"] == 5 and provenance["settings"]["n_frequencies"] == 64
    assert provenance["data"] == images.fingerprint()


def test_bfloat16_run_is_near_to_float32(images, network, pool):
    results = []
    for precision in ("float32", "bfloat16"):
        runtime = Runtime("cpu", precision, compile=False, threads=2)
        distiller = Distiller(images, SMALL, network, pool, runtime=runtime)
        results.append(distiller.step(0))
    torch.testing.assert_close(*results, rtol=0.05, atol=0.02)


def test_compiled_step_equals_eager(images, network, pool, runtime, monkeypatch):
    monkeypatch.setattr(module, "_SYNTHETIC_CHUNK", 10_000)  # one group: one graph to compile
    compiled = replace(runtime, compile=_compiler_works("cpu"))
    losses = [
        Distiller(images, SMALL, network, pool, runtime=r).step(0) for r in (runtime, compiled)
    ]
    torch.testing.assert_close(*losses, rtol=1e-3, atol=1e-3)

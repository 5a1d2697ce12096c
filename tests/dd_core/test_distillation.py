"""Whole distillations: learning, events, resumption, guards, memory."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch

from dd_core import (
    AscentSettings,
    CheckpointError,
    DistilledSet,
    Distiller,
    DistillSettings,
    NonFiniteError,
    RunError,
    SettingsError,
    SyntheticSettings,
    Term,
    distill,
)
from dd_core.checkpoint import load_state
from dd_core.distillation import snapshot_folder
from dd_core.events import Message, PhaseAdvanced, PhaseFinished, PhaseStarted
from dd_core.memory import plan_memory

SMALL = DistillSettings(
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 64}),),
    synthetic=SyntheticSettings(ipc=2, factor=2),
    iterations=6,
    batch_real=8,
)
WITH_PSI = replace(
    SMALL,
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 64, "psi": "tanh"}),),
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


def test_distillation_lowers_the_loss_and_keeps_pixels_valid(images, network, runtime, tmp_path):
    settings = DistillSettings(
        objectives=(Term("dm"),),
        synthetic=SyntheticSettings(ipc=1, factor=1, init="noise"),
        iterations=40,
        batch_real=20,
        optimizer="adamw",
        learning_rate=0.02,
        extractor="random",
        calibration=0.0,
        augmentation="color_crop",
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


@pytest.mark.parametrize(
    "settings",
    [
        SMALL,
        replace(SMALL, hold=2, schedule="plateau", patience=1),
        replace(SMALL, step="per_class"),
        replace(WITH_PSI, optimizer="sgd"),
        replace(WITH_PSI, frequency_draws="per_class"),
        replace(WITH_PSI, step="per_class", calibration=0.5),
    ],
)
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


def test_snapshots_are_kept_on_the_way_and_survive_interruptions(
    images, network, pool, runtime, tmp_path
):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "checkpoint_seconds": 0.0}
    plain = distill(images, SMALL, network, folder=tmp_path / "plain", **options)
    options["snapshots"] = [2, 4, 6]
    whole = distill(images, SMALL, network, folder=tmp_path / "whole", **options)
    assert torch.equal(whole.distilled.images, plain.distilled.images)
    for done in (1, 2, 3, 5):
        with pytest.raises(Stop):
            distill(
                images, SMALL, network, folder=tmp_path / "parts",
                listen=stop_after(done), **options,
            )  # fmt: skip
    distill(images, SMALL, network, folder=tmp_path / "parts", **options)
    kept = {}
    for number in options["snapshots"]:
        kept[number], parts = (
            DistilledSet.load(snapshot_folder(tmp_path / name, number)).images
            for name in ("whole", "parts")
        )
        assert torch.equal(kept[number], parts)
    assert not torch.equal(kept[2], kept[4])
    assert torch.equal(kept[6], whole.distilled.images)


def test_snapshots_belong_to_the_run(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path}
    with pytest.raises(SettingsError, match="there are 6 iterations"):
        distill(images, SMALL, network, snapshots=[7], **options)
    with pytest.raises(SettingsError, match="snapshots is 0"):
        distill(images, SMALL, network, snapshots=[0], **options)
    distill(images, SMALL, network, **options)
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        distill(images, SMALL, network, snapshots=[2], **options)


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
    text = "3 of 3 classes have fewer than batch_real = 50 images and give all of theirs"
    assert events[0] == Message(text, "warning")
    assert events[1].text.startswith("memory besides the program's own: about ")
    assert events[2] == PhaseStarted("mine", 6, "iteration", 0)
    assert isinstance(events[-1], PhaseFinished) and events[-1].seconds > 0
    assert set(events[3].values) == {"match", "calibration"}


def test_other_settings_or_seed_do_not_touch_a_folder(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "runtime": runtime, "folder": tmp_path}
    distill(images, SMALL, network, seed=1, **options)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for settings, seed in ((replace(SMALL, hold=2), 1), (SMALL, 2)):
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
    with pytest.raises(NonFiniteError, match="not finite after iteration 4"):
        distill(images, SMALL, network, checkpoint_seconds=0.0, **options)
    _, facts = load_state(tmp_path / "state.safetensors", key=_key(tmp_path))
    assert facts["iteration"] == 3
    monkeypatch.undo()
    resumed = distill(images, SMALL, network, **options)
    whole = distill(images, SMALL, network, **{**options, "folder": tmp_path / "whole"})
    assert torch.equal(resumed.distilled.images, whole.distilled.images)


def _key(folder):
    from safetensors import safe_open

    with safe_open(folder / "state.safetensors", framework="pt") as file:
        return file.metadata()["key"]


def test_provenance_tells_how_the_set_was_made(images, network, pool, runtime, tmp_path):
    distill(images, SMALL, network, pool=pool, seed=5, runtime=runtime, folder=tmp_path)
    manifest = json.loads((tmp_path / "distilled" / "manifest.json").read_text())
    provenance = manifest["provenance"]
    assert provenance["seed"] == 5 and provenance["settings"]["objectives"][0]["options"] == {
        "n_frequencies": 64
    }
    assert provenance["data"] == images.fingerprint()


def test_out_of_memory_halves_the_chunks_and_goes_on(
    images, network, pool, runtime, tmp_path, monkeypatch
):
    """The result is that of an undisturbed run but for rounding, with one line in the log."""
    options = {"pool": pool, "seed": 1, "runtime": runtime}
    whole = distill(images, SMALL, network, folder=tmp_path / "whole", **options)
    original = Distiller._group_losses

    def scarce(self, pixels, *arguments):
        if len(pixels) > 1:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: x")
        return original(self, pixels, *arguments)

    monkeypatch.setattr(Distiller, "_group_losses", scarce)
    events = []
    parts = distill(
        images, SMALL, network, folder=tmp_path / "parts", listen=events.append, **options
    )
    warnings = [e.text for e in events if isinstance(e, Message) and e.level == "warning"]
    lines = [text for text in warnings if "out of memory at iteration 0" in text]
    assert lines and all("from now on" in line for line in lines)
    assert not any("iteration 1" in text for text in warnings)
    torch.testing.assert_close(parts.distilled.images, whole.distilled.images, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("frequencies", ["shared", "per_class"])
def test_a_repeated_step_is_a_clean_one(frequencies, images, network, pool, runtime, monkeypatch):
    """What an aborted attempt left with psi does not count."""
    settings = replace(WITH_PSI, frequency_draws=frequencies)

    def stepped(failing):
        distiller = Distiller(images, settings, network, pool, runtime=runtime)
        distiller.chunks = replace(distiller.chunks, views=8)
        original, calls = distiller._losses_of_group, []

        def scarce(*arguments):
            calls.append(1)
            if failing and len(calls) == 3:
                raise MemoryError("for once")
            return original(*arguments)

        distiller._losses_of_group = scarce
        distiller.step(0)
        return [*distiller.adversaries.parameters(), distiller.pixels]

    for whole, repeated in zip(stepped(failing=False), stepped(failing=True), strict=True):
        torch.testing.assert_close(repeated, whole, rtol=1e-3, atol=1e-5)


def test_bad_adversary_is_never_stored(images, network, pool, runtime, tmp_path):
    settings = replace(
        WITH_PSI, ascent=AscentSettings(learning_rate=1e38), iterations=4, calibration=0.0
    )
    with pytest.raises(NonFiniteError):
        distill(
            images, settings, network, pool=pool, seed=1, runtime=runtime, folder=tmp_path,
            checkpoint_seconds=0.0,
        )  # fmt: skip
    if (tmp_path / "state.safetensors").exists():
        tensors, _ = load_state(tmp_path / "state.safetensors", key=_key(tmp_path))
        assert all(torch.isfinite(tensor).all() for tensor in tensors.values())


def test_smaller_chunks_survive_a_stop(images, network, pool, runtime, tmp_path, monkeypatch):
    """A run that had to compute fewer images at once goes on so, and to the same bits."""
    seen = []

    def scarce(self, pixels, *arguments):
        seen.append(len(pixels))
        if len(pixels) > 1 and len(seen) < 3:
            raise MemoryError("for a while")
        return original(self, pixels, *arguments)

    original = Distiller._group_losses
    results = []
    for name, stops in (("whole", ()), ("parts", (2,))):
        seen.clear()
        monkeypatch.setattr(Distiller, "_group_losses", scarce)
        options = {"pool": pool, "seed": 1, "runtime": runtime, "checkpoint_seconds": 0.0}
        for done in stops:
            with pytest.raises(Stop):
                distill(images, SMALL, network, folder=tmp_path / name,
                        listen=stop_after(done), **options)  # fmt: skip
            monkeypatch.undo()
            monkeypatch.setattr("dd_core.progress._REPORT_SECONDS", 0.0)
        results.append(distill(images, SMALL, network, folder=tmp_path / name, **options))
    assert torch.equal(results[0].distilled.images, results[1].distilled.images)


def test_another_start_at_the_same_path_is_another_run(images, network, pool, runtime, tmp_path):
    first = distill(images, SMALL, network, pool=pool, seed=1, runtime=runtime,
                    folder=tmp_path / "start")  # fmt: skip
    start = tmp_path / "start" / "distilled"
    synthetic = SyntheticSettings(ipc=2, init="file", init_file=str(start))
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path / "out"}
    settings = replace(SMALL, synthetic=synthetic)
    distill(images, settings, network, **options)
    replace(first.distilled, images=1 - first.distilled.images).save(start)
    with pytest.raises(CheckpointError, match="other settings, data or seed"):
        distill(images, settings, network, **options)


def test_memory_that_never_suffices_ends_the_run(
    images, network, pool, runtime, tmp_path, monkeypatch
):
    def scarce(self, *arguments):
        raise MemoryError("no more")

    monkeypatch.setattr(Distiller, "_group_losses", scarce)
    with pytest.raises(RunError, match=r"no memory left at iteration 0.*no more"):
        distill(images, SMALL, network, pool=pool, seed=1, runtime=runtime, folder=tmp_path)


def test_other_runtime_errors_are_not_taken_for_lack_of_memory(
    images, network, pool, runtime, tmp_path, monkeypatch
):
    calls = []

    def broken(self, *arguments):
        calls.append(1)
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(Distiller, "_group_losses", broken)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        distill(images, SMALL, network, pool=pool, seed=1, runtime=runtime, folder=tmp_path)
    assert len(calls) == 1


def test_budget_is_kept_by_smaller_chunks_to_the_same_result(
    images, network, pool, runtime, tmp_path
):
    options = {"pool": pool, "seed": 1, "runtime": runtime}
    free = plan_memory(images, SMALL, network, runtime, networks=2)
    tight = plan_memory(images, SMALL, network, runtime, networks=2, budget=free.total - 400_000)
    assert tight.total <= free.total - 400_000 and tight.chunks != free.chunks
    whole = distill(images, SMALL, network, folder=tmp_path / "whole", **options)
    parts = distill(
        images, SMALL, network, folder=tmp_path / "parts",
        memory_budget=free.total - 400_000, **options,
    )  # fmt: skip
    torch.testing.assert_close(parts.distilled.images, whole.distilled.images, atol=1e-4, rtol=1e-3)


def test_impossible_budget_is_refused_before_anything_runs(
    images, network, pool, runtime, tmp_path
):
    with pytest.raises(SettingsError, match="memory_budget is 0 MiB, but the run needs"):
        distill(
            images, SMALL, network, pool=pool, seed=1, runtime=runtime,
            folder=tmp_path, memory_budget=1000,
        )  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda r, s: s.vectors.sum(), r"is \(\) for 3 classes"),
        (lambda r, s: s.vectors.sum(1), r"for 3 classes; return a tensor of shape \(3,\)"),
        (lambda r, s: [0.0, 0.0, 0.0], "is list for 3 classes"),
        (lambda r, s: r.vectors.sum((1, 2)), "has no gradient"),
    ],
)
def test_wrong_loss_of_an_own_objective_is_named(
    loss, message, images, network, pool, runtime, monkeypatch
):
    monkeypatch.setattr(
        "dd_core.objectives.mean_matching.MeanMatching.loss",
        lambda self, real, synthetic, sample, classes: loss(real, synthetic),
    )
    settings = replace(SMALL, objectives=(Term("dm"),))
    with pytest.raises(SettingsError, match=message):
        Distiller(images, settings, network, pool, runtime=runtime).step(0)


def test_swapped_result_is_noticed(images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "runtime": runtime}
    for seed in (1, 2):
        distill(images, SMALL, network, seed=seed, folder=tmp_path / str(seed), **options)
    (tmp_path / "1" / "distilled").rename(tmp_path / "away")
    (tmp_path / "2" / "distilled").rename(tmp_path / "1" / "distilled")
    with pytest.raises(CheckpointError, match="is not the set that this run made"):
        distill(images, SMALL, network, seed=1, folder=tmp_path / "1", **options)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"seed": None}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"seed": -1}, "seed"),
        ({"folder": 5}, "folder"),
        ({"memory_budget": "2GiB"}, "memory_budget"),
        ({"runtime": "cpu"}, "runtime"),
    ],
)
def test_wrong_arguments_are_named(change, name, images, network, pool, runtime, tmp_path):
    options = {"pool": pool, "seed": 1, "runtime": runtime, "folder": tmp_path, **change}
    with pytest.raises(SettingsError, match=name):
        distill(images, SMALL, network, **options)


def test_a_folder_that_cannot_be_made_is_noticed_at_once(images, network, pool, runtime, tmp_path):
    (tmp_path / "file").write_text("mine")
    seen = []
    with pytest.raises(CheckpointError, match="is a file, or lies in one"):
        distill(images, SMALL, network, pool=pool, seed=1, runtime=runtime,
                folder=str(tmp_path / "file" / "sub"), listen=seen.append)  # fmt: skip
    assert not seen

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from dd_core.artifact import DistilledSet
from dd_core.errors import NonFiniteError, UserError
from dd_core.events import Event, Message, PhaseAdvanced, PhaseStarted
from dd_core.settings import DistillSettings
from dd_recipes.catalog import find
from dd_recipes.reader import load_recipe, read_recipe
from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runner import Hardware, reproduce

PLAIN = Hardware(device="cpu", precision="float32", compile="off")
PHASES = [
    "pool", "students random real", "students random packed", "distill DM", "students DM",
    "distill NCFM", "students NCFM",
]  # fmt: skip


def accuracies(results: Results) -> dict[str, tuple[float, ...]]:
    return {row.label: row.last for row in results.rows}


@dataclass
class Recorder:
    """Remembers the events, and raises once some phase has gone far enough."""

    stop_in: str = ""
    stop_at: int = 0
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        begun = isinstance(event, PhaseStarted | PhaseAdvanced) and event.phase == self.stop_in
        if begun and isinstance(event, PhaseStarted | PhaseAdvanced) and event.done >= self.stop_at:
            raise KeyboardInterrupt

    @property
    def phases(self) -> Iterator[PhaseStarted]:
        return (event for event in self.events if isinstance(event, PhaseStarted))


def test_the_folder_holds_what_the_documentation_says(
    tiny: Recipe, finished: tuple[Path, Results]
) -> None:
    folder, results = finished
    assert results.complete
    assert Results.from_json(json.loads((folder / "results.json").read_text())) == results
    assert read_recipe(tomllib.loads((folder / "config.toml").read_text()), name="x") == tiny
    assert json.loads((folder / "config.json").read_text()) == tiny.tables()
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"]
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    started = [event["phase"] for event in events if event["event"] == "PhaseStarted"]
    assert started == PHASES
    assert all("time" in event for event in events)


def test_every_method_leaves_a_set_that_can_be_used(
    tiny: Recipe, finished: tuple[Path, Results]
) -> None:
    folder, _ = finished
    for method in tiny.methods:
        stored = DistilledSet.load(folder / "methods" / method.slug / "distilled")
        images, labels = stored.decoded()
        assert torch.bincount(labels).tolist() == [method.views] * 10
        assert images.shape == (10 * method.views, 1, 28, 28)
        assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_training_images_are_counted_for_every_form_of_decoding(tmp_path: Path) -> None:
    overrides = (
        "methods.random-packed.settings.decode=bound", "methods.random-packed.settings.bound=25",
        "methods.dm.settings.synthetic.decode=multi", "methods.dm.settings.iterations=1",
        "students.students=1", "students.epochs=1", "students.evaluations=1",
    )  # fmt: skip
    recipe = load_recipe(find("quickstart"), budget="smoke", overrides=overrides)
    recipe = replace(recipe, methods=recipe.methods[1:3])
    rows = reproduce(recipe, tmp_path / "run", hardware=PLAIN).rows
    # 25 views of 10 images: three images in 4 views, seven whole; or each whole and in 4 views.
    assert [row.training_images for row in rows] == [3 * 4 + 7, 10 * (1 + 4)]
    for row in rows:
        stored = DistilledSet.load(tmp_path / "run" / "methods" / row.slug / "distilled")
        counts = torch.bincount(stored.decoded()[1]).tolist()
        assert counts == [row.training_images] * 10


def test_distillation_starts_from_the_packed_control(finished: tuple[Path, Results]) -> None:
    folder, _ = finished
    packed, dm, ncfm = (
        DistilledSet.load(folder / "methods" / name / "distilled").images
        for name in ("random-packed", "dm", "ncfm")
    )
    # Few steps of at most about 0.003 (NCFM) from the same random real images.
    assert float((ncfm - packed).abs().max()) < 0.1
    assert float((ncfm - packed).abs().max()) > 0
    assert not torch.equal(dm, packed)


def test_the_same_seed_gives_the_same_numbers(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    again = reproduce(tiny, tmp_path / "run", hardware=PLAIN)
    assert accuracies(again) == accuracies(finished[1])
    for method in tiny.methods:
        name = Path("methods") / method.slug / "distilled" / "distilled.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (finished[0] / name).read_bytes()


def test_another_seed_gives_other_numbers(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    small = replace(tiny, seed=1, methods=tiny.methods[:1])
    (row,) = reproduce(small, tmp_path / "run", hardware=PLAIN).rows
    assert row.last != finished[1].rows[0].last


def test_a_run_interrupted_in_every_phase_ends_with_the_same_numbers(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    for phase in PHASES:
        recorder = Recorder(stop_in=phase, stop_at=2)
        with pytest.raises(KeyboardInterrupt):
            reproduce(
                tiny, tmp_path / "run", hardware=PLAIN, listen=recorder, checkpoint_seconds=0.0
            )
    recorder = Recorder()
    results = reproduce(tiny, tmp_path / "run", hardware=PLAIN, listen=recorder)
    assert accuracies(results) == accuracies(finished[1])
    # What was complete, or had gone some way, was not computed again.
    *complete, last = recorder.phases
    assert [event.phase for event in complete] == ["pool", "distill NCFM"]
    assert all(event.done == event.total for event in complete)
    assert last.phase == "students NCFM"
    assert 0 < last.done < last.total
    assert any(isinstance(e, Message) and "random real, random packed, DM" in e.text
               for e in recorder.events)  # fmt: skip


def test_a_complete_run_computes_nothing(tiny: Recipe, finished: tuple[Path, Results]) -> None:
    folder, results = finished
    stored = (folder / "results.json").read_bytes()
    recorder = Recorder()
    assert reproduce(tiny, folder, listen=recorder) == results
    assert list(recorder.phases) == []
    assert (folder / "results.json").read_bytes() == stored


def test_words_may_change_but_not_the_computation(
    tiny: Recipe, finished: tuple[Path, Results]
) -> None:
    folder, results = finished
    assert reproduce(replace(tiny, summary="Other words."), folder).rows == results.rows
    reproduce(tiny, folder)
    with pytest.raises(UserError, match="seed: 0 there, 5 now"):
        reproduce(replace(tiny, seed=5), folder)
    with pytest.raises(UserError, match=r"students\.students: 2 there, 3 now"):
        reproduce(replace(tiny, students=replace(tiny.students, students=3)), folder)


@pytest.mark.parametrize(
    ("wish", "words"),
    [(Hardware(precision="bfloat16"), "--precision float32, and bfloat16"),
     (Hardware(compile="on"), "--compile off, and on"), (PLAIN, "")],
)  # fmt: skip
def test_a_run_keeps_its_precision(
    tiny: Recipe, finished: tuple[Path, Results], wish: Hardware, words: str
) -> None:
    if not words:
        assert reproduce(tiny, finished[0], hardware=wish).complete
        return
    with pytest.raises(UserError, match=words):
        reproduce(tiny, finished[0], hardware=wish)


def test_without_blended_extractors_there_is_no_pool(tiny: Recipe, tmp_path: Path) -> None:
    recipe = replace(tiny, methods=(tiny.methods[2],))
    recorder = Recorder()
    results = reproduce(recipe, tmp_path / "run", hardware=PLAIN, listen=recorder)
    assert results.pool_seconds is None
    assert [event.phase for event in recorder.phases] == ["distill DM", "students DM"]


def test_a_nan_stops_the_run_and_keeps_what_was_complete(tiny: Recipe, tmp_path: Path) -> None:
    real, ncfm = tiny.methods[0], tiny.methods[3]
    assert isinstance(ncfm.settings, DistillSettings)
    objectives = (replace(ncfm.settings.objectives[0], weight=1e38),)
    wild = replace(ncfm, settings=replace(ncfm.settings, objectives=objectives))
    recipe = replace(tiny, methods=(real, wild))
    with pytest.raises(NonFiniteError):
        reproduce(recipe, tmp_path / "run", hardware=PLAIN)
    stored = Results.from_json(json.loads((tmp_path / "run" / "results.json").read_text()))
    assert [row.label for row in stored.rows] == ["random real"]
    assert not stored.complete


def test_what_cannot_be_made_is_found_before_anything_is_computed(
    tiny: Recipe, tmp_path: Path
) -> None:
    ncfm = tiny.methods[-1]
    assert isinstance(ncfm.settings, DistillSettings)
    for change, words in (({"factor": 3}, "factor is 3"), ({"ipc": 300}, "real images a class")):
        synthetic = replace(ncfm.settings.synthetic, **change)  # type: ignore[arg-type]
        method = replace(ncfm, settings=replace(ncfm.settings, synthetic=synthetic))
        with pytest.raises(UserError, match=words):
            reproduce(replace(tiny, methods=(method,)), tmp_path / "run", hardware=PLAIN)
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["curves.json", "measured.json"])
def test_damaged_derived_files_are_derived_anew(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path, name: str
) -> None:
    folder, results = finished
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    path = copy / "methods" / "ncfm" / name
    path.write_text(path.read_text()[:30])
    (copy / "environment.json").write_text("{")
    recorder = Recorder()
    again = reproduce(tiny, copy, hardware=PLAIN, listen=recorder)
    assert accuracies(again) == accuracies(results)
    assert all(phase.done == phase.total for phase in recorder.phases)
    assert json.loads(path.read_text()) and json.loads((copy / "environment.json").read_text())


def test_a_wish_to_compile_that_fell_back_does_not_stop_the_run_from_going_on(
    tiny: Recipe, finished: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dd_core.runtime._compiler_works", lambda name: False)
    folder, results = finished
    wish = replace(PLAIN, compile="on")
    assert accuracies(reproduce(tiny, folder, hardware=wish)) == accuracies(results)


def test_the_time_of_the_extractors_is_kept(tiny: Recipe, finished: tuple[Path, Results]) -> None:
    folder, results = finished
    stored = json.loads((folder / "pool.json").read_text())["seconds"]
    assert results.pool_seconds == stored > 0

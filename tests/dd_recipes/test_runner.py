from __future__ import annotations

import errno
import json
import math
import shutil
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from dd_core.artifact import DistilledSet
from dd_core.errors import RunError, UserError
from dd_core.events import Event, Message, PhaseAdvanced, PhaseStarted
from dd_core.settings import DistillSettings
from dd_recipes.find_data import Found
from dd_recipes.measure_settings import ContinualSettings, SearchSettings
from dd_recipes.reader import read_recipe
from dd_recipes.recipe import Cell, DataSource, Recipe
from dd_recipes.results import Results
from dd_recipes.runfolder import held
from dd_recipes.runner import Hardware, reproduce
from dd_recipes.shelf import Shelf

PLAIN = Hardware(device="cpu", precision="float32", compile="off")
PHASES = [
    "students random-real", "students random-packed", "distill dm", "students dm", "pool ncfm",
    "distill ncfm", "students ncfm",
]  # fmt: skip


def accuracies(results: Results) -> dict[str, tuple[float, ...]]:
    return {row.name: row.last for row in results.rows}


def statuses(results: Results) -> dict[str, str]:
    return {row.name: row.status for row in results.rows}


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def changed(cell: Cell, **parts: dict[str, Any]) -> Cell:
    """A cell with other values in some sections."""
    sections = {name: replace(getattr(cell, name), **values) for name, values in parts.items()}
    return replace(cell, **sections)


def distilling(cell: Cell, **values: Any) -> Cell:
    assert isinstance(cell.distill, DistillSettings)
    return replace(cell, distill=replace(cell.distill, **values))


def only(recipe: Recipe, *cells: Cell) -> Recipe:
    return replace(recipe, cells=cells)


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

    @property
    def computed(self) -> list[str]:
        """Phases in which there was something left to compute."""
        return [event.phase for event in self.phases if event.done < event.total]

    @property
    def text(self) -> str:
        return "\n".join(event.text for event in self.events if isinstance(event, Message))


def test_the_folder_holds_what_the_documentation_says(
    tiny: Recipe, finished: tuple[Path, Results]
) -> None:
    folder, results = finished
    assert results.complete and not results.failed
    assert Results.from_json(json.loads((folder / "results.json").read_text())) == results
    raw = tomllib.loads((folder / "config.toml").read_text())
    again = read_recipe(raw, name="x", budget="full")
    assert [cell.settings() for cell in again.cells] == [cell.settings() for cell in tiny.cells]
    assert [cell.name for cell in again.cells] == [row.name for row in results.rows]
    assert json.loads((folder / "config.json").read_text()) == raw
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"]
    run = json.loads((folder / "run.json").read_text())
    assert (run["format"], run["recipe"], run["budget"]) == (3, "quickstart", "smoke")
    (log,) = folder.glob("events-*.jsonl")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    started = [event["phase"] for event in events if event["event"] == "PhaseStarted"]
    assert started == PHASES
    assert all("time" in event for event in events)
    (pool,) = folder.glob("pools/*/pool.json")
    assert json.loads(pool.read_text())["seconds"] == results.pool_seconds
    for row in results.rows:
        assert (folder / "sets" / str(row.set) / "set.json").exists()
        assert json.loads((folder / "cells" / row.name / "cell.json").read_text())["seed"] == 0


def test_every_cell_has_a_set_that_can_be_used(
    tiny: Recipe, finished: tuple[Path, Results]
) -> None:
    folder, results = finished
    for cell, row in zip(tiny.cells, results.rows, strict=True):
        stored = DistilledSet.load(folder / "sets" / str(row.set) / "distilled")
        images, labels = stored.decoded()
        assert torch.bincount(labels).tolist() == [cell.views] * 10 == [row.training_images] * 10
        assert images.shape == (10 * cell.views, 1, 28, 28)


def test_distillation_starts_from_the_packed_control(finished: tuple[Path, Results]) -> None:
    folder, results = finished
    packed, dm, ncfm = (
        DistilledSet.load(folder / "sets" / str(row.set) / "distilled").images
        for row in results.rows[1:]
    )
    # Few steps of at most about 0.003 (NCFM) from the same random real images.
    assert 0 < float((ncfm - packed).abs().max()) < 0.1
    assert not torch.equal(dm, packed)


def test_the_same_seed_gives_the_same_numbers_after_interruptions_in_every_phase(
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
    assert recorder.computed == ["students ncfm"]  # what was complete was not computed again
    assert "already complete: random-real, random-packed, dm" in recorder.text
    for row in results.rows:
        name = Path("sets") / str(row.set) / "distilled" / "distilled.safetensors"
        assert (tmp_path / "run" / name).read_bytes() == (finished[0] / name).read_bytes()


def test_another_seed_gives_other_numbers(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    small = replace(tiny, seed=1, cells=tiny.cells[:1])
    (row,) = reproduce(small, tmp_path / "run", hardware=PLAIN).rows
    assert row.last != finished[1].rows[0].last


def test_a_complete_run_computes_nothing_and_needs_no_data(
    tiny: Recipe, finished: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, results = finished
    stored = (folder / "results.json").read_bytes()
    monkeypatch.setattr("dd_recipes.shelf.load_data", lambda *_: pytest.fail("data were read"))
    recorder = Recorder()
    assert reproduce(tiny, folder, listen=recorder) == results
    assert list(recorder.phases) == []
    assert (folder / "results.json").read_bytes() == stored


def test_words_may_change(tiny: Recipe, finished: tuple[Path, Results]) -> None:
    folder, results = finished
    assert reproduce(replace(tiny, summary="Other words."), folder).rows == results.rows
    reproduce(tiny, folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: replace(r, seed=5), "seed: 0 there, 5 now"),
        (lambda r: replace(r, variant="paper"), "variant: best there, paper now"),
        (lambda r: replace(r, budget="full"), "budget: smoke there, full now"),
        (
            lambda r: only(r, changed(r.cells[0], students={"students": 3})),
            r"cells\.random-real\.students\.students: 2 there, 3 now",
        ),
        (
            lambda r: only(r, distilling(r.cells[3], batch_real=8)),
            r"cells\.ncfm\.distill\.batch_real: 16 there, 8 now",
        ),
    ],
)
def test_another_computation_is_refused_with_nothing_written(
    tiny: Recipe, finished: tuple[Path, Results], change: Callable[[Recipe], Recipe], words: str
) -> None:
    before = content(finished[0])
    with pytest.raises(UserError, match=words):
        reproduce(change(tiny), finished[0], hardware=PLAIN)
    assert content(finished[0]) == before


def test_other_images_are_refused(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "cells" / "dm"
    (path / "measured.json").unlink()
    asked = json.loads((path / "cell.json").read_text())
    (path / "cell.json").write_text(json.dumps({**asked, "images": "abc/def"}))
    with pytest.raises(UserError, match=r"cells\.dm\.images: abc/def there"):
        reproduce(tiny, tmp_path / "run")


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


def test_a_wish_to_compile_that_fell_back_does_not_stop_the_run_from_going_on(
    tiny: Recipe, finished: tuple[Path, Results], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dd_core.runtime._compiler_works", lambda name: False)
    folder, results = finished
    wish = replace(PLAIN, compile="on")
    assert accuracies(reproduce(tiny, folder, hardware=wish)) == accuracies(results)


def test_without_blended_extractors_there_is_no_pool(tiny: Recipe, tmp_path: Path) -> None:
    recorder = Recorder()
    results = reproduce(
        only(tiny, tiny.cells[2]), tmp_path / "run", hardware=PLAIN, listen=recorder
    )  # fmt: skip
    assert results.pool_seconds is None
    assert recorder.computed == ["distill dm", "students dm"]


def test_cells_are_chosen_by_patterns(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--cells x-.* matches no cell .* random-real"):
        reproduce(tiny, tmp_path / "run", cells=["x-*"])
    with pytest.raises(UserError, match=r"--rerun x-.* matches no cell"):
        reproduce(tiny, tmp_path / "run", rerun=["x-*"])
    assert not (tmp_path / "run").exists()
    results = reproduce(tiny, tmp_path / "run", hardware=PLAIN, cells=["random-*"])
    assert list(statuses(results).values()) == ["done", "done", "missing", "missing"]
    assert not results.complete and not results.failed
    again = reproduce(tiny, tmp_path / "run", cells=["random-real"])
    assert statuses(again) == statuses(results)


def test_a_run_of_several_commands_keeps_them_all(tiny: Recipe, tmp_path: Path) -> None:
    for pattern in ("random-real", "random-packed", "random-real"):
        command = ("dd-recipes", "reproduce", "tiny", "--cells", pattern)
        reproduce(tiny, tmp_path, hardware=PLAIN, cells=[pattern], command=command)
    known = json.loads((tmp_path / "environment.json").read_text())
    assert known["command"].splitlines() == [
        "dd-recipes reproduce tiny --cells random-real",
        "dd-recipes reproduce tiny --cells random-packed",
    ]


def test_cells_share_pools_and_sets(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    ncfm = tiny.cells[3]
    wide = changed(replace(ncfm, name="wide"), student_network={"depth": 2})
    soft = replace(ncfm, name="soft", soft_labels="paper")
    recorder = Recorder()
    results = reproduce(
        only(tiny, ncfm, wide, soft), tmp_path / "run", hardware=PLAIN, listen=recorder
    )  # fmt: skip
    assert recorder.computed == [
        "pool ncfm", "distill ncfm", "students ncfm", "students wide", "students soft",
    ]  # fmt: skip
    first, second, third = results.rows
    assert first.last == finished[1].rows[3].last
    assert first.set == second.set != third.set
    assert first.last != second.last and first.last != third.last
    labelled = DistilledSet.load(tmp_path / "run" / "sets" / str(third.set) / "distilled")
    plain = DistilledSet.load(tmp_path / "run" / "sets" / str(first.set) / "distilled")
    assert torch.equal(labelled.images, plain.images)
    assert labelled.soft_labels is not None and plain.soft_labels is None
    # A set that is shared is one in the sum of times too.
    assert results.seconds == pytest.approx(
        sum(row.student_seconds or 0 for row in results.rows) + (results.pool_seconds or 0)
        + (first.distill_seconds or 0) + (third.distill_seconds or 0)
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["herding", "kmeans"])
def test_real_images_are_chosen_by_features_of_the_pool(
    tiny: Recipe, tmp_path: Path, kind: Any
) -> None:
    cell = replace(tiny.cells[0], name="chosen", kind=kind, network=tiny.cells[3].network)
    recorder = Recorder()
    (row,) = reproduce(
        only(tiny, replace(cell, pretrain=tiny.cells[3].pretrain)), tmp_path / "run",
        hardware=PLAIN, listen=recorder,
    ).rows  # fmt: skip
    assert recorder.computed == ["pool chosen", "students chosen"]
    stored = DistilledSet.load(tmp_path / "run" / "sets" / str(row.set) / "distilled")
    assert stored.provenance["features"] == "a given function"
    assert row.distill_seconds is None


def wild(cell: Cell) -> Cell:
    """A cell whose loss overflows."""
    assert isinstance(cell.distill, DistillSettings)
    objectives = (replace(cell.distill.objectives[0], weight=1e38),)
    return distilling(replace(cell, name="wild"), objectives=objectives)


def test_a_cell_that_fails_stops_no_other(tiny: Recipe, tmp_path: Path) -> None:
    recipe = only(tiny, wild(tiny.cells[2]), tiny.cells[0])
    recorder = Recorder()
    results = reproduce(recipe, tmp_path / "run", hardware=PLAIN, listen=recorder)
    assert statuses(results) == {"wild": "failed", "random-real": "done"}
    assert [row.name for row in results.failed] == ["wild"]
    assert "not finite" in results.rows[0].note or "inf" in results.rows[0].note
    assert "wild failed: " in recorder.text
    failed = json.loads((tmp_path / "run" / "cells" / "wild" / "failed.json").read_text())
    assert failed["kind"] == "NonFiniteError"
    stored = json.loads((tmp_path / "run" / "results.json").read_text())
    assert Results.from_json(stored) == results


def test_a_failed_cell_is_tried_again_by_the_next_run(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = only(tiny, tiny.cells[0])

    def fail(*_: object) -> NoReturn:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("dd_recipes.runner.measure", fail)
        began = time.time()
        for _ in range(2):
            results = reproduce(recipe, tmp_path / "run", hardware=PLAIN)
            assert statuses(results) == {"random-real": "failed"}
            assert results.rows[0].note == "MemoryError"
    # A process of the same command leaves it alone; another command does not.
    assert reproduce(recipe, tmp_path / "run", hardware=PLAIN, began=began).failed
    assert reproduce(recipe, tmp_path / "run", hardware=PLAIN).complete
    assert not (tmp_path / "run" / "cells" / "random-real" / "failed.json").exists()


@pytest.mark.parametrize(
    ("error", "goes_on"),
    [(OSError(errno.EIO, "broken"), True), (RunError("no luck"), True),
     (OSError(errno.ENOSPC, "full"), False), (KeyboardInterrupt(), False),
     (ZeroDivisionError("a bug"), False)],
)  # fmt: skip
def test_only_failures_of_one_cell_let_the_others_go_on(
    tiny: Recipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    goes_on: bool,
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr("dd_recipes.runner.measure", fail)
    recipe = only(tiny, *tiny.cells[:2])
    if goes_on:
        assert len(reproduce(recipe, tmp_path / "run", hardware=PLAIN).failed) == 2
    else:
        with pytest.raises(type(error)):
            reproduce(recipe, tmp_path / "run", hardware=PLAIN)
        assert not list(tmp_path.rglob("failed.json"))


def test_what_cannot_be_made_is_found_before_anything_is_computed(
    tiny: Recipe, tmp_path: Path
) -> None:
    for change, words in (({"factor": 3}, "factor is 3"), ({"ipc": 300}, "real images a class")):
        cell = changed(tiny.cells[1], synthetic=change)
        with pytest.raises(UserError, match=rf"cells\.random-packed: .*{words}"):
            reproduce(only(tiny, tiny.cells[0], cell), tmp_path / "run", hardware=PLAIN)
        assert not (tmp_path / "run").exists()
    for unfit, words in (
        (replace(tiny.cells[0], measure="speed"), "needs kind = 'distill'"),
        (replace(tiny.cells[2], measure="dynamics", soft_labels="paper"), "does not take"),
        (
            replace(tiny.cells[0], measure="continual", continual=ContinualSettings(11)),
            r"continual\.steps is 11, .*Fashion-MNIST subset has 10 classes",
        ),
        (
            replace(tiny.cells[0], measure="search", search=SearchSettings((9,), (4,), ("none",))),
            "leave no network for images of 28 px",
        ),
        (
            replace(
                tiny.cells[0], measure="search", search=SearchSettings((1, 9), (4,), ("none",))
            ),
            "search has 1 networks for images of 28 px; give a grid of 3",
        ),
    ):
        with pytest.raises(UserError, match=words):
            reproduce(only(tiny, unfit), tmp_path / "run")


def test_cells_without_data_are_not_run_and_the_others_are(tiny: Recipe, tmp_path: Path) -> None:
    absent = replace(tiny.cells[1], name="absent", row="far", data=DataSource("folder", path="x"))
    recorder = Recorder()
    recipe = only(tiny, tiny.cells[0], absent)
    results = reproduce(recipe, tmp_path / "run", hardware=PLAIN, listen=recorder)
    assert statuses(results) == {"random-real": "done", "absent": "not run"}
    assert results.rows[1].note and results.rows[1].note in recorder.text
    assert not results.failed


def test_a_folder_of_data_is_for_the_cells_that_need_one(tiny: Recipe, tmp_path: Path) -> None:
    far = replace(tiny.cells[1], name="far", data=DataSource("cifar10"))
    results = reproduce(
        only(tiny, tiny.cells[0], far), tmp_path / "run", hardware=PLAIN, data_root=tmp_path
    )  # fmt: skip
    assert statuses(results) == {"random-real": "done", "far": "not run"}
    with pytest.raises(UserError, match="leave --data out"):
        reproduce(only(tiny, tiny.cells[0]), tmp_path / "other", data_root=tmp_path)


def test_without_any_data_it_says_which_rows_need_which(tiny: Recipe, tmp_path: Path) -> None:
    cells = [replace(cell, data=DataSource("cifar10")) for cell in tiny.cells]
    cells[0] = replace(cells[0], data=DataSource("tinyimagenet", size=64))
    start = time.perf_counter()
    with pytest.raises(UserError) as caught:
        reproduce(replace(tiny, cells=tuple(cells)), tmp_path / "run", data_root=tmp_path)
    assert time.perf_counter() - start < 2.0
    message = str(caught.value)
    assert "\n  cifar10       10 a class" in message
    assert "\n  tinyimagenet  10 a class" in message
    assert "How to get them" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["curves.json", "measured.json"])
def test_damaged_derived_files_are_derived_anew(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path, name: str
) -> None:
    folder, results = finished
    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    path = copy / "cells" / "ncfm" / name
    path.write_text(path.read_text()[:30])
    (copy / "environment.json").write_text("{")
    record = copy / "sets" / str(results.rows[3].set) / "set.json"
    seconds = json.loads(record.read_text())["seconds"]
    edited = json.dumps({**json.loads(record.read_text()), "seconds": 1e9})
    record.write_text("" if name == "curves.json" else edited)
    recorder = Recorder()
    again = reproduce(tiny, copy, hardware=PLAIN, listen=recorder)
    assert accuracies(again) == accuracies(results)
    assert recorder.computed == []
    assert json.loads(path.read_text()) and json.loads((copy / "environment.json").read_text())
    assert json.loads(record.read_text())["seconds"] == pytest.approx(seconds)


def test_a_cell_that_another_process_holds_is_passed_over(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    recipe = only(tiny, *tiny.cells[:2])
    recorder = Recorder()
    with held(tmp_path / "run" / "cells" / "random-real") as ours:
        assert ours
        shutil.copy(finished[0] / "run.json", tmp_path / "run")
        results = reproduce(recipe, tmp_path / "run", listen=recorder)
    assert statuses(results) == {"random-real": "running elsewhere", "random-packed": "done"}
    assert "random-real is being measured by another process" in recorder.text
    results = reproduce(recipe, tmp_path / "run")
    assert accuracies(results) == {row.name: row.last for row in finished[1].rows[:2]}


def test_rerun_computes_cells_anew(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    folder, results = tmp_path / "run", finished[1]
    shutil.copytree(finished[0], folder)
    recorder = Recorder()
    again = reproduce(tiny, folder, listen=recorder, rerun=["dm"])
    assert recorder.computed == ["distill dm", "students dm"]
    assert accuracies(again) == accuracies(results)
    # Other settings are welcome for a cell that is computed anew.
    cells = (*tiny.cells[:3], changed(tiny.cells[3], students={"students": 1}))
    recorder = Recorder()
    other = reproduce(replace(tiny, cells=cells), folder, listen=recorder, rerun=["nc*"])
    assert recorder.computed == ["distill ncfm", "students ncfm"]
    assert other.rows[3].last == results.rows[3].last[:1]
    # The processes of one command do not remove what another of them has measured.
    began = time.time() - 3600
    recorder = Recorder()
    recipe = replace(tiny, cells=cells)
    assert reproduce(recipe, folder, listen=recorder, rerun=["*"], began=began) == other
    assert list(recorder.phases) == []


def test_rerun_keeps_what_cannot_be_computed_anew(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = DataSource("embedded", imbalance_seed=7)
    recipe = only(tiny, tiny.cells[0], replace(tiny.cells[1], data=gone))
    folder = tmp_path / "run"
    results = reproduce(recipe, folder, hardware=PLAIN)
    before = content(folder / "cells" / "random-packed")
    looks = (Found("x", "found"), Found("x", "missing", problem="gone"))
    monkeypatch.setattr(Shelf, "look", lambda _, source: looks[source == gone])
    recorder = Recorder()
    again = reproduce(recipe, folder, listen=recorder, rerun=["*"])
    assert recorder.computed == ["students random-real"]
    assert "not run: random-packed: gone" in recorder.text
    assert statuses(again) == {"random-real": "done", "random-packed": "done"}
    assert accuracies(again) == accuracies(results)
    assert content(folder / "cells" / "random-packed") == before


@pytest.mark.parametrize("text", [None, "{", '{"seed": 0}'])
def test_a_cell_without_its_settings_is_measured_again(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path, text: str | None
) -> None:
    folder, results = tmp_path / "run", finished[1]
    shutil.copytree(finished[0], folder)
    path = folder / "cells" / "random-real" / "cell.json"

    def damage() -> None:
        path.unlink() if text is None else path.write_text(text)

    whole = path.read_text()
    damage()
    recorder = Recorder()
    assert accuracies(reproduce(tiny, folder, listen=recorder)) == accuracies(results)
    assert recorder.computed == []  # its students are there, and say what they are of
    assert path.read_text() == whole
    # The numbers of other settings are not taken for those of these.
    damage()
    other = only(tiny, changed(tiny.cells[0], students={"students": 1, "steps": 4}))
    for _ in range(2):
        assert statuses(reproduce(other, folder)) == {"random-real": "failed"}
    (row,) = reproduce(other, folder, rerun=["*"]).rows
    assert row.done and len(row.last) == 1


@pytest.mark.parametrize("tried", [True, False])
@pytest.mark.parametrize("name", ["student_000.json", "student_000.unfinished"])
def test_rerun_frees_a_cell_with_a_damaged_student(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path, tried: bool, name: str
) -> None:
    folder, recipe = tmp_path / "run", only(tiny, tiny.cells[0])
    shutil.copytree(finished[0], folder)
    path = folder / "cells" / "random-real"
    (path / "measured.json").unlink()
    (path / "students" / "student_000.json").unlink()
    (path / "students" / name).write_text("{")
    for _ in range(2 if tried else 0):
        assert statuses(reproduce(recipe, folder)) == {"random-real": "failed"}
    recorder = Recorder()
    (row,) = reproduce(recipe, folder, listen=recorder, rerun=["*"]).rows
    assert recorder.computed == ["students random-real"]
    assert row.last == finished[1].rows[0].last


@pytest.mark.parametrize("measure", ["accuracy", "dynamics"])
def test_rerun_keeps_the_set_that_an_unfinished_cell_goes_on_with(
    tiny: Recipe, tmp_path: Path, measure: Any
) -> None:
    first = replace(tiny.cells[2], name="first", measure=measure)
    second = changed(replace(first, name="second"), student_network={"depth": 2})
    recipe, folder = only(tiny, first, second), tmp_path / "run"
    tail = "" if measure == "accuracy" else ", iteration 1"
    with pytest.raises(KeyboardInterrupt):
        reproduce(recipe, folder, hardware=PLAIN, listen=Recorder(f"students second{tail}"))
    recorder = Recorder()
    assert reproduce(recipe, folder, listen=recorder, rerun=["first"]).complete
    assert f"students first{tail}" in recorder.computed
    assert "distill first" not in recorder.computed
    assert "distill second" not in recorder.computed


def test_rerun_knows_the_set_before_its_soft_labels(tiny: Recipe, tmp_path: Path) -> None:
    plain = tiny.cells[3]
    soft = replace(plain, name="soft", soft_labels="paper")
    recipe, folder = only(tiny, plain, soft), tmp_path / "run"
    results = reproduce(recipe, folder, hardware=PLAIN)
    for rerun, computed in (
        (["soft"], ["students soft"]),
        (["ncfm"], ["students ncfm"]),
        (["*"], ["distill ncfm", "students ncfm", "students soft"]),
    ):
        recorder = Recorder()
        again = reproduce(recipe, folder, listen=recorder, rerun=rerun)
        assert recorder.computed == computed
        assert accuracies(again) == accuracies(results)
    alone = only(tiny, soft)
    recorder = Recorder()
    reproduce(alone, folder, listen=recorder, rerun=["soft"])
    assert recorder.computed == ["distill soft", "students soft"]


def test_a_start_from_a_file_is_known_by_what_it_holds(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    start, folder = tmp_path / "start", tmp_path / "run"
    packed = finished[0] / "sets" / str(finished[1].rows[1].set) / "distilled"
    synthetic = replace(tiny.cells[2].synthetic, init="file", init_file=str(start))
    cell = distilling(replace(tiny.cells[2], synthetic=synthetic), synthetic=synthetic)
    recipe = only(tiny, tiny.cells[0], cell)
    with pytest.raises(UserError, match=r"nothing was computed:\n  cells\.dm: .*start"):
        reproduce(recipe, folder, hardware=PLAIN)
    assert not folder.exists()
    shutil.copytree(packed, start)
    results = reproduce(recipe, folder, hardware=PLAIN)
    assert results.complete
    assert reproduce(recipe, folder) == results
    shutil.rmtree(start)
    assert reproduce(recipe, folder) == results  # what is done needs no file
    stored = DistilledSet.load(packed)
    replace(stored, images=1 - stored.images).save(start)
    before = content(folder)
    with pytest.raises(UserError, match=r"cells\.dm\.start: \w+ there"):
        reproduce(recipe, folder)
    assert content(folder) == before
    again = reproduce(recipe, folder, rerun=["dm"])
    assert again.rows[1].set != results.rows[1].set
    assert again.rows[1].last != results.rows[1].last


@pytest.mark.parametrize(
    "change",
    [
        {"last": [999.0, 998.0]}, {"last": [50.0, 51.0]}, {"last": ["abc"]}, {"last": []},
        {"last": [math.nan, 50.0]}, {"last": None}, {"last": 5}, {"best": [True]}, {"unit": "x"},
        {"unit": []}, {"set": "../../.."}, {"set": 5}, {"distill_seconds": "x"}, {"curve": [[1]]},
        {"curve": [[1, [50.0, "x"]]]}, {"time": "now"}, {"data": 5}, {"train_images": 1.5},
    ],
)  # fmt: skip
@pytest.mark.parametrize("sealed", [True, False])
def test_changed_measurements_are_measured_again(
    tiny: Recipe,
    finished: tuple[Path, Results],
    tmp_path: Path,
    change: dict[str, Any],
    sealed: bool,
) -> None:
    if not sealed and change == {"last": [50.0, 51.0]}:
        return  # without a checksum, as in earlier versions, it is as good as any
    folder, results = tmp_path / "run", finished[1]
    shutil.copytree(finished[0], folder)
    path = folder / "cells" / "ncfm" / "measured.json"
    found = json.loads(path.read_text()) | change
    path.write_text(json.dumps(found if sealed else {**found, "sha256": None}))
    recorder = Recorder()
    again = reproduce(tiny, folder, listen=recorder)
    assert "ncfm counts as not measured: measured.json or curves.json in " in recorder.text
    assert recorder.text.count("counts as not measured") == 1
    assert recorder.computed == []  # its students are stored, and whole
    assert again == results
    recorder = Recorder()
    assert reproduce(tiny, folder, listen=recorder) == results
    assert "counts as not measured" not in recorder.text


def test_changed_curves_are_measured_again(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    path = tmp_path / "run" / "cells" / "dm" / "curves.json"
    before = path.read_text()
    path.write_text('{"students": 5}')
    recorder = Recorder()
    assert reproduce(tiny, tmp_path / "run", listen=recorder) == finished[1]
    assert "dm counts as not measured" in recorder.text
    assert path.read_text() == before


def test_measurements_of_earlier_versions_have_no_checksum(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    shutil.copytree(finished[0], tmp_path / "run")
    for path in (tmp_path / "run").glob("cells/*/measured.json"):
        found = json.loads(path.read_text())
        assert len(found.pop("sha256")) == 64
        path.write_text(json.dumps(found))
    recorder = Recorder()
    assert reproduce(tiny, tmp_path / "run", listen=recorder) == finished[1]
    assert "counts as not measured" not in recorder.text


def test_rerun_removes_no_folder_that_a_changed_file_names(
    tiny: Recipe, finished: tuple[Path, Results], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    kept = folder / "sets" / "kept.txt"
    kept.write_text("dear")
    path = folder / "cells" / "random-real" / "measured.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"set": "../sets"}))
    assert reproduce(tiny, folder, rerun=["random-real"]).complete
    assert kept.exists()

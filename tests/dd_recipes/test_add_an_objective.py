"""docs/how-to/add-an-objective.md, as it stands there: package, recipe and commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from dd_core.artifact import DistilledSet
from dd_recipes.overrides import parse_overrides

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-an-objective.md"
TITLED = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.M | re.S)
SHELL = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
BROKEN = {
    "number": ("energy_objective:__doc__", "must name a subclass of dd_core.objectives.Objective"),
    "nowhere": ("no_such_module:Energy", "ModuleNotFoundError"),
    "halted": ("halted:Energy", "RuntimeError('it stops here')"),
}
PLAIN = ["--device", "cpu", "--precision", "float32", "--compile", "off"]
SHORT = ["--budget", "smoke", *PLAIN, "--set", "pretrain.batch_size=512",
         "--set", "students.epochs=1"]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the page's recipe, and ``site`` as pip would leave it."""
    blocks = dict(TITLED.findall(PAGE.read_text()))
    folder = tmp_path_factory.mktemp("page")
    (folder / "energy.toml").write_text(blocks["energy.toml"])
    site = folder / "site"
    info = site / "energy_objective-0.1.dist-info"
    info.mkdir(parents=True)
    (site / "energy_objective.py").write_text(blocks["energy-objective/energy_objective.py"])
    (site / "halted.py").write_text("raise RuntimeError('it stops here')")
    project = tomllib.loads(blocks["energy-objective/pyproject.toml"])["project"]
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    ((group, names),) = project["entry-points"].items()
    targets = {**names, **{name: target for name, (target, _) in BROKEN.items()}}
    lines = "\n".join(f"{name} = {target}" for name, target in targets.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``dd-recipes`` where the page's package is installed."""
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1",
                   "PYTHONPATH": os.pathsep.join(filter(None, paths))}  # fmt: skip
    command = [sys.executable, "-m", "dd_recipes", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def commands() -> dict[str, list[str]]:
    """Arguments of the page's ``dd-recipes reproduce`` commands by what they reproduce."""
    found = [shlex.split(block.replace("\\\n", " ")) for block in SHELL.findall(PAGE.read_text())]
    return {c[2]: c[1:] for c in found if c[:2] == ["dd-recipes", "reproduce"]}


def test_the_page_gives_two_commands() -> None:
    assert list(commands()) == ["quickstart", "energy.toml"]


def small_set(out: Path, cell: str) -> tuple[Path, DistilledSet]:
    rows = {row["name"]: row for row in json.loads((out / "results.json").read_text())["rows"]}
    folder = out / "sets" / rows[cell]["set"]
    return folder, DistilledSet.load(folder / "distilled")


def test_an_objective_takes_the_place_of_ncfm(folder: Path) -> None:
    arguments = commands()["quickstart"]
    done = run(folder, *arguments, *SHORT, "--set", "cells.ncfm.distill.calibration=0.0",
               "--set", "cells.ncfm.distill.extractor=random")  # fmt: skip
    assert done.returncode == 0, done.stderr
    out = folder / arguments[arguments.index("--out") + 1]
    path, made = small_set(out, "ncfm")
    _, packed = small_set(out, "random-packed")
    assert made.provenance["method"] == "energy"
    assert float((made.images - packed.images).abs().max()) > 0
    losses = json.loads((path / "set.json").read_text())["losses"]
    assert len(losses["match"]) == 12
    assert all(loss > 0 for loss in losses["match"])
    assert "[cells.set.distill.objectives.energy]" in (out / "report.md").read_text()


def test_the_page_s_recipe_runs(folder: Path) -> None:
    done = run(folder, *commands()["energy.toml"], *SHORT)
    assert done.returncode == 0, done.stderr
    out = folder / "runs" / "energy-smoke"
    _, made = small_set(out, "energy")
    assert made.provenance["method"] == "energy+dm"
    (terms,) = [cell["set"]["distill"]["objectives"]
                for cell in tomllib.loads((out / "config.toml").read_text())["cells"]
                if cell["set"]["kind"] == "distill"]  # fmt: skip
    assert terms == {
        "energy": {"weight": 300.0, "options": {"unit_length": True}},
        "dm": {"weight": 0.1, "options": {}},
    }


TERMS = "cells.energy.distill.objectives"
MISTAKES = {
    "enrgy: there is no objective 'enrgy'; choose one of ncfm, ": f"{TERMS}.enrgy={{}}",
    "energy.options.unit_lenght: ": f"{TERMS}.energy.options.unit_lenght=true",
    **{f"{name}: {words}": f"{TERMS}.{name}={{}}" for name, (_, words) in BROKEN.items()},
}  # fmt: skip


def test_a_package_that_cannot_be_imported_is_one_message_and_exit_code_2(folder: Path) -> None:
    out = folder / "runs" / "wrong"
    done = run(folder, "reproduce", "energy.toml", "--out", str(out),
               "--set", f"{TERMS}.nowhere={{}}")  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    head, mistake = done.stderr.splitlines()
    assert head == "Error: Recipe energy has a mistake:"
    assert mistake.strip().startswith(f"{TERMS}.nowhere: objective 'nowhere' cannot be loaded: ")
    assert "ModuleNotFoundError" in mistake
    assert not out.exists()


def test_each_wrong_term_is_one_line(folder: Path) -> None:
    changes = [part for change in MISTAKES.values() for part in ("--set", change)]
    done = run(folder, "reproduce", "energy.toml", *changes)
    assert done.returncode == 2, done.stderr
    head, *mistakes = done.stderr.splitlines()
    assert head == "Error: Recipe energy has 5 mistakes:"
    found = sorted(mistake.strip() for mistake in mistakes)
    for expected in MISTAKES:
        path, words = expected.split(": ", 1)
        assert any(m.startswith(f"{TERMS}.{path}: ") and words in m for m in found), expected


def test_the_other_path_of_the_page_exists(folder: Path) -> None:
    (named,) = re.findall(r"`--set (\S+)`", PAGE.read_text())
    (override,) = parse_overrides([named])
    energy = tomllib.loads((folder / "energy.toml").read_text())["cells"][1]["set"]
    assert override.fits(energy)

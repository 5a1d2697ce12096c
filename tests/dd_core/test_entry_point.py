"""An objective of another package, made from the code blocks of docs/how-to/add-an-objective.md."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from dd_core.objectives import ClassSlice, Features, Objective

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "add-an-objective.md"
BLOCKS = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```', re.M | re.S)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks to Python like one into which the page's package is installed."""
    blocks = dict(BLOCKS.findall(PAGE.read_text()))
    site = tmp_path_factory.mktemp("site")
    (site / "energy_objective.py").write_text(blocks["energy-objective/energy_objective.py"])
    project = tomllib.loads(blocks["energy-objective/pyproject.toml"])["project"]
    info = site / f"energy_objective-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {project['name']}\nVersion: {project['version']}\n")
    (group, names), *others = project["entry-points"].items()
    assert not others
    lines = "\n".join(f"{name} = {target}" for name, target in names.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
    return site


@pytest.fixture(scope="module")
def energy(installed: Path) -> type[Objective]:
    """The page's class."""
    path = installed / "energy_objective.py"
    spec = importlib.util.spec_from_file_location("energy_objective", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["energy_objective"] = module  # dataclasses look it up
    spec.loader.exec_module(module)
    del sys.modules["energy_objective"]
    return module.Energy


def losses(objective: Objective, real: torch.Tensor, synthetic: torch.Tensor) -> torch.Tensor:
    sides = [objective.embed(Features(side)) for side in (real, synthetic)]
    sample = objective.sample(real.shape[2], torch.Generator().manual_seed(0), None)
    classes = ClassSlice(0, len(real), torch.full((len(real),), real.shape[1]))
    return objective.loss(sides[0], sides[1], sample, classes)


def test_the_module_has_at_most_30_lines(installed: Path) -> None:
    assert len((installed / "energy_objective.py").read_text().splitlines()) <= 30


def test_the_loss_is_the_energy_distance(energy: type[Objective]) -> None:
    draws = torch.Generator().manual_seed(1)
    real, synthetic = (torch.randn(3, n, 5, generator=draws) for n in (9, 4))
    for unit_length in (True, False):
        f, g = (x / x.norm(dim=2, keepdim=True) if unit_length else x for x in (real, synthetic))
        between = [torch.cdist(a, b).mean((1, 2)) for a, b in ((f, g), (f, f), (g, g))]
        expected = 2 * between[0] - between[1] - between[2]
        found = losses(energy(unit_length=unit_length), real, synthetic)
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_the_properties_that_the_page_names(energy: type[Objective]) -> None:
    draws = torch.Generator().manual_seed(2)
    real = torch.randn(3, 6, 5, generator=draws)
    same = real.clone().requires_grad_()
    equal = losses(energy(), real, same)
    torch.testing.assert_close(equal, torch.zeros(3), atol=1e-6, rtol=0)
    equal.sum().backward()
    assert same.grad is not None and bool(torch.isfinite(same.grad).all())
    synthetic = torch.randn(3, 4, 5, generator=draws)
    found = losses(energy(), real, synthetic)
    torch.testing.assert_close(losses(energy(), real.flip(1), synthetic.flip(1)), found)
    alone = [losses(energy(), real[c : c + 1], synthetic[c : c + 1]) for c in range(3)]
    torch.testing.assert_close(torch.cat(alone), found)


SCRIPT = """
import sys
from pathlib import Path
import torch
from dd_core import (DistillSettings, LabeledImages, NetworkSettings, Runtime, SettingsError,
                     SyntheticSettings, Term, distill, objective_names)
assert objective_names()[-1] == "energy", objective_names()
draws = torch.Generator().manual_seed(0)
pixels = torch.randint(0, 256, (16, 1, 8, 8), generator=draws).to(torch.uint8)
images = LabeledImages(pixels, torch.arange(16) % 2, (0.5,), (0.25,), ("a", "b"))
settings = DistillSettings(
    objectives=(Term("energy", 100.0, {"unit_length": False}), Term("dm")), iterations=3,
    batch_real=8, synthetic=SyntheticSettings(ipc=2, factor=1), extractor="random",
    calibration=0.0,
)
result = distill(images, settings, NetworkSettings(depth=2, width=4), pool=None, seed=0,
                 folder=Path(sys.argv[1]), runtime=Runtime("cpu", "float32", False, 1))
assert result.distilled.provenance["method"] == "energy+dm"
assert all(loss > 0 for loss in result.history["match"]), result.history
try:
    Term("energy", 1.0, {"unit_lenght": True})
except SettingsError as error:
    print(error)
"""


def test_an_installed_package_is_found_and_distils(installed: Path, tmp_path: Path) -> None:
    paths = [str(installed), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "distillation")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "no option 'unit_lenght'; did you mean unit_length?" in done.stdout

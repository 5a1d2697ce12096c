"""The example of docs/explanation/objectives.md is complete, short and right."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import torch

from dd_core import SettingsError
from dd_core.objectives import ClassSlice, Features, build_objective, objective_names, registry

PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "objectives.md"
TITLE = "energy.py"


@pytest.fixture
def source():
    (block,) = re.findall(rf'```python title="{TITLE}"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    return block


@pytest.fixture
def energy(source, tmp_path, monkeypatch):
    path = tmp_path / TITLE
    path.write_text(source)
    spec = importlib.util.spec_from_file_location("documented_energy", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)

    class EntryPoint:
        def load(self):
            return module.Energy

    monkeypatch.setattr(registry, "_foreign", lambda: {"energy": EntryPoint()})


def test_it_has_at_most_30_lines(source):
    assert 10 < len(source.splitlines()) <= 30


def test_it_is_the_energy_distance_of_each_class(energy):
    assert objective_names()[-1] == "energy"
    objective = build_objective("energy", {"normalize": False})
    draws = torch.Generator().manual_seed(0)
    x, y = (torch.randn(2, n, 5, generator=draws) for n in (7, 4))
    y.requires_grad_()
    got = objective.loss(
        objective.embed(Features(x)),
        objective.embed(Features(y)),
        objective.sample(5, draws, None),
        ClassSlice(0, 2, torch.tensor([7, 7])),
    )

    def mean(a, b):
        return torch.stack([(u - v).norm() for u in a for v in b]).mean()

    expected = [2 * mean(a, b) - mean(a, a) - mean(b, b) for a, b in zip(x, y, strict=True)]
    torch.testing.assert_close(got, torch.stack(expected), rtol=1e-4, atol=1e-5)
    got.sum().backward()
    assert torch.isfinite(y.grad).all() and y.grad.any()


def test_its_options_are_checked(energy):
    with pytest.raises(SettingsError, match="option normalize of objective 'energy' is 2; give tr"):
        build_objective("energy", {"normalize": 2})


def test_the_table_names_every_objective_and_option(energy):
    """And no other: each row lists exactly the fields of the objective's dataclass."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| ([^|]*) \|[^|]*\|$", PAGE.read_text(), re.MULTILINE)
    table = {name: set(re.findall(r"`(\w+)`", options)) for name, options in rows}
    for name in registry._OWN:
        kind = type(build_objective(name, {}))
        assert table[name] == set(kind.__dataclass_fields__), name

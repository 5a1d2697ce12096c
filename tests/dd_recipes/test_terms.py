from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from dd_core.objectives import Objective, registry
from dd_recipes.terms import term_mistakes


@dataclass(frozen=True, slots=True)
class Demanding(Objective):
    """Needs an option, and two that go together."""

    power: float
    low: int = 0
    high: int = 9

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low is {self.low}, more than high = {self.high}.")

    def loss(self, real: Any, synthetic: Any, sample: Any, classes: Any) -> Tensor:
        return torch.zeros(len(real.vectors))


@pytest.fixture
def demanding(monkeypatch: pytest.MonkeyPatch) -> None:
    class EntryPoint:
        def load(self) -> type[Objective]:
            return Demanding

    monkeypatch.setattr(registry, "_foreign", lambda: {"demanding": EntryPoint()})


@pytest.mark.parametrize(
    ("options", "starts"),
    [
        ({"power": 1.0}, []),
        ({"power": 1.0, "low": 9}, []),
        ({"power": 2, "low": 3, "high": 1}, [".options: low is 3, more than high = 1"]),
        ({"power": 1.0, "low": 10}, [".options: low is 10, more than high = 9"]),
        ({}, [": Demanding.__init__() missing"]),
        ({"high": 3}, [": Demanding.__init__() missing"]),
        ({"high": 3, "powre": 1.0}, [".options.powre: "]),
        ({"power": "x", "low": 0.5}, [".options.power: ", ".options.low: "]),
        ({"power": float("inf"), "low": 0.5}, [".options.power: ", ".options.low: "]),
        ({"power": [1.0]}, [".options.power: [1.0] was given; it must be a number, a string"]),
    ],
)
def test_each_mistake_has_its_place(
    demanding: None, options: dict[str, Any], starts: list[str]
) -> None:
    found = list(term_mistakes("demanding", 1.0, options))
    assert len(found) == len(starts), found
    assert all(words.startswith(start) for words, start in zip(found, starts, strict=True)), found


def test_a_wrong_weight_is_said_beside_all_else() -> None:
    words, option = term_mistakes("ncfm", 0.0, {"alhpa": 0.5})
    assert words == ".weight: weight is 0.0; it must be positive."
    assert option.startswith(".options.alhpa: ")


def test_an_unknown_objective_is_one_mistake_whatever_its_options() -> None:
    (words,) = term_mistakes("zoo", 1.0, {"a": 1, "b": 2})
    assert words.startswith(": there is no objective 'zoo'")

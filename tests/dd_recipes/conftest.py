"""Shared: a recipe of seconds, one finished run of it, and a clean way to call the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from dd_recipes.catalog import find
from dd_recipes.reader import load_recipe
from dd_recipes.recipe import Recipe
from dd_recipes.results import Results
from dd_recipes.runner import Hardware, reproduce

torch.set_num_threads(1)  # as in the processes that tests start: others would round otherwise

TINY = (
    "pretrain.batch_size=512",
    "students.steps=8",
    "cells.dm.distill.iterations=4",
    "cells.ncfm.distill.iterations=6",
)
PLAIN = Hardware(device="cpu", precision="float32", compile="off")


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """The quickstart with every phase cut to a few steps: random real, packed, DM, NCFM."""
    return load_recipe(find("quickstart"), budget="smoke", overrides=TINY)


@pytest.fixture(scope="session")
def tiny_arguments() -> list[str]:
    """The same recipe as arguments of the command."""
    overrides = [part for pair in TINY for part in ("--set", pair)]
    hardware = ["--device", "cpu", "--precision", "float32", "--compile", "off"]
    return ["reproduce", "quickstart", "--budget", "smoke", *overrides, *hardware]


@pytest.fixture(scope="session")
def finished(tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """The folder and the results of one uninterrupted run; tests must not change it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    results = reproduce(tiny, folder, hardware=PLAIN, command=["dd-recipes", "reproduce", "x"])
    return folder, results


@pytest.fixture
def command() -> Callable[[Sequence[str]], subprocess.Popen[str]]:
    """Starts ``dd-recipes`` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    # Else each process would compile the whole of torch to bytecode again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def start(arguments: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "dd_recipes", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )

    return start

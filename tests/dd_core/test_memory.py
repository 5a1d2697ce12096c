"""What a run needs, said before it runs, against what a process really took."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from dd_core import DistillSettings, SettingsError, SyntheticSettings, Term
from dd_core.memory import Chunks, is_out_of_memory, plan_memory

SMALL = DistillSettings(
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 64}),),
    synthetic=SyntheticSettings(ipc=2),
    batch_real=8,
)

MEASURE = """
import gc, sys
from pathlib import Path

import torch

from dd_core import *

def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

ipc, real, frequencies = map(int, sys.argv[1:])
torch.set_num_threads(1)
pixels = torch.randint(0, 256, (10 * real, 3, 32, 32), dtype=torch.uint8)
names = tuple("abcdefghij")
images = LabeledImages(pixels, torch.arange(10 * real) % 10, (0.5,) * 3, (0.2,) * 3, names)
network = NetworkSettings(width=64)
runtime = choose_runtime("cpu", "float32", "off", 1)
pool = ExtractorPool.random(network, channels=3, size=32, n_classes=10, count=2, seed=0)
settings = DistillSettings(
    objectives=(Term("ncfm", 300.0, {"n_frequencies": frequencies}),),
    synthetic=SyntheticSettings(ipc=ipc), batch_real=real,
)
gc.collect()
before = peak()
plan = plan_memory(images, settings, network, runtime, networks=2)
Distiller(images, settings, network, pool, runtime=runtime, chunks=plan.chunks).step(0)
print(peak() - before, plan.total)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("arguments", [(1, 16, 256), (10, 128, 4096)])
def test_plan_is_near_to_what_a_process_takes(arguments):
    command = [sys.executable, "-c", MEASURE, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    taken, planned = map(int, done.stdout.split())
    assert 0.6 < planned / taken < 1.7, (planned, taken)


def test_smaller_chunks_need_less_until_one_image(images, network, runtime):
    plan = plan_memory(images, SMALL, network, runtime)
    totals = [plan.total]
    while True:
        try:
            plan = plan_memory(images, SMALL, network, runtime, budget=totals[-1] - 1)
        except SettingsError as error:
            assert "even with one class and one image at a time" in str(error)
            break
        assert plan.total < totals[-1] and plan.summary.startswith("about ")
        totals.append(plan.total)
    assert len(totals) >= 3 and plan.chunks.images < len(images)


def test_more_of_anything_needs_more(images, network, runtime):
    def total(**changes):
        return plan_memory(images, replace(SMALL, **changes), network, runtime, networks=2).total

    base = total()
    assert total(batch_real=20) > base
    assert total(synthetic=SyntheticSettings(ipc=4)) > base
    assert total(objectives=(Term("ncfm", 1.0, {"n_frequencies": 4096}),)) > base
    assert total(frequency_draws="per_class") > base
    assert total(calibration=0.0) < base


def test_ranks_share_what_belongs_to_classes(images, network, runtime):
    alone, shared = (plan_memory(images, SMALL, network, runtime, ranks=n) for n in (1, 3))
    assert shared.parts["real features"] < alone.parts["real features"]


def test_halving_ends_at_one():
    chunks = Chunks(4, 3)
    seen = []
    while chunks.halved() != chunks:
        chunks = chunks.halved()
        seen.append((chunks.images, chunks.views))
    assert seen == [(2, 1), (1, 1)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_which_errors_mean_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected

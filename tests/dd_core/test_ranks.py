"""Several processes: real ones, started by torchrun, exchanging by Gloo."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from dd_core import DistilledSet, Ranks, SettingsError, join_ranks

SCRIPT = """
import sys
from pathlib import Path

import torch

import dd_core.progress
from dd_core import (
    DistillSettings, ExtractorPool, LabeledImages, NetworkSettings, Runtime, SyntheticSettings,
    Term, distill, join_ranks,
)

folder, iterations, how = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
dd_core.progress._REPORT_SECONDS = 0.0
draws = torch.Generator().manual_seed(0)
pixels = torch.randint(0, 256, (60, 1, 16, 16), generator=draws).to(torch.uint8)
images = LabeledImages(pixels, torch.arange(60) % 3, (0.5,), (0.25,), ("a", "b", "c"))
network = NetworkSettings(depth=2, width=16)
pool = ExtractorPool.random(network, channels=1, size=16, n_classes=3, count=2, seed=0)
settings = DistillSettings(
    objectives=(Term("ncfm", 300.0, {"n_frequencies": 32, "psi": "scale_mixture"}),),
    synthetic=SyntheticSettings(ipc=1), iterations=24, batch_real=8, schedule="plateau",
)
seen = []

def listen(event):
    seen.append(event)
    advanced = type(event).__name__ == "PhaseAdvanced"
    if how == "stopped" and advanced and event.done >= iterations:
        raise RuntimeError("enough for now")

with join_ranks(timeout_seconds=250) as ranks:
    if how == "broken" and ranks.rank == 1:
        raise ValueError("this rank has no luck")
    distill(
        images, settings, network, pool=pool, folder=folder, seed=0,
        runtime=Runtime("cpu", "float32", False, 1), listen=listen, checkpoint_seconds=0.0,
        ranks=ranks,
    )
    assert ranks.first or not seen
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "run.py"
    path.write_text(SCRIPT)

    def start(processes, folder, *, iterations=100, how="whole"):
        # The launcher's own module, so that the environment's interpreter is used.
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node",
                   str(processes), "--master-port", "0", "--rdzv-backend", "c10d",
                   "--rdzv-endpoint", "localhost:0",
                   str(path), str(folder), str(iterations), how]  # fmt: skip
        if processes == 1:  # what a single process does needs no launcher
            command = [sys.executable, str(path), str(folder), str(iterations), how]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        environment.pop("WORLD_SIZE", None)
        return subprocess.run(
            command, capture_output=True, text=True, timeout=300, env=environment, check=False
        )

    return start


@pytest.fixture(scope="module")
def alone(script, tmp_path_factory):
    """The result of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = script(1, folder)
    assert done.returncode == 0, done.stderr
    return DistilledSet.load(folder / "distilled")


def test_two_processes_give_the_result_of_one(script, alone, tmp_path):
    done = script(2, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    two = DistilledSet.load(tmp_path / "two" / "distilled")
    assert alone.images.shape == (3, 1, 16, 16)
    torch.testing.assert_close(alone.images, two.images, atol=1e-5, rtol=1e-4)
    assert not (tmp_path / "two" / "state.safetensors").exists()


def test_run_stopped_with_two_processes_goes_on_with_one(script, alone, tmp_path):
    """The first rank's listener stops it after a stored state; the others are ended by torchrun."""
    stopped = script(2, tmp_path / "out", iterations=15, how="stopped")
    assert stopped.returncode != 0 and "enough for now" in stopped.stderr
    assert (tmp_path / "out" / "state.safetensors").exists()
    done = script(1, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    parts = DistilledSet.load(tmp_path / "out" / "distilled")
    torch.testing.assert_close(parts.images, alone.images, atol=1e-5, rtol=1e-4)


def test_failing_process_ends_the_job_with_its_message(script, tmp_path):
    done = script(2, tmp_path / "out", how="broken")
    assert done.returncode != 0
    assert "ValueError: this rank has no luck" in done.stderr
    assert not (tmp_path / "out" / "distilled").exists()


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_ranks() as ranks:
        assert ranks == Ranks(0, 1) and ranks.first and ranks.device == "auto"
        tensor = torch.ones(2)
        assert ranks.sum(tensor) is tensor and ranks.gather(tensor) is tensor
        assert ranks.any(True) and not ranks.any(False)
        ranks.barrier()


@pytest.mark.parametrize("n_classes", [2, 3, 7, 100])
@pytest.mark.parametrize("size", [1, 2])
def test_shares_are_consecutive_and_even(n_classes, size):
    shares = [Ranks(rank, size).share(n_classes) for rank in range(size)]
    assert [label for share in shares for label in share] == list(range(n_classes))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_more_processes_than_classes_are_refused():
    with pytest.raises(SettingsError, match="4 processes for 3 classes"):
        Ranks(0, 4).share(3)

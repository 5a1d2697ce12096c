"""Choice of device and precision; generators."""

from __future__ import annotations

import json

import pytest
import torch

from dd_core import Runtime, SettingsError, choose_runtime, environment, runtime
from dd_core.runtime import generator


def test_choice_is_explained_and_stored():
    chosen = choose_runtime("cpu", threads=2)
    assert chosen.device_name == "cpu" and not chosen.compile and chosen.threads == 2
    assert chosen.precision in chosen.summary and "bfloat16" in chosen.reason
    assert "compiled kernel" in chosen.summary or "PyTorch operations" in chosen.summary
    assert Runtime.from_record(json.loads(json.dumps(chosen.as_record()))) == chosen


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"avx2"}, "float32"),
        ({"avx512f", "avx512_bf16"}, "bfloat16"),
        ({"amx_bf16"}, "bfloat16"),
        (set(), "float32"),
    ],
)
def test_precision_follows_the_processor(monkeypatch, flags, expected):
    monkeypatch.setattr(runtime, "_processor_flags", lambda: flags)
    assert choose_runtime("cpu", threads=2).precision == expected
    assert choose_runtime("cpu", precision="float32", threads=2).precision == "float32"


def test_compiler_that_does_not_work_is_answered_by_eager(monkeypatch):
    monkeypatch.setattr(runtime, "_compiler_works", lambda name: False)
    chosen = choose_runtime("cpu", compile="on", threads=2)
    assert not chosen.compile and "torch.compile does not work here" in chosen.reason


def test_failing_toolchain_is_found_out(monkeypatch):
    def broken(function):
        raise RuntimeError("no toolchain")

    monkeypatch.setattr(runtime.torch, "compile", broken)
    assert not runtime._compiler_works("cpu")


@pytest.mark.parametrize(
    "arguments",
    [{"device": "tpu"}, {"precision": "half"}, {"compile": "maybe"}, {"threads": 0}],
)
def test_bad_choices_are_named(arguments):
    (name,) = arguments
    with pytest.raises(SettingsError, match=f"{name} is"):
        choose_runtime(**{"device": "cpu", **arguments})


def test_absent_gpu_is_named():
    with pytest.raises(SettingsError, match="CUDA devices here"):
        choose_runtime("cuda:99")


@pytest.mark.parametrize("device", ["cuda:", "cuda:x", "cuda:-1", "cuda0", "cpu:0", "mps", ""])
def test_unknown_devices_are_named(device):
    with pytest.raises(SettingsError, match=f"device is '{device}'; choose auto, cpu, cuda or"):
        choose_runtime(device)
    with pytest.raises(SettingsError, match=f"device_name is '{device}'; give cpu, cuda or"):
        Runtime(device, "float32", compile=False, threads=1)


def test_streams_are_independent_of_order_and_of_each_other():
    def draw(*stream):
        return torch.rand(4, generator=generator(0, *stream))

    assert torch.equal(draw("a", 1), draw("a", 1))
    different = [
        draw("a", 1),
        draw("a", 2),
        draw("b", 1),
        torch.rand(4, generator=generator(1, "a", 1)),
    ]
    assert all(not torch.equal(a, b) for i, a in enumerate(different) for b in different[:i])


def test_environment_is_json_and_names_versions():
    record = json.loads(json.dumps(environment()))
    assert record["packages"]["torch"] == torch.__version__
    assert record["cores"] >= 1 and record["python"]

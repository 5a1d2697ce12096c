"""The command line on files of torch: tensors only, and nothing in a file is executed."""

import json

import numpy as np
import pytest

from cfmetrics._cli import main

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A new folder to work in, so that files are named without their place."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(capsys, *arguments):
    assert main([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def error(capsys, *arguments):
    assert main([*arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.removeprefix("cfmetrics: error: ")


def test_tensors_are_read_as_arrays_are(capsys):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(20, 2))
    np.save("x.npy", x)
    np.save("y.npy", y)
    torch.save(torch.tensor(x, requires_grad=True), "x.pt")
    torch.save({"weight": torch.tensor(y)}, "one.pt")
    torch.save({"u": torch.tensor(x), "v": torch.tensor(y), "epoch": 3}, "two.pt")
    expected = found(capsys, "x.npy", "y.npy")["statistic"]
    for arguments in (
        ["x.pt", "one.pt"],
        ["x.pt", "y.npy"],
        ["two.pt", "two.pt", "--key-a", "u", "--key-b", "v"],
    ):
        assert found(capsys, *arguments)["statistic"] == expected


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.int64])
def test_every_dtype_of_numbers(capsys, dtype):
    torch.save(torch.arange(12).to(dtype), "a.pt")
    np.save("a.npy", np.arange(12.0))
    assert found(capsys, "a.pt", "a.npy")["statistic"] == 0


class Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (Evil(), "not a .pt file of tensors only"),
        ([1, 2], "holds a list"),
        ({"u": torch.ones(3), "v": torch.ones(3)}, "there are: u, v"),
        ({"epoch": 3}, "holds a int"),
        ({}, "holds no array"),
        (torch.ones(2, 3, 4), "reshape(2, -1)"),
        (torch.ones(3, dtype=torch.bool), "dtype bool"),
    ],
)
def test_bad_files_are_named(folder, capsys, value, words):
    torch.save(value, "a.pt")
    message = error(capsys, "a.pt", "a.pt")
    assert message.startswith("a.pt: ") and words in message
    assert not (folder / "executed").exists()


def test_other_bad_files_are_named(folder, capsys):
    (folder / "a.pt").write_bytes(b"hello")
    assert "not a .pt file" in error(capsys, "a.pt", "a.pt")
    assert "cannot be read" in error(capsys, "none.pt", "none.pt")
    torch.save(torch.ones(3), "b.pt")
    assert "leave out the key" in error(capsys, "b.pt", "b.pt", "--key-a", "u")

"""The command line: what it prints is what the library finds, and bad input is one line."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

from cfmetrics import cf_2samp, cf_attribution, two_sample_test
from cfmetrics._cli import main
from cfmetrics.two_sample.dispatch import TESTS

FAST = ["--resamples", "99"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A new folder to work in, so that files are named without their place."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def samples():
    """Two samples of which the second is wider in column 1, stored as a.npy and b.npy."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 3)), rng.normal(size=(90, 3)) * [1.0, 3.0, 1.0]
    np.save("a.npy", x)
    np.save("b.npy", y)
    return x, y


def run(capsys, *arguments):
    """Exit status, lines of stdout, lines of stderr."""
    status = main([*map(str, arguments)])
    captured = capsys.readouterr()
    return status, captured.out.splitlines(), captured.err.splitlines()


def found(capsys, *arguments):
    """The JSON object that the command prints."""
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, len(out), err) == (0, 1, [])
    return json.loads(out[0], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def error(capsys, *arguments):
    """The one line that the command prints for bad input."""
    status, out, err = run(capsys, *arguments, *FAST)
    assert (status, out, len(err)) == (2, [], 1)
    assert err[0].startswith("cfmetrics: error: ")
    return err[0].removeprefix("cfmetrics: error: ")


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "cfmetrics", *arguments], capture_output=True, text=True
    )


def test_the_process(samples):
    done = command("a.npy", "b.npy", *FAST)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("the samples differ (p = 0.01 <= 0.05)\n")
    failed = command("a.npy", "none.npy")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert (
        failed.stderr == "cfmetrics: error: none.npy: cannot be read: No such file or directory\n"
    )


def test_the_process_does_not_import_torch(samples):
    code = (
        "import sys\nfrom cfmetrics._cli import main\n"
        "main(['a.npy', 'b.npy', '--resamples', '9'])\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_names_every_test_and_the_default(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    text = capsys.readouterr().out
    assert exit.value.code == 0
    assert re.findall(r"^  (\w+) {2,}", text.partition("tests:")[2], re.M) == list(TESTS)
    assert "The default is cf" in text


@pytest.mark.parametrize("test", TESTS)
def test_the_numbers_are_those_of_the_library(samples, capsys, test):
    expected = two_sample_test(*samples, statistic=test, n_resamples=99, rng=5)
    printed = found(capsys, "a.npy", "b.npy", "--test", test, "--seed", 5, *FAST)
    assert printed["test"] == test
    assert printed["statistic"] == expected.statistic
    assert printed["pvalue"] == expected.pvalue
    assert printed["pvalue_interval"] == list(expected.confidence_interval())
    assert (printed["n"], printed["m"], printed["n_features"]) == (expected.n, expected.m, 3)
    assert printed["method"] == expected.method
    assert printed["differ"] == (expected.pvalue <= 0.05)
    assert printed["seconds"] > 0


def test_the_text_holds_the_same_numbers(samples, capsys):
    expected = cf_2samp(*samples, n_resamples=199, rng=0)
    low, high = expected.confidence_interval()
    status, out, _ = run(capsys, "a.npy", "b.npy", "--resamples", 199)
    assert status == 0
    assert out[0] == "the samples differ (p = 0.005 <= 0.05)"
    assert out[2:-1] == [
        "  test       cf (199 random relabelings)",
        f"  statistic  {expected.statistic:.6g}",
        f"  p-value    0.005   95% Monte-Carlo interval {low:.4g} to {high:.4g}",
        "  samples    120 and 90 observations, 3 features",
    ]
    assert re.fullmatch(r"  time       \d+\.\d\d s", out[-1])


def test_equal_samples_are_no_evidence_and_no_failure(samples, capsys):
    status, out, _ = run(capsys, "a.npy", "a.npy", *FAST)
    assert status == 0
    assert out[0] == "no evidence of a difference (p = 1 > 0.05)"


def test_the_seed_decides_and_is_fixed_by_default(samples, capsys):
    np.save("c.npy", samples[0] + 0.1)
    first, again, other = (
        found(capsys, "a.npy", "c.npy", *FAST, *seed)["statistic"]
        for seed in ([], ["--seed", 0], ["--seed", 1])
    )
    assert first == again != other


def test_the_level_decides_the_verdict(samples, capsys):
    _, out, _ = run(capsys, "a.npy", "b.npy", *FAST, "--level", 0.005)
    assert out[0] == "no evidence of a difference (p = 0.01 > 0.005)"
    assert out[1] == "note: 99 resamples are too few for this level; raise --resamples"


def test_a_close_call_is_said_to_be_one(samples, capsys):
    _, out, _ = run(capsys, "a.npy", "b.npy", *FAST, "--level", 0.03)
    assert out[0] == "the samples differ (p = 0.01 <= 0.03)"
    assert out[1].startswith("note: the interval holds the level")


def test_few_observations_visit_every_relabeling(capsys):
    np.save("a.npy", [1.0, 2.0])
    np.save("b.npy", [5.0, 6.0, 7.0])
    _, out, _ = run(capsys, "a.npy", "b.npy")
    assert "all 10 relabelings" in "\n".join(out)
    assert out[1] == "note: the samples have 10 relabelings only, too few for this level"
    assert "Monte-Carlo" not in "\n".join(out)


def test_asymptotic_tests_have_no_interval(samples, capsys):
    _, out, _ = run(capsys, "a.npy", "b.npy", "--test", "scf")
    assert "scf (asymptotic)" in out[2] and "Monte-Carlo" not in "\n".join(out)
    printed = found(capsys, "a.npy", "b.npy", "--test", "scf")
    assert printed["relabelings"] is None
    assert printed["details"]["degrees_of_freedom"] == 10


def test_attribution(samples, capsys):
    expected = cf_attribution(*samples, n_resamples=99, rng=0)
    printed = found(capsys, "a.npy", "b.npy", "--attribution", *FAST)["attribution"]
    assert printed["amplitude_share"] == expected.amplitude_share
    assert printed["phase_pvalue"] == expected.phase_pvalue
    assert printed["n_significant"] == len(expected.significant())
    row = int(np.argmax(expected.amplitude + expected.phase))
    assert printed["strongest"][0]["frequency"] == expected.frequencies[row].tolist()
    _, out, _ = run(capsys, "a.npy", "b.npy", "--attribution", *FAST)
    text = "\n".join(out[out.index("attribution") :])
    assert f"amplitude  {100 * expected.amplitude_share:.0f}%, p = 0.01" in text
    assert re.search(r"mostly amplitude \(p = 0.01\), along columns 1 ", text)


def test_every_format_holds_the_same_samples(samples, capsys):
    x, y = samples
    np.savez("both.npz", first=x, second=y)
    np.savez("one.npz", y)
    np.savetxt("plain.csv", x, delimiter=",", fmt="%.17g")
    np.savetxt("header.csv", y, delimiter=",", fmt="%.17g", header="u,v,w", comments="")
    np.save("swapped.npy", y.astype(y.dtype.newbyteorder()))
    expected = found(capsys, "a.npy", "b.npy", *FAST)["statistic"]
    for arguments in (
        ["both.npz", "both.npz", "--key-a", "first", "--key-b", "second"],
        ["a.npy", "one.npz"],
        ["plain.csv", "header.csv"],
        ["a.npy", "swapped.npy"],
    ):
        assert found(capsys, *arguments, *FAST)["statistic"] == expected, arguments


def test_one_row_of_numbers_is_one_feature(capsys):
    np.save("a.npy", np.arange(20))
    np.save("b.npy", np.arange(30).reshape(-1, 1))
    printed = found(capsys, "a.npy", "b.npy", *FAST)
    assert (printed["n"], printed["m"], printed["n_features"]) == (20, 30, 1)


CSV = {
    "plain": "1,2\n3,4\n5,6\n",
    "header": "u,v\n1,2\n3,4\n5,6\n",
    "quotes and spaces": '"u", "v"\n"1", 2\n3,"4"\n5,6\n',
    "comments and blank lines": "# two columns\n\nu,v\n1,2\n\n3,4\n# more\n5,6\n",
    "byte order mark": "\ufeffu,v\n1,2\n3,4\n5,6\n",
    "other line ends": "u,v\r\n1,2\r\n3,4\r\n5,6\r\n",
    "no line end": "u,v\n1,2\n3,4\n5,6",
    "scientific": "1e0,2.0\n3,.4e1\n+5,6\n",
}


@pytest.mark.parametrize("text", CSV.values(), ids=CSV.keys())
def test_forms_of_csv(folder, capsys, text):
    np.save("a.npy", [[1, 2], [3, 4], [5, 6]])
    (folder / "b.csv").write_bytes(text.encode())
    np.save("c.npy", [[0.0, 0.0], [9.0, 1.0]])
    expected, read = (found(capsys, name, "c.npy") for name in ("a.npy", "b.csv"))
    assert read["n"] == 3
    assert read["statistic"] == expected["statistic"]


def test_columns_by_name_and_by_number(folder, capsys):
    (folder / "a.csv").write_text("who,u,v\nann,1,7\nbob,2,9\ncarl,4,1\n")
    (folder / "b.csv").write_text("v,who,u\n3,dan,1\n5,eve,0\n2,fay,9\n")
    np.save("a.npy", [[7, 1], [9, 2], [1, 4]])
    np.save("b.npy", [[3, 1], [5, 0], [2, 9]])
    expected = found(capsys, "a.npy", "b.npy")["statistic"]
    assert found(capsys, "a.csv", "b.csv", "--columns", "v, u")["statistic"] == expected
    one = found(capsys, "a.npy", "b.npy", "--columns", "0")["statistic"]
    assert found(capsys, "a.csv", "b.csv", "--columns", "v")["statistic"] == one


def test_headers_in_different_order_are_not_compared(folder, capsys):
    (folder / "a.csv").write_text("u,v\n1,2\n3,4\n")
    (folder / "b.csv").write_text("v,u\n1,2\n3,4\n")
    assert "--columns" in error(capsys, "a.csv", "b.csv")


def test_missing_values_follow_the_policy(folder, capsys):
    (folder / "a.csv").write_text("u,v\n1,2\n3,\nNA,6\nnan,8\n7,8\n9,5\n")
    np.save("b.npy", np.zeros((4, 2)))
    assert "--nan-policy omit" in error(capsys, "a.csv", "b.npy")
    assert found(capsys, "a.csv", "b.npy", "--nan-policy", "omit")["n"] == 3
    _, out, _ = run(capsys, "a.csv", "b.npy", "--nan-policy", "omit")
    assert "  samples    3 of 6 and 4 observations, 2 features" in out
    printed = found(capsys, "a.csv", "b.npy", "--nan-policy", "propagate")
    assert printed["pvalue"] is printed["statistic"] is printed["differ"] is None
    status, out, err = run(capsys, "a.csv", "b.npy", "--nan-policy", "propagate")
    assert (status, err) == (0, [])
    assert out[0].startswith("no verdict: the samples hold NaN")


BAD_ARRAYS = {
    "images": (np.zeros((5, 3, 2, 2)), "a.reshape(5, -1)"),
    "number": (np.array(3.0), "shape ()"),
    "empty": (np.zeros((0, 2)), "no observations"),
    "no features": (np.zeros((4, 0)), "no observations"),
    "one row": (np.zeros((1, 9)), "at least 2"),
    "one number": (np.zeros(1), "at least 2"),
    "text": (np.array(["a", "b"]), "dtype <U1"),
    "booleans": (np.array([True, False]), "dtype bool"),
    "complex": (np.zeros(3, dtype=complex), "dtype complex128"),
    "records": (np.zeros(3, dtype=[("u", float)]), "dtype [('u', '<f8')]"),
}


@pytest.mark.parametrize(("array", "words"), BAD_ARRAYS.values(), ids=BAD_ARRAYS.keys())
def test_arrays_that_are_no_sample(capsys, array, words):
    np.save("a.npy", np.zeros((3, 2)))
    np.save("bad.npy", array)
    message = error(capsys, "a.npy", "bad.npy")
    assert message.startswith("bad.npy: ") and words in message


BAD_FILES = {
    "bad.npy": (b"hello", "not a .npy file"),
    "cut.npy": (b"\x93NUMPY\x01\x00", "not a .npy file"),
    "bad.npz": (b"hello", "not a .npz file"),
    "empty.csv": (b"", "no observations"),
    "only-header.csv": (b"u,v\n", "no observations"),
    "binary.csv": (bytes(range(128, 255)), "not a text file in UTF-8"),
    "late-binary.csv": (b"1,2\n3,4\n\xff,6\n", "not a text file in UTF-8"),
    "words.csv": (b"u,v\n1,2\n,3\n4,five\n", "line 4, column 1 is 'five'"),
    "ragged.csv": (b"1,2\n3\n", "line 2 has 1 fields, the first has 2"),
    "semicolons.csv": (b"1;2\n3;4\n5;6\n", "line 2, column 0 is '3;4'"),
    "ending.txt": (b"1,2\n", "the ending must say the format"),
    "none": (b"", "the ending must say the format"),
}


@pytest.mark.parametrize(("name", "content"), BAD_FILES.items())
def test_files_that_cannot_be_read(folder, capsys, name, content):
    data, words = content
    (folder / name).write_bytes(data)
    message = error(capsys, name, name)
    assert message.startswith(f"{name}: ") and words in message


def test_pickles_are_not_read(capsys):
    np.save("a.npy", np.array([1, "a"], dtype=object), allow_pickle=True)
    np.savez("a.npz", u=np.array([1, "a"], dtype=object))
    for name in ("a.npy", "a.npz"):
        assert error(capsys, name, name).startswith(f"{name}: ")


def test_missing_files_and_folders(folder, capsys):
    (folder / "sub.csv").mkdir()
    assert error(capsys, "none.csv", "none.csv") == (
        "none.csv: cannot be read: No such file or directory"
    )
    assert error(capsys, "sub.csv", "sub.csv").startswith("sub.csv: cannot be read: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["d.npz", "d.npz"], "several arrays; choose one with --key-a or --key-b; there are: u, v"),
        (["d.npz", "d.npz", "--key-a", "u", "--key-b", "w"], "no array 'w'"),
        (["e.npz", "e.npz"], "no array"),
        (["a.npy", "a.npy", "--key-a", "u"], "leave out the key"),
        (["a.npy", "a.npy", "--columns", "0,2"], "numbers from 0 to 1"),
        (["a.npy", "a.npy", "--columns", "u"], "numbers from 0 to 1"),
        (["a.csv", "a.csv", "--columns", "w"], "no column 'w'; the first line is 'u, v'"),
        (["a.csv", "a.csv", "--columns", "2"], "numbers go from 0 to 1"),
        (["a.npy", "c.npy"], "x has 2 features but y has 3"),
        (["a.npy", "i.npy"], "infinite"),
        (["a.npy", "a.npy", "--test", "cf_learned", "--columns", "0,"], "--columns is '0,'"),
        (["s.npy", "s.npy", "--test", "cf_learned"], "both parts need at least 2"),
        (["s.npy", "s.npy", "--test", "scf"], "pass fewer frequencies"),
        (["a.npy", "a.npy", "--nan-policy", "propagate", "--attribution"], "--nan-policy"),
    ],
)
def test_bad_arguments_are_named(folder, capsys, arguments, words):
    np.savez("d.npz", u=np.zeros(3), v=np.zeros(3))
    np.savez("e.npz")
    np.save("a.npy", np.arange(60.0).reshape(30, 2))
    np.save("c.npy", np.zeros((3, 3)))
    np.save("i.npy", np.array([[1.0, np.inf], [3.0, 4.0]]))
    np.save("s.npy", np.zeros((3, 2)))
    (folder / "a.csv").write_text("u,v\n1,2\n3,4\n")
    assert words in error(capsys, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["a.npy"],
        ["a.npy", "b.npy", "c.npy"],
        ["a.npy", "b.npy", "--test", "t"],
        ["a.npy", "b.npy", "--level", "1"],
        ["a.npy", "b.npy", "--level", "nan"],
        ["a.npy", "b.npy", "--level", "five"],
        ["a.npy", "b.npy", "--resamples", "0"],
        ["a.npy", "b.npy", "--resamples", "1.5"],
        ["a.npy", "b.npy", "--seed", "-1"],
        ["a.npy", "b.npy", "--nan-policy", "ignore"],
        ["a.npy", "b.npy", "--wrong"],
    ],
)
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert len(lines) == 2 and lines[0] == "usage: python -m cfmetrics [options] A B"


def test_without_torch_a_tensor_file_says_what_it_needs(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    (folder / "a.pt").write_bytes(b"")
    assert error(capsys, "a.pt", "a.pt").startswith("a.pt: a .pt file needs torch")

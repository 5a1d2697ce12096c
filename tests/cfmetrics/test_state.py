"""Laws of CFState for NumPy: the numbers of the whole sample, whatever the split and the order."""

import functools
import itertools
import operator
import pickle
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import cfmetrics
from cfmetrics import CFState, amplitude_phase, characteristic_parts, ncf_distance

law = settings(deadline=None, max_examples=40, derandomize=True)

PAGE = Path(__file__).parents[2] / "docs/how-to/larger-than-memory.md"

D = 2
T = np.random.default_rng(0).normal(size=(5, D))
samples = hnp.arrays(
    np.float64,
    st.tuples(st.integers(0, 6), st.just(D)),
    elements=st.floats(-50, 50, allow_subnormal=False),
)


def state_of(x, t=T, covariance=True):
    return CFState(t, covariance=covariance).update(x)


def assert_same(a, b):
    assert a.count == b.count
    if a.count:
        np.testing.assert_allclose(a.parts(), b.parts(), atol=1e-12)
        np.testing.assert_allclose(a.covariance(), b.covariance(), atol=1e-12)


@st.composite
def split_samples(draw):
    """A sample, cut into batches, in the order of a permutation of the batches."""
    batches = draw(st.lists(samples, min_size=1, max_size=6))
    return np.concatenate(batches), draw(st.permutations(batches))


@law
@given(split_samples())
def test_batches_in_any_order_give_the_whole(case):
    whole, batches = case
    state = CFState(T, covariance=True)
    for batch in batches:
        assert state.update(batch) is state
    assert_same(state, state_of(whole))


@law
@given(split_samples(), st.randoms(use_true_random=False))
def test_any_tree_of_merges_gives_the_whole(case, random):
    whole, batches = case
    states = [state_of(batch) for batch in batches]
    while len(states) > 1:
        i, j = random.sample(range(len(states)), 2)
        merged = states[i] + states[j]
        states = [s for k, s in enumerate(states) if k not in (i, j)] + [merged]
    assert_same(states[0], state_of(whole))


@law
@given(samples, samples, samples)
def test_merging_is_associative_and_commutative_with_a_neutral_element(x, y, z):
    a, b, c = state_of(x), state_of(y), state_of(z)
    assert_same((a + b) + c, a + (b + c))
    assert_same(a + b, b + a)
    assert_same(a + CFState(T, covariance=True), a)
    assert_same(CFState(T, covariance=True) + a, a)


@law
@given(samples.filter(len), samples.filter(len))
def test_the_characteristic_function_of_a_union_is_the_weighted_mean(x, y):
    both = state_of(x) + state_of(y)
    for both_part, x_part, y_part in zip(
        both.parts(), characteristic_parts(x, T), characteristic_parts(y, T), strict=True
    ):
        weighted = (len(x) * x_part + len(y) * y_part) / (len(x) + len(y))
        np.testing.assert_allclose(both_part, weighted, atol=1e-13)


def test_merging_leaves_the_two_as_they_are():
    a, b = state_of(np.ones((3, D))), state_of(np.zeros((2, D)))
    before = a.mean().copy(), b.mean().copy()
    both = a.merge(b)
    both.update(np.ones((4, D)))
    np.testing.assert_array_equal([a.mean(), b.mean()], before)
    assert (a.count, b.count, both.count) == (3, 2, 9)
    copied = a.copy()
    copied.update(np.ones((1, D)))
    assert (a.count, copied.count) == (3, 4)
    a.mean()[:] = 7.0
    np.testing.assert_array_equal(a.mean(), before[0])


def test_a_million_rows_in_a_thousand_batches():
    rng = np.random.default_rng(1)
    x, t = rng.normal(size=(1_000_000, 1)), np.array([0.3, 2.0])
    state = CFState(t)
    for batch in np.array_split(x, 1000):
        state.update(batch)
    np.testing.assert_allclose(state.parts(), characteristic_parts(x, t), atol=1e-12)
    np.testing.assert_allclose(state.parts().real, np.exp(-(t**2) / 2), atol=4e-3)


@pytest.mark.parametrize("covariance", [True, False])
def test_distances_are_those_of_the_samples(covariance):
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(90, D)), rng.normal(0.5, size=(70, D))
    a, b = (
        state_of(x[:40], covariance=covariance) + state_of(x[40:], covariance=covariance),
        state_of(y),
    )
    expected = ncf_distance(x, y, frequencies=T, alpha=0.7, beta=0.2)
    np.testing.assert_allclose(a.ncf_distance(b, alpha=0.7, beta=0.2), expected, rtol=1e-12)
    for options in ({}, {"squared": True}, {"weights": np.arange(5.0)}):
        expected = cfmetrics.cf_distance(x, y, frequencies=T, **options)
        np.testing.assert_allclose(a.cf_distance(b, **options), expected, rtol=1e-12)
    expected = amplitude_phase(characteristic_parts(x, T), characteristic_parts(y, T))
    np.testing.assert_allclose(a.amplitude_phase(b), expected, atol=1e-13)


def test_mean_and_covariance_are_those_of_the_features():
    x = np.random.default_rng(3).normal(size=(50, D))
    z = np.concatenate([np.cos(x @ T.T), np.sin(x @ T.T)], axis=1)
    state = state_of(x)
    np.testing.assert_allclose(state.mean(), z.mean(axis=0), atol=1e-14)
    np.testing.assert_allclose(state.covariance(), np.cov(z.T, bias=True), atol=1e-14)
    assert state.has_covariance
    assert not CFState(T).has_covariance


def test_the_test_reproduces_scipy():
    from scipy.stats import epps_singleton_2samp, iqr

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=80), rng.normal(0.3, 1.5, size=60)
    t = np.array([0.4, 0.8]) / (iqr(np.concatenate([x, y])) / 2)
    result = state_of(x, t).test(state_of(y, t), form="epps_singleton")
    np.testing.assert_allclose(tuple(result), epps_singleton_2samp(x, y), rtol=1e-9)
    assert (result.n, result.m, result.n_features) == (80, 60, 1)
    assert (result.test, result.method, result.null_distribution) == (
        "cf_2samp",
        "asymptotic",
        None,
    )
    assert result.details == {"degrees_of_freedom": 4, "form": "epps_singleton", "n_frequencies": 2}


def test_the_test_finds_a_difference_and_only_a_difference():
    rng = np.random.default_rng(5)
    a, b = (state_of(rng.normal(size=(n, D))) for n in (400, 300))
    assert a.test(b).pvalue > 0.01
    assert a.test(state_of(rng.normal(0.4, size=(300, D)))).pvalue < 1e-4
    assert a.test(a).pvalue == 1


@pytest.mark.parametrize("covariance", [True, False])
def test_states_travel(covariance):
    state = state_of(np.random.default_rng(6).normal(size=(9, D)), covariance=covariance)
    data = state.to_dict()
    assert all(v is None or isinstance(v, int | np.ndarray) for v in data.values())
    lists = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in data.items()}
    copies = [
        pickle.loads(pickle.dumps(state)),
        CFState.from_dict(data),
        CFState.from_dict(lists),
        state.copy(),
    ]
    for copy in copies:
        np.testing.assert_array_equal(copy.mean(), state.mean())
        assert copy.has_covariance == covariance
        if covariance:
            np.testing.assert_array_equal(copy.covariance(), state.covariance())
        assert (copy + state).count == 18
    assert CFState.from_dict(CFState(T).to_dict()).count == 0


def test_float32_is_projected_in_float32_and_summed_in_float64():
    x = np.random.default_rng(7).normal(size=(3000, D)).astype(np.float32)
    t = T.astype(np.float32)
    state = state_of(x, t)
    expected = np.cos(x @ t.T).mean(axis=0, dtype=np.float64)
    assert state.parts().real.dtype == np.float64
    np.testing.assert_allclose(state.parts().real, expected, atol=1e-12)
    assert CFState(t.astype(np.float16)).frequencies.dtype == np.float32


def test_one_feature_and_integers():
    t = np.array([0.5, 1.0])
    expected = characteristic_parts(np.arange(6.0), t)
    for batch in (np.arange(6), np.arange(6.0)[:, None], [0, 1, 2, 3, 4, 5]):
        np.testing.assert_allclose(CFState(t).update(batch).parts(), expected)


def test_empty_batches_change_nothing():
    state = state_of(np.ones((2, D)))
    for batch in (np.empty((0, D)), np.array([]), []):
        state.update(batch)
    assert state.count == 2


def test_reducing_a_list():
    x = np.random.default_rng(8).normal(size=(20, D))
    states = [state_of(batch) for batch in np.array_split(x, 4)]
    assert_same(functools.reduce(operator.add, states), state_of(x))
    assert_same(sum(states, start=CFState(T, covariance=True)), state_of(x))


def test_a_failed_update_leaves_the_state():
    state = state_of(np.ones((2, D)))
    before = state.mean()
    for batch in (np.full((1, D), np.nan), np.ones((1, D + 1)), np.ones((1, 1, D)), ["a"], 1.0):
        with pytest.raises((ValueError, TypeError)):
            state.update(batch)
    np.testing.assert_array_equal(state.mean(), before)
    assert state.count == 2


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda s: CFState(np.ones((2, 3, 4))), ValueError, "frequencies has shape"),
        (lambda s: CFState(np.ones((2, 0))), ValueError, "no feature"),
        (lambda s: CFState(3.0), ValueError, "frequencies has shape"),
        (lambda s: CFState([np.nan]), ValueError, "frequencies holds 1 NaN"),
        (lambda s: CFState(T).parts(), ValueError, "the state is empty"),
        (lambda s: s.test(CFState(T, covariance=True)), ValueError, "the state is empty"),
        (
            lambda s: s.test(state_of(np.ones((3, D)), covariance=False)),
            ValueError,
            "covariance=Tr",
        ),
        (lambda s: s + CFState(T), ValueError, "only one of the states keeps the covariance"),
        (lambda s: s + CFState(T + 1, covariance=True), ValueError, "other frequencies"),
        (lambda s: s + CFState(T[:3], covariance=True), ValueError, "other frequencies"),
        (lambda s: s.ncf_distance(CFState(T[:3])), ValueError, "other frequencies"),
        (lambda s: s.merge(1), TypeError, "other is a int"),
        (lambda s: s + 1, TypeError, "unsupported operand"),
        (lambda s: s.update(np.ones(3)), ValueError, r"batch has shape \(3,\); pass \(r, 2\)"),
        (lambda s: s.update(np.ones((3, 1), dtype=bool)), TypeError, "batch has dtype bool"),
        (lambda s: CFState.from_dict({"count": 1}), ValueError, "no frequencies, mean, scatter"),
        (
            lambda s: CFState.from_dict({**s.to_dict(), "mean": np.zeros(3)}),
            ValueError,
            r"data\['mean'\] has shape \(3,\)",
        ),
        (
            lambda s: CFState.from_dict({**s.to_dict(), "count": -1}),
            ValueError,
            r"data\['count'\] is -1",
        ),
        (
            lambda s: state_of(np.ones((4, D))).test(state_of(np.zeros((5, D)))),
            ValueError,
            "pass fewer frequencies",
        ),
    ],
)
def test_errors_say_what_to_do(call, error, words):
    with pytest.raises(error, match=words):
        call(state_of(np.ones((20, D))))


def python_block(heading):
    """First Python code below a heading of the page."""
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """The folders x and y of the page, and the arrays that they hold together."""
    monkeypatch.chdir(tmp_path)
    rng, wholes = np.random.default_rng(9), []
    for folder in ("x", "y"):
        Path(folder).mkdir()
        wholes.append(rng.normal(0.1 * (folder == "y"), size=(900, 10)))
        for k, part in enumerate(np.array_split(wholes[-1], [100, 350])):
            np.save(f"{folder}/{k}.npy", part)
    return wholes


def run_page(*codes, **given):
    names = {"__name__": "page", **given}
    for code in codes:
        exec(code, names)
    return names


def result_in_one_piece(files, t):
    return state_of(files[0], t).test(state_of(files[1], t))


def test_the_page_on_one_machine_and_with_processes(files):
    # A script, since processes import the functions that they run.
    first, _, run = python_block("One machine").partition("def main():")
    script = f"{first}{python_block('Several processes')}\n\ndef main():{run}"
    Path("script.py").write_text(script)
    printed = subprocess.run(
        [sys.executable, "script.py"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    page = run_page(python_block("One machine"))
    a, b = page["total"]("x"), page["total"]("y")
    assert printed[0] == repr(a.test(b)) == repr(result_in_one_piece(files, page["t"]))
    np.testing.assert_allclose(float(printed[1]), a.ncf_distance(b), rtol=1e-12)


class FakeRDD:
    """Partitions in a list, with the two methods of an RDD that the page calls."""

    def __init__(self, partitions):
        self.partitions = partitions

    def mapPartitions(self, function):
        results = [function(iter(partition)) for partition in self.partitions]
        return FakeRDD([pickle.loads(pickle.dumps(list(result))) for result in results])

    def treeReduce(self, function):
        return functools.reduce(function, itertools.chain.from_iterable(self.partitions))


def test_the_page_for_spark(files, capsys):
    frames = [
        SimpleNamespace(rdd=FakeRDD([[tuple(row) for row in part.tolist()] for part in parts]))
        for parts in (np.array_split(whole, [0, 400]) for whole in files)  # One is empty.
    ]
    page = run_page(python_block("Spark"), x=frames[0], y=frames[1])
    assert page["a"].count == page["b"].count == 900
    assert capsys.readouterr().out == f"{result_in_one_piece(files, page['t'])!r}\n"


def test_the_page_for_ray(files, capsys, monkeypatch):
    fake = SimpleNamespace(remote=lambda function: SimpleNamespace(remote=function), get=list)
    monkeypatch.setitem(sys.modules, "ray", fake)
    code = python_block("Ray").replace("/data/", "")
    page = run_page(python_block("One machine"), code)
    assert capsys.readouterr().out == f"{result_in_one_piece(files, page['t'])!r}\n"


def test_repr():
    assert (
        repr(state_of(np.ones((3, D))))
        == "CFState(5 frequencies, 2 features, 3 observations, numpy)"
    )

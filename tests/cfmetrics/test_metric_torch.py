"""The torchmetrics metric: equal to the functions, in batches, in processes, in collections."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import cfmetrics

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

from cfmetrics.torch import CharacteristicFunctionDistance  # noqa: E402

T = torch.tensor(cfmetrics.sample_frequencies(20, 4, rng=0))
OPTIONS = [{}, {"squared": True}, {"distance": "ncf", "alpha": 0.8, "beta": 0.3}]


def features(n, shift=0.0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(n)
    return (torch.randn(n, 4, generator=generator, dtype=torch.float64) + shift).to(dtype)


REAL, FAKE = features(53), features(38, 0.5)


def in_one_piece(x=REAL, y=FAKE, distance="cf", **options):
    function = cfmetrics.cf_distance if distance == "cf" else cfmetrics.ncf_distance
    return function(x, y, frequencies=T.to(x.dtype), **options)


def fill(metric, real=REAL, fake=FAKE, batch=7):
    for side, data in ((True, real), (False, fake)):
        for part in data.split(batch):
            metric.update(part, real=side)
    return metric


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("batch", [1, 7, 100])
def test_batches_give_the_distance_in_one_piece(options, batch):
    metric = fill(CharacteristicFunctionDistance(T, **options), batch=batch)
    result = metric.compute()
    assert result.shape == () and result.dtype == torch.float64
    torch.testing.assert_close(result, in_one_piece(**options), rtol=1e-12, atol=0)
    metric.reset()
    fill(metric, FAKE, REAL)
    torch.testing.assert_close(metric.compute(), result, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_summed_in_double(dtype):
    real, fake = REAL.to(dtype), FAKE.to(dtype)
    expected = in_one_piece(real.double(), fake.double())
    for autocast in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            metric = fill(CharacteristicFunctionDistance(T), real, fake)
        torch.testing.assert_close(metric.compute(), expected, rtol=1e-5, atol=0)
    # Many batches lose nothing: every sum stays in double.
    many = CharacteristicFunctionDistance(T)
    for _ in range(300):
        fill(many, real, fake, batch=100)
    torch.testing.assert_close(many.compute(), expected, rtol=1e-5, atol=0)
    assert many.half().real_cos.dtype == torch.float64


def test_real_features_can_be_kept():
    metric = fill(CharacteristicFunctionDistance(T, reset_real_features=False))
    expected = metric.compute()
    metric.reset()
    with pytest.warns(UserWarning, match="before the"), pytest.raises(RuntimeError):
        metric.compute()
    metric.update(FAKE, real=False)
    torch.testing.assert_close(metric.compute(), expected)
    metric.reset()
    metric.update(REAL, real=False)
    assert metric.compute() < 1e-7
    forgetful = fill(CharacteristicFunctionDistance(T))
    forgetful.reset()
    assert forgetful.real_count == 0
    assert (forgetful.real_cos == 0).all()


def test_forward_gives_the_distance_so_far():
    metric = CharacteristicFunctionDistance(T, reset_real_features=False)
    assert torch.isnan(metric(REAL))
    torch.testing.assert_close(metric(FAKE[:20], real=False), in_one_piece(y=FAKE[:20]))
    torch.testing.assert_close(metric(FAKE[20:], real=False), in_one_piece())
    torch.testing.assert_close(metric.compute(), in_one_piece())
    assert (metric.real_count, metric.fake_count) == (53, 38)


@pytest.mark.parametrize("missing", ["real", "fake"])
def test_a_missing_side_is_named(missing):
    metric = CharacteristicFunctionDistance(T)
    metric.update(REAL, real=missing == "fake")
    with pytest.raises(RuntimeError, match=f"there are no {missing} features; call update"):
        metric.compute()


def test_copies_and_pickles_go_on():
    metric = CharacteristicFunctionDistance(T)
    metric.update(REAL)
    for other in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        other.update(FAKE, real=False)
        torch.testing.assert_close(other.compute(), in_one_piece())
    assert metric.fake_count == 0


def test_state_dict_continues_in_another_process():
    metric = CharacteristicFunctionDistance(T)
    metric.persistent(True)
    metric.update(REAL)
    other = CharacteristicFunctionDistance(torch.zeros_like(T))
    other.load_state_dict(metric.state_dict())
    other.update(FAKE, real=False)
    torch.testing.assert_close(other.compute(), in_one_piece())
    assert list(CharacteristicFunctionDistance(T).state_dict()) == ["frequencies"]


def test_states_merge():
    whole = fill(CharacteristicFunctionDistance(T), REAL[:11], FAKE[:30])
    whole.merge_state(CharacteristicFunctionDistance(T))  # Nothing yet.
    whole.merge_state(fill(CharacteristicFunctionDistance(T), REAL[11:], FAKE[30:]))
    torch.testing.assert_close(whole.compute(), in_one_piece(), rtol=1e-12, atol=0)
    for other in (T + 1, T.flip(0), T.flip(1)):
        with pytest.raises(ValueError, match="have different frequencies; make all of them"):
            whole.merge_state(fill(CharacteristicFunctionDistance(other)))


@pytest.mark.parametrize("method", ["update", "forward", "both"])
def test_collections_keep_metrics_apart(method):
    other = T.flip(0) * 2
    collection = torchmetrics.MetricCollection(
        {
            "cf": CharacteristicFunctionDistance(T),
            "ncf": CharacteristicFunctionDistance(T, distance="ncf"),
            "other": CharacteristicFunctionDistance(other),
        }
    )
    # A first batch of zeros has the same sums at all frequencies.
    first = collection if method == "forward" else collection.update
    step = collection.update if method == "update" else collection
    first(torch.zeros(3, 4, dtype=torch.float64), real=True)
    real = torch.cat([torch.zeros(3, 4, dtype=torch.float64), REAL])
    for side, data in ((True, REAL), (False, FAKE)):
        for part in data.split(9):
            step(part, real=side)
    result = collection.compute()
    torch.testing.assert_close(result["cf"], in_one_piece(real))
    torch.testing.assert_close(result["ncf"], in_one_piece(real, distance="ncf"))
    torch.testing.assert_close(
        result["other"], cfmetrics.cf_distance(real, FAKE, frequencies=other)
    )
    if method != "forward":
        assert sorted(map(sorted, collection.compute_groups.values())) == [["cf", "ncf"], ["other"]]


def test_one_feature_and_integers():
    t = cfmetrics.sample_frequencies(5, 1, rng=1)
    x, y = torch.arange(9) % 4, torch.arange(7) % 3
    metric = fill(CharacteristicFunctionDistance(t), x, y, batch=2)
    expected = cfmetrics.cf_distance(x.numpy(), y.numpy(), frequencies=t)
    np.testing.assert_allclose(metric.compute(), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(T, distance="mmd"), ValueError, "distance is 'mmd'; pass one of 'cf', 'ncf'"),
        (lambda m: m(T[None]), ValueError, r"frequencies has shape \(1, 20, 4\)"),
        (lambda m: m(T, alpha=0.0, beta=0.0), ValueError, "alpha and beta are both 0"),
        (lambda m: m(T, frequency=1), ValueError, "frequency"),
        (lambda m: m(T).update(REAL.numpy()), TypeError, "features is a ndarray; pass a torch"),
        (lambda m: m(T).update(REAL[None]), ValueError, r"features has shape \(1, 53, 4\)"),
        (lambda m: m(T).update(REAL[:0]), ValueError, "which holds no observation"),
        (lambda m: m(T).update(REAL[:, :3]), ValueError, "so 4 features, but x has 3"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call(CharacteristicFunctionDistance)


def synchronise_in_a_process(rank, folder):
    """Run in a process of its own: what torchmetrics synchronises, seen from one of two ranks."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    mine = slice(20) if rank == 0 else slice(20, None)
    for options in OPTIONS:
        metric = fill(CharacteristicFunctionDistance(T, **options), REAL[mine], FAKE[mine])
        expected = in_one_piece(**options)
        torch.testing.assert_close(metric.compute(), expected, rtol=1e-12, atol=0)
        assert metric.real_count == (20, 33)[rank]  # Its own again, so it can go on.
        metric.update(FAKE[mine], real=False)
        torch.testing.assert_close(metric.compute(), expected, rtol=1e-12, atol=0)
    one_side = CharacteristicFunctionDistance(T)  # Each process has one side only.
    one_side.update(FAKE if rank else REAL, real=rank == 0)
    torch.testing.assert_close(one_side.compute(), in_one_piece(), rtol=1e-12, atol=0)
    other = fill(CharacteristicFunctionDistance(T + rank))
    with pytest.raises(ValueError, match="have different frequencies"):
        other.compute()
    torch.distributed.destroy_process_group()


def test_two_processes_synchronise(tmp_path):
    # Processes that torch spawns cannot import a test module; a fresh one can be forked safely, and
    # imports torchmetrics once for both.
    command = [sys.executable, __file__, str(tmp_path)]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


if __name__ == "__main__":
    torch.multiprocessing.start_processes(
        synchronise_in_a_process, args=sys.argv[1:], nprocs=2, start_method="fork"
    )

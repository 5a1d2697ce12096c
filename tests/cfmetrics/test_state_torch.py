"""CFState for torch: on the device, without gradients, and over the processes of a group."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from cfmetrics import CFState, characteristic_parts, ncf_distance_parts

torch = pytest.importorskip("torch")

D, F = 3, 6
T = torch.randn(F, D, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def normal(n, seed, dtype=torch.float64):
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def state_of(x, t=T, covariance=True):
    return CFState(t, covariance=covariance).update(x)


def test_torch_equals_numpy():
    x, y = normal(70, 1), normal(50, 2) + 0.3
    a, b = state_of(x[:30]) + state_of(x[30:]), state_of(y)
    c, d = (state_of(s.numpy(), T.numpy()) for s in (x, y))
    assert isinstance(a.mean(), torch.Tensor)
    assert a.mean().dtype == torch.float64
    np.testing.assert_allclose(a.covariance().numpy(), c.covariance(), atol=1e-13)
    np.testing.assert_allclose(a.ncf_distance(b).item(), c.ncf_distance(d), rtol=1e-12)
    np.testing.assert_allclose(a.cf_distance(b).item(), c.cf_distance(d), rtol=1e-12)
    np.testing.assert_allclose(tuple(a.test(b)), tuple(c.test(d)), rtol=1e-9)
    assert repr(a) == "CFState(6 frequencies, 3 features, 70 observations, torch cpu)"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_low_precision_is_projected_in_float32(dtype):
    x, t = normal(500, 3).to(dtype), T.to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        state = state_of(x, t)
    angles = x.float() @ t.float().T
    expected = torch.cat([angles.cos(), angles.sin()], dim=1).double()
    assert state.frequencies.dtype == torch.float32
    np.testing.assert_allclose(state.mean().numpy(), expected.mean(dim=0).numpy(), atol=1e-6)
    np.testing.assert_allclose(state.covariance(), np.cov(expected.T, bias=True), atol=1e-6)


def test_the_state_carries_no_gradient_but_serves_a_loss():
    x, frequencies = normal(40, 4).requires_grad_(), T.clone().requires_grad_()
    state = state_of(x, frequencies)
    assert not state.mean().requires_grad
    assert not state.frequencies.requires_grad
    synthetic = normal(10, 5).requires_grad_()
    loss = ncf_distance_parts(state.parts(), characteristic_parts(synthetic, state.frequencies))
    loss.backward()
    assert synthetic.grad.abs().sum() > 0
    assert x.grad is None


def test_changing_the_tensor_of_frequencies_does_not_change_the_state():
    t = T.clone()
    state = CFState(t)
    t.zero_()
    assert torch.equal(state.frequencies, T)


def test_nan_makes_the_state_nan():
    state = state_of(torch.full((2, D), float("nan"), dtype=torch.float64))
    assert torch.isnan(state.mean()).all()


def test_states_travel():
    state = state_of(normal(9, 6))
    for copy in (
        pickle.loads(pickle.dumps(state)),
        CFState.from_dict(state.to_dict(), device="cpu"),
    ):
        assert torch.equal(copy.covariance(), state.covariance())
        assert (copy + state).count == 18
    as_numpy = CFState.from_dict(state.to_dict())
    assert isinstance(as_numpy.mean(), np.ndarray)
    np.testing.assert_array_equal(as_numpy.mean(), state.mean().numpy())


def test_libraries_do_not_mix():
    state = state_of(normal(4, 7))
    with pytest.raises(TypeError, match=r"pass torch\.as_tensor\(batch"):
        state.update(np.zeros((2, D)))
    with pytest.raises(TypeError, match=r"pass torch\.as_tensor\(frequencies"):
        CFState(T.numpy()).update(normal(4, 7))
    with pytest.raises(TypeError, match="one state is on torch cpu, the other on numpy"):
        state.merge(CFState(T.numpy(), covariance=True))


def test_other_devices_are_refused():
    with pytest.raises(ValueError, match="torch cpu, the other on torch meta"):
        CFState(T).merge(CFState(T.to("meta")))


def test_reduce_needs_a_process_group():
    with pytest.raises(RuntimeError, match="init_process_group"):
        CFState(T).reduce_()


def reduce_in_a_process(rank, folder):
    """Run in a process of its own: the laws of reduce_, seen from one of two ranks."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2
    )
    x = normal(31, 8)
    mine = (x[:11], x[11:])[rank]
    for covariance in (True, False):
        expected = state_of(x, covariance=covariance)
        state = state_of(mine, covariance=covariance)
        on_the_way = state.copy().reduce_()
        assert state.count == len(mine)
        assert state.reduce_() is state
        assert state.count == on_the_way.count == 31
        np.testing.assert_allclose(state.mean(), expected.mean(), atol=1e-13)
        if covariance:
            np.testing.assert_allclose(state.covariance(), expected.covariance(), atol=1e-13)
    in_numpy = state_of(mine.numpy(), T.numpy()).reduce_()
    assert isinstance(in_numpy.mean(), np.ndarray)
    np.testing.assert_allclose(in_numpy.covariance(), state_of(x).covariance(), atol=1e-13)
    # One process has seen nothing yet; then neither has.
    assert (state_of(x) if rank else CFState(T, covariance=True)).reduce_().count == 31
    assert CFState(T).reduce_().count == 0
    for other in (CFState(T + rank), CFState(T, covariance=rank == 1), CFState(T[rank:])):
        with pytest.raises(ValueError, match="the processes hold states with other frequencies"):
            other.reduce_()
    torch.distributed.destroy_process_group()


def test_reduce_over_two_processes(tmp_path):
    # Not torch.multiprocessing: its processes cannot import a test module.
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, str(rank), str(tmp_path)], stderr=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)


if __name__ == "__main__":
    reduce_in_a_process(int(sys.argv[1]), sys.argv[2])

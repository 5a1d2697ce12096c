"""`cf_2samp` on Dask arrays is the test in memory, also on a cluster of two workers."""

from collections.abc import Iterator

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from cfmetrics import cf_2samp
from cfmetrics.two_sample import relabel


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as connected,
    ):
        yield connected


def samples(n: int, m: int, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, 3)) + 100.0, rng.normal(loc=shift, size=(m, 3)) + 100.0


@pytest.mark.parametrize("chunk", [700, 20_000, 33_000])
def test_the_same_seed_gives_the_test_in_memory(chunk: int) -> None:
    x, y = samples(40_000, 17_000, shift=0.01)
    lazy = [da.from_array(a, chunks=(chunk, 2)) for a in (x, y)]
    here = cf_2samp(x, y, n_frequencies=16, n_resamples=99, rng=5)
    there = cf_2samp(*lazy, n_frequencies=16, n_resamples=99, rng=5)
    assert there.pvalue == here.pvalue
    np.testing.assert_allclose(there.statistic, here.statistic, rtol=1e-4)
    np.testing.assert_allclose(there.null_distribution, here.null_distribution, rtol=1e-3)


@pytest.mark.parametrize("method", ["asymptotic", "epps_singleton"])
def test_asymptotic_methods_agree_too(method: str) -> None:
    x, y = samples(5000, 3000, shift=0.05)
    lazy = [da.from_array(a, chunks=(1000, 3)) for a in (x, y)]
    here = cf_2samp(x, y, method=method, rng=5)
    there = cf_2samp(*lazy, method=method, rng=5)
    np.testing.assert_allclose(there.statistic, here.statistic, rtol=1e-9)
    np.testing.assert_allclose(there.pvalue, here.pvalue, rtol=1e-9)


def test_two_workers_share_the_blocks(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = samples(3 * relabel.BLOCK_ROWS, 2 * relabel.BLOCK_ROWS, shift=0.02)
    lazy = [da.from_array(a, chunks=(relabel.BLOCK_ROWS, 3)) for a in (x, y)]
    there = cf_2samp(*lazy, n_frequencies=8, n_resamples=49, rng=1)
    here = cf_2samp(x, y, n_frequencies=8, n_resamples=49, rng=1)
    assert there.pvalue == here.pvalue
    np.testing.assert_allclose(there.statistic, here.statistic, rtol=1e-4)
    workers = client.run(lambda dask_worker: dask_worker.state.executed_count)
    assert len(workers) == 2
    assert all(count > 0 for count in workers.values())


def test_small_samples_visit_every_relabeling() -> None:
    x, y = np.arange(4.0), np.arange(4.0) + 1.5
    there = cf_2samp(da.from_array(x), da.from_array(y), rng=0)
    assert there.method == "exact"
    assert there.pvalue == cf_2samp(x, y, rng=0).pvalue


def test_missing_values() -> None:
    x, y = samples(300, 200)
    x[7, 1] = np.nan
    lazy = [da.from_array(a, chunks=(100, 3)) for a in (x, y)]
    with pytest.raises(ValueError, match="x holds NaN"):
        cf_2samp(*lazy)
    omitted = cf_2samp(*lazy, nan_policy="omit", n_resamples=19, rng=0)
    assert omitted.n == 299
    assert omitted.pvalue == cf_2samp(np.delete(x, 7, 0), y, n_resamples=19, rng=0).pvalue
    with pytest.raises(ValueError, match="nan_policy is 'propagate'"):
        cf_2samp(*lazy, nan_policy="propagate")


def test_bad_input() -> None:
    x = da.ones((5, 2))
    with pytest.raises(TypeError, match="y is a ndarray"):
        cf_2samp(x, np.ones((5, 2)))
    with pytest.raises(ValueError, match="2 features but y has 3"):
        cf_2samp(x, da.ones((5, 3)))
    with pytest.raises(ValueError, match="at least 2"):
        cf_2samp(x, da.ones((1, 2)))
    with pytest.raises(ValueError, match="shape"):
        cf_2samp(da.ones((5, 2, 2)), x)
    with pytest.raises(TypeError, match="complex"):
        cf_2samp(x.astype(complex), x)

"""The modules that give frequencies: their distributions, shapes, gradients and the minmax game."""

import copy

import numpy as np
import pytest
from scipy import stats

import cfmetrics

torch = pytest.importorskip("torch")

from cfmetrics.torch import (  # noqa: E402
    FixedFrequencies,
    KernelFrequencies,
    ScaleMixtureFrequencies,
    TanhFrequencies,
)

KERNELS = [
    ("rbf", None),
    ("laplace", None),
    ("laplace_l1", None),
    ("cauchy", None),
    ("rational_quadratic", None),
    ("rational_quadratic", 0.4),
    ("imq", None),
    ("matern", None),
    ("matern", 1.0),
    ("matern", 8.0),
]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_every_kernel_is_tested():
    assert {kernel for kernel, _ in KERNELS} == set(cfmetrics.frequencies._SAMPLERS)


@pytest.mark.parametrize(("kernel", "shape"), KERNELS)
def test_redrawn_frequencies_follow_the_law_of_sample_frequencies(kernel, shape):
    options = {"kernel": kernel, "shape": shape, "bandwidth": [0.5, 2.0]}
    frequencies = KernelFrequencies(6000, 3, redraw=True, rng=0, **options)
    drawn = frequencies(seeded()).numpy()
    first = cfmetrics.sample_frequencies(6000, 3, rng=1, **options)
    for half in (slice(3000), slice(3000, None)):  # The bandwidths, in order.
        for statistic in (lambda t: t[:, 0], lambda t: np.linalg.norm(t, axis=1)):
            test = stats.ks_2samp(statistic(drawn[half]), statistic(first[half]))
            assert test.pvalue > 1e-3


def test_kernel_frequencies_are_stored_redrawn_and_reproducible():
    options = {"kernel": "matern", "bandwidth": [1.0, 3.0], "shape": 5.0}
    kept = KernelFrequencies(10, 4, rng=3, **options)
    expected = cfmetrics.sample_frequencies(10, 4, rng=3, **options).astype(np.float32)
    np.testing.assert_array_equal(kept().numpy(), expected)
    redrawn = KernelFrequencies(10, 4, rng=3, redraw=True, **options)
    assert torch.equal(redrawn(seeded(1)), redrawn(seeded(1)))
    assert not torch.equal(redrawn(seeded(1)), redrawn(seeded(2)))
    torch.manual_seed(5)
    once = redrawn()
    torch.manual_seed(5)
    assert torch.equal(redrawn(), once)  # The global generator.
    assert torch.equal(redrawn.eval()(seeded(1)), kept())
    assert list(redrawn.state_dict()) == ["frequencies"]
    assert redrawn.double().train()().dtype == torch.float64
    assert redrawn.bfloat16()().dtype == torch.bfloat16
    assert torch.isfinite(redrawn()).all()


def test_fixed_frequencies_are_a_buffer():
    array = np.arange(6.0).reshape(3, 2)
    module = FixedFrequencies(array)
    assert module().dtype == torch.float32
    assert FixedFrequencies(torch.tensor(array))().dtype == torch.float64
    assert FixedFrequencies(array[:, 0])().shape == (3, 1)
    other = FixedFrequencies(np.zeros((3, 2)))
    other.load_state_dict(module.state_dict())
    np.testing.assert_array_equal(other().numpy(), array)
    assert module.to("meta")().device.type == "meta"
    assert list(FixedFrequencies(torch.ones(3, requires_grad=True)).parameters()) == []


@pytest.mark.parametrize(
    ("n", "n_components", "expected"),
    [(1024, None, 64), (64, None, 4), (24, None, 1), (5, None, 1), (10, 3, 3), (7, 7, 7)],
)
@pytest.mark.parametrize("per_feature", [True, False])
def test_components_of_a_scale_mixture(n, n_components, expected, per_feature):
    psi = ScaleMixtureFrequencies(n, 5, n_components=n_components, per_feature=per_feature)
    assert psi.n_components == expected
    scales = psi.scales(seeded())
    assert scales.shape == (expected, 5 if per_feature else 1)
    assert (scales > 0).all()
    # The scales are drawn first, then the normals: t is their product, share by share.
    generator = seeded()
    psi.scales(generator)
    normal = torch.randn(n, 5, generator=generator)
    shares = [len(part) for part in np.array_split(np.arange(n), expected)]
    rows = scales.repeat_interleave(torch.tensor(shares), dim=0)
    torch.testing.assert_close(psi(seeded()), rows * normal)


def test_scale_mixture_is_heavy_tailed_and_a_single_scale_is_not():
    psi = ScaleMixtureFrequencies(32_000, 2, per_feature=False)
    with torch.no_grad():
        psi.network[2].weight.mul_(20)  # Scales that differ: otherwise the excess is small.
        scales = psi.scales(seeded())[:, 0].numpy()
        t = psi(seeded()).numpy()
        # For N(0, s^2) with random s, E t^4 / (E t^2)^2 = 3 E s^4 / (E s^2)^2.
        expected = 3 * np.mean(scales**4) / np.mean(scales**2) ** 2
        assert expected > 3.5
        np.testing.assert_allclose(stats.kurtosis(t, fisher=False), expected, rtol=0.1)
        components = t.reshape(2000, 16, 2) / scales[:, None, None]
        assert stats.kstest(components.ravel(), "norm").pvalue > 1e-3
        psi.network[2].weight.zero_()
        psi.network[2].bias.zero_()
        constant = psi(seeded()).numpy()
    assert stats.kstest(constant.ravel(), "norm").pvalue > 1e-3  # Starts at `scale` times N(0, I).


def test_scale_sets_where_learning_starts():
    torch.manual_seed(0)
    psi = ScaleMixtureFrequencies(4096, 3, scale=10.0)
    assert 7 < psi.scales().mean().item() < 14
    assert 7 < psi().std().item() < 14


@pytest.mark.parametrize(("n", "repeats", "distinct"), [(64, 16, 4), (1024, 16, 64), (6, 1, 6)])
def test_tanh_frequencies_repeat_their_rows(n, repeats, distinct):
    psi = TanhFrequencies(n, 7, repeats=repeats)
    t = psi(seeded())
    assert t.shape == (n, 7)
    assert (t.abs() < 1).all()
    rows, counts = t.unique(dim=0, return_counts=True)
    assert len(rows) == distinct
    assert (counts == repeats).all()


def test_tanh_frequencies_are_those_of_the_described_network():
    psi = TanhFrequencies(64, 5, variance=0.25)
    layers = [type(layer).__name__ for layer in psi.network]
    block = ["Linear", "BatchNorm1d"]
    assert layers == [*block, "LeakyReLU", *block, "LeakyReLU", *block, "Tanh"]
    assert {layer.negative_slope for layer in psi.network if hasattr(layer, "negative_slope")} == {
        0.2
    }
    noise = 0.5 * torch.randn(4, 5, generator=seeded())
    torch.testing.assert_close(psi(seeded())[:4], psi.network(noise))
    # Batch normalisation before the tanh: mean 0 and variance 1 over the distinct rows.
    logits = torch.atanh(psi(seeded())[:4])
    torch.testing.assert_close(logits.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(logits.var(0, unbiased=False), torch.ones(5), atol=0.05, rtol=0)
    assert not torch.equal(psi.eval()(), psi())  # The noise stays random.


NETWORKS = [
    lambda: ScaleMixtureFrequencies(64, 2),
    lambda: ScaleMixtureFrequencies(64, 2, per_feature=False, scale=0.2),
    lambda: TanhFrequencies(64, 2),
]


@pytest.mark.parametrize("make", NETWORKS)
def test_ascent_raises_the_distance(make):
    torch.manual_seed(0)
    psi = make()
    # They differ in the second feature only.
    x, y = torch.randn(400, 2), torch.randn(300, 2)
    x[:, 1] = torch.randint(0, 2, (400,)) * 6.0 - 3.0 + 0.1 * x[:, 1]
    y[:, 1] = torch.randint(0, 2, (300,)) * 4.0 - 2.0 + 0.1 * y[:, 1]

    def distance(seed):
        t = psi(seeded(seed))
        return cfmetrics.ncf_distance(x, y, frequencies=t)

    def mean_distance():
        with torch.no_grad():
            return np.mean([distance(seed).item() for seed in range(1000, 1020)])

    before = mean_distance()
    optimiser = torch.optim.Adam(psi.parameters(), lr=0.01)
    for seed in range(100):
        optimiser.zero_grad()
        (-distance(seed)).backward()
        optimiser.step()
    assert all(p.grad is not None for p in psi.parameters())
    assert mean_distance() > 1.2 * before


@pytest.mark.parametrize("make", NETWORKS)
def test_networks_survive_copies_and_state_dicts(make):
    psi, other = make(), make()
    other.load_state_dict(psi.state_dict())
    expected = psi(seeded())
    for module in (other, copy.deepcopy(psi)):
        torch.testing.assert_close(module(seeded()), expected)
    assert psi.double()(seeded()).dtype == torch.float64
    assert psi.to("meta")().device.type == "meta"


def test_modules_compile_to_one_graph():
    modules = [
        KernelFrequencies(32, 3, kernel="laplace", redraw=True),
        KernelFrequencies(32, 3, kernel="laplace_l1", redraw=True),
        KernelFrequencies(32, 3, kernel="cauchy", redraw=True),
        ScaleMixtureFrequencies(32, 3),
        TanhFrequencies(32, 3),
    ]
    torch.compiler.reset()

    def everything():
        return [module() for module in modules]

    drawn = torch.compile(everything, fullgraph=True, backend="aot_eager")()
    assert all(t.shape == (32, 3) and torch.isfinite(t).all() for t in drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert all(torch.isfinite(t).all() for t in everything())


def test_modules_show_their_settings():
    shown = [
        repr(FixedFrequencies(np.ones((4, 2)))),
        repr(KernelFrequencies(4, 2, bandwidth=[1.0, 2.0])),
        repr(ScaleMixtureFrequencies(32, 2)),
        repr(TanhFrequencies(32, 2)),
    ]
    assert all("n_features=2" in line for line in shown)
    assert "kernel='rbf', bandwidth=[1.0, 2.0], redraw=False" in shown[1]
    assert "n_components=2, scale=1.0" in shown[2]
    assert "variance=1.0, repeats=16" in shown[3]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: FixedFrequencies(np.ones((2, 2, 2))),
            ValueError,
            r"frequencies has shape \(2, 2,",
        ),
        (lambda: FixedFrequencies(np.full(3, np.nan)), ValueError, "frequencies holds 3 NaN"),
        (lambda: KernelFrequencies(4, 2, kernel="box"), ValueError, "kernel is 'box'"),
        (lambda: KernelFrequencies(4, 2, bandwidth="median"), ValueError, "median_bandwidth"),
        (lambda: ScaleMixtureFrequencies(4, 2, n_components=5), ValueError, "n_components is 5"),
        (lambda: ScaleMixtureFrequencies(4, 0), ValueError, "n_features is 0"),
        (lambda: ScaleMixtureFrequencies(4, 2, scale=-1.0), ValueError, "scale is -1.0"),
        (lambda: TanhFrequencies(16, 2), ValueError, "repeats is 16; pass a multiple .* least 32"),
        (lambda: TanhFrequencies(40, 2), ValueError, "n_frequencies is 40 and repeats is 16"),
        (lambda: TanhFrequencies(32, 2, variance=0.0), ValueError, "variance is 0.0"),
        (lambda: TanhFrequencies(32.0, 2), TypeError, "n_frequencies must be an integer"),
    ],
)
def test_bad_settings_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()

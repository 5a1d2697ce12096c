"""The losses: equal to the functions, differentiable, compiled, in half precision, redrawn."""

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest

import cfmetrics

torch = pytest.importorskip("torch")

import cfmetrics.torch as losses  # noqa: E402

T = cfmetrics.sample_frequencies(12, 3, rng=0)
UNITS = T / np.linalg.norm(T, axis=1, keepdims=True)
ALPHA = np.array([0.8, 0.3])
WEIGHTS = np.linspace(0.0, 1.0, 12)

# Each loss, the function it stands for, and whether it is one of feature maps.
CASES = {
    "cf": (
        lambda **o: losses.CFLoss(T, **o),
        lambda x, y: cfmetrics.cf_distance(x, y, frequencies=T),
    ),
    "weighted cf": (
        lambda **o: losses.CFLoss(T, weights=WEIGHTS, squared=True, **o),
        lambda x, y: cfmetrics.cf_distance(x, y, frequencies=T, weights=WEIGHTS, squared=True),
    ),
    "ncf": (
        lambda **o: losses.NCFLoss(T, alpha=0.9, beta=0.2, **o),
        lambda x, y: cfmetrics.ncf_distance(x, y, frequencies=T, alpha=0.9, beta=0.2),
    ),
    "spectral": (
        lambda **o: losses.SpectralLoss(T, alpha=ALPHA, **o),
        lambda x, y: cfmetrics.spectral_distance(x, y, frequencies=T, alpha=ALPHA),
    ),
    "spectral root": (
        lambda **o: losses.SpectralLoss(T, alpha=0.6, root=True, **o),
        lambda x, y: cfmetrics.spectral_distance(x, y, frequencies=T, alpha=0.6, root=True),
    ),
    "mmd": (
        lambda **o: losses.MMDLoss(bandwidth=[0.5, 2.0], **o),
        lambda x, y: cfmetrics.mmd(x, y, bandwidth=[0.5, 2.0], estimator="biased"),
    ),
    "mmd of blocks": (
        lambda **o: losses.MMDLoss(
            kernel="rational_quadratic",
            bandwidth=2.0,
            shape=0.7,
            estimator="block",
            block_size=3,
            **o,
        ),
        lambda x, y: cfmetrics.mmd(
            x,
            y,
            kernel="rational_quadratic",
            bandwidth=2.0,
            shape=0.7,
            estimator="block",
            block_size=3,
        ),
    ),
    "energy": (losses.EnergyLoss, cfmetrics.energy_distance),
    "squared energy": (
        lambda **o: losses.EnergyLoss(squared=True, **o),
        lambda x, y: cfmetrics.energy_distance(x, y, squared=True),
    ),
    "sliced wasserstein": (
        lambda **o: losses.SlicedWassersteinLoss(3, n_projections=12, p=1.5, rng=0, **o),
        lambda x, y: cfmetrics.sliced_wasserstein(x, y, projections=UNITS, p=1.5),
    ),
    "diversity": (
        lambda **o: losses.IntraClassDiversityLoss(**o),
        lambda x, _: cfmetrics.intra_class_diversity(x),
    ),
    "sum of diversity": (
        lambda **o: losses.IntraClassDiversityLoss(3, sample_reduction="sum", **o),
        lambda x, _: cfmetrics.intra_class_diversity(x, 3, reduction="sum"),
    ),
    "bounded diversity": (
        lambda **o: losses.BoundedIntraClassDiversityLoss(rank=2, **o),
        lambda x, y: cfmetrics.bounded_intra_class_diversity(x, y, rank=2),
    ),
    "moments": (losses.ChannelMomentsLoss, cfmetrics.channel_moments_distance),
    "relative moments": (
        lambda **o: losses.ChannelMomentsLoss(statistics="sample", relative=True, eps=1e-3, **o),
        lambda x, y: cfmetrics.channel_moments_distance(
            x, y, statistics="sample", relative=True, eps=1e-3
        ),
    ),
    "gram": (losses.GramLoss, cfmetrics.gram_distance),
    "correlation": (
        lambda **o: losses.GramLoss(correlation=True, eps=1e-3, **o),
        lambda x, y: cfmetrics.gram_distance(x, y, correlation=True, eps=1e-3),
    ),
}
MAPS = ("moments", "relative moments", "gram", "correlation")


def samples(name, dtype=torch.float64, seed=0):
    """Arguments of a loss: one or two samples of two classes."""
    generator = torch.Generator().manual_seed(seed)
    shapes = [(2, 4, 2, 3, 3), (2, 3, 2, 3, 2)] if name in MAPS else [(2, 7, 3), (2, 6, 3)]
    scale = 1.0 if name in MAPS else torch.tensor([3.0, 2.0, 1.0])
    drawn = [torch.randn(s, generator=generator, dtype=torch.float64) * scale for s in shapes]
    drawn[1] = 1.5 * drawn[1] + 0.5
    one = name in ("diversity", "sum of diversity")
    return [sample.to(dtype) for sample in drawn[: 1 if one else 2]]


def expected(name, arguments):
    arrays = [sample.double().numpy() for sample in arguments]
    return CASES[name][1](arrays[0], arrays[-1])


def test_every_loss_is_tested():
    tested = {type(make()).__name__ for make, _ in CASES.values()}
    assert tested == {name for name in losses.__all__ if name.endswith("Loss")}


@pytest.mark.parametrize("name", CASES)
def test_loss_is_the_function(name):
    arguments = samples(name)
    values = expected(name, arguments)
    for reduction, reference in [
        ("none", values),
        ("mean", values.mean()),
        ("sum", values.sum()),
    ]:
        loss = CASES[name][0](reduction=reduction).double()
        result = loss(*arguments)
        assert result.dtype == torch.float64
        # The frequencies have been rounded to float32.
        np.testing.assert_allclose(result.numpy(), reference, rtol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_the_derivative_for_every_argument(name):
    arguments = [sample.requires_grad_() for sample in samples(name)]
    if name == "bounded diversity":
        arguments[1].requires_grad_(False)  # Its directions are held fixed.
    assert torch.autograd.gradcheck(CASES[name][0]().double(), arguments)


@pytest.mark.parametrize("name", CASES)
def test_half_precision_is_computed_in_single(name):
    loss = CASES[name][0]()
    arguments = samples(name, torch.bfloat16)
    reference = float(np.mean(expected(name, arguments)))
    result = loss(*arguments)
    assert result.dtype == torch.float32
    np.testing.assert_allclose(result.item(), reference, rtol=1e-4)
    leaf = arguments[0].clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(leaf, *arguments[1:])
        np.testing.assert_allclose(result.item(), reference, rtol=1e-4)
        single = loss(*(sample.float() for sample in arguments))
        np.testing.assert_allclose(single.item(), reference, rtol=1e-4)
    result.backward()
    assert leaf.grad.dtype == torch.bfloat16
    assert torch.isfinite(leaf.grad).all()


def test_frequencies_in_half_precision_are_projected_on_in_single():
    x, y = samples("ncf", torch.bfloat16)
    loss = losses.NCFLoss(10 * T).bfloat16()
    t = loss.frequencies().float()
    assert loss.frequencies().dtype == torch.bfloat16
    expected = cfmetrics.ncf_distance(x.float(), y.float(), frequencies=t).mean()
    torch.testing.assert_close(loss(x, y), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", CASES)
def test_loss_survives_copies_and_state_dicts(name):
    loss, arguments = CASES[name][0](), samples(name, torch.float32)
    result = loss(*arguments)
    for other in (copy.deepcopy(loss), pickle.loads(pickle.dumps(loss))):
        torch.testing.assert_close(other(*arguments), result)
    other = CASES[name][0]()
    for buffer in other.buffers():
        buffer.fill_(0.5)
    other.load_state_dict(loss.state_dict())
    torch.testing.assert_close(other(*arguments), result)
    assert list(loss.parameters()) == []
    assert all(buffer.device.type == "meta" for buffer in loss.to("meta").buffers())
    assert "reduction='mean'" in repr(loss)


@pytest.mark.parametrize("name", [name for name in CASES if "spectral" in name or "cf" in name])
def test_frequencies_are_a_buffer(name):
    loss = CASES[name][0]()
    np.testing.assert_array_equal(
        loss.state_dict()["frequencies.frequencies"].numpy(), T.astype(np.float32)
    )


def test_all_losses_compile_to_one_graph():
    modules = {name: make() for name, (make, _) in CASES.items()}
    modules = {type(module): (name, module) for name, module in modules.items()}  # One of each.
    modules = dict(modules.values())
    arguments = {name: samples(name, torch.float32) for name in CASES}
    psi = losses.ScaleMixtureFrequencies(16, 3)
    redrawn = [
        losses.NCFLoss(psi),
        losses.CFLoss(losses.KernelFrequencies(16, 3, kernel="matern", redraw=True)),
        losses.SlicedWassersteinLoss(3, n_projections=16, redraw=True),
    ]

    def objective():
        values = {name: module(*arguments[name]) for name, module in modules.items()}
        return values, [module(*arguments["cf"]) for module in redrawn]

    torch.compiler.reset()
    compiled = torch.compile(objective, fullgraph=True, backend="eager")
    values, random = compiled()
    torch.testing.assert_close(values, objective()[0])
    assert all(value > 0 for value in random)


def test_compiled_gradient_is_the_same():
    loss, arguments = CASES["ncf"][0](), samples("ncf", torch.float32)
    torch.compiler.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    leaves = [sample.requires_grad_() for sample in arguments]
    expected = torch.autograd.grad(loss(*leaves), leaves)
    assert all((gradient != 0).any() for gradient in expected)
    torch.testing.assert_close(torch.autograd.grad(compiled(*leaves), leaves), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = compiled(*leaves)
    torch.testing.assert_close(value, loss(*leaves))
    for gradient, reference in zip(torch.autograd.grad(value, leaves), expected, strict=True):
        assert (gradient - reference).norm() < 0.03 * reference.norm()


@pytest.mark.parametrize(
    "make",
    [
        lambda **o: losses.CFLoss(losses.KernelFrequencies(8, 3, rng=0, **o)),
        lambda **o: losses.NCFLoss(losses.KernelFrequencies(8, 3, kernel="imq", rng=0, **o)),
        lambda **o: losses.SpectralLoss(losses.KernelFrequencies(8, 3, rng=0, **o)),
        lambda **o: losses.SlicedWassersteinLoss(3, n_projections=8, rng=0, **o),
    ],
)
def test_redrawn_in_training_mode_only(make):
    x, y = samples("cf", torch.float32)

    def seeded():
        return torch.Generator().manual_seed(0)

    fixed, loss = make(), make(redraw=True)
    assert fixed(x, y) == fixed(x, y)
    assert loss(x, y) != loss(x, y)
    assert loss(x, y, generator=seeded()) == loss(x, y, generator=seeded())
    torch.manual_seed(1)
    one = loss(x, y)
    torch.manual_seed(1)
    assert loss(x, y) == one
    assert loss.eval()(x, y) == fixed(x, y)
    assert "redraw=True" in repr(loss)


def test_projections_are_those_of_the_function():
    x, y = samples("cf")
    loss = losses.SlicedWassersteinLoss(3, rng=4).double()
    reference = cfmetrics.sliced_wasserstein(x, y, rng=4).mean()
    torch.testing.assert_close(loss(x, y), reference, rtol=1e-5, atol=0)
    redrawn = losses.SlicedWassersteinLoss(3, n_projections=4000, redraw=True)
    shift = torch.tensor([3.0, 0.0, 4.0])
    # Unit directions: E <u, v>^2 = |v|^2 / d.
    assert abs(redrawn(x.float(), x.float() + shift).item() - 5 / 3**0.5) < 0.1


def test_median_bandwidth_is_that_of_the_pair():
    x, y = (sample[0] for sample in samples("mmd"))
    loss = losses.MMDLoss(estimator="unbiased")
    torch.testing.assert_close(loss(x, y), cfmetrics.mmd(x, y))


def test_own_modules_may_give_the_frequencies():
    own = torch.nn.Linear(3, 12, bias=False)
    x, y = samples("cf", torch.float32)
    source = losses.FixedFrequencies(torch.tensor(T).float())
    torch.testing.assert_close(losses.CFLoss(source)(x, y), losses.CFLoss(T)(x, y))

    class Weight(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = own

        def forward(self):
            return self.linear.weight

    losses.NCFLoss(Weight())(x, y).backward()
    assert (own.weight.grad != 0).any()


def test_minmax_game_finds_the_real_sample():
    """Descend on the sample while psi ascends: the loss of the official method, on a toy."""
    torch.manual_seed(0)
    real = torch.randn(256, 2) * torch.tensor([0.8, 0.4]) + torch.tensor([0.5, -0.5])
    fake = (0.2 * torch.randn(64, 2)).requires_grad_()
    loss = losses.NCFLoss(losses.ScaleMixtureFrequencies(128, 2))
    descent = torch.optim.Adam([fake], lr=0.05)
    ascent = torch.optim.SGD(loss.parameters(), lr=1e-3, momentum=0.5, weight_decay=5e-4)
    for _ in range(150):
        descent.zero_grad()
        ascent.zero_grad()
        loss(real, fake).backward()
        for parameter in loss.parameters():
            parameter.grad.neg_()
        descent.step()
        ascent.step()
    torch.testing.assert_close(fake.mean(0), real.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(fake.std(0), real.std(0), atol=0.1, rtol=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.CFLoss(T, reduction="max"), ValueError, "reduction is 'max'; pass one of"),
        (lambda: losses.CFLoss(T[None]), ValueError, r"frequencies has shape \(1, 12, 3\)"),
        (lambda: losses.CFLoss(T, weights=-WEIGHTS), ValueError, "weights holds -1.0"),
        (lambda: losses.CFLoss(T, weights=T), ValueError, r"weights has shape \(12, 3\)"),
        (lambda: losses.NCFLoss(T, alpha=-1.0), ValueError, "alpha is -1.0 and beta is 0.5"),
        (
            lambda: losses.SpectralLoss(T, alpha=1.5),
            ValueError,
            "alpha is 1.5; pass numbers from 0",
        ),
        (
            lambda: losses.SlicedWassersteinLoss(3, p=0.5),
            ValueError,
            "p is 0.5; pass a number >= 1",
        ),
        (lambda: losses.SlicedWassersteinLoss(0), ValueError, "n_features is 0"),
        (lambda: losses.ChannelMomentsLoss(statistics="all"), ValueError, "statistics is 'all'"),
        (lambda: losses.GramLoss(eps=-1.0), ValueError, "eps is -1.0"),
        (lambda: losses.IntraClassDiversityLoss(0), ValueError, "k is 0"),
        (lambda: losses.IntraClassDiversityLoss(sample_reduction="none"), ValueError, "'none'"),
        (lambda: losses.BoundedIntraClassDiversityLoss(rank=0), ValueError, "rank is 0"),
        (
            lambda: losses.CFLoss(T)(torch.zeros(4, 2), torch.zeros(4, 2)),
            ValueError,
            "so 3 features, but x has 2",
        ),
    ],
)
def test_bad_settings_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_public_names():
    assert losses.__all__ == sorted(losses.__all__)
    assert len(losses.__all__) == 15
    for name in set(losses.__all__) - {"CharacteristicFunctionDistance"}:
        assert getattr(losses, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        losses.Nothing  # noqa: B018


def test_torchmetrics_is_needed_for_the_metric_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)  # As if it were not installed.
    monkeypatch.delitem(sys.modules, "cfmetrics.torch.metric", raising=False)
    monkeypatch.delitem(sys.modules, "cfmetrics.torch")
    module = importlib.import_module("cfmetrics.torch")
    with pytest.raises(ImportError, match=r"needs torchmetrics; .* cfmetrics\[metrics\]"):
        module.CharacteristicFunctionDistance  # noqa: B018

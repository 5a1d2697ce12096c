"""Objectives against their formulas written plainly, class by class and image by image."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

import cfmetrics
from cfmetrics.torch import TanhFrequencies
from dd_core import SettingsError
from dd_core.objectives import (
    CSDM,
    MMD,
    NCFM,
    ClassSlice,
    Features,
    IntraClassDiversity,
    MeanMatching,
    StyleGram,
    StyleMoments,
    calibration_loss,
)
from dd_core.objectives.csdm import amplitude_weights

COUNTS = torch.tensor([30, 500, 100])


def features(seed, classes=3, n=6, width=20, shift=0.0):
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(classes, n, width, generator=draws) + shift


def maps(seed, n=6):
    draws = torch.Generator().manual_seed(seed)
    return [
        1 + torch.randn(3, n, *shape, generator=draws).relu() for shape in ((5, 8, 8), (7, 4, 4))
    ]


def draws(seed=2):
    return torch.Generator().manual_seed(seed)


def vector_loss(objective, real, synthetic, sample=None):
    if sample is None:
        sample = objective.sample(real.shape[-1], draws(), None)
    sides = (objective.embed(Features(side)) for side in (real, synthetic))
    return objective.loss(*sides, sample, ClassSlice(0, len(real), COUNTS[: len(real)]))


def map_loss(objective, real, synthetic):
    sides = (
        objective.embed(Features(torch.zeros(3, side[0].shape[1], 2), objective.statistics(side)))
        for side in (real, synthetic)
    )
    return objective.loss(*sides, torch.empty(0), ClassSlice(0, 3, COUNTS))


def amplitude_and_phase(real, synthetic, t):
    """Of one class, at every frequency, by complex numbers in double precision."""
    p, q = (torch.exp(1j * (f.double() @ t.double().T)).mean(0) for f in (real, synthetic))
    phase = 2 * p.abs() * q.abs() * (1 - torch.cos(p.angle() - q.angle()))
    return (p.abs() - q.abs()) ** 2, phase


# NCFM


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_ncfm_is_the_published_formula(alpha):
    objective = NCFM(n_frequencies=50, alpha=alpha)
    real, synthetic = features(0), features(1, n=4)
    t = objective.sample(20, draws(), None)
    assert t.shape == (50, 20)
    got = vector_loss(objective, real, synthetic, t)
    for c in range(3):
        unit = (F.normalize(f[c].double(), dim=1) for f in (real, synthetic))
        amplitude, phase = amplitude_and_phase(*unit, t)
        expected = (alpha * amplitude + (1 - alpha) * phase).sqrt().mean()
        assert got[c].item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_ncfm_frequencies_are_normal(scale):
    t = NCFM(n_frequencies=4000, scale=scale).sample(10, draws(0), None) / scale
    assert t.mean().abs() < 5 / math.sqrt(t.numel())
    assert (t.var() - 1).abs() < 5 * math.sqrt(2 / t.numel())


def test_ncfm_does_not_see_the_length_of_features():
    objective = NCFM(n_frequencies=50)
    losses = [vector_loss(objective, features(0), scale * features(1)) for scale in (1.0, 7.0)]
    torch.testing.assert_close(*losses)


def seeded_adversary(objective, width, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return objective.adversary(width)


PSI = [
    NCFM(n_frequencies=64, psi="scale_mixture"),
    NCFM(n_frequencies=64, psi="scale_mixture", n_components=2, scale=0.5),
    NCFM(n_frequencies=64, psi="tanh"),
    NCFM(n_frequencies=64, psi="tanh", repeats=1, noise_variance=0.5),
]


@pytest.mark.parametrize("objective", PSI)
def test_weights_of_psi_follow_from_the_seed(objective):
    one, two, other = (seeded_adversary(objective, 20, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("objective", PSI)
def test_frequencies_of_psi_follow_from_the_generator(objective):
    psi = seeded_adversary(objective, 20)
    one, two, other = (objective.sample(20, draws(seed), psi) for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_scale_mixture_has_a_component_for_16_frequencies_at_the_scale():
    objective = NCFM(n_frequencies=1024, psi="scale_mixture", scale=0.5)
    psi = seeded_adversary(objective, 40)
    assert psi.n_components == 64
    t = objective.sample(40, draws(), psi)
    assert t.shape == (1024, 40) and 0.4 < t.std() < 0.6


def test_distinct_frequencies_of_tanh_give_the_loss_of_the_repeated_ones():
    objective = NCFM(n_frequencies=64, psi="tanh")
    psi = seeded_adversary(objective, 20)
    official = TanhFrequencies(64, 20, repeats=16)
    official.load_state_dict(psi.state_dict())
    few, many = objective.sample(20, draws(), psi), official(draws())
    assert few.shape == (4, 20) and many.shape == (64, 20) and many.abs().max() < 1
    losses = [vector_loss(objective, features(0), features(1), t) for t in (few, many)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("objective", PSI)
def test_one_backward_moves_images_down_and_psi_up(objective):
    psi = seeded_adversary(objective, 20)
    real, synthetic = features(0, n=40), features(1, n=8, shift=0.5).requires_grad_()

    def loss(points):
        return vector_loss(objective, real, points, objective.sample(20, draws(), psi)).sum()

    before = loss(synthetic)
    before.backward()
    with torch.no_grad():
        assert loss(synthetic - 0.1 * synthetic.grad) < before
        up = torch.optim.SGD(psi.parameters(), 0.01, maximize=True)
    up.step()
    assert loss(synthetic) > before


# CSDM

KERNELS = {
    "rbf": lambda z: torch.exp(-z.square().sum() / 2),
    "laplace": lambda z: torch.exp(-z.norm()),
    "laplace_l1": lambda z: torch.exp(-z.abs().sum()),
    "cauchy": lambda z: 1 / (1 + z.square()).prod(),
    "rational_quadratic": lambda z: (1 + z.square().sum() / 4) ** -2,
    "imq": lambda z: (1 + z.square().sum()) ** -0.5,
}


@pytest.mark.parametrize("kernel", KERNELS)
def test_frequencies_are_of_the_kernels_spectral_measure(kernel):
    shape = 2.0 if kernel == "rational_quadratic" else None
    objective = CSDM(kernel=kernel, bandwidth=0.5, shape=shape, n_frequencies=20_000)
    t = objective.sample(3, draws(), None).double()
    z = torch.tensor([0.1, -0.3, 0.2], dtype=torch.float64)
    assert torch.cos(t @ z).mean().item() == pytest.approx(
        KERNELS[kernel](z / 0.5).item(), abs=5 / math.sqrt(20_000)
    )
    assert torch.equal(t, objective.sample(3, draws(), None).double())
    assert not torch.equal(t, objective.sample(3, draws(3), None).double())


@pytest.mark.parametrize("root", [False, True])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("kernel", ["rbf", "cauchy"])
def test_csdm_is_the_weighted_sum_of_the_parts(kernel, normalize, root):
    objective = CSDM(
        kernel=kernel, n_frequencies=40, alpha_head=0.8, n_head=1, normalize=normalize, root=root
    )
    real, synthetic = features(0), features(1, n=4)
    t = objective.sample(20, draws(), None)
    got = vector_loss(objective, real, synthetic, t)
    for c, alpha in enumerate((0.2, 0.8, 0.2)):  # the second class is the largest
        sides = (f[c].double() for f in (real, synthetic))
        if normalize:
            sides = (F.normalize(side, dim=1) for side in sides)
        amplitude, phase = amplitude_and_phase(*sides, t)
        expected = alpha * amplitude + (1 - alpha) * phase
        expected = expected.sqrt() if root else expected
        assert got[c].item() == pytest.approx(expected.mean().item(), rel=2e-4)


def test_csdm_at_one_half_is_half_the_squared_mmd():
    real, synthetic = features(0, n=30), features(1, n=8, shift=0.5)
    half = vector_loss(CSDM(bandwidth=0.7, n_frequencies=20_000), real, synthetic)
    whole = vector_loss(MMD(bandwidth=0.7), real, synthetic)
    torch.testing.assert_close(2 * half, whole, rtol=0.03, atol=0)


@pytest.mark.parametrize(
    ("kernel", "low", "high"), [("rbf", 0.9, 1), ("imq", 0.8, 1), ("laplace", -0.3, 0.3)]
)
def test_the_sampled_gradient_is_that_of_the_mmd_but_for_heavy_tails(kernel, low, high):
    """The trap that the documentation warns of."""
    real, synthetic = features(0, n=64, width=64), features(1, width=64, shift=0.3)
    gradients = []
    for objective in (MMD(kernel=kernel), CSDM(kernel=kernel, n_frequencies=4096)):
        moving = synthetic.clone().requires_grad_()
        vector_loss(objective, real, moving).sum().backward()
        gradients.append(moving.grad.flatten())
    assert low <= torch.cosine_similarity(*gradients, 0).item() <= high


def test_csdm_with_root_and_the_gaussian_kernel_is_ncfm():
    real, synthetic = features(0), features(1)
    t = NCFM(n_frequencies=50).sample(20, draws(), None)
    losses = [
        vector_loss(objective, real, synthetic, t)
        for objective in (CSDM(n_frequencies=50, root=True), NCFM(n_frequencies=50))
    ]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-7)


def test_linear_csdm_compares_means():
    real, synthetic = features(0, n=9), features(1, shift=0.5)
    got = vector_loss(CSDM(kernel="linear", normalize=False), real, synthetic)
    torch.testing.assert_close(got, vector_loss(MeanMatching(), real, synthetic))
    got = vector_loss(CSDM(kernel="linear"), real, synthetic)
    means = [F.normalize(side, dim=-1).mean(1) for side in (real, synthetic)]
    torch.testing.assert_close(got, (means[0] - means[1]).norm(dim=1) ** 2)


@pytest.mark.parametrize("counts", [[5], [7, 7, 7], [1, 5, 5, 9], [9, 5, 5, 1, 3]])
@pytest.mark.parametrize("n_head", [0, 1, 3])
def test_amplitude_weights_are_those_of_cfmetrics(counts, n_head):
    if n_head > len(counts):
        with pytest.raises(SettingsError, match=r"n_head is 3, but there are 1 classes; give at m"):
            amplitude_weights(torch.tensor(counts), 0.8, n_head)
        return
    got = amplitude_weights(torch.tensor(counts), 0.8, n_head)
    expected = torch.as_tensor(cfmetrics.class_weights(counts, 0.8, n_head=n_head or None))
    torch.testing.assert_close(got, expected.float())


# Kernel MMD


def slow_kernel(name, z):
    r = z.norm()
    return {
        "rbf": lambda: torch.exp(-(r**2) / 2),
        "laplace": lambda: torch.exp(-r),
        "rational_quadratic": lambda: 1 / (1 + r**2 / 2),
        "imq": lambda: (1 + r**2) ** -0.5,
        "matern": lambda: (1 + math.sqrt(3) * r) * torch.exp(-math.sqrt(3) * r),
    }[name]()


@pytest.mark.parametrize("estimator", ["biased", "unbiased"])
@pytest.mark.parametrize("kernel", ["rbf", "laplace", "rational_quadratic", "imq", "matern"])
def test_mmd_is_the_mean_over_pairs(kernel, estimator):
    objective = MMD(
        kernel=kernel, bandwidth=3.0, n_bandwidths=2, ratio=4.0, estimator=estimator,
        normalize=False,
    )  # fmt: skip
    real, synthetic = features(0, classes=2, n=5), features(1, classes=2, n=3, shift=0.4)
    got = vector_loss(objective, real, synthetic)

    def mean(a, b, *, others=False):
        pairs = [
            slow_kernel(kernel, (u - v).double() / sigma)
            for sigma in (1.5, 6.0)
            for i, u in enumerate(a)
            for j, v in enumerate(b)
            if not (others and i == j)
        ]
        return sum(pairs) / len(pairs)

    for c in range(2):
        x, y = real[c], synthetic[c]
        others = estimator == "unbiased"
        within = mean(x, x, others=others) + mean(y, y, others=others)
        assert got[c].item() == pytest.approx((within - 2 * mean(x, y)).item(), abs=2e-6)
    oracle = cfmetrics.mmd(
        real, synthetic, kernel=kernel, bandwidth=[1.5, 6.0], estimator=estimator
    )
    torch.testing.assert_close(got, oracle, rtol=1e-4, atol=1e-6)


def test_mmd_of_normalised_features_does_not_see_their_length():
    losses = [vector_loss(MMD(), features(0), scale * features(1)) for scale in (1.0, 7.0)]
    torch.testing.assert_close(*losses)


def test_unbiased_mmd_needs_two_images():
    with pytest.raises(SettingsError, match="needs 2 images of each class and side, but there is"):
        vector_loss(MMD(estimator="unbiased"), features(0), features(1, n=1))


# Mean matching and calibration


def test_mean_matching_is_the_squared_distance_of_means():
    real, synthetic = features(0, n=9), features(1, shift=0.5)
    got = vector_loss(MeanMatching(), real, synthetic)
    torch.testing.assert_close(got, (real.mean(1) - synthetic.mean(1)).norm(dim=1) ** 2)


def test_calibration_is_cross_entropy_within_the_class():
    logits = features(3, classes=2, n=5, width=6)
    got = calibration_loss(logits, 3)
    expected = [F.cross_entropy(logits[i], torch.full((5,), 3 + i)) for i in range(2)]
    torch.testing.assert_close(got, torch.stack(expected))


# Style


def slow_moments(layer, form):
    """Channel means and deviations of one class's maps (n, C, H, W), by the formulas."""
    n, channels = layer.shape[:2]
    flat = layer.double().reshape(n, channels, -1)
    if form == "batch_average":
        average = sum(flat) / n
        positions = average.shape[1]
        mean = average.sum(1) / positions
        squares = sum((average[:, p] - mean) ** 2 for p in range(positions))
        return mean, (squares / (positions - 1) + 1e-5).sqrt()
    each = [(image.mean(1), ((image - image.mean(1, keepdim=True)) ** 2).mean(1)) for image in flat]
    return sum(m for m, _ in each) / n, sum((v + 1e-5).sqrt() for _, v in each) / n


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(
    ("layers", "form"),
    [("norm", "batch_average"), ("conv", "batch_average"), ("conv", "per_sample")],
)
def test_style_moments_are_the_formula(layers, form, relative):
    objective = StyleMoments(layers=layers, moments=form, relative=relative)
    assert objective.tap == layers
    real, synthetic = maps(0, n=9), maps(1, n=4)
    got = map_loss(objective, real, synthetic)
    for c in range(3):
        layer_losses = []
        for a, b in zip(real, synthetic, strict=True):
            pairs = zip(slow_moments(a[c], form), slow_moments(b[c], form), strict=True)
            terms = [((s - r) ** 2).mean() / ((r**2).mean() if relative else 1) for r, s in pairs]
            layer_losses.append(sum(terms) / 2)
        assert got[c].item() == pytest.approx((sum(layer_losses) / 2).item(), rel=2e-4)
    kind = {"batch_average": "batch", "per_sample": "sample"}[form]
    oracle = [
        cfmetrics.channel_moments_distance(s, r, statistics=kind, relative=relative)
        for r, s in zip(real, synthetic, strict=True)
    ]
    torch.testing.assert_close(got, sum(oracle) / 2, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize("correlation", [False, True])
def test_style_gram_is_the_formula(correlation):
    objective = StyleGram(correlation=correlation)
    real, synthetic = maps(0, n=9), maps(1, n=4)
    got = map_loss(objective, real, synthetic)

    def matrix(images):
        total = 0
        for image in images.double():
            channels = len(image)
            rows = image.reshape(channels, -1)
            if correlation:
                mean, var = rows.mean(1, keepdim=True), rows.var(1, correction=0, keepdim=True)
                rows = math.sqrt(channels) * (rows - mean) / (var + 1e-5).sqrt()
            total += torch.einsum("ip,jp->ij", rows, rows) / rows.numel()
        return total / len(images)

    for c in range(3):
        expected = [
            ((matrix(a[c]) - matrix(b[c])) ** 2).sum() for a, b in zip(real, synthetic, strict=True)
        ]
        assert got[c].item() == pytest.approx((sum(expected) / 2).item(), rel=2e-4)
    oracle = [
        cfmetrics.gram_distance(s, r, correlation=correlation)
        for r, s in zip(real, synthetic, strict=True)
    ]
    torch.testing.assert_close(got, sum(oracle) / 2, rtol=2e-4, atol=1e-7)


@pytest.mark.parametrize(
    "objective",
    [StyleMoments(), StyleMoments(layers="conv", moments="per_sample"), StyleGram()],
)
def test_the_order_of_maps_in_memory_is_not_seen(objective):
    plain = maps(0, n=5)
    strided = [
        layer.flatten(0, 1).contiguous(memory_format=torch.channels_last).unflatten(0, (3, 5))
        for layer in plain
    ]
    assert strided[0].stride() != plain[0].stride()
    for a, b in zip(objective.statistics(plain), objective.statistics(strided), strict=True):
        torch.testing.assert_close(a, b)


def instance_norm(layers):
    return [F.instance_norm(layer.flatten(0, 1)).view_as(layer) for layer in layers]


def test_after_an_instance_norm_only_averages_carry_a_signal():
    """Why `per_sample` is refused there, and what the Gram matrix still sees."""
    real, synthetic = instance_norm(maps(0)), instance_norm(maps(1))
    blind = map_loss(StyleMoments(layers="conv", moments="per_sample"), real, synthetic)
    assert (blind < 1e-8).all()
    assert (map_loss(StyleMoments(), real, synthetic) > 1e-4).all()
    assert (map_loss(StyleGram(), real, synthetic) > 1e-4).all()
    matrices = [StyleGram().statistics(side)[0] for side in (real, synthetic)]
    diagonals = [matrix.diagonal(dim1=1, dim2=2) for matrix in matrices]
    torch.testing.assert_close(*diagonals, rtol=1e-3, atol=1e-4)


def test_batch_average_is_biased_by_the_number_of_images():
    """Equal distributions, other sizes: the deviation of an average of n maps is 1 / sqrt(n)."""
    noise = torch.randn(3, 264, 5, 8, 8, generator=draws())
    many, few = [noise[:, :256]], [noise[:, 256:]]
    bias = (8**-0.5 - 256**-0.5) ** 2 / 2  # 0.042
    biased = map_loss(StyleMoments(layers="conv"), many, few)
    torch.testing.assert_close(biased, torch.full((3,), bias), rtol=0.3, atol=0)
    fair = map_loss(StyleMoments(layers="conv", moments="per_sample"), many, few)
    assert (fair < 0.2 * bias).all()


@pytest.mark.parametrize(
    "objective",
    [StyleMoments(), StyleMoments(layers="conv", moments="per_sample"), StyleGram()],
)
def test_maps_in_half_precision_are_not_kept_in_float32(objective):
    images = torch.randn(2, 8, 4, 16, 16, dtype=torch.bfloat16, requires_grad=True)
    kept = []

    def note(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        (statistic,) = objective.statistics([images])
    assert statistic.dtype == torch.float32
    assert not [t for t in kept if t.dtype == torch.float32 and t.numel() >= images.numel()]


@pytest.mark.parametrize("objective", [StyleMoments(), StyleGram()])
def test_a_network_without_such_layers_is_refused(objective):
    with pytest.raises(SettingsError, match="the network gives no feature maps there"):
        objective.statistics([])


def test_batch_average_of_one_position_is_refused():
    with pytest.raises(SettingsError, match=r"shape \(1, 1\), a single position"):
        map_loss(StyleMoments(), [torch.ones(3, 4, 2, 1, 1)], [torch.ones(3, 4, 2, 1, 1)])


# Diversity


def slow_diversity(images, k):
    """The sum over images, with neighbours found by sorting."""
    total = 0.0
    for i, image in enumerate(images):
        others = [other for j, other in enumerate(images) if j != i]
        near = sorted(others, key=lambda other: (other - image).norm().item())[:k]
        p, q = image.softmax(0), (sum(near) / k).softmax(0)
        total -= (p * (p / q).log()).sum()
    return total


@pytest.mark.parametrize(("n", "k", "neighbours"), [(10, 0, 2), (4, 0, 1), (2, 0, 1), (6, 4, 4)])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_diversity_is_the_formula(n, k, neighbours, reduction):
    synthetic = features(1, n=n)
    got = vector_loss(IntraClassDiversity(k=k, reduction=reduction), features(0), synthetic)
    for c in range(3):
        expected = slow_diversity(synthetic[c].double(), neighbours)
        expected = expected / n if reduction == "mean" else expected
        assert got[c].item() == pytest.approx(expected.item(), rel=1e-4)
    oracle = cfmetrics.intra_class_diversity(synthetic, neighbours, reduction=reduction)
    torch.testing.assert_close(got, oracle)


def test_a_single_image_has_no_diversity_to_gain():
    synthetic = features(1, n=1).requires_grad_()
    loss = vector_loss(IntraClassDiversity(), features(0), synthetic)
    loss.sum().backward()
    assert loss.tolist() == [0, 0, 0] and not synthetic.grad.any()


def test_diversity_is_unbounded_below():
    losses = [
        vector_loss(IntraClassDiversity(), features(0), scale * features(1))
        for scale in (1, 10, 100)
    ]
    assert (losses[0] < 0).all()
    assert (losses[1] < 2 * losses[0]).all() and (losses[2] < 2 * losses[1]).all()


def test_more_neighbours_than_images_are_refused():
    with pytest.raises(SettingsError, match="k is 5, but each of the 5 synthetic images of a cla"):
        vector_loss(IntraClassDiversity(k=5), features(0), features(1, n=5))


@pytest.mark.parametrize(("rank", "n", "m"), [(2, 30, 8), (16, 30, 5), (16, 6, 9)])
def test_bounded_diversity_compares_spreads_along_principal_directions(rank, n, m):
    real, synthetic = features(0, n=n), 1.5 * features(1, n=m)
    got = vector_loss(IntraClassDiversity(form="bounded", rank=rank), real, synthetic)
    for c in range(3):
        x, y = synthetic[c].double(), real[c].double()
        values, vectors = torch.linalg.eigh(y.T.cov())
        top = vectors[:, values.argsort(descending=True)[: min(rank, n - 1, m - 1)]]
        spread, target = (x @ top).std(0), (y @ top).std(0)
        expected = ((spread - target) ** 2).mean() / (target**2).mean()
        assert got[c].item() == pytest.approx(expected.item(), rel=1e-3)
    torch.testing.assert_close(
        got, cfmetrics.bounded_intra_class_diversity(synthetic, real, rank=rank)
    )


def test_bounded_diversity_is_one_where_images_are_all_alike():
    synthetic = features(1, n=1).expand(3, 6, 20).contiguous()
    got = vector_loss(IntraClassDiversity(form="bounded"), features(0), synthetic)
    torch.testing.assert_close(got, torch.ones(3))


# Impossible options


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NCFM(n_frequencies=0), "n_frequencies is 0; it must be at least 1"),
        (lambda: NCFM(alpha=1.5), "alpha is 1.5; give a number from 0 to 1"),
        (lambda: NCFM(alpha=math.nan), "alpha is nan; give a number from 0 to 1"),
        (lambda: NCFM(psi="learned"), "psi is 'learned'; choose one of none, scale_mixture, tanh"),
        (lambda: NCFM(scale=0.0), "scale is 0.0; give a positive number"),
        (lambda: NCFM(scale=math.inf), "scale is inf; give a positive number"),
        (lambda: NCFM(psi="tanh", noise_variance=-1.0), "noise_variance is -1.0; give a positive"),
        (lambda: NCFM(psi="tanh", repeats=0), "repeats is 0; it must be at least 1"),
        (lambda: NCFM(psi="tanh", n_frequencies=40), "n_frequencies is 40 and repeats is 16; for"),
        (lambda: NCFM(psi="tanh", n_frequencies=16), "give a multiple of repeats, at least 32"),
        (lambda: NCFM(psi="tanh", scale=2.0), "scale is 2.0, but psi is 'tanh', which does not us"),
        (lambda: NCFM(n_components=4), "n_components is 4, but psi is 'none', which does not use"),
        (lambda: NCFM(psi="scale_mixture", repeats=4), "repeats is 4, but psi is 'scale_mixture'"),
        (lambda: NCFM(noise_variance=2.0), "leave it out, or set psi = 'tanh'"),
        (lambda: NCFM(psi="scale_mixture", n_components=-1), "n_components is -1; it must be at"),
        (
            lambda: NCFM(n_frequencies=8, psi="scale_mixture", n_components=9),
            "n_components is 9, more than n_frequencies = 8",
        ),
        (lambda: CSDM(kernel="gauss"), "kernel is 'gauss'; choose one of linear, rbf"),
        (lambda: CSDM(bandwidth=0.0), "bandwidth is 0.0; give a positive number"),
        (lambda: CSDM(n_frequencies=0), "n_frequencies is 0; it must be at least 1"),
        (lambda: CSDM(alpha_head=-0.1), "alpha_head is -0.1; give a number from 0 to 1"),
        (lambda: CSDM(n_head=-1), "n_head is -1; it must be at least 0"),
        (lambda: CSDM(shape=1.0), "shape is 1.0, but kernel 'rbf' does not use it"),
        (lambda: CSDM(kernel="rational_quadratic", shape=0.0), "shape is 0.0; give a positive"),
        (lambda: CSDM(kernel="linear", alpha_head=0.8), "alpha_head is 0.8, but kernel 'linear'"),
        (lambda: CSDM(kernel="linear", root=True), "root is True, but kernel 'linear' does not"),
        (lambda: MMD(kernel="linear"), "kernel is 'linear'; choose one of rbf, laplace"),
        (lambda: MMD(estimator="block"), "estimator is 'block'; choose one of biased, unbiased"),
        (lambda: MMD(bandwidth=-1.0), "bandwidth is -1.0; give a positive number"),
        (lambda: MMD(n_bandwidths=0), "n_bandwidths is 0; it must be at least 1"),
        (lambda: MMD(n_bandwidths=3, ratio=1.0), "ratio is 1.0; give a number above 1"),
        (lambda: MMD(ratio=3.0), "ratio is 3.0, but n_bandwidths is 1; leave it out"),
        (lambda: MMD(shape=1.0), "shape is 1.0, but kernel 'rbf' has none"),
        (lambda: MMD(kernel="matern", shape=2.0), "shape is 2.0; kernel 'matern' takes 1, 3 or 5"),
        (lambda: MMD(kernel="rational_quadratic", shape=-1.0), "shape is -1.0; give a positive"),
        (lambda: StyleMoments(layers="pool"), "layers is 'pool'; choose one of norm, conv"),
        (lambda: StyleMoments(moments="all"), "moments is 'all'; choose one of batch_average"),
        (lambda: StyleMoments(moments="per_sample"), "so the loss would always be 0; set layers"),
        (lambda: StyleGram(layers="pool"), "layers is 'pool'; choose one of norm, conv"),
        (lambda: IntraClassDiversity(form="l2"), "form is 'l2'; choose one of kl, bounded"),
        (lambda: IntraClassDiversity(reduction="max"), "reduction is 'max'; choose one of mean"),
        (lambda: IntraClassDiversity(k=-1), "k is -1; it must be at least 0"),
        (lambda: IntraClassDiversity(form="bounded", rank=0), "rank is 0; it must be at least 1"),
        (lambda: IntraClassDiversity(rank=4), "rank is 4, but form 'kl' does not use it"),
        (lambda: IntraClassDiversity(form="bounded", k=2), "k is 2, but form 'bounded' does not"),
        (
            lambda: IntraClassDiversity(form="bounded", reduction="sum"),
            "reduction is sum, but form 'bounded' does not use it",
        ),
    ],
)
def test_impossible_options_are_refused_at_construction(make, message):
    with pytest.raises(SettingsError) as error:
        make()
    assert message in str(error.value)

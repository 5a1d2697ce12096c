"""What every registered objective owes the engine, whatever it measures."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dd_core.objectives import ClassSlice, Features, build_objective, registry

COUNTS = torch.tensor([40, 7, 300, 12])
WIDTH = 16

CASES = [
    ("ncfm", {"n_frequencies": 64}),
    ("ncfm", {"n_frequencies": 64, "psi": "scale_mixture"}),
    ("ncfm", {"n_frequencies": 64, "psi": "tanh", "repeats": 2}),
    *(
        ("csdm", {"kernel": kernel, "n_frequencies": 64, "alpha_head": 0.8})
        for kernel in ("rbf", "laplace", "laplace_l1", "cauchy", "rational_quadratic", "imq")
    ),
    ("csdm", {"kernel": "rbf", "n_frequencies": 64, "root": True, "normalize": False}),
    ("csdm", {"kernel": "linear"}),
    ("dm", {}),
    ("mmd", {}),
    ("mmd", {"kernel": "laplace", "n_bandwidths": 3, "normalize": False}),
    ("mmd", {"estimator": "unbiased"}),
    ("style_moments", {}),
    ("style_moments", {"layers": "conv", "moments": "per_sample", "relative": True}),
    ("style_gram", {}),
    ("style_gram", {"layers": "conv", "correlation": True}),
    ("diversity", {}),
    ("diversity", {"reduction": "sum", "k": 2}),
    ("diversity", {"form": "bounded", "rank": 3}),
]

HEAVY_TAILS = ("laplace", "laplace_l1")
"""Their frequencies have no mean, so one of thousands rules the gradient."""


def names(cases):
    return [" ".join([name, *map(str, options.values())]) for name, options in cases]


every_objective = pytest.mark.parametrize(("name", "options"), CASES, ids=names(CASES))
few = settings(max_examples=3, deadline=None)
seeds = st.integers(0, 2**31)


def test_no_registered_objective_is_left_out():
    assert {name for name, _ in CASES} == set(registry._OWN)


class Side:
    """Vectors and maps of n images of each of four classes; classes differ in place and spread."""

    def __init__(self, seed, n, *, shift=0.0):
        draws = torch.Generator().manual_seed(seed)
        classes = torch.arange(1.0, 5.0)
        vectors = torch.randn(4, n, WIDTH, generator=draws) * classes[:, None, None] / 4
        self.vectors = (vectors + classes[:, None, None] / 4 + shift).requires_grad_()
        self.maps = [
            (torch.randn(4, n, *shape, generator=draws) + shift + 0.5).requires_grad_()
            for shape in ((5, 6, 6), (3, 4, 4))
        ]

    def leaves(self, objective):
        return [self.vectors] if objective.tap == "none" else self.maps

    def embedded(self, objective, dtype=torch.float32):
        kept = ()
        if objective.tap != "none":
            kept = objective.statistics([layer.to(dtype) for layer in self.maps])
        return objective.embed(Features(self.vectors.to(dtype), kept))

    @torch.no_grad()
    def permuted(self, seed):
        other = object.__new__(Side)
        order = torch.randperm(self.vectors.shape[1], generator=torch.Generator().manual_seed(seed))
        other.vectors = self.vectors[:, order]
        other.maps = [layer[:, order] for layer in self.maps]
        return other


def sampled(objective, seed=0):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adversary = objective.adversary(WIDTH)
    drawn = objective.sample(WIDTH, torch.Generator().manual_seed(seed), adversary)
    return drawn.detach()


def losses(objective, real, synthetic, sample=None, dtype=torch.float32):
    sample = sampled(objective) if sample is None else sample
    with torch.no_grad():
        fixed = real.embedded(objective, dtype)
    moving = synthetic.embedded(objective, dtype)
    return objective.loss(fixed, moving, sample, ClassSlice(0, 4, COUNTS))


@every_objective
@few
@given(seeds, st.integers(2, 9), st.integers(3, 6))
def test_losses_are_finite_and_float32_one_a_class(name, options, seed, n, m):
    objective = build_objective(name, options)
    got = losses(objective, Side(seed, n), Side(seed + 1, m), sampled(objective, seed))
    assert got.shape == (4,) and got.dtype == torch.float32 and torch.isfinite(got).all()


@every_objective
@few
@given(seeds, st.integers(3, 9))
def test_equal_sides_have_the_least_loss(name, options, seed, n):
    objective = build_objective(name, options)
    side, other = Side(seed, n), Side(seed + 1, n, shift=1.0)
    same = losses(objective, side, side)
    if name == "diversity" and options.get("form") != "bounded":
        assert torch.equal(same, losses(objective, other, side))  # real images are not looked at
        assert (same < 0).all()
    elif options.get("estimator") == "unbiased":
        assert (same < 0).all()  # equal images are left out within the sides, but not between
    else:
        assert (same.abs() <= 2e-6).all()
        assert (losses(objective, side, other) > 1e-3).all()


@every_objective
@few
@given(seeds, st.integers(2, 9), st.integers(3, 6))
def test_the_order_of_images_is_not_seen(name, options, seed, n, m):
    objective = build_objective(name, options)
    real, synthetic = Side(seed, n), Side(seed + 1, m)
    plain = losses(objective, real, synthetic)
    mixed = losses(objective, real.permuted(seed), synthetic.permuted(seed + 1))
    torch.testing.assert_close(plain, mixed, rtol=1e-3, atol=1e-5)


@every_objective
@few
@given(seeds)
def test_each_class_alone_has_its_loss_and_moves_its_images(name, options, seed):
    objective = build_objective(name, options)
    real, synthetic, sample = Side(seed, 7), Side(seed + 1, 5, shift=0.5), sampled(objective)
    both = [side.embedded(objective) for side in (real, synthetic)]
    whole = objective.loss(*both, sample, ClassSlice(0, 4, COUNTS))
    part = objective.loss(*(side.classes(1, 3) for side in both), sample, ClassSlice(1, 3, COUNTS))
    torch.testing.assert_close(part, whole[1:3], rtol=1e-4, atol=1e-6)
    whole[2].backward()
    for leaf in synthetic.leaves(objective):
        moved = leaf.grad.flatten(1).abs().sum(1) > 0
        assert moved.tolist() == [False, False, True, False]
        assert torch.isfinite(leaf.grad).all()


@every_objective
@few
@given(seeds, st.lists(st.integers(1, 8), max_size=3))
def test_statistics_of_chunks_average_to_those_of_the_whole(name, options, seed, cuts):
    objective = build_objective(name, options)
    if objective.tap == "none":
        assert objective.statistics([]) == ()
        return
    maps = Side(seed, 9).maps
    edges = sorted({0, *cuts, 9})
    average = [0.0] * len(maps)
    for start, stop in pairwise(edges):
        chunk = objective.statistics([layer[:, start:stop] for layer in maps])
        average = [a + c * (stop - start) / 9 for a, c in zip(average, chunk, strict=True)]
    for got, whole in zip(average, objective.statistics(maps), strict=True):
        torch.testing.assert_close(got, whole, rtol=1e-4, atol=1e-5)


@every_objective
def test_half_precision_gives_nearly_the_same_loss_and_descent(name, options):
    if "n_frequencies" in options:
        options = {**options, "n_frequencies": 1024}
    objective = build_objective(name, options)
    found = []
    for dtype in (torch.float32, torch.bfloat16):
        real, synthetic = Side(0, 64), Side(1, 12, shift=0.5)
        loss = losses(objective, real, synthetic, dtype=dtype)
        loss.sum().backward()
        gradient = torch.cat([leaf.grad.flatten() for leaf in synthetic.leaves(objective)])
        found.append((loss.detach(), gradient))
    (full, slope), (half, rounded) = found
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, full, rtol=0.05, atol=1e-3)
    if options.get("kernel") not in HEAVY_TAILS or name == "mmd":
        assert torch.cosine_similarity(slope, rounded, 0) > 0.98


@pytest.mark.parametrize("name", registry._OWN)
def test_losses_are_traced_in_one_piece(name):
    """What a compiler would break at, a CUDA graph would not hold."""
    objective = build_objective(name, {})
    real, synthetic, sample = Side(0, 7), Side(1, 5), sampled(objective)
    with torch.no_grad():
        fixed = real.embedded(objective)

    def whole(vectors, maps, fixed, sample):
        kept = objective.statistics(maps) if objective.tap != "none" else ()
        moving = objective.embed(Features(vectors, kept))
        return objective.loss(fixed, moving, sample, ClassSlice(0, 4, COUNTS))

    traced = torch.compile(whole, backend="eager", fullgraph=True)
    arguments = (synthetic.vectors, synthetic.maps, fixed, sample)
    torch.testing.assert_close(traced(*arguments), whole(*arguments), rtol=1e-4, atol=1e-6)

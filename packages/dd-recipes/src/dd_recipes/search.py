"""How well a cell's small set ranks networks, against training on real images."""

from __future__ import annotations

import math
from dataclasses import replace

from dd_core.errors import RunError
from dd_core.evaluation.search import search_architectures
from dd_core.evaluation.search_result import ArchitectureSearch
from dd_core.events import Message
from dd_recipes.phases import Bench, SmallSet, make_set
from dd_recipes.runfiles import key_of
from dd_recipes.runfolder import waiting
from dd_recipes.work import Work, training_images

__all__ = ["also", "measure_search"]


def measure_search(bench: Bench, work: Work) -> tuple[SmallSet, ArchitectureSearch]:
    """Makes a set of the training images that are not held out, and ranks networks with it.

    Training on the real images is shared by all cells with the same networks and training; one
    process does it while others wait.

    Raises:
        RunError: All networks reach the same accuracy, so that there is no ranking.
    """
    cell, data, search = work.cell, work.data, work.cell.search
    rest = training_images(cell, data.train, bench.seed)
    small = make_set(bench, replace(work, data=replace(data, train=rest)))
    whole = search.whole(cell.students)
    folder = bench.folder.path / "whole" / key_of({"images": work.made_of, "students": repr(whole)})

    def say() -> None:
        text = f"{cell.name} waits for networks on the real images, which another process trains"
        bench.listen(Message(text))

    with waiting(folder, say):
        found = search_architectures(
            small.distilled, data.train, data.test, search.networks(data.train.size),
            cell.students, whole, held_out=search.held_out,
            folder=bench.folder.cell(cell.name) / "students", whole_folder=folder,
            phase=f"students {cell.name}", **bench.common,
        )  # fmt: skip
    if found.spearman is None or not math.isfinite(found.spearman.value):
        raise RunError(
            "All networks reach the same accuracy, so they have no ranking; train them for longer, "
            "or give a grid whose networks differ more."
        )
    return small, found


def also(found: ArchitectureSearch) -> str:
    """Agreement, choice and time in words."""
    rho, tau, best = found.spearman, found.kendall, found.best
    assert rho is not None and tau is not None and best is not None and found.regret is not None
    chosen = f"It picks {found.pick.name}, as training on the real images does"
    if found.pick.name != best.name:
        chosen = f"It picks {found.pick.name}, and training on the real images {best.name}"
    place = "below" if found.regret >= 0 else "above"
    cost = "" if found.pick.name == best.name else f", {abs(found.regret):.1f} points {place} that"
    times = found.times_faster or math.nan
    return (
        f"Over {len(found.candidates)} networks, Spearman's rho is {rho.value:.2f} (p = "
        f"{rho.pvalue:.2g}) and Kendall's tau {tau.value:.2f} (p = {tau.pvalue:.2g}). {chosen}: "
        f"trained on these it gets {found.pick_test.mean:.1f} % of the test images right{cost}. "
        f"Added over the networks, training on the real images took {times:.3g} times the time of "
        "training on the small set."
    )

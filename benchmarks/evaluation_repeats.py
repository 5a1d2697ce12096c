"""Evaluate one set again and again with other seeds: do the intervals hold what they promise?

    python benchmarks/evaluation_repeats.py [--trials 20] [--json OUT]

The set is the quickstart's random real images (embedded data). A trial evaluates it twice, with two
seeds that no other trial has. Printed are how many of all 95 % intervals hold the mean over all
students, and in how many trials the two intervals overlap and the interval of the difference of the
two means (Welch) holds zero.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments import whole_number


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0 done, 1 intervals that do not hold."""
    options = _parser().parse_args(arguments)
    pairs = _evaluate(options)
    found = judge(pairs)
    print(
        f"\n{found['trials']} trials of two evaluations, {options.students} students of "
        f"{options.steps} steps each\n"
        f"mean over all {found['students']} students: {found['mean']:.2f} +- {found['std']:.2f}\n"
        f"95 % intervals that hold it: {found['held']} of {2 * found['trials']}\n"
        f"trials whose intervals overlap: {found['overlap']} of {found['trials']}\n"
        f"trials whose difference's interval holds zero: {found['alike']} of {found['trials']}"
    )
    if options.json:
        options.json.write_text(json.dumps({**found, "pairs": pairs}, indent=2) + "\n")
    return 0 if found["overlap"] >= 0.95 * found["trials"] else 1


def judge(pairs: Sequence[Sequence[Sequence[float]]]) -> dict[str, Any]:
    """What the accuracies of pairs of evaluations say of their intervals.

    >>> judge([[[1.0, 3.0], [2.0, 4.0]]])["held"]
    2
    """
    every = [value for pair in pairs for side in pair for value in side]
    mean = statistics.fmean(every)
    intervals = [[_interval(side) for side in pair] for pair in pairs]
    return {
        "trials": len(pairs),
        "students": len(every),
        "mean": mean,
        "std": statistics.stdev(every),
        "held": sum(low <= mean <= high for pair in intervals for low, high in pair),
        "overlap": sum(a[0] <= b[1] and b[0] <= a[1] for a, b in intervals),
        "alike": sum(_alike(*pair) for pair in pairs),
    }


def _interval(values: Sequence[float]) -> tuple[float, float]:
    from dd_core import Evaluation

    found = Evaluation(tuple(values), tuple(values), (), 0.0).interval
    assert found is not None
    return found


def _alike(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether Welch's 95 % interval of the difference of the means holds zero."""
    from scipy.stats import ttest_ind

    p = float(ttest_ind(a, b, equal_var=False).pvalue)
    return math.isnan(p) or p >= 0.05


def _evaluate(options: argparse.Namespace) -> list[list[list[float]]]:
    from dd_core import (
        NetworkSettings,
        StudentSettings,
        SyntheticSettings,
        choose_runtime,
        evaluate,
        select_random,
    )
    from dd_recipes.recipe import DataSource
    from dd_recipes.sources import load_data

    data = load_data(DataSource("embedded"), None)
    chosen = select_random(data.train, SyntheticSettings(ipc=10, factor=1, init="real"), seed=0)
    settings = StudentSettings(students=options.students, steps=options.steps, evaluations=1)
    runtime = choose_runtime("cpu", threads=options.threads)
    pairs = []
    for trial in range(options.trials):
        pair = []
        for side in range(2):
            with tempfile.TemporaryDirectory() as folder:
                found = evaluate(
                    chosen, data.test, NetworkSettings(width=32), settings, folder=folder,
                    seed=2 * trial + side, runtime=runtime,
                )  # fmt: skip
            pair.append(list(found.last))
        means = " and ".join(f"{statistics.fmean(side):.2f}" for side in pair)
        print(f"trial {trial + 1} of {options.trials}: {means}", flush=True)
        pairs.append(pair)
    return pairs


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--trials", type=whole_number, default=20, help="pairs of evaluations (default: 20)")
    add("--students", type=whole_number, default=5, help="of each evaluation (default: 5)")
    add("--steps", type=whole_number, default=60, help="of each student (default: 60)")
    add("--threads", type=whole_number, default=2, help="CPU threads (default: 2)")
    add("--json", type=Path, metavar="OUT", help="write the values there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())

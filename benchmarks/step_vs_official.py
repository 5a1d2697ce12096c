"""Time one iteration of dd-core and of the official NCFM code on the same work, alternating.

    python benchmarks/step_vs_official.py --official CHECKOUT [--workloads a,b,c] [--json OUT]

Each side runs as it ships, in a fresh process with the same threads. The sides take turns of a few
seconds, the order changing every round; the table shows medians over the rounds. README.md beside
this file says what is measured and what is left out.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from arguments import whole_number
from stepbench.check import TOLERANCE, compare
from stepbench.checkout import Checkout
from stepbench.engine import PIXEL_TOLERANCE, check_engine
from stepbench.engine import TOLERANCE as STEP_TOLERANCE
from stepbench.measure import Result, measure
from stepbench.worker import FAILED, INSTALL, USER_ERROR, BenchmarkError, Options
from stepbench.workload import WORKLOADS, Workload

_LINE = "{:<8} {:>10} {:>13} {:>7} {:>13} {:>9} {:>12} {:>4}"
_HEAD = (
    "workload",
    "ours s/it",
    "official s/it",
    "ratio",
    "of rounds",
    "ours MB",
    "official MB",
    "n",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, 1 (failed), 2 (the user's error)."""
    options = _parser().parse_args(arguments)
    try:
        checkout = Checkout(options.official)
        if options.check_values:
            return _check_values(checkout)
        _measure(checkout, options)
    except BenchmarkError as error:
        return _stop(str(error), error.code)
    except ImportError as error:
        return _stop(f"{error}; {INSTALL}", USER_ERROR)
    except FileNotFoundError as error:
        return _stop(str(error), USER_ERROR)
    except KeyboardInterrupt:
        return _stop("interrupted", 130)
    return 0


def _measure(checkout: Checkout, options: argparse.Namespace) -> None:
    """Measure the chosen workloads, printing and writing each as soon as it is known."""
    if options.json:
        _write(options.json, [])  # a path that cannot be written is an error now, not later
    sides = Options(
        options.official,
        options.threads,
        options.allocator,
        options.precision,
        options.compile,
        options.official_loader,
        options.debug,
    )
    _introduce(checkout, options)
    results: list[Result] = []
    for work in options.workloads:
        result = measure(work, sides, rounds=options.repeats, seconds=options.seconds)
        if not results:
            print(f"ours:     {result.ours.summary}\nofficial: {result.official.summary}\n")
            print(_LINE.format(*_HEAD), flush=True)
        results.append(result)
        print(_line(result), flush=True)
        if options.json:
            records = [each.as_record(checkout, sides) for each in results]
            _write(options.json, records)
    _explain(results)


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    try:
        path.write_text(json.dumps(records, indent=2) + "\n")
    except OSError as error:
        raise BenchmarkError(f"cannot write {path}: {error.strerror}", USER_ERROR) from None


def _introduce(checkout: Checkout, options: argparse.Namespace) -> None:
    print(f"One iteration of ours and of the official NCFM code (commit {checkout.commit()[:7]}).")
    for work in options.workloads:
        print(f"  {work.name}: {work.title}")
    print("CIFAR-10 shapes, 10 classes, ConvNet-3 of width 128; the real images are random noise.")
    print(f"CPU; threads: {options.threads}; rounds: {options.repeats}; {_load()}", flush=True)


def _load() -> str:
    """Say how busy the machine is before the benchmark adds to it."""
    if not hasattr(os, "getloadavg"):
        return "load unknown"
    load = os.getloadavg()[0]
    busy = "; other programs are running, so the figures are not reliable" if load > 0.5 else ""
    return f"load before: {load:.1f}{busy}"


def _line(result: Result) -> str:
    low, high = min(result.ratios), max(result.ratios)
    return _LINE.format(
        result.work.name,
        f"{result.ours.seconds:.3f}",
        f"{result.official.seconds:.3f}",
        f"{result.ratio:.1f}x",
        f"{low:.1f} - {high:.1f}",
        f"{result.ours.peak:.0f}",
        f"{result.official.peak:.0f}",
        len(result.ratios),
    )


def _explain(results: Sequence[Result]) -> None:
    first = ", ".join(f"{each.work.name} {each.ours.warmup_seconds:.1f} s" for each in results)
    cpu = ", ".join(f"{each.work.name} {each.cpu_ratio:.1f}x" for each in results)
    print("\nSeconds: median over the rounds. MB: peak during the iterations less the imports.")
    print(f"Ours before the first measured iteration (compilation, first iterations): {first}.")
    print(f"Ratio of processor seconds, which other programs disturb less: {cpu}.")


def _check_values(checkout: Checkout) -> int:
    """Compare our loss and our step with the official ones; 1 where they differ."""
    equal = [_check_loss(checkout), _check_step(checkout)]
    return 0 if all(equal) else FAILED


def _check_loss(checkout: Checkout) -> bool:
    """Compare ncf_distance with the official loss function."""
    comparisons = compare(checkout)
    width = max(len(each.case) for each in comparisons)
    print("The loss function on equal features:\n")
    print(f"{'case':<{width}}  {'ours':>10}  {'official':>10}  {'difference':>10}  {'gradient':>8}")
    for each in comparisons:
        print(
            f"{each.case:<{width}}  {each.ours:>10.7f}  {each.official:>10.7f}  "
            f"{each.difference:>10.1e}  {each.gradient:>8.1e}{'' if each.good else '  DIFFERENT'}"
        )
    worst = max(each.difference for each in comparisons)
    gradient = max(each.gradient for each in comparisons)
    good = all(each.good for each in comparisons)
    print(
        f"\nLargest difference of a value {worst:.1e}, of a gradient {gradient:.1e} "
        f"(tolerance {TOLERANCE:.0e}): {'equal' if good else 'DIFFERENT'}.\n"
    )
    return good


def _check_step(checkout: Checkout) -> bool:
    """Compare whole iterations of step="per_class" with the official functions."""
    print("Whole iterations, step='per_class', float32, eager, equal inputs; mean of 10 classes.")
    print("The joint step beside it shows what a difference looks like.\n", flush=True)
    check = check_engine(checkout)
    line = "{:>9}  {:<11}  {:>11}  {:>11}  {:>10}  {:>11}  {:>10}"
    print(line.format(
        "iteration", "loss", "ours", "official", "difference", "ours, joint", "difference"
    ))  # fmt: skip
    for each in check.losses:
        print(line.format(
            each.iteration, each.name, f"{each.ours:.6f}", f"{each.official:.6f}",
            f"{each.difference:.1e}", f"{each.joint:.6f}", f"{each.joint_difference:.1e}",
        ))  # fmt: skip
    verdict = "equal" if check.good else "DIFFERENT"
    if check.equal and not check.good:
        verdict = "UNDECIDED, since the joint step is as close"
    share = check.pixels / check.moved
    print(
        f"\nLargest difference of a loss {check.largest:.1e} (tolerance {STEP_TOLERANCE:.0e}; "
        f"joint step {check.control:.1e}).\nPixels moved by {check.moved:.1e} in the mean and "
        f"differ by {share:.2%} of that (tolerance {PIXEL_TOLERANCE:.0%}): {verdict}."
    )
    return check.good


def _stop(message: str, code: int) -> int:
    print(f"step_vs_official.py: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Seconds an iteration and peak memory of dd-core's step and of the official "
        "NCFM code, on the same work, alternating on this machine (CPU)."
    )
    add = parser.add_argument
    add("--official", type=Path, required=True, metavar="CHECKOUT", help="gszfwsb/NCFM, cloned")
    add("--workloads", type=_workloads, default=list(WORKLOADS.values()), metavar="a,b,c",
        help="which to measure (default: all)")  # fmt: skip
    add("--repeats", type=whole_number, default=5, help="rounds, in each both sides (default: 5)")
    add("--seconds", type=_positive, default=4.0, help="least length of a turn (default: 4)")
    add("--threads", type=whole_number, default=2, help="CPU threads of a side (default: 2)")
    add("--json", type=Path, metavar="OUT", help="write the results to this file")
    add("--check-values", action="store_true",
        help="only compare our loss and step with the official ones on equal inputs")  # fmt: skip
    add("--precision", default="auto", choices=("auto", "float32", "bfloat16"), help="ours only")
    add("--compile", default="auto", choices=("auto", "on", "off"), help="ours only")
    add("--allocator", default="system", choices=("keep", "system"),
        help="official side as it ships (default), or keeping freed memory as ours")  # fmt: skip
    add("--official-loader", default="direct", choices=("direct", "async"),
        help="official side: draw batches directly (default, faster) or by its thread")  # fmt: skip
    add("--debug", action="store_true", help="print the traceback of a side that fails")
    return parser


def _workloads(text: str) -> list[Workload]:
    try:
        return [WORKLOADS[name.strip()] for name in text.split(",")]
    except KeyError as error:
        raise argparse.ArgumentTypeError(
            f"there is no workload {error}; choose from {', '.join(WORKLOADS)}"
        ) from None


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive number")
    return value


if __name__ == "__main__":
    sys.exit(main())

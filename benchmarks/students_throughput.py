"""Time the training of students: dd-core, a plain PyTorch loop, the official NCFM loop.

    python benchmarks/students_throughput.py [--official CHECKOUT] [--json OUT]

Each side trains ConvNet-3 students on the same 400 decoded images of 32 px, in a process of its own
with the same threads; the loops one student after the other, so that one of theirs shows the pace
of ten. The sides take turns, the order changing every round; the table shows medians over the
rounds. README.md beside this file says what is measured.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from arguments import whole_number
from studentbench.worker import SIDES, Side, SideError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and return the exit code: 0, 1 (a side failed), 2 (the user's error)."""
    options = _parser().parse_args(arguments)
    names = [name for name in SIDES if name != "official" or options.official]
    where = "GPU" if options.device == "cuda" else "CPU"
    print(
        f"{options.students} students, ConvNet-3, 400 images of 32 px, batches of 128, {where}, "
        f"{options.threads} threads; {options.repeats} rounds",
        flush=True,
    )
    try:
        seconds = _measure(names, options)
    except SideError as error:
        print(f"students_throughput.py: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 130
    rows = _rows(seconds, options)
    _show(rows)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _measure(names: list[str], options: argparse.Namespace) -> dict[str, list[float]]:
    """Images a second of each side in each round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    sides = [
        Side(
            name,
            options.threads,
            options.students if name == "ours" else 1,
            options.official,
            options.device,
        ).__enter__()
        for name in names
    ]
    try:
        epochs = {side.name: _epochs(side, options.seconds) for side in sides}  # warms up too
        for number in range(options.repeats):
            for side in sides if number % 2 == 0 else sides[::-1]:
                images, seconds = side.train(epochs[side.name])
                found[side.name].append(images / seconds)
    finally:
        for side in sides:
            side.__exit__(None, None, None)
    return found


def _epochs(side: Side, seconds: float) -> int:
    """As many epochs as take about this long, by the second of two trials."""
    side.train(1)
    return max(1, round(seconds / side.train(1)[1]))


def _rows(found: dict[str, list[float]], options: argparse.Namespace) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name, paces in found.items():
        ratios = [ours / theirs for ours, theirs in zip(found["ours"], paces, strict=True)]
        rows.append({
            "side": name, "images_per_second": statistics.median(paces),
            "ours_is_faster_by": statistics.median(ratios), "of_rounds": [min(ratios), max(ratios)],
            "n": len(paces), "threads": options.threads, "students": options.students,
        })  # fmt: skip
    return rows


def _show(rows: list[dict[str, object]]) -> None:
    print(f"\n{'side':<26} {'images/s':>9} {'ours faster by':>15} {'of rounds':>13}")
    for row in rows:
        low, high = row["of_rounds"]  # type: ignore[misc]
        print(
            f"{SIDES[str(row['side'])]:<26} {row['images_per_second']:>9.0f} "
            f"{row['ours_is_faster_by']:>14.1f}x {f'{low:.1f} - {high:.1f}':>13}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--official", type=Path, metavar="CHECKOUT", help="gszfwsb/NCFM, cloned")
    add("--students", type=whole_number, default=10, help="students of a turn (default: 10)")
    add("--repeats", type=whole_number, default=5, help="rounds (default: 5)")
    add("--seconds", type=whole_number, default=8, help="length of a turn (default: 8)")
    add("--threads", type=whole_number, default=2, help="CPU threads (default: 2)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where all sides train")
    add("--json", type=Path, metavar="OUT", help="write the table there too")
    return parser


if __name__ == "__main__":
    sys.exit(main())

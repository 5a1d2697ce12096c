"""Accuracy on CIFAR-10 of students trained on sets that dd-core distilled, row by row.

    python benchmarks/cifar10_accuracy.py --data DIR --out FOLDER --rows ncfm-ipc1,dm-ipc10 [--test]

The rows are the table ROWS below. 500 training images of each class are held out; the students are
tested on these, and on the test set with --test alone. A run that was stopped goes on where it was
when the same command is given again. README.md beside this file says more.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from accuracy.rows import Row, Split, difference, quick, with_iterations
from accuracy.run import Bench
from dd_core import (
    DistillSettings,
    RunError,
    StudentSettings,
    SyntheticSettings,
    Term,
    UserError,
    environment,
)
from twosample.report import table, write

# --- The students -------------------------------------------------------------------------------

STUDENTS_IPC1 = StudentSettings(students=5, epochs=2000, evaluations=2)
STUDENTS_IPC10 = StudentSettings(students=5, epochs=600, evaluations=2)
STUDENTS_DM = StudentSettings(students=5, epochs=1000, evaluations=2)
STUDENTS_LONG_TAILED = StudentSettings(students=5, epochs=200, evaluations=2)
STUDENTS_SHORT = StudentSettings(students=5, epochs=300, evaluations=2)

# --- NCFM, and other objectives in its place ----------------------------------------------------

NCFM_TERM = Term("ncfm", 300.0, {"n_frequencies": 1024, "alpha": 0.5})
MEANS_TERM = Term("dm", 1.0)
CSDM_TERM = Term(
    "csdm",
    300.0,
    {"kernel": "rbf", "bandwidth": 1.0, "alpha_head": 0.8, "root": True, "n_frequencies": 1024},
)

NCFM_IPC1 = DistillSettings(
    objectives=(NCFM_TERM,),
    synthetic=SyntheticSettings(ipc=1, factor=2),
    iterations=30000,
    batch_real=128,
    hold=5,
    learning_rate=3e-3,
    schedule="cosine",
)
NCFM_IPC10 = replace(
    NCFM_IPC1, synthetic=SyntheticSettings(ipc=10, factor=2), iterations=4000, batch_real=256
)
NCFM_IPC1_VIEWS = replace(
    NCFM_IPC1, synthetic=SyntheticSettings(ipc=1, factor=4, decode="multi"), iterations=3500
)
"""An image in 30 views, of 32 to 8 px: chosen on held-out images; the paper has 4 of 16 px."""
NCFM_SHORT = replace(NCFM_IPC1, iterations=300)

LONG_TAILED = replace(NCFM_IPC10, iterations=600, batch_real=128)
"""CIFAR-10-LT: the same budget and settings for all objectives."""

# --- DM (settings of its authors, but holding), and decomposed matching on top of it ------------

DM_IPC10 = DistillSettings(
    objectives=(MEANS_TERM,),
    synthetic=SyntheticSettings(ipc=10, factor=1, init="real", space="normalized", clamp="none"),
    iterations=4000,
    batch_real=256,
    hold=5,
    extractor="random",
    optimizer="sgd",
    learning_rate=1.0,
    momentum=0.5,
    weight_decay=0.0,
    augmentation="flip_color_crop/scale/rotate_cutout",
    calibration=0.0,
)
DECOMPOSED = replace(DM_IPC10, iterations=1500, batch_real=128)
"""The same budget for mean matching and what is added to it: maps of every layer cost much."""
STYLE_TERMS = (Term("style_moments", 1e4), Term("style_gram", 1e4))
STYLE_TERMS_2026 = (
    Term("style_moments", 180.0, {"layers": "conv", "moments": "per_sample", "relative": True}),
    Term("style_gram", 1e4, {"layers": "conv"}),
)
"""The authors' setting of 2026: before the norms, image by image."""
DIVERSITY_TERM = Term("diversity", 10.0)

# --- The rows -----------------------------------------------------------------------------------


def _views(factor: int, decode: Literal["single", "multi"] = "single") -> DistillSettings:
    """A short NCFM run at IPC 1 whose images hold other views."""
    synthetic = SyntheticSettings(ipc=1, factor=factor, decode=decode)
    return replace(NCFM_SHORT, iterations=700, synthetic=synthetic)


def _short(precision: str, compiled: str) -> Row:
    """A short NCFM run at IPC 1 in one precision, eager or compiled."""
    how = "compiled" if compiled == "on" else "eager"
    plain = (precision, how) == ("float32", "eager")
    return Row(
        f"NCFM IPC 1, short, {precision}, {how}", NCFM_SHORT, STUDENTS_SHORT, precision=precision,
        compile=compiled, against="" if plain else "short-float32",
    )  # fmt: skip


ROWS: Mapping[str, Row] = MappingProxyType(
    {
        "ncfm-ipc1": Row("NCFM IPC 1", NCFM_IPC1, STUDENTS_IPC1),
        "ncfm-ipc1-views": Row("NCFM IPC 1, 30 views", NCFM_IPC1_VIEWS, STUDENTS_IPC10),
        "ncfm-ipc10": Row("NCFM IPC 10", NCFM_IPC10, STUDENTS_IPC10),
        "dm-ipc10": Row("DM IPC 10", DM_IPC10, STUDENTS_DM),
        "dm-pool-ipc10": Row(
            "mean matching in the place of NCFM, IPC 10",
            replace(NCFM_IPC10, objectives=(MEANS_TERM,)), STUDENTS_IPC10, against="ncfm-ipc10",
        ),
        "ddm-base": Row("DM with the budget of the next rows, IPC 10", DECOMPOSED, STUDENTS_DM),
        "ddm": Row(
            "DM + style (moments, Gram) + diversity, IPC 10",
            replace(DECOMPOSED, objectives=(MEANS_TERM, *STYLE_TERMS, DIVERSITY_TERM)),
            STUDENTS_DM, against="ddm-base",
        ),
        "ddm-style": Row(
            "DM + style (moments, Gram), IPC 10",
            replace(DECOMPOSED, objectives=(MEANS_TERM, *STYLE_TERMS)),
            STUDENTS_DM, against="ddm-base",
        ),
        "ddm-style-2026": Row(
            "DM + style (moments, Gram) before the norms, IPC 10",
            replace(DECOMPOSED, objectives=(MEANS_TERM, *STYLE_TERMS_2026)),
            STUDENTS_DM, against="ddm-base",
        ),
        "lt-ncfm": Row(
            "NCFM, CIFAR-10-LT, IPC 10", LONG_TAILED, STUDENTS_LONG_TAILED, long_tailed=True
        ),
        "lt-dm": Row(
            "mean matching, CIFAR-10-LT, IPC 10", replace(LONG_TAILED, objectives=(MEANS_TERM,)),
            STUDENTS_LONG_TAILED, long_tailed=True, against="lt-ncfm",
        ),
        "lt-csdm": Row(
            "CSDM, CIFAR-10-LT, IPC 10", replace(LONG_TAILED, objectives=(CSDM_TERM,)),
            STUDENTS_LONG_TAILED, long_tailed=True, against="lt-ncfm",
        ),
        "factor2": Row("NCFM IPC 1, 700 iterations, factor 2", _views(2), STUDENTS_SHORT),
        "factor2-multi": Row(
            "the same, factors 1 and 2", _views(2, "multi"), STUDENTS_SHORT, against="factor2"
        ),
        "factor4": Row("the same, factor 4", _views(4), STUDENTS_SHORT, against="factor2"),
        "factor4-multi": Row(
            "the same, factors 1 to 4", _views(4, "multi"), STUDENTS_SHORT, against="factor2"
        ),
        "short-float32": _short("float32", "off"),
        "short-bfloat16": _short("bfloat16", "off"),
        "short-float32-compiled": _short("float32", "on"),
        "short-bfloat16-compiled": _short("bfloat16", "on"),
        "hold1": Row("NCFM IPC 1, short, hold 1", replace(NCFM_SHORT, hold=1), STUDENTS_SHORT),
        "hold5": Row(
            "the same, hold 5, equal iterations", replace(NCFM_SHORT, hold=5), STUDENTS_SHORT,
            against="hold1",
        ),
        "hold5-time": Row(
            "the same, hold 5, equal time", replace(NCFM_SHORT, hold=5), STUDENTS_SHORT,
            against="hold1", as_long_as=("hold1", "hold5"),
        ),
    }
)  # fmt: skip
GROUPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "main": ("ncfm-ipc1", "ncfm-ipc1-views", "ncfm-ipc10", "dm-ipc10", "dm-pool-ipc10"),
        "decomposed": ("ddm-base", "ddm", "ddm-style", "ddm-style-2026"),
        "long-tailed": ("lt-ncfm", "lt-dm", "lt-csdm"),
        "factor": ("factor2", "factor2-multi", "factor4", "factor4-multi"),
        "precision": (
            "short-float32",
            "short-bfloat16",
            "short-float32-compiled",
            "short-bfloat16-compiled",
        ),
        "hold": ("hold1", "hold5", "hold5-time"),
    }
)

_FAILED, _USER_ERROR = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the rows and return the exit code: 0, 1 (a run failed), 2 (wrong use)."""
    options = _parser().parse_args(arguments)
    if options.list:
        print(table(("row", "what"), [(name, row.title) for name, row in ROWS.items()]))
        return 0
    try:
        _run(options)
    except RunError as error:
        return _stop(str(error), _FAILED)
    except (UserError, OSError) as error:
        return _stop(str(error), _USER_ERROR)
    except KeyboardInterrupt:
        return _stop("interrupted; the same command goes on from here", 130)
    return 0


def _run(options: argparse.Namespace) -> None:
    if not (options.data and options.out and options.rows):
        raise UserError("give --data, --out and --rows (or --list).")
    split: Split = "test" if options.test else "validation"
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "results.json"
    record = _earlier(path, options.quick)
    bench = Bench(options.data, options.out, split, options.threads, options.quick, options.pool)
    found: dict[str, Any] = record["results"].setdefault(split, {})
    for name in options.rows:
        row = quick(ROWS[name]) if options.quick else ROWS[name]
        try:
            row = with_iterations(row, found)
        except KeyError as missing:
            text = f"row {name} takes the time of row {missing}, which has not been run on {split}"
            raise UserError(f"{text}; put it into --rows before {name}.") from None
        print(f"{name}: {row.title}", file=sys.stderr, flush=True)
        found[name] = bench.run(name, row)
        record["environment"] = environment()
        write(path, record)
        print(_line(found[name]), flush=True)
    if options.quick:
        print("\nA quick run, to see that the script works: the values mean nothing.")
    where = "the test set" if options.test else "held-out training images"
    print(f"\nStudents after their last epoch, tested on {where}.\n")
    print(_table({name: found[name] for name in ROWS if name in found}))


def _earlier(path: Path, is_quick: bool) -> dict[str, Any]:
    """Reads the results of earlier commands with the same folder."""
    if not path.exists():
        return {"quick": is_quick, "results": {}}
    record: dict[str, Any] = json.loads(path.read_text())
    if record["quick"] != is_quick:
        raise UserError(f"{path} is of a run with{'out' * is_quick} --quick; use another --out.")
    return record


def _line(result: Mapping[str, Any]) -> str:
    """One row in words, as soon as it is done."""
    pace = result["seconds"] / result["iterations"]
    return (
        f"{result['row']}: distilled in {result['seconds']:.0f} s ({result['iterations']} "
        f"iterations, {pace:.3f} s each); {result['tested_on']} {_accuracy(result)} % "
        f"(n = {result['n']}: {_each(result)}); students {result['student_seconds']:.0f} s"
    )


def _table(results: Mapping[str, Mapping[str, Any]]) -> str:
    head = ("row", "what", "iterations", "distillation, min", "epochs", "n", "accuracy, %", "each",
            "difference")  # fmt: skip
    rows = [
        (
            name,
            result["title"],
            str(result["iterations"]),
            f"{result['seconds'] / 60:.1f}",
            str(result["students"]["epochs"]),
            str(result["n"]),
            _accuracy(result),
            _each(result),
            _against(result, results.get(ROWS[name].against), ROWS[name].against),
        )
        for name, result in results.items()
    ]
    return table(head, rows)


def _accuracy(result: Mapping[str, Any]) -> str:
    deviation = result["deviation"]
    return f"{result['mean']:.2f}" + ("" if deviation is None else f" ± {deviation:.2f}")


def _each(result: Mapping[str, Any]) -> str:
    return ", ".join(f"{value:.1f}" for value in result["last"])


def _against(result: Mapping[str, Any], other: Mapping[str, Any] | None, name: str) -> str:
    """Difference from another row, and its standard error over pairs of students."""
    if other is None or other["n"] != result["n"]:
        return ""
    mean, error = difference(result["last"], other["last"])
    return f"{mean:+.2f} ± {error:.2f} to {name}"


def _stop(message: str, code: int) -> int:
    print(f"cifar10_accuracy.py: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Accuracy of distilled sets on CIFAR-10 (CPU).")
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of CIFAR-10")
    add("--out", type=Path, metavar="FOLDER", help="distilled sets, students, results.json")
    add("--rows", type=_rows, metavar="a,b", help="rows, or groups of rows: " + ", ".join(GROUPS))
    add("--test", action="store_true", help="test students on the test set, when all is chosen")
    add("--pool", type=Path, metavar="DIR", help="pool of the balanced set (default: in --out)")
    add("--threads", type=int, help="CPU threads (default: PyTorch's choice)")
    add("--list", action="store_true", help="print the rows and stop")
    add("--quick", action="store_true", help="next to no work, to see that everything runs")
    return parser


def _rows(text: str) -> list[str]:
    names = [n for part in text.split(",") for n in GROUPS.get(part.strip(), (part.strip(),))]
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(
            f"there is no row {', '.join(unknown)}; choose from {', '.join((*ROWS, *GROUPS))}"
        )
    return list(dict.fromkeys(names))


if __name__ == "__main__":
    sys.exit(main())

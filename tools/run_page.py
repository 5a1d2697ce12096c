"""Run the Python blocks of a Markdown page in order, and compare what they print.

A block ```python is run; a block ```text directly after one is what it prints. Sections (## ...) in
which a block imports a package that is not there are left out. Used by the tests, and from the
command line to make the figures and the printed text of a page anew:

    python tools/run_page.py docs/tutorials/two-sample.md --figures docs/images --update
"""

import argparse
import contextlib
import importlib.util
import io
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?%?")

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$|^(## [^\n]*)$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A piece of code of a page: its first line in the page, and what it should print."""

    line: int
    code: str
    expected: str | None


def blocks(page: Path) -> list[Block]:
    """Find the blocks that can be run with the packages that are installed."""
    sections = list(_sections(page.read_text()))
    return [block for section in sections if not _missing(section) for block in section]


def run(page: Path, *, update: bool = False) -> list[str]:
    """Run a page in the current folder.

    Args:
        page: The Markdown file.
        update: Whether to write what the blocks print into the page.

    Returns:
        What differs from the page, in words: empty where all is well.
    """
    import matplotlib

    matplotlib.use("agg")
    names: dict[str, object] = {"__name__": "page"}
    wrong = []
    for block in blocks(page):
        output = io.StringIO()
        source = "\n" * (block.line - 1) + block.code  # So that tracebacks name the page's lines.
        with contextlib.redirect_stdout(output):
            exec(compile(source, str(page), "exec"), names)
        printed = output.getvalue()
        if not agree(printed, block.expected or ""):
            wrong.append(f"{page}:{block.line} prints\n{printed}but says\n{block.expected}")
        if update and block.expected:
            old, new = (f"{block.code}```\n\n```text\n{t}```" for t in (block.expected, printed))
            page.write_text(page.read_text().replace(old, new))
    return wrong


def agree(printed: str, expected: str) -> bool:
    """Compare texts: words exactly, numbers up to what another machine may round differently.

    That is 2% of a number or one unit of its last digit, 10 percentage points of a percentage, and
    for exponents of -10 and below a tenth of the exponent.
    """
    if _NUMBER.sub("#", printed.strip()) != _NUMBER.sub("#", expected.strip()):
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(expected), strict=True)
    return all(_close(a, b) for a, b in pairs)


def _close(a: str, b: str) -> bool:
    if b.endswith("%"):
        return abs(float(a[:-1]) - float(b[:-1])) <= 10
    if "e-" in b:
        exponents = [float(text.partition("e")[2] or 0) for text in (a, b)]
        if exponents[1] <= -10:
            return abs(exponents[0] - exponents[1]) <= abs(exponents[1]) / 10
    unit = 10.0 ** -len(b.partition("e")[0].partition(".")[2])
    return abs(float(a) - float(b)) <= max(0.02 * abs(float(b)), 1.01 * unit * ("." in b))


def _sections(text: str) -> Iterator[list[Block]]:
    section: list[Block] = []
    for match in _FENCE.finditer(text):
        kind, body, heading = match.groups()
        if heading:
            yield section
            section = []
        elif kind == "python":
            line = text.count("\n", 0, match.start()) + 2
            section.append(Block(line, body, None))
        elif kind == "text" and section and section[-1].expected is None:
            section[-1] = Block(section[-1].line, section[-1].code, body)
    yield section


def _missing(section: list[Block]) -> bool:
    code = "\n".join(block.code for block in section)
    packages = re.findall(r"^(?:import|from) (\w+)", code, re.M)
    return any(importlib.util.find_spec(package) is None for package in packages)


def main() -> None:
    """Run one page, and copy the figures that it saves."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--figures", type=Path, help="folder to copy figures to")
    parser.add_argument("--update", action="store_true", help="write what it prints into the page")
    arguments = parser.parse_args()
    page, here = arguments.page.resolve(), Path.cwd()
    figures = arguments.figures and arguments.figures.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            wrong = run(page, update=arguments.update)
        finally:
            os.chdir(here)
        for figure in sorted(Path(folder).glob("*.png")) if figures else []:
            print(shutil.copy(figure, figures))
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()

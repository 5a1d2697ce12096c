"""Options of the calibration; they exist only where this folder is named on the command line."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--repetitions", type=int, default=1000, help="repetitions of every test on every null"
    )
    parser.addoption("--processes", type=int, default=2, help="processes that share the work")
    parser.addoption("--table", type=Path, default=None, help="Markdown file for the table")

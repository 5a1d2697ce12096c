"""Options of the calibration, for a command line that names this folder."""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--repetitions", type=int, default=None, help="measure every test this often on every null"
    )
    parser.addoption("--processes", type=int, default=2, help="processes that share the work")
    parser.addoption("--table", type=Path, default=None, help="Markdown file for the table")

"""The packages depend on each other in one direction, and on nothing that they do not declare."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

LAYERS = ("cfmetrics", "dd_core", "dd_recipes")
IMPORT_NAMES = {"pyyaml": "yaml", "pillow": "PIL"}


def imported(code: str) -> set[str]:
    """First components of all absolute imports in `code`, also dynamic ones with a literal name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(str(node.module))
        elif isinstance(node, ast.Call) and node.args:
            function = ast.unparse(node.func)
            argument = node.args[0]
            dynamic = function.endswith("import_module") or function == "__import__"
            if dynamic and isinstance(argument, ast.Constant):
                names.add(str(argument.value))
    return {name.split(".")[0] for name in names}


def imported_by(source: Path) -> set[str]:
    """Everything that the Python files below `source` import."""
    files = list(source.rglob("*.py"))
    assert files, f"no Python files in {source}"
    return set().union(*(imported(path.read_text()) for path in files))


@pytest.mark.parametrize(
    "code",
    [
        "import dd_core",
        "import os, dd_core.images as images",
        "from dd_core import images",
        "from dd_core.images import LabeledImages",
        "def f():\n    from dd_core import images",
        "if TYPE_CHECKING:\n    import dd_core",
        "importlib.import_module('dd_core.images')",
        "__import__('dd_core')",
    ],
)
def test_the_scan_sees_every_form_of_import(code: str) -> None:
    assert "dd_core" in imported(code)


@pytest.mark.parametrize("code", ["from . import dd_core", "x = 'import dd_core'", "dd_core = 1"])
def test_the_scan_sees_nothing_else(code: str) -> None:
    assert "dd_core" not in imported(code)


def test_no_package_imports_a_higher_one(source: Path) -> None:
    names = imported_by(source)
    assert len(names) > 3, f"only {names} found in {source}: the scan has missed the imports"
    assert not names & set(LAYERS[LAYERS.index(source.name) + 1 :])


def test_every_import_is_declared(source: Path, project: dict) -> None:
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *(entry for extra in extras for entry in extra)]
    declared = {re.match(r"[\w.-]+", entry).group().lower() for entry in requirements}
    allowed = {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in declared}
    unknown = imported_by(source) - allowed - sys.stdlib_module_names - {source.name}
    assert not unknown, (
        f"{source.name} imports {unknown}, which its pyproject.toml does not declare"
    )


@pytest.mark.parametrize("statement", ["import {}", "from {} import x", "import {}.x"])
@pytest.mark.parametrize("importer", LAYERS)
@pytest.mark.parametrize("target", LAYERS)
def test_ruff_rejects_upward_imports_only(
    root: Path, importer: str, target: str, statement: str
) -> None:
    path = f"packages/{importer.replace('_', '-')}/src/{importer}/probe.py"
    options = ["--no-cache", "--select", "TID251", "--stdin-filename", path]
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", *options, "-"],
        input=statement.format(target) + "\n",
        capture_output=True,
        text=True,
        cwd=root,
    )
    upward = LAYERS.index(target) > LAYERS.index(importer)
    assert result.returncode == (1 if upward else 0), result.stdout + result.stderr
    assert ("TID251" in result.stdout) == upward

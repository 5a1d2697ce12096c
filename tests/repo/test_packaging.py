"""Versions, requirements and wheels of the packages."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

SIBLINGS = {"cfmetrics": ">=0.3,<1", "dd-core": ">=0.4,<1"}
FOREIGN = {"cfmetrics": ["0.1.0", "0.2.1"], "dd-core": ["1.0", "1.2.3"]}
REQUIRED = {"cfmetrics": set(), "dd-core": {"cfmetrics"}, "dd-recipes": {"dd-core"}}
LARGEST_WHEEL = {"cfmetrics": 200_000, "dd-core": 300_000, "dd-recipes": 4_500_000}


@pytest.fixture(scope="module")
def wheel(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's wheel, built now."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=package, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    return path


def test_the_changelog_begins_with_the_version(package: Path, project: dict) -> None:
    headings = re.findall(r"^## \[(.+?)\](.*)$", (package / "CHANGELOG.md").read_text(), re.M)
    released = [(version, date) for version, date in headings if version != "Unreleased"]
    assert released, "the changelog has no heading like '## [1.2.3] - 2026-01-31'"
    version, date = released[0]
    assert version == project["version"]
    assert re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date)


def test_the_source_says_the_same_version(source: Path, project: dict) -> None:
    code = (source / "__init__.py").read_text()
    assert set(re.findall(r'^__version__ = "(.*)"$', code, re.M)) <= {project["version"]}


def test_siblings_are_required_in_a_range_without_foreign_projects(project: dict) -> None:
    requirements = {r.name: r for r in map(Requirement, project["dependencies"])}
    siblings = requirements.keys() & SIBLINGS.keys()
    assert siblings == REQUIRED[project["name"]]
    for name in siblings:
        specifier = requirements[name].specifier
        assert specifier == Requirement(f"{name}{SIBLINGS[name]}").specifier
        assert not any(version in specifier for version in FOREIGN[name])


def test_the_version_is_in_the_range_that_siblings_require(project: dict) -> None:
    allowed = Requirement("x" + SIBLINGS.get(project["name"], "")).specifier
    assert Version(project["version"]) in allowed


def test_the_wheel_holds_every_source_file_and_no_other(wheel: Path, source: Path) -> None:
    expected = {
        path.relative_to(source.parent).as_posix()
        for path in source.rglob("*")
        if path.is_file() and not is_cache(path.relative_to(source))
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        information = {name.partition(".dist-info/")[2] for name in archive.namelist()}
    assert packed == expected
    assert f"{source.name}/py.typed" in packed
    assert "licenses/LICENSE" in information


def test_the_wheel_is_small(wheel: Path, package: Path) -> None:
    assert wheel.stat().st_size < LARGEST_WHEEL[package.name]


def test_the_command_is_there(root: Path) -> None:
    text = (root / "packages" / "dd-recipes" / "pyproject.toml").read_text()
    assert tomllib.loads(text)["project"]["scripts"] == {"dd-recipes": "dd_recipes.__main__:run"}
    assert "def main(" in (root / "packages/dd-recipes/src/dd_recipes/cli.py").read_text()


def test_licences_are_the_same(package: Path, root: Path, project: dict) -> None:
    assert (package / "LICENSE").read_text() == (root / "LICENSE").read_text()
    assert project["license"] == "MIT"


def test_development_tools_are_pinned_once(root: Path) -> None:
    groups = tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]
    pins = [entry for group in groups.values() for entry in group if isinstance(entry, str)]
    assert len(pins) > 10
    assert all("==" in pin for pin in pins)
    versions = dict(pin.split("==") for pin in pins)
    assert len(versions) == len(set(pins)), "one tool is pinned to two versions"
    hooks = yaml.safe_load((root / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {pin for hook in hooks for pin in hook["additional_dependencies"]} <= set(pins)


def is_cache(path: Path) -> bool:
    """Whether a path below the source folder is left by tools."""
    return any(part == "__pycache__" or part.startswith(".") for part in path.parts)

"""What all tests of the repository look at: its root, its packages and their project tables."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def root() -> Path:
    """Root folder of the repository."""
    return ROOT


@pytest.fixture(scope="session", params=["cfmetrics", "dd-core", "dd-recipes"])
def package(request: pytest.FixtureRequest) -> Path:
    """Folder of each package in turn."""
    return ROOT / "packages" / request.param


@pytest.fixture(scope="session")
def project(package: Path) -> dict:
    """The [project] table of the package's pyproject.toml."""
    return tomllib.loads((package / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="session")
def source(package: Path) -> Path:
    """Source folder of the package."""
    return package / "src" / package.name.replace("-", "_")

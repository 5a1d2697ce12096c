"""The documentation says what is so: links lead somewhere, and commands are those that are run."""

import ast
import re
import stat
import tomllib
from pathlib import Path

import pytest
import yaml

INSTALL = (
    'python -m pip install "./packages/cfmetrics[torch]" ./packages/dd-core ./packages/dd-recipes'
)
COMMANDS = [
    f"{INSTALL} && dd-recipes reproduce quickstart",
    "python -m pip install nox uv && nox -s tests",
]
TEXT = {".cff", ".css", ".html", ".j2", ".json", ".md", ".py", ".toml", ".txt", ".yaml", ".yml"}
FOLDERS = (".ci", "benchmarks", "docs", "packages", "tests", "tools")
SESSIONS = {"tests", "calibration", "lint", "types", "docs", "build", "bench", "minimums"}
# Split, so that this file does not contain them.
FORBIDDEN = [
    "pypi" + r"\.org",
    "files" + r"\.pythonhosted",
    "registry" + r"\.npmjs",
    "deb" + r"\.debian",
    r"(?<![\w.])/(work|root|home)" + "/",
    "TO" + "DO",
    "FIX" + "ME",
]


def sessions(root: Path) -> set[str]:
    """Names of the nox sessions."""
    functions = [
        node
        for node in ast.parse((root / "noxfile.py").read_text()).body
        if isinstance(node, ast.FunctionDef)
    ]
    decorated = {f.name: [ast.unparse(d) for d in f.decorator_list] for f in functions}
    return {name for name, by in decorated.items() if any(d.startswith("nox.session") for d in by)}


def text_files(root: Path) -> list[Path]:
    """Every text file that belongs to the repository."""
    files = [path for path in root.iterdir() if path.is_file()]
    for folder in FOLDERS:
        files += [path for path in (root / folder).rglob("*") if path.is_file()]
    kept = [path for path in files if path.suffix in TEXT or path.parent.name == ".ci"]
    return [path for path in kept if not is_cache(path.relative_to(root))]


def is_cache(path: Path) -> bool:
    """Whether a path is left by tools."""
    return any(part == "__pycache__" or part.endswith("_cache") for part in path.parts)


def pages(root: Path) -> list[Path]:
    """The Markdown files."""
    return [path for path in text_files(root) if path.suffix == ".md"]


def test_relative_links_lead_somewhere(root: Path) -> None:
    links = [
        (page, target)
        for page in pages(root)
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text())
        if not re.match(r"[a-z]+:|#", target)
    ]
    assert len(links) > 10, f"only {len(links)} relative links found"
    broken = [(p, t) for p, t in links if not (p.parent / t.partition("#")[0]).exists()]
    assert not broken


def test_the_readme_gives_the_two_commands(root: Path) -> None:
    blocks = re.findall(r"^```bash\n(.*?)^```", (root / "README.md").read_text(), re.M | re.S)
    assert [block.strip() for block in blocks] == COMMANDS


def test_the_install_command_names_every_package(root: Path) -> None:
    for package in (root / "packages").iterdir():
        assert f"./packages/{package.name}" in INSTALL


def test_the_readme_fits_on_a_screen_or_two(root: Path) -> None:
    assert len((root / "README.md").read_text().splitlines()) < 120


def test_ci_runs_the_second_command(root: Path) -> None:
    script = root / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert all(part in lines for part in COMMANDS[1].split(" && "))
    assert "set -euo pipefail" in lines
    assert script.stat().st_mode & stat.S_IXUSR


def test_sessions_that_are_named_exist(root: Path) -> None:
    known = sessions(root)
    assert known == SESSIONS
    run = [line for line in (root / ".ci/run").read_text().splitlines() if line.startswith("nox")]
    assert {name for line in run for name in line.split()[2:]} <= known
    texts = [page.read_text() for page in pages(root)]
    named = re.findall(r"nox -s \"?([a-z]+)", "\n".join(texts))
    assert named and set(named) <= known


def test_contributing_describes_every_session(root: Path) -> None:
    table = re.findall(r"^\| `(\w+)` \|", (root / "CONTRIBUTING.md").read_text(), re.M)
    assert sorted(table) == sorted(sessions(root))


def test_every_page_is_in_the_navigation(root: Path) -> None:
    listed = re.findall(r"([\w/-]+\.md)", (root / "mkdocs.yml").read_text())
    docs = root / "docs"
    assert sorted(listed) == sorted(str(p.relative_to(docs)) for p in docs.rglob("*.md"))


@pytest.mark.parametrize("pattern", FORBIDDEN)
def test_no_file_contains(root: Path, pattern: str) -> None:
    files = text_files(root)
    assert len(files) > 30, f"only {len(files)} files found"
    found = [path for path in files if re.search(pattern, path.read_text())]
    assert not found


def test_the_citation_is_complete(root: Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    works = [citation, *citation["references"]]
    assert all(work["title"] and work["authors"] for work in works)
    assert all({"type", "year", "url"} <= work.keys() for work in citation["references"])
    project = tomllib.loads((root / "packages/cfmetrics/pyproject.toml").read_text())["project"]
    assert citation["license"] == project["license"]

"""Development sessions. `nox --list` names them; CONTRIBUTING.md says when to use which."""

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["tests", "lint", "types", "docs", "build"]

ROOT = Path(__file__).parent
DIST = ROOT / "dist"
LAYERS = ("cfmetrics", "dd-core", "dd-recipes")  # lowest first
SUITES = ("cfmetrics-numpy", *LAYERS, "repo")
TEST_GROUPS = {"cfmetrics-numpy": "oracles", "cfmetrics": "oracles-torch"}  # others: "test"

# Takes arguments "name=True" (comes from an installed wheel) or "name=False" (is not there).
ISOLATION = """
import importlib.util, sys
for argument in sys.argv[1:]:
    name, _, wanted = argument.partition("=")
    spec = importlib.util.find_spec(name)
    found = spec is not None
    assert str(found) == wanted, f"{name}: importable is {found}, should be {wanted}"
    assert not found or "site-packages" in spec.origin, f"{name} comes from {spec.origin}"
"""


def group(name: str) -> tuple[str, ...]:
    """Requirements of one dependency group of the root pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml(ROOT / "pyproject.toml"), name)


def module(package: str) -> str:
    """Import name of a package."""
    return package.replace("-", "_")


def wheel(package: str, torch: bool = True) -> str:
    """Requirement for the wheel of `package` in dist/; cfmetrics comes with or without torch."""
    path = next(DIST.glob(f"{module(package)}-*.whl"))
    extras = {"cfmetrics": "[torch]" if torch else "", "dd-core": "[images]"}
    extra = {**extras, "dd-recipes": "[cluster]"}.get(package, "")
    return f"{package}{extra} @ {path.as_uri()}"


def third_party(package: str) -> list[str]:
    """What `package` requires, its optional parts included and its sibling packages left out."""
    project = nox.project.load_toml(ROOT / "packages" / package / "pyproject.toml")["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project["dependencies"], *(entry for extra in extras for entry in extra)]
    return [entry for entry in requirements if not entry.startswith(LAYERS)]


def run_pytest(session: nox.Session, *arguments: str) -> None:
    """Run pytest on the installed packages only, whatever PYTHONPATH the caller has."""
    session.run("pytest", *arguments, *session.posargs, env={"PYTHONPATH": ""})


@nox.session(requires=["build"])
@nox.parametrize("suite", [nox.param(suite, id=suite) for suite in SUITES])
def tests(session: nox.Session, suite: str) -> None:
    """Test each package from its wheel, with only the layers below it installed."""
    if suite == "repo":
        session.install(*group("repo"))
        run_pytest(session, "tests/repo")
        return
    torch = suite != "cfmetrics-numpy"
    top = suite if torch else "cfmetrics"
    layers = LAYERS[: LAYERS.index(top) + 1]
    needs = group(TEST_GROUPS.get(suite, "test"))
    session.install(*(wheel(layer, torch) for layer in layers), *needs)
    expected = [f"{module(layer)}={layer in layers}" for layer in LAYERS]
    session.log(f"Expected in this environment: {', '.join(expected)}, torch={torch}")
    probe = ("python", "-c", ISOLATION, *expected, f"torch={torch}")
    session.run(*probe, env={"PYTHONPATH": ""}, log=False)
    doctests = ["--doctest-modules", "--pyargs", module(top)]
    if not torch:
        doctests.append("--doctest-ignore-import-errors")  # of cfmetrics.torch
    run_pytest(session, f"tests/{module(top)}", *doctests)


@nox.session(requires=["build"])
def calibration(session: nox.Session) -> None:
    """Measure how often every two-sample test rejects a true hypothesis (about ten minutes)."""
    session.install(wheel("cfmetrics"), *group("oracles-torch"))
    run_pytest(session, "tests/cfmetrics/calibration", "--repetitions", "1000", "-s")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and imports; an import of a higher layer is an error (TID251)."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of each package, strictly."""
    session.install(*(entry for layer in LAYERS for entry in third_party(layer)), *group("types"))
    session.run("mypy", *(f"packages/{layer}/src" for layer in LAYERS), *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into site/; `nox -s docs -- serve` shows it while you write."""
    session.install(*group("docs"))
    arguments = session.posargs or ("build", "--strict")
    session.run("mkdocs", *arguments, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def build(session: nox.Session) -> None:
    """Build the source archive and the wheel of each package into dist/, and check them."""
    session.install(*group("build"))
    shutil.rmtree(DIST, ignore_errors=True)
    for layer in LAYERS:
        arguments = ("--no-isolation", "--outdir", str(DIST), f"packages/{layer}")
        session.run("python", "-m", "build", *arguments)
    session.run("twine", "check", "--strict", *map(str, sorted(DIST.iterdir())))


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Run one benchmark: `nox -s bench -- SCRIPT [OPTIONS]`, SCRIPT from benchmarks/."""
    scripts = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    if not session.posargs or session.posargs[0] not in scripts:
        session.error(f"Name a benchmark after '--', one of: {', '.join(scripts)}.")
    script, *options = session.posargs
    peers = group("peers") if script.startswith(("two_sample", "step_growth")) else []
    session.install(*map(wheel, LAYERS), *peers)
    session.run("python", f"benchmarks/{script}.py", *options, env={"PYTHONPATH": ""})


@nox.session(requires=["build"], python="3.11", venv_backend="uv")
def minimums(session: nox.Session) -> None:
    """Test all packages with the lowest versions that they say they work with (needs uv)."""
    lowest = [entry for layer in LAYERS for entry in third_party(layer)]
    needs = group("oracles-torch")
    session.install("--resolution", "lowest-direct", *map(wheel, LAYERS), *lowest, *needs)
    run_pytest(session, *(f"tests/{module(layer)}" for layer in LAYERS))

"""Every public name is described in the reference, and everything described there is public."""

import ast
import re
from pathlib import Path


def public_names(file: Path) -> set[str]:
    """The literal __all__ of a module, read without importing it; dunder names left out."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            assert len(set(names)) == len(names), f"a name stands twice in __all__ of {file}"
            return {name for name in names if not name.startswith("__")}
    raise AssertionError(f"{file} has no __all__")


def module_file(dotted: str, source: Path) -> Path | None:
    """File of a module of the package in `source`, or None where there is no such module."""
    path = source.parent.joinpath(*dotted.split("."))
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.exists()), None)


def described(source: Path, root: Path) -> list[str]:
    """Full names that the package's page describes by `::: package.module.name`."""
    page = root / "docs" / "reference" / f"{source.name.replace('_', '-')}.md"
    return re.findall(rf"^::: ({source.name}[\w.]*)\s*$", page.read_text(), re.MULTILINE)


def test_every_public_name_is_described_once(source: Path, root: Path) -> None:
    names = [full.rpartition(".")[2] for full in described(source, root)]
    assert len(set(names)) == len(names)
    assert public_names(source / "__init__.py") <= set(names)


def test_everything_described_is_public(source: Path, root: Path) -> None:
    for full in described(source, root):
        module, _, name = full.rpartition(".")
        file = module_file(module, source)
        assert module_file(full, source) or (file and name in public_names(file)), full


def test_public_names_are_defined(source: Path) -> None:
    tree = ast.parse((source / "__init__.py").read_text())
    bound = {getattr(node, "name", None) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            bound |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound.add(node.id)
    assert public_names(source / "__init__.py") <= bound

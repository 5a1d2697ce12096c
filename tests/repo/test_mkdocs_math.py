"""Formulas of the documentation: MathML, and a box of its own for each that stands alone."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("latex2mathml")
pytest.importorskip("mkdocs")


@pytest.fixture
def tool(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("mkdocs_math", root / "tools" / "mkdocs_math.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_only_a_formula_that_stands_alone_has_a_box_that_scrolls(
    tool: ModuleType, root: Path
) -> None:
    inline = tool.on_page_content(r'<p>a <span class="arithmatex">\(x^2\)</span></p>')
    block = tool.on_page_content(r'<div class="arithmatex">\[\sum_{k=1}^n x_k\]</div>')
    assert "<math" in inline and "<div" not in inline
    assert block.startswith('<div class="formula"') and block.endswith("</math></div>")
    assert 'display="block"' in block
    style = (root / "docs" / "stylesheets" / "extra.css").read_text()
    assert "overflow: auto" in style.partition(".formula {")[2].partition("}")[0]
    assert "stylesheets/extra.css" in (root / "mkdocs.yml").read_text()


def test_a_command_that_is_not_known_is_an_error(tool: ModuleType) -> None:
    with pytest.raises(tool.PluginError, match="does not know"):
        tool.on_page_content(r'<span class="arithmatex">\(\unheardof x\)</span>')

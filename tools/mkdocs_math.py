r"""Formulas of the documentation as MathML, made when the site is built: no script, no network.

mkdocs calls `on_page_content`; a formula stands between dollar signs in the Markdown source. One
that stands by itself gets a box, which scrolls where the formula is wider than the page.
"""

import html
import re

from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

FORMULA = re.compile(
    r'<span class="arithmatex">\\\((?P<inline>.*?)\\\)</span>'
    r'|<div class="arithmatex">\\\[(?P<block>.*?)\\\]</div>',
    re.DOTALL,
)


def on_page_content(content: str, **_: object) -> str:
    """Return the page's HTML with every formula as MathML."""
    return FORMULA.sub(mathml, content)


def mathml(found: re.Match[str]) -> str:
    """Convert one formula; a command that the converter does not know is an error."""
    kind = found.lastgroup or ""
    latex = html.unescape(found[kind]).strip()
    result = convert(latex, display=kind)
    if "\\" in result:
        raise PluginError(f"The formula {latex!r} has a command that latex2mathml does not know.")
    return f'<div class="formula">{result}</div>' if kind == "block" else result

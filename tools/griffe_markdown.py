"""Docstrings as Markdown: what the site changes in them before it renders them.

A section "Example:" becomes "Examples:", since only the plural is a section of code to the parser
of Google docstrings. An inner product <t, x> in the text would vanish as an HTML tag; it becomes
⟨t, x⟩. mkdocstrings loads this extension when the site is built.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^([ \t]*)Example:[ \t]*$", re.MULTILINE)

INNER_PRODUCT = re.compile(r"<([a-z_]\w*),(\s+)([^<>]{1,20})>")


class Markdown(griffe.Extension):
    """Change every docstring that is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(text: str) -> str:
    """Rename sections of examples, and write inner products in other brackets."""
    return INNER_PRODUCT.sub(r"⟨\1,\2\3⟩", EXAMPLE.sub(r"\1Examples:", text))

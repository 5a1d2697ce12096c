"""Pages from templates: what all reports share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from dd_core.checkpoint import write_atomically

__all__ = ["render"]


def render(template: str, context: Mapping[str, Any], target: Path) -> Path:
    """Writes a page, atomically; in HTML all values are escaped.

    Args:
        template: Name of a template of the package.
        context: Values by the names that the template uses; a missing one is an error.
        target: The file.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("dd_recipes"),
        autoescape=jinja2.select_autoescape(("html.j2", "html")),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    write_atomically(target, environment.get_template(template).render(context).encode())
    return target

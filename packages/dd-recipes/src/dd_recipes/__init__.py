"""Dataset-distillation papers as recipes that run with one command.

The command line is ``dd-recipes``; the same steps in Python:

- `dd_recipes.catalog` finds the recipes of the package,
- `dd_recipes.reader` reads and checks one,
- `dd_recipes.runner` runs it in a folder, resumably,
- `dd_recipes.report` turns the folder into a table and a page to read.

Importing this package imports nothing heavy: torch comes when a recipe runs.
"""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.4.0"

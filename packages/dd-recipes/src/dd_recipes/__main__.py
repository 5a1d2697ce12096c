"""``python -m dd_recipes`` is the command ``dd-recipes``."""

from __future__ import annotations

from dd_recipes.cli import main

if __name__ == "__main__":
    main(prog_name="dd-recipes")

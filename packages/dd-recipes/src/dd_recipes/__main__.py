"""``python -m dd_recipes`` is the command ``dd-recipes``."""

from __future__ import annotations

import sys

__all__ = ["run"]


def run() -> None:
    """Runs the command; Ctrl-C while it is still being imported ends it without a traceback."""
    try:
        from dd_recipes.cli import main

        main(prog_name="dd-recipes")
    except KeyboardInterrupt:
        print("\nStopped. Run the same command again to go on.", file=sys.stderr)
        raise SystemExit(130) from None


if __name__ == "__main__":
    run()

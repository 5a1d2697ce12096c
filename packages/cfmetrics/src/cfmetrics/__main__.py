"""The command `python -m cfmetrics`."""

import sys

from cfmetrics._cli import main

if __name__ == "__main__":
    sys.exit(main())

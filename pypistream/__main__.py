"""`python -m pypistream`, and the console script."""

from __future__ import annotations

import sys

from pypistream.cli import invoke
from pypistream.memory import give_large_blocks_back


def main() -> None:
    """Run the command line and exit with its code."""
    give_large_blocks_back()  # before any thread begins
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()

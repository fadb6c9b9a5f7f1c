"""`python -m pypistream`, and the console script."""

from __future__ import annotations

import sys

from pypistream.cli import invoke


def main() -> None:
    """Run the command line and exit with its code."""
    sys.exit(invoke(sys.argv[1:]))


if __name__ == "__main__":
    main()

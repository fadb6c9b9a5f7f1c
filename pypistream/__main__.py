"""`python -m pypistream`, and the console script."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code.

    Python's own handler would answer a Ctrl-C with a traceback of whatever is being imported, or
    torn down, just then: outside of a command it ends the process as it ends any program.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import contextlib
    import gc
    import os

    import orjson  # noqa: F401  # crashes if what it imports when it is first loaded is interrupted

    from pypistream.cli import EXIT_INTERRUPTED, invoke
    from pypistream.memory import give_large_blocks_back

    give_large_blocks_back()  # before any thread begins
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = invoke(sys.argv[1:])
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code == EXIT_INTERRUPTED:  # libraries that were imported by half complain at the end
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    if "duckdb" not in sys.modules:  # it counts its objects at the end, and tells of what is left
        gc.freeze()  # all that is open is closed: to look for cycles twice more takes 10 to 40 ms
    sys.exit(code)


if __name__ == "__main__":
    main()

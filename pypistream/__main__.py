"""`python -m pypistream`, and the console script."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code.

    Python's own handler answers Ctrl-C with a traceback of whatever is being imported or torn down
    at that moment. So while no command runs, Ctrl-C has the system's default effect: it ends the
    process silently.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    import contextlib
    import gc
    import os

    import orjson  # noqa: F401  # crashes if its first import is interrupted

    from pypistream.cli import EXIT_INTERRUPTED, invoke
    from pypistream.memory import give_large_blocks_back

    give_large_blocks_back()  # before any thread begins
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = invoke(sys.argv[1:])
    finally:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if code == EXIT_INTERRUPTED:  # half-imported libraries would complain at exit
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    if "duckdb" not in sys.modules:  # DuckDB reports objects that are left at exit
        gc.freeze()  # all is closed: two last collections would take 10 to 40 ms
    sys.exit(code)


if __name__ == "__main__":
    main()

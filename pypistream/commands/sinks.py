"""`pypistream sinks` (hidden): the sinks of a `run`, as its child process."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("sinks", hidden=True)
@options.place
@options.SNAPSHOT_EVERY
@options.dumps
@options.KEEP_REMOVED
def command(**given: object) -> int:
    """Materialise the log of a data directory until told to finish."""
    load_logging()
    from pypistream.children.sinks_process import run_child

    return run_child(given)

"""`pypistream sinks` (hidden): the sinks of a `run`, as its child process."""

from __future__ import annotations

import click

from pypistream import options


@click.command("sinks", hidden=True)
@options.data
@options.kafka
@click.option("--snapshot-every", type=float, required=True)
@click.option("--dump-every", type=float, required=True)
def command(**given: object) -> int:
    """Materialise the log of a data directory until told to finish."""
    from pypistream.sinks_process import run_child

    return run_child(given)

"""`pypistream rows` (hidden): makes rows of the log's records, as a child of a `rebuild`."""

from __future__ import annotations

import click

from pypistream import options


@click.command("rows", hidden=True)
@options.place
def command(**given: object) -> int:
    """Make the rows that stdin asks for, write them to stdout, end when stdin does."""
    from pypistream.children.rows_process import run_child

    return run_child(given)

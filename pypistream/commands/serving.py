"""`pypistream serving` (hidden): the HTTP service of a `run`, as its child process."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("serving", hidden=True)
@options.place
@options.KEEP_REMOVED
@options.HTTP_HOST
@options.SQL
@options.HTTP_LOG
@click.option("--socket", "descriptor", type=int, required=True, help="A bound one, inherited.")
def command(descriptor: int, **given: object) -> int:
    """Serve on an inherited socket until stdin ends."""
    load_logging()
    from pypistream.children.serve_role import serve_as_child

    return serve_as_child(given, descriptor)

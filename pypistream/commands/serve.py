"""`pypistream serve`: the HTTP service as a process of its own."""

from __future__ import annotations

import click

from pypistream import options


@click.command("serve", short_help="The HTTP service as a process of its own, beside other roles.")
@options.place
@options.KEEP_REMOVED
@options.HTTP
@options.HTTP_HOST
@options.SQL
@options.HTTP_LOG
def command(**given: object) -> int:
    """Serve documents, queries, live streams, dumps and status over HTTP.

    It reads the log into a view of its own and never writes into the log. A data directory is
    served by one process, with the dumps of the same directory. Ctrl-C or SIGTERM ends it.

    \b
    pypistream serve --data /srv/pypistream --http 0.0.0.0:8000
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.children.serve_role import serve_alone

    return serve_alone(given)

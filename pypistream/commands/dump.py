"""`pypistream dump`: publish a dump now."""

from __future__ import annotations

import click

from pypistream import options


@click.command("dump", short_help="Publish a dump now.")
@options.place
def command(**given: object) -> int:
    """Bring the dump up to the log's last cut and publish it.

    Where there is a DuckDB file it is published first, and made into the dump's Parquet files.
    While a `run` works on the directory it is asked to do so; else it is done here.
    """
    from pypistream.children.publishing import publish_now

    return publish_now(given, "dump")

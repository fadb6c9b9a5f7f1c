"""`pypistream dump`: publish a dump now."""

from __future__ import annotations

import click

from pypistream import options


@click.command("dump", short_help="Publish a dump now.")
@options.place
def command(**given: object) -> int:
    """Bring the dump up to the log's last cut and publish it.

    If the directory has a DuckDB file, it is brought up to date first; none is created. The dump's
    Parquet files are made from it. If a `run` works on the directory it is asked to do this;
    otherwise this command does.
    """
    from pypistream.children.publishing import publish_now

    return publish_now(given, "dump")

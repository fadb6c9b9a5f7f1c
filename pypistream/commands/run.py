"""`pypistream run`: all roles in one process."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("run", short_help="All roles in one process, on the embedded log or on Kafka.")
@options.pipeline
@click.option(
    "--backfill", is_flag=True, help="Fetch every project, not only those that change from now on."
)
@click.option(
    "--once", is_flag=True, help="Catch up, publish the DuckDB file and the dump, and end."
)
def command(*, backfill: bool, once: bool, **given: object) -> int:
    """Follow PyPI's changelog and keep the latest metadata of every project.

    \b
    pypistream run --contact you@example.org               # from now on
    pypistream run --contact you@example.org --backfill    # all of PyPI, then from now on
    """  # noqa: D301  click's mark for lines that stay as they are
    load_logging()
    from pypistream.run.running import run

    return run(given, backfill=backfill, once=once)

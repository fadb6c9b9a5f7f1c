"""`pypistream process`: a part of the partitions of a log, with others beside it."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("process", short_help="One role: fetch the documents of projects that changed.")
@options.process
def command(**given: object) -> int:
    """Fetch what changed and publish it, sharing partitions and rate with others of its kind.

    \b
    pypistream process --kafka 127.0.0.1:9092 --contact you@your-domain --rate 10

    Start as many as you like: all of them together keep to --rate, which must be the same for each;
    --in-flight applies to each process. When one ends or dies the others take over its partitions.
    """  # noqa: D301  click's mark for lines that stay as they are
    load_logging()
    from pypistream.run.apart import process

    return process(given)

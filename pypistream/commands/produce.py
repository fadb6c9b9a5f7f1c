"""`pypistream produce`: the journal's part of a log that several processes work on."""

from __future__ import annotations

import click

from pypistream import options
from pypistream.quick import load_logging


@click.command("produce", short_help="One role: write PyPI's journal into the log.")
@options.produce
@click.option("--take-over", is_flag=True, help="Replace a running one at once; that one ends.")
def command(*, take_over: bool, **given: object) -> int:
    """Write PyPI's journal into the log, for any number of `pypistream process` beside it.

    \b
    pypistream produce --kafka 127.0.0.1:9092 --contact you@your-domain

    One is enough: a second one sees that the first is alive, says so and ends. After a kill -9
    the next one takes over at once on the same machine, elsewhere after 7 s of silence. On the
    embedded log it shares --data with one `process`; `pypistream run` does both in one process.
    """  # noqa: D301  click's mark for lines that stay as they are
    load_logging()
    from pypistream.run.apart import produce

    return produce(given, take_over=take_over)

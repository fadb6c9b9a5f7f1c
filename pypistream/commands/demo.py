"""`pypistream demo`: the whole program on the bundled stand-in for PyPI."""

from __future__ import annotations

import click

from pypistream import options


@click.command(
    "demo", short_help="Try everything on a bundled stand-in; nothing leaves the machine."
)
@options.option(
    "--data",
    type=options.FOLDER,
    metavar="DIR",
    help="A new data directory, which stays.  [a temporary one]",
)
@click.option(
    "--projects",
    type=click.IntRange(1),
    metavar="N",
    default=300,
    help="Names the stand-in has.  [300]",
)
@click.option(
    "--changes-per-second",
    type=click.FloatRange(0),
    metavar="N",
    default=2.0,
    help="How lively its journal is.  [2]",
)
@options.option(
    "--http",
    metavar="HOST:PORT",
    help="Answer over HTTP there.  [127.0.0.1:8000, or a free port]",
)
def command(**given: object) -> int:
    """Run stand-in, pipeline and sinks, show a live table, and name three commands to paste."""
    from pypistream.run.demo import demo

    return demo(given)

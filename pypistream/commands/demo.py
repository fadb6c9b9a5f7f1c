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
    help="A new data directory, which is kept.  [a temporary one]",
)
@click.option(
    "--projects",
    type=click.IntRange(1),
    metavar="N",
    default=300,
    help="Projects of the stand-in.  [300]",
)
@click.option(
    "--changes-per-second",
    type=click.FloatRange(0),
    metavar="N",
    default=2.0,
    help="Changes per second.  [2]",
)
@options.option(
    "--http",
    metavar="HOST:PORT",
    help="Where to serve HTTP.  [127.0.0.1:8000, or a free port]",
)
def command(**given: object) -> int:
    """Run stand-in, pipeline and sinks, show a live table, and print three commands to paste."""
    from pypistream.run.demo import demo

    return demo(given)

"""`pypistream demo`: the whole program on the bundled stand-in for PyPI."""

from __future__ import annotations

import click

from pypistream import options


@click.command(
    "demo", short_help="Try everything on a bundled stand-in; nothing leaves the machine."
)
@options.data
@click.option("--projects", default=300, show_default=True, help="How many names the stand-in has.")
@click.option("--changes-per-second", default=2.0, show_default=True, help="How lively it is.")
def command(**given: object) -> int:
    """Run stand-in, pipeline and sinks, show a live table, and name three commands to paste."""
    from pypistream.demo import demo

    return demo(given)

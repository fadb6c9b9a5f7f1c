"""`pypistream sweep`: ask for every project once more, slowly."""

from __future__ import annotations

import click

from pypistream import options


@click.command("sweep", short_help="Look at every project again, slowly, beside any role.")
@options.sweep
@click.option("--once", is_flag=True, help="Do one round, as fast as the rate allows, and end.")
def command(**given: object) -> int:
    """Ask for every project again, round after round, to find changes that have no journal row.

    PyPI's journal has no row for an advisory, an organisation or a new field. `run` and `produce`
    sweep by themselves, unless --sweep-every is 0. The process that works on the log fetches the
    documents, after everything else and with at most a quarter of --rate. An interrupted round is
    resumed. The command runs until it is stopped; with --once a round begins now.

    \b
    pypistream sweep --once     # everything now: all of PyPI takes three and a half days
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.run.sweeping import sweep

    return sweep(given)

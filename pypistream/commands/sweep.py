"""`pypistream sweep`: ask for every project once more, slowly."""

from __future__ import annotations

import click

from pypistream import options


@click.command("sweep", short_help="Look at every project again, slowly, beside any role.")
@options.sweep
@click.option("--once", is_flag=True, help="One round, as fast as it may, and end.")
def command(**given: object) -> int:
    """Leave asks in `refetch` for every project, round after round, for what writes no journal row.

    An advisory, an organisation, a new field: PyPI's journal tells of none. `run` and `produce` do
    this by themselves, unless --sweep-every is 0. Whoever processes the log fetches the documents,
    after everything else; at most a quarter of --rate is asked for. A round that was interrupted
    goes on where it was. It runs until it is stopped; with --once a round begins now.

    \b
    pypistream sweep --once     # everything now: all of PyPI takes three and a half days
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.run.sweeping import sweep

    return sweep(given)

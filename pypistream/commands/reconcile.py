"""`pypistream reconcile`: compare with upstream's index, and ask for what differs."""

from __future__ import annotations

import click

from pypistream import options


@click.command("reconcile", short_help="Compare with upstream's index; ask for what differs.")
@options.index
@click.option("--dry-run", is_flag=True, help="Say what it would ask for, and leave it at that.")
def command(**given: object) -> int:
    """Ask for each project that the log does not know, or that is newer in upstream's index.

    And for a check of each that is published here and no longer in the index. A project that waits
    for a serial its document never reaches is settled, where the index says so. Names without a
    document are asked for again only when their serial has risen. It repairs whatever went wrong,
    beside any running role, at the price of the index (unchanged, it is not sent again).

    \b
    pypistream reconcile --dry-run | jq -r .name      # what differs
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.asking import reconcile

    return reconcile(given)

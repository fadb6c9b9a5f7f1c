"""`pypistream reconcile`: compare with upstream's index, and ask for what differs."""

from __future__ import annotations

import click

from pypistream import options


@click.command("reconcile", short_help="Compare with upstream's index; ask for what differs.")
@options.index
@click.option("--dry-run", is_flag=True, help="Print what it would ask for, and stop there.")
def command(**given: object) -> int:
    """Ask for each project that upstream's index has newer than the log, or that the log lacks.

    Also ask for a check of each project that is published here but no longer in the index. A
    project that waits for a serial its document never reaches is settled if the index says so.
    Names without a document are asked for again only when their serial has risen. This repairs
    whatever went wrong, beside any running role, for the price of one request: the index, which is
    not sent again if unchanged.

    \b
    pypistream reconcile --dry-run | jq -r .name      # what differs
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.asking import reconcile

    return reconcile(given)

"""`pypistream backfill`: ask for every project that the log lacks."""

from __future__ import annotations

import click

from pypistream import options


@click.command("backfill", short_help="Ask for every project that the log lacks, beside any role.")
@options.index
@click.option("--order", type=click.Choice(["newest", "name"]), default="newest",
              help="Latest changes first, or by name.  [newest]")  # fmt: skip
@click.option("--changed-since", type=click.IntRange(0), metavar="SERIAL",
              help="Only projects that changed after this serial.")  # fmt: skip
@click.option("--journal", is_flag=True,
              help="Instead of documents read the journal from serial 0 on.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Print what it would ask for, and stop there.")
@click.option("--yes", is_flag=True, help="Start without asking.")
def command(**given: object) -> int:
    """Compare upstream's index with the log, and write an ask into `refetch` for each difference.

    The process that works on the log serves them, after live events; no running role is disturbed.
    On a terminal the command says how many there are and how long they take, and asks before it
    starts. It ends when the last ask is written. Given again, it asks only for what is still
    missing.

    Once all of them are served the watermark speaks for every project. It does not after a partial
    run: one with --changed-since, or with another filter than the log was made with.

    With --journal it does something else: it asks the process that writes the journal to add every
    row from before the log began to `changelog`, marked as late, at most a page of 50 000 a second.
    Nothing is fetched for these rows, and live rows go first.

    \b
    pypistream backfill --kafka 127.0.0.1:9092 --contact you@example.org
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.asking import backfill

    return backfill(given)

"""`pypistream backfill`: ask for every project that the log lacks."""

from __future__ import annotations

import click

from pypistream import options


@click.command("backfill", short_help="Ask for every project that the log lacks, beside any role.")
@options.index
@click.option("--order", type=click.Choice(["newest", "name"]), default="newest",
              help="What changed last comes first, or by name.  [newest]")  # fmt: skip
@click.option("--changed-since", type=click.IntRange(0), metavar="SERIAL",
              help="Only projects that changed after this serial.")  # fmt: skip
@click.option("--journal", is_flag=True,
              help="No documents: the journal from serial 0 on, into `changelog`.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Say what it would ask for, and leave it at that.")
@click.option("--yes", is_flag=True, help="Do not ask before it starts.")
def command(**given: object) -> int:
    """Compare upstream's index with the log and leave asks for what differs in `refetch`.

    Whoever processes the log fetches them, after live events; no running role is disturbed. On a
    terminal it says how many there are and how long they take, and asks. It ends when the last ask
    is written; given again it asks only for what is missing then.

    Once all of them are served the watermark speaks for every project: not after a run of only a
    part, by --changed-since or by another filter than the log was made with.

    --journal is another thing: it leaves a request for whoever writes the journal. From before the
    log began every row comes into `changelog` then, marked as late, at most a page of 50 000 a
    second; nothing is fetched for them, and live rows go first.

    \b
    pypistream backfill --kafka 127.0.0.1:9092 --contact you@example.org
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.asking import backfill

    return backfill(given)

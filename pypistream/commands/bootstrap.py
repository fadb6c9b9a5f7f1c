"""`pypistream bootstrap`: begin with what another instance has."""

from __future__ import annotations

import click

from pypistream import options


@click.command("bootstrap", short_help="Begin with another instance's dump; --follow its deltas.")
@options.place
@options.SNAPSHOT_EVERY
@options.dumps
@options.KEEP_REMOVED
@options.POLL
@options.PARTITIONS
@click.option(
    "--replace",
    is_flag=True,
    help="Load into a log that is not empty; what the other does not have is deleted.",
)
@click.option(
    "--follow", is_flag=True, help="Then follow its deltas, and publish what `run` would."
)
@click.option(
    "--no-journal",
    is_flag=True,
    help="Skip the journal from before the dump: all of it has 40 million rows, 14 GB.",
)
@click.argument("source", metavar="FOLDER|FILE|URL")
def command(source: str, **given: object) -> int:
    """Load another instance's dump, instead of asking PyPI for 886 000 documents.

    SOURCE is its folder `dumps`, the manifest.json in it, or the URL of either. All files are
    checked against the manifest. The log takes over the filter, the watermark, what is still owed,
    and the journal as far back as the other has it; `run` then continues from that watermark. If it
    was interrupted, give the same command again; until it has ended nothing else can work on the
    log.

    With --follow it never asks PyPI: it polls the other's deltas (--poll), and keeps its own DuckDB
    file and dumps. When it was stopped, the same command continues; or `run` does, from PyPI
    itself.

    \b
    pypistream bootstrap https://pypi-dumps.example.org/dumps/ --data pypi
    pypistream bootstrap /srv/pypistream/dumps --follow
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.bootstrapping import bootstrap

    return bootstrap(given, source)

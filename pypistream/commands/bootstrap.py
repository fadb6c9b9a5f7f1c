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
    help="Into a log that holds something: what the other does not have is deleted.",
)
@click.option("--follow", is_flag=True, help="Go on with its deltas, and publish what `run` would.")
@click.option(
    "--no-journal",
    is_flag=True,
    help="Without the journal from before the dump: a whole one has 40 million rows, 14 GB.",
)
@click.argument("source", metavar="FOLDER|FILE|URL")
def command(source: str, **given: object) -> int:
    """Load another instance's dump, so that PyPI need not be asked for 886 000 documents.

    SOURCE is its folder `dumps`, the manifest.json in it, or the address of either. All files are
    held against the manifest. The log takes over filter, watermark, what is still owed, and the
    journal as far back as the other has it; `run` then goes on from that watermark. Killed, it is
    given again and goes on; until it has ended nothing works on the log.

    With --follow it never asks PyPI: it polls the other's deltas (--poll), and keeps DuckDB file
    and dumps of its own. Stopped, the same command goes on where it was; or `run` does, by itself.

    \b
    pypistream bootstrap https://pypi-dumps.example.org/dumps/ --data pypi
    pypistream bootstrap /srv/pypistream/dumps --follow
    """  # noqa: D301  click's mark for lines that stay as they are
    from pypistream.jobs.bootstrapping import bootstrap

    return bootstrap(given, source)

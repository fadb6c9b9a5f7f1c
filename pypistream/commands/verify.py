"""`pypistream verify`: whether all is there, and the same everywhere."""

from __future__ import annotations

import click

from pypistream import options


@click.command("verify", short_help="Compare PyPI's index, log, DuckDB file and dump by name.")
@options.place
@options.option("--upstream", metavar="URL", help="PyPI, a mirror or the stand-in.  [PyPI]")
@options.option(
    "--contact", metavar="MAIL", help="Your mail address or URL, so that PyPI can reach you."
)
@click.option(
    "--repair",
    is_flag=True,
    help="Ask for what differs; the process that works on the log fetches it.",
)
@click.option("--no-upstream", is_flag=True, help="Compare only what is on this machine.")
@click.option("--json", is_flag=True, help="One JSON object, up to 1 000 names of each reason.")
def command(**given: object) -> int:
    """Print which share of PyPI is held as it should be, and every project that is not.

    It makes one request, for PyPI's index. The index's serials are compared with `state`, `state`
    with the documents in `metadata` and `releases` (their hashes are computed again), and every row
    of the DuckDB file and line of the dump with what the log's records give at that file's own cut.

    Exit 0 if everything agrees except the watermark's exceptions (pending, parked, stale, dead,
    absent once) and names that are ahead of it upstream; else 1.
    """
    from pypistream.verify.command import verify

    return verify(given)

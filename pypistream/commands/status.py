"""`pypistream status`: how things stand."""

from __future__ import annotations

import click

from pypistream import options


@click.command("status", short_help="How things stand: watermark, lag, names, who runs.")
@options.place
@click.option("--json", is_flag=True, help="One JSON object.")
@click.option("--max-lag", type=click.FloatRange(min=0), metavar="S",
              help="Exit 3 if the watermark is null or older than S seconds.")  # fmt: skip
@click.option(
    "--brief", is_flag=True, help="Leave out the names: quick even on a log of all of PyPI."
)
@click.option("--watch", is_flag=True, help="Look again every second until Ctrl-C.")
def command(**given: object) -> int:
    """Show serials, watermark, lag, names by status, what is owed, who runs, and the files.

    The watermark's age is that of the marker it rests on. A marker is written when upstream's
    journal moves, so on a quiet upstream the age grows although nothing is missed.

    \b
    pypistream status --brief --max-lag 120 || echo "not fresh"
    """  # noqa: D301  click's mark for lines that stay as they are
    try:
        from pypistream.health.status import status

        return status(given)
    except KeyboardInterrupt:
        return 0

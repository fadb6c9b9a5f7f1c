"""`pypistream doctor`: checks of everything that has to work."""

from __future__ import annotations

import click

from pypistream import options


@click.command("doctor", short_help="Check this machine, the data directory and upstream.")
@options.place
@options.option("--upstream", metavar="URL", help="Ask this upstream for its last serial, once.")
@options.option("--contact", metavar="MAIL", help="Without --upstream: ask PyPI, as this contact.")
@click.option(
    "--deep", is_flag=True, help="Read every record and every byte, however long it takes."
)
def command(**given: object) -> int:
    """Check one thing after the other: `ok`, a `note` or a `problem`, and what to do about it.

    Exit 1 if there is a problem. Nothing is changed.

    At most one request goes out: to the upstream given here or stored in the data directory. PyPI
    itself is asked only if there is a contact.
    """
    try:
        from pypistream.health.doctor import doctor

        return doctor(given)
    except KeyboardInterrupt:
        return 0

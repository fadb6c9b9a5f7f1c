"""`pypistream dead-letters`: what could not be processed."""

from __future__ import annotations

import click

from pypistream import options


@click.command("dead-letters", short_help="What could not be processed, and why; ask again.")
@options.place
@click.option(
    "--all",
    is_flag=True,
    help="Every letter of the last 90 days, also of projects that are well by now.",
)
@click.option("--replay", multiple=True, metavar="NAME",
              help="Ask upstream for this project once more (repeatable).")  # fmt: skip
@click.option("--json", is_flag=True, help="JSON lines, with the whole excerpt.")
def command(**given: object) -> int:
    """List the projects given up on: reason, serial, attempts, and the beginning of the answer.

    A dead project stays published as it was. It is tried again at its next event or in the next
    sweep; `--replay` asks for it at once. What upstream sent is shown escaped.
    """
    try:
        from pypistream.read.dead_letters import dead_letters

        return dead_letters(given)
    except KeyboardInterrupt:
        return 0

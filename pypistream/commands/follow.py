"""`pypistream follow`: records as they come, one a line."""

from __future__ import annotations

import click

from pypistream import options

TOPICS = ("changelog", "metadata", "releases")
KINDS = (
    "create", "new-release", "add-file", "remove-file", "remove-release", "remove-project", "yank",
    "unyank", "quarantine", "unquarantine", "release-quarantine", "release-unquarantine", "role",
    "change", "security",
)  # fmt: skip


@click.command("follow", short_help="Records as they come: JSON lines.")
@options.place
@click.option("--since", type=click.IntRange(min=0), metavar="SERIAL",
              help="Begin with records after this serial.  [only new ones]")  # fmt: skip
@click.option("--topic", multiple=True, type=click.Choice(TOPICS),
              help="Repeatable.  [changelog]")  # fmt: skip
@click.option("--project", multiple=True, metavar="GLOB", help="Only these projects (repeatable).")
@click.option("--kind", multiple=True, type=click.Choice(KINDS), metavar="KIND",
              help=f"Only these journal rows (repeatable): {', '.join(KINDS)}.")  # fmt: skip
@click.option("-c", "--count", type=click.IntRange(min=1), metavar="N", help="End after N records.")
def command(**given: object) -> int:
    """Print records as they are committed: as text on a terminal, as JSON lines into a pipe.

    A JSON line has topic, partition, offset, key, serial, time, headers and value; `value` is null
    for a project that is gone (a tombstone). `serial` is that of the event behind the record,
    `time` that event's time in PyPI's journal. Lines of one project are in order. Ctrl-C ends it.

    `--kind security` selects removals, yanks, quarantines and changes of owners, as
    `kind=security` does over HTTP.

    \b
    pypistream follow --topic metadata --project 'django*'
    pypistream follow --since 30000000 --kind new-release | head
    """  # noqa: D301  click's mark for lines that stay as they are
    try:
        from pypistream.read.following import follow

        return follow(given)
    except KeyboardInterrupt:
        return 0

"""`pypistream topics`: the log's topics."""

from __future__ import annotations

import click

from pypistream import options

COPIES_MAX = 100  # of a record: more is a typing error


@click.command("topics", short_help="The log's topics: show, create, check, mend.")
@options.place
@click.option("--create", is_flag=True, help="Create the missing topics (Kafka).")
@click.option("--check", is_flag=True, help="Exit 1 if a topic is missing or not as required.")
@click.option("--mend", is_flag=True, help="Set the configs that are not as required.")
@options.option("--partitions", type=int, metavar="N", help="With --create: of a new log.  [12]")
@options.option("--replication", type=click.IntRange(1, COPIES_MAX), metavar="N",
                help="With --create: replicas.  [3, or as many as there are brokers]")  # fmt: skip
@click.option("--json", is_flag=True, help="One JSON object.")
def command(**given: object) -> int:
    """Show each topic: partitions, replicas, what is kept for how long, and what is wrong with it.

    A role on Kafka creates the topics itself if it has the right to. If not, somebody with that
    right does so once:

    \b
    pypistream topics --kafka HOST:PORT --create
    pypistream topics --kafka HOST:PORT --check || pypistream topics --kafka HOST:PORT --mend

    --create and --mend imply --check. The number of partitions is never changed: keys would move.
    """  # noqa: D301  click's mark for lines that stay as they are
    try:
        from pypistream.read.topics_table import topics

        return topics(given)
    except KeyboardInterrupt:
        return 0

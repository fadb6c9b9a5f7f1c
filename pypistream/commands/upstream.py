"""`pypistream upstream`: the stand-in for PyPI alone."""

from __future__ import annotations

import click


@click.command("upstream", short_help="A stand-in for PyPI on this machine, for tests and demos.")
@click.option(
    "--host", metavar="ADDRESS", default="127.0.0.1", help="Where to listen.  [127.0.0.1]"
)
@click.option("--port", type=click.IntRange(0, 65_535), metavar="P", default=8765,
              help="Port; 0 = a free one.  [8765]")  # fmt: skip
@click.option("--projects", type=click.IntRange(1), metavar="N", default=500,
              help="How many projects it has.  [500]")  # fmt: skip
@click.option("--seed", type=int, metavar="N", default=1,
              help="The same seed makes the same corpus.  [1]")  # fmt: skip
@click.option("--changes-per-second", type=click.FloatRange(0), metavar="N", default=1.0,
              help="Changes per second.  [1]")  # fmt: skip
@click.option("--latency-ms", type=click.FloatRange(0), metavar="MS", default=0.0,
              help="Delay of every answer.  [0]")  # fmt: skip
@click.option("--sizes", type=click.Choice(["real", "small"]), default="real",
              help="Documents as large as PyPI's, or at most 64 KB.  [real]")  # fmt: skip
def command(**given: object) -> int:
    """Serve a synthetic PyPI: journal, JSON API, index, and faults on demand (`/_control/`)."""
    from pypistream.run.standin import serve

    return serve(given)

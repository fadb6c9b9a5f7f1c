"""`pypistream upstream`: the stand-in for PyPI alone."""

from __future__ import annotations

import click


@click.command("upstream", short_help="A stand-in for PyPI on this machine, for tests and demos.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8765, show_default=True, help="Port; 0 = a free one.")
@click.option("--projects", default=500, show_default=True, help="How many names it has.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same corpus.")
@click.option(
    "--changes-per-second", default=1.0, show_default=True, help="How lively its journal is."
)
@click.option("--latency-ms", default=0.0, show_default=True, help="Every answer takes this long.")
@click.option("--sizes", type=click.Choice(["real", "small"]), default="real", show_default=True,
              help="Documents as large as PyPI's, or at most 64 KB.")  # fmt: skip
def command(**given: object) -> int:
    """Serve a synthetic PyPI: journal, JSON API, index, and faults on demand (`/_control/`)."""
    from pypistream.standin import serve

    return serve(given)

"""`pypistream sinks` (hidden): the sinks of a `run`, as its child process."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("sinks", hidden=True)
@click.option("--data", type=click.Path(path_type=Path), required=True)
@click.option("--snapshot-every", type=float, required=True)
@click.option("--dump-every", type=float, required=True)
def command(data: Path, snapshot_every: float, dump_every: float) -> int:
    """Materialise the log of a data directory until told to finish."""
    from pypistream.sinks_process import run_child

    return run_child(data, {"duckdb": snapshot_every, "dump": dump_every})

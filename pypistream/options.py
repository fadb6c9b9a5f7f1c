"""Options that several commands share, each readable from the environment as PYPISTREAM_<NAME>."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def option(flag: str, *, help: str, **kwargs: Any) -> Callable[[F], F]:  # noqa: A002
    """`click.option` with the variable named after the flag; defaults are in `settings`."""
    variable = "PYPISTREAM_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, envvar=variable, show_envvar=False, help=help, **kwargs)


data = option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Data directory.  [pypistream-data]",
)
config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings file.  [pypistream.toml, if there is one]",
)

_PIPELINE = (
    option("--upstream", metavar="URL", help="PyPI, a mirror or the stand-in.  [PyPI]"),
    option("--contact", metavar="MAIL", help="Mail address or URL, by which PyPI reaches you."),
    option("--rate", type=float, metavar="N", help="Fetches per second, 0 = unlimited.  [10]"),
    option("--in-flight", type=int, metavar="N", help="Requests at once.  [8]"),
    option("--poll", type=float, metavar="S", help="Seconds between looks at the journal.  [10]"),
    option("--settle", type=float, metavar="S", help="Seconds a burst is waited out.  [3]"),
    option("--snapshot-every", type=float, metavar="S", help="Seconds between DuckDB files.  [60]"),
    option("--dump-every", type=float, metavar="S", help="Seconds between dumps.  [600]"),
    option(
        "--once-wait",
        type=float,
        metavar="S",
        help="With --once: wait for what is due so soon.  [60]",
    ),
    option(
        "--releases",
        type=click.Choice(["all", "latest"]),
        help="Keep a slim form of every release, or only the latest.  [all]",
    ),
    option("--include", multiple=True, metavar="GLOB", help="Only these projects (repeatable)."),
    option("--exclude", multiple=True, metavar="GLOB", help="Not these projects (repeatable)."),
    option(
        "--partitions",
        type=int,
        metavar="N",
        hidden=True,
        help="Partitions of a new embedded log.  [1]",
    ),
)


def pipeline(function: F) -> F:
    """Everything a `run` can be told."""
    for decorate in reversed((data, config, *_PIPELINE)):
        function = decorate(function)
    return function

"""Options that several commands share, each readable from the environment as PYPISTREAM_<NAME>."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

F = TypeVar("F", bound=Callable[..., Any])


class _Option(click.Option):
    """An option whose error says where a bad value came from: the flag, or a variable."""

    def get_error_hint(self, ctx: click.Context | None) -> str:
        """The option as click names it, or the variable that the value came from."""
        if ctx and ctx.get_parameter_source(self.name or "") is ParameterSource.ENVIRONMENT:
            return f"{self.envvar} in the environment"
        return super().get_error_hint(ctx)


def option(flag: str, *, help: str, **kwargs: Any) -> Callable[[F], F]:  # noqa: A002
    """`click.option` with the variable named after the flag; defaults are in `settings`."""
    variable = "PYPISTREAM_" + flag.removeprefix("--").replace("-", "_").upper()
    return click.option(flag, cls=_Option, envvar=variable, show_envvar=False, help=help, **kwargs)


class _Folder(click.Path):
    """A directory. An empty name is refused: with `--data "$UNSET"` it would be the current one."""

    name = "directory"

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Any:
        """See click."""
        if not os.fspath(value):
            self.fail("a directory has a name; `.` is the current one", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Folder(path_type=Path, file_okay=False)

data = option(
    "--data",
    type=FOLDER,
    metavar="DIR",
    help="Data directory.  [pypistream-data]",
)
config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Settings file.  [pypistream.toml, if there is one]",
)

SNAPSHOT_EVERY = option(
    "--snapshot-every", type=float, metavar="S", help="Seconds between DuckDB files.  [60]"
)
DUMP_EVERY = option("--dump-every", type=float, metavar="S", help="Seconds between dumps.  [600]")
KEEP_DELTAS = option(
    "--keep-deltas",
    type=float,
    metavar="S",
    help="Seconds for which deltas are kept, 0 = none are made.  [604800, a week]",
)
KEEP_REMOVED = option(
    "--keep-removed",
    type=click.Choice(["none", "hashes", "all"]),
    help="Of removed projects keep: nothing; versions, file names and hashes; all.  [hashes]",
)
TABLES_EVERY = option(
    "--tables-every",
    type=float,
    metavar="S",
    help="Seconds between new Parquet files of the dump, 0 = none.  [3600]",
)
KEEP_HOURLY = option(
    "--keep-hourly",
    type=float,
    metavar="S",
    help="Seconds for which the first dump of each hour is kept.  [172800, two days]",
)
KEEP_DAILY = option(
    "--keep-daily",
    type=float,
    metavar="S",
    help="Seconds for which the first dump of each day is kept.  [1209600, two weeks]",
)
POLL = option("--poll", type=float, metavar="S", help="Seconds between looks.  [10]")
PARTITIONS = option(
    "--partitions",
    type=int,
    metavar="N",
    hidden=True,
    help="Partitions of a new log.  [12 on Kafka, 1 embedded]",
)
HTTP = option(
    "--http",
    metavar="HOST:PORT",
    help="Where to serve HTTP.  [nowhere; `serve`: 127.0.0.1:8000]",
)
HTTP_HOST = option(
    "--http-host",
    multiple=True,
    metavar="NAME",
    help="A host name clients may use, `*` = any (repeatable).  [localhost and IP addresses]",
)
SQL = option(
    "--sql",
    is_flag=True,
    default=None,
    help="Answer SQL over HTTP, each query in a bounded process.",
)
HTTP_LOG = option("--http-log", is_flag=True, default=None, help="Log every HTTP request.")
_PIPELINE = {
    "upstream": option("--upstream", metavar="URL", help="PyPI, a mirror or the stand-in.  [PyPI]"),
    "contact": option(
        "--contact", metavar="MAIL", help="Your mail address or URL, so that PyPI can reach you."
    ),
    "rate": option(
        "--rate", type=float, metavar="N", help="Fetches per second, 0 = unlimited.  [10]"
    ),
    "in_flight": option(
        "--in-flight", type=int, metavar="N", help="Requests in flight at most.  [8]"
    ),
    "poll": option(
        "--poll", type=float, metavar="S", help="Seconds between looks at the journal.  [10]"
    ),
    "settle": option(
        "--settle",
        type=float,
        metavar="S",
        help="Seconds to wait until a burst of events is over.  [3]",
    ),
    "snapshot_every": SNAPSHOT_EVERY,
    "dump_every": DUMP_EVERY,
    "tables_every": TABLES_EVERY,
    "keep_deltas": KEEP_DELTAS,
    "keep_hourly": KEEP_HOURLY,
    "keep_daily": KEEP_DAILY,
    "keep_removed": KEEP_REMOVED,
    "once_wait": option(
        "--once-wait",
        type=float,
        metavar="S",
        help="With --once: also wait for what is due within S seconds.  [60]",
    ),
    "sweep_every": option(
        "--sweep-every",
        type=float,
        metavar="S",
        help="Seconds in which every project is checked once, 0 = never.  [604800, a week]",
    ),
    "no_xmlrpc": option(
        "--no-xmlrpc",
        is_flag=True,
        default=None,
        help="Follow the index instead of the journal.  [only when the journal is gone]",
    ),
    "releases": option(
        "--releases",
        type=click.Choice(["all", "latest"]),
        help="Keep a slim form of all releases, or only the latest.  [all]",
    ),
    "include": option(
        "--include", multiple=True, metavar="GLOB", help="Only these projects (repeatable)."
    ),
    "exclude": option(
        "--exclude", multiple=True, metavar="GLOB", help="Not these projects (repeatable)."
    ),
    "leave_out": option(
        "--leave-out",
        multiple=True,
        metavar="FIELD",
        help="Leave this field out of a new log; `personal` = all about persons (repeatable).",
    ),
    "http": HTTP,
    "http_host": HTTP_HOST,
    "sql": SQL,
    "http_log": HTTP_LOG,
    "partitions": PARTITIONS,
}
_PRODUCE = (
    *("upstream", "contact", "poll", "sweep_every"),
    *("no_xmlrpc", "releases", "include", "exclude", "leave_out", "partitions"),
)
_INDEX = ("upstream", "contact", "rate", "include", "exclude")
_SWEEP = ("rate", "sweep_every")
_PROCESS = ("upstream", "contact", "rate", "in_flight", "poll", "settle", "partitions")

# No option takes a password: it comes from PYPISTREAM_KAFKA_PASSWORD or from the file named here,
# see `kafka_access`.
_KAFKA = (
    option(
        "--kafka", metavar="HOST:PORT", help="Keep the log on Apache Kafka.  [the embedded log]"
    ),
    option("--kafka-prefix", metavar="TEXT", help="Prefix of topic names and ids.  [pypi.]"),
    option(
        "--kafka-security",
        type=click.Choice(["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        metavar="PROTOCOL",
        help="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.  [PLAINTEXT]",
    ),
    option(
        "--kafka-mechanism",
        type=click.Choice(["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]),
        metavar="NAME",
        help="With SASL: SCRAM-SHA-512, SCRAM-SHA-256 or PLAIN.  [SCRAM-SHA-512]",
    ),
    option("--kafka-username", metavar="NAME", help="With SASL: the user name."),
    option(
        "--kafka-password-file",
        metavar="FILE",
        help="With SASL: file with the password.  [PYPISTREAM_KAFKA_PASSWORD in the environment]",
    ),
    option(
        "--kafka-cafile", metavar="FILE", help="With SSL: CA certificates in PEM.  [the system's]"
    ),
    option("--kafka-certfile", metavar="FILE", help="With SSL: our certificate in PEM."),
    option("--kafka-keyfile", metavar="FILE", help="With SSL: its key in PEM."),
)


def kafka(function: F) -> F:
    """Which log, if it is not the embedded one of the data directory, and how to connect to it."""
    for decorate in reversed(_KAFKA):
        function = decorate(function)
    return function


def place(function: F) -> F:
    """Where a command works: data directory, settings file, log."""
    for decorate in reversed((data, config, kafka)):
        function = decorate(function)
    return function


def dumps(function: F) -> F:
    """How often dumps are made, and how long they are kept."""
    for decorate in (KEEP_DAILY, KEEP_HOURLY, KEEP_DELTAS, TABLES_EVERY, DUMP_EVERY):
        function = decorate(function)
    return function


def pipeline(function: F) -> F:
    """All options of a `run`."""
    return _decorated(function, _PIPELINE)


def produce(function: F) -> F:
    """Options for reading the journal."""
    return _decorated(function, _PRODUCE)


def process(function: F) -> F:
    """Options for fetching documents."""
    return _decorated(function, _PROCESS)


def index(function: F) -> F:
    """Options for comparing with the index, and for estimating how long the documents take."""
    return _decorated(function, _INDEX)


def sweep(function: F) -> F:
    """Options for the pace of a sweep."""
    return _decorated(function, _SWEEP)


def _decorated(function: F, names: Iterable[str]) -> F:
    for decorate in reversed((data, config, *(_PIPELINE[name] for name in names), kafka)):
        function = decorate(function)
    return function

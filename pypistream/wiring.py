"""The composition root: the only module of the program that names an adapter."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from pypistream.data_dir import DataDir
from pypistream.holding import SharedHold
from pypistream.leasing import LeasedAssignment
from pypistream.settings import Settings
from schemas.errors import UsageError
from schemas.records import Config
from sinks.sink import Sink
from streams.assignment import Assignment
from streams.log import Log
from streams.sqlite_check import check_structure, check_wal, sqlite_version
from streams.sqlite_log import SqliteLog
from streams.topic_report import LogReport, embedded_report
from upstream.settings import ClientSettings, default_upstream
from upstream.source import SharedUpstream

if TYPE_CHECKING:
    from sinks.duckdb.packed import Packer
    from sinks.dump.table_set import TableSets
    from streams.kafka_settings import KafkaSettings

_EXAMPLE_HOSTS = ("example.org", "example.com", "example.net")  # RFC 2606: nobody is there


async def open_log(settings: Settings, data: DataDir | None, *, loading: bool = False) -> Log:
    """The log these settings name, made if it is not there. `loading`: see SqliteLog.

    The embedded one lies in `data`; on Kafka `data` is made all the same, for what roles keep.
    None: a role that keeps nothing. Raises UsageError for an embedded log without a directory.
    """
    if data is not None:
        data.create()
    kafka = settings.kafka_settings()
    if kafka is None:
        if data is None:
            raise UsageError("the embedded log needs a data directory", hint="add --data DIR")
        return await SqliteLog.open(data.log, settings.partitions, loading=loading)
    from streams.kafka_log import KafkaLog  # 0.1 s: an embedded run never loads a Kafka client

    return await KafkaLog.open(kafka, settings.partitions)


async def open_log_for_reading(settings: Settings, data: DataDir) -> Log:
    """The log these settings name, as it is: nothing is made. Raises UsageError if there is none.

    `append` works on it, too: asks and requests are plain writes of any process.
    """
    require_log(settings, data)
    kafka = settings.kafka_settings()
    if kafka is None:
        return await SqliteLog.open(data.log, create=False)
    from streams.kafka_log import KafkaLog

    return await KafkaLog.open(kafka, create=False)


async def topics_now(settings: Settings, data: DataDir) -> LogReport:
    """How the log's topics are. Raises UsageError if there is no log, LogRefused, LogUnavailable.

    On Kafka also what is missing or wrong stands in the report.
    """
    kafka = settings.kafka_settings()
    if kafka is not None:
        from streams.kafka_topics import inspect_topics

        return await inspect_topics(kafka)
    log = await open_log_for_reading(settings, data)
    try:
        return embedded_report(log.partitions)
    finally:
        await log.close()


async def create_topics(settings: Settings, replication: int | None) -> LogReport:
    """Make the topics that Kafka does not have; how all of them are then."""
    from streams.kafka_topics import create_topics as create

    return await create(_kafka(settings), settings.partitions, replication)


async def mend_topics(settings: Settings) -> LogReport:
    """Set the topics' configs that differ on Kafka; how all of them are then."""
    from streams.kafka_topics import mend_topics as mend

    return await mend(_kafka(settings))


def _kafka(settings: Settings) -> KafkaSettings:
    kafka = settings.kafka_settings()
    if kafka is None:
        raise UsageError(
            "the embedded log makes and keeps its topics itself",
            hint="--kafka HOST:PORT names a log on Kafka",
        )
    return kafka


def require_log(settings: Settings, data: DataDir) -> None:
    """Raises UsageError if no log can be here; whether Kafka has one shows when it is opened."""
    if settings.kafka:
        data.check()
    else:
        data.require_log()


def upstream_url(settings: Settings) -> str:
    """Where documents come from. Raises UsageError for PyPI itself without a contact."""
    if settings.upstream and not _is_pypi(settings.upstream):
        return settings.upstream
    hint = "add --contact MAIL (sent in the User-Agent), or try `pypistream demo` first"
    if not settings.contact:
        raise UsageError(
            "PyPI wants to know whom to ask about a crawler, and no contact is set", hint=hint
        )
    if settings.contact.endswith(_EXAMPLE_HOSTS):
        raise UsageError(
            f"PyPI wants a contact that reaches you, and {settings.contact} is an example",
            hint=hint,
        )
    return settings.upstream or default_upstream()


def _is_pypi(url: str) -> bool:
    """Whether the URL names PyPI's own server: spelling it out does not make it another one."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    # distlib takes 0.2 s to load: not for an address or for this machine, which PyPI is not.
    named = "." in host and host.rpartition(".")[2].isalpha()
    return named and host == urlsplit(default_upstream()).hostname


def check_upstream(settings: Settings) -> ClientSettings:
    """What the client will be told. Raises UsageError for what cannot work."""
    return ClientSettings(
        base_url=upstream_url(settings),
        contact=settings.contact,
        rate=settings.rate,
        in_flight=settings.in_flight,
    )


def make_assignment(settings: Settings, partitions: int, hold: SharedHold) -> Assignment | None:
    """Which partitions this process works on; None = on all of them, there is no other process.

    Where a rate is shared, `hold` keeps this process's part of it alive.
    """
    kafka = settings.kafka_settings()
    if kafka is None:
        return None
    from streams.kafka_group import KafkaGroup

    group = KafkaGroup(kafka, partitions, on_assigned=hold.wake)
    if not settings.rate:
        return group
    hold.leased = LeasedAssignment(group, partitions)
    return hold.leased


def make_upstream(settings: Settings, on_hold: Callable[[float, str], None]) -> SharedUpstream:
    """The HTTP client for these settings."""
    from upstream.client import HttpUpstream  # 0.1 s: most commands ask nobody

    return HttpUpstream(check_upstream(settings), on_hold=on_hold)


def kafka_library() -> str:
    """What the log on Kafka rests on, with its version."""
    return f"aiokafka {version('aiokafka')}"


def log_library() -> str:
    """What the embedded log rests on, with its version."""
    return sqlite_version()


def check_log_wal(folder: Path) -> None:
    """Whether a log could be kept in `folder`. Raises what SQLite's trouble means."""
    check_wal(folder)


def check_log_structure(data: DataDir, seconds_max: float | None) -> bool:
    """Look at the log file's structure; False if time ran out first. Raises LogCorrupt."""
    data.require_log()
    return check_structure(data.log, seconds_max)


def make_tables(data: DataDir, settings: Settings) -> TableSets:
    """What a dump's Parquet files are made by."""
    from sinks.dump.table_set import TableSets

    return TableSets(data.snapshot, data.state / "tables", settings.tables_every)


def make_sink(
    name: str, data: DataDir, settings: Settings, tables: TableSets | None = None
) -> Sink:
    """The sink of that name on a data directory; `tables` are for the dump."""
    if name == "duckdb":
        from sinks.duckdb.view import DuckDBView  # 0.2 s: only whoever runs it loads DuckDB

        return DuckDBView.in_directory(data.root, settings.keep_removed)
    from sinks.dump.keep import Keep
    from sinks.dump.sink import DumpSink

    keep = Keep(settings.keep_deltas, settings.keep_hourly, settings.keep_daily)
    return DumpSink(data.dumps, data.state / "frames", keep, tables)


def rows_packer(config: Config, aside: Path) -> Packer:
    """What makes batches for the DuckDB sink in another process; `aside` is that one's own."""
    from sinks.duckdb.packed import Packer

    return Packer(config, aside)

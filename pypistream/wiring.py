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
    """Open the log that the settings name; it is created if missing. `loading`: see SqliteLog.

    The embedded log is in `data`; on Kafka that directory is created, too, for the files of roles.
    `data` None = a role without files. Raises UsageError for an embedded log without a directory.
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
    """Open the log that the settings name; nothing is created. Raises UsageError if there is none.

    `append` works on it: asks and requests are plain writes that any process may make.
    """
    require_log(settings, data)
    kafka = settings.kafka_settings()
    if kafka is None:
        return await SqliteLog.open(data.log, create=False)
    from streams.kafka_log import KafkaLog

    return await KafkaLog.open(kafka, create=False)


async def topics_now(settings: Settings, data: DataDir) -> LogReport:
    """A report on the log's topics.

    Raises UsageError if there is no log, LogRefused, LogUnavailable.

    On Kafka the report includes what is missing or wrong.
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
    """Create the topics that Kafka lacks; returns the report afterwards."""
    from streams.kafka_topics import create_topics as create

    return await create(_kafka(settings), settings.partitions, replication)


async def mend_topics(settings: Settings) -> LogReport:
    """Set the configs of topics that differ on Kafka; returns the report afterwards."""
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
    """Raise UsageError if there can be no log; whether Kafka has one shows when it is opened."""
    if settings.kafka:
        data.check()
    else:
        data.require_log()


def upstream_url(settings: Settings) -> str:
    """The upstream's URL. Raises UsageError for PyPI itself without a contact."""
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
    """Whether the URL names PyPI itself, for which a contact is required however it is spelled."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    # distlib takes 0.2 s to load: not needed for an IP address or for a name without a dot.
    named = "." in host and host.rpartition(".")[2].isalpha()
    return named and host == urlsplit(default_upstream()).hostname


def check_upstream(settings: Settings) -> ClientSettings:
    """The client's settings. Raises UsageError for what cannot work."""
    return ClientSettings(
        base_url=upstream_url(settings),
        contact=settings.contact,
        rate=settings.rate,
        in_flight=settings.in_flight,
    )


def make_assignment(settings: Settings, partitions: int, hold: SharedHold) -> Assignment | None:
    """The assignment of partitions; None = this process works on all of them, alone.

    If a rate is shared, `hold` renews this process's lease on its share.
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
    """The Kafka client library with its version."""
    return f"aiokafka {version('aiokafka')}"


def log_library() -> str:
    """SQLite with its version."""
    return sqlite_version()


def check_log_wal(folder: Path) -> None:
    """Check that a log could be kept in `folder`. Raises the error that says why not."""
    check_wal(folder)


def check_log_structure(data: DataDir, seconds_max: float | None) -> bool:
    """Check the log file's structure; False if there was not enough time. Raises LogCorrupt."""
    data.require_log()
    return check_structure(data.log, seconds_max)


def make_tables(data: DataDir, settings: Settings) -> TableSets:
    """The maker of a dump's Parquet files."""
    from sinks.dump.table_set import TableSets

    return TableSets(data.snapshot, data.state / "tables", settings.tables_every)


def make_sink(
    name: str, data: DataDir, settings: Settings, tables: TableSets | None = None
) -> Sink:
    """The sink of that name on a data directory; `tables` are for the dump."""
    if name == "duckdb":
        from sinks.duckdb.view import DuckDBView  # 0.2 s: DuckDB is loaded only where it runs

        return DuckDBView.in_directory(data.root, settings.keep_removed)
    from sinks.dump.keep import Keep
    from sinks.dump.sink import DumpSink

    keep = Keep(settings.keep_deltas, settings.keep_hourly, settings.keep_daily)
    return DumpSink(data.dumps, data.state / "frames", keep, tables)


def rows_packer(config: Config, aside: Path) -> Packer:
    """The maker of DuckDB batches in another process; `aside` is a folder of that process."""
    from sinks.duckdb.packed import Packer

    return Packer(config, aside)

"""The first record of a log: its id, partition count and filter. Written once, before all else."""

from __future__ import annotations

import uuid

from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.errors import LogMismatch
from schemas.records import SCHEMA_VERSION, Config, Filter, Head
from schemas.topics import Topic
from streams.log import Log, Outgoing, Writer
from streams.progress import CONFIG_KEY, read_progress

PRODUCE_ID = "produce"


async def found(
    log: Log, writer: Writer, now_ms: int, wanted: Filter | None, releases: str | None
) -> Config:
    """The log's config, written now if there is none. `wanted` None = whatever the log has.

    Raises LogMismatch if the log was made with another filter, partition count or schema version.
    """
    config = (await read_progress(log)).config
    if config is None:
        config = Config(
            log_id=uuid.uuid4().hex,
            partitions=log.partitions,
            schema_version=SCHEMA_VERSION,
            filter=wanted or Filter(),
            releases=releases or "all",
            created=now_ms // 1000,
        )
        await writer.commit([progress_record(log, CONFIG_KEY, config, now_ms)])
        return config
    _check(config, log, wanted, releases)
    return config


def _check(config: Config, log: Log, wanted: Filter | None, releases: str | None) -> None:
    for what, has, asked in (
        ("schema version", config.schema_version, SCHEMA_VERSION),
        ("partition count", config.partitions, log.partitions),
        ("filter", config.filter, config.filter if wanted is None else wanted),
        ("releases setting", config.releases, releases or config.releases),
    ):
        if has != asked:
            raise LogMismatch(
                f"this log was made with {what} {has}, asked for is {asked}",
                hint="use a new --data directory and fill it with `pypistream run --backfill`",
            )


def progress_record(log: Log, key: str, value: Config | Head, now_ms: int) -> Outgoing:
    """A record of the partition that belongs to the holder of the `produce` id."""
    envelope = Envelope(
        id=f"{key}:{now_ms}",
        type=f"pypistream.{key}",
        subject="",
        time=now_ms / 1000,
        dataschema=dataschema(Topic.PROGRESS),
    )
    return Outgoing(
        Topic.PROGRESS, key, codec.encode(value), codec.headers(envelope), partition=log.partitions
    )

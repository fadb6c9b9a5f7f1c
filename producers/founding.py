"""The first record of a log: its id, partition count and filter. Written once, before all else."""

from __future__ import annotations

import uuid

from schemas.errors import LogMismatch
from schemas.filters import in_words
from schemas.records import SCHEMA_VERSION, Config, Filter
from streams.log import Log, Writer
from streams.progress import CONFIG_KEY, check_loaded, progress_record, read_progress

PRODUCE_ID = "produce"


async def found(
    log: Log,
    writer: Writer,
    now_ms: int,
    wanted: Filter | None,
    releases: str | None,
    leave_out: tuple[str, ...] = (),
) -> Config:
    """The log's config, written now if there is none. `wanted` None = whatever the log has.

    `leave_out`: fields that are null from the beginning; () = those of the log. Raises LogMismatch
    if the log was made with another filter, partition count or schema version, or is half loaded.
    """
    progress = await read_progress(log)
    check_loaded(progress.bootstrap)
    config = progress.config
    if config is None:
        config = Config(
            log_id=uuid.uuid4().hex,
            partitions=log.partitions,
            schema_version=SCHEMA_VERSION,
            filter=wanted or Filter(),
            releases=releases or "all",
            created=now_ms // 1000,
            leave_out=leave_out,
        )
        await writer.commit([progress_record(log.partitions, CONFIG_KEY, config, now_ms)])
        return config
    _check(config, log, wanted, releases)
    if leave_out and config.leave_out != leave_out:
        raise LogMismatch(
            "what this log leaves out was said when it was made:"
            f" {', '.join(config.leave_out) or 'nothing'}",
            hint="pypistream redact --field FIELD leaves more out, for ever",
        )
    return config


def _check(config: Config, log: Log, wanted: Filter | None, releases: str | None) -> None:
    rule = config.filter if wanted is None else wanted
    for what, has, asked in (
        ("with schema version", config.schema_version, SCHEMA_VERSION),
        ("with partition count", config.partitions, log.partitions),
        ("for", in_words(config.filter), in_words(rule)),
        ("with releases setting", config.releases, releases or config.releases),
    ):
        if has != asked:
            raise LogMismatch(
                f"this log was made {what} {has}, asked for is {asked}",
                hint="use a new --data directory and fill it with `pypistream run --backfill`",
            )

"""The row of `progress` for a cut. Pure."""

from __future__ import annotations

import msgspec

from schemas.codec import encode
from schemas.records import Cut
from sinks.sink import Reached
from sinks.softly import moment
from streams.progress import history_since, watermark


class VectorElement(msgspec.Struct):
    """One partition's cut, as `progress.vector` shows it; `time` in Unix seconds."""

    partition: int
    changelog: int
    refetch: int
    metadata: int
    releases: int
    state: int
    base: int
    serial: int
    time: int
    low: int


class ProgressRow(msgspec.Struct):
    """The row of `base.progress`: field for field its columns."""

    log_id: str
    partitions: int
    schema_version: int
    releases: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    head_serial: int | None
    head_time: str | None
    source: str | None
    watermark: int | None
    base: int
    reached: int
    backfill_done: int | None
    backfill_names: int | None
    history_since: int | None
    vector: list[VectorElement]


def parameters(row: ProgressRow) -> list[object]:
    """Its columns in order as a statement's parameters: the vector, the last one, as JSON."""
    *fields, vector = msgspec.structs.astuple(row)
    told = [list(each) if isinstance(each, tuple) else each for each in fields]
    return [*told, encode(vector).decode()]


def progress_row(at: Reached) -> ProgressRow:
    """The row with what is known and claimed at this cut."""
    config, head, claim = at.config, at.head, watermark(at.vector.cuts)
    return ProgressRow(
        log_id=at.vector.log_id,
        partitions=config.partitions,
        schema_version=config.schema_version,
        releases=config.releases,
        include=config.filter.include,
        exclude=config.filter.exclude,
        head_serial=None if head is None else head.serial,
        head_time=None if head is None else moment(head.time),
        source=None if head is None else head.source.value,
        watermark=claim.serial,
        base=claim.base,
        reached=claim.reached,
        backfill_done=claim.backfill_done,
        backfill_names=claim.backfill_names,
        history_since=history_since(at.head, at.vector.cuts),
        vector=[
            _element(partition, cut)
            for partition, cut in enumerate(at.vector.cuts)
            if cut is not None
        ],
    )


def _element(partition: int, cut: Cut) -> VectorElement:
    return VectorElement(
        partition,
        changelog=cut.changelog,
        refetch=cut.refetch,
        metadata=cut.metadata,
        releases=cut.releases,
        state=cut.state,
        base=cut.base,
        serial=cut.serial,
        time=cut.time,
        low=cut.low,
    )

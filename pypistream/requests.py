"""What one process asks of another through the log: a plain record in `progress`."""

from __future__ import annotations

import msgspec

from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.topics import Topic
from streams.log import Log, Outgoing, TopicPartition

REQUEST_KEY = "request"


class Request(msgspec.Struct, frozen=True):
    """Publish `sink` now; `time_ms` tells two requests apart."""

    sink: str
    time_ms: int


async def latest_request(log: Log) -> Request | None:
    """The newest request, served or not."""
    table = await log.table(TopicPartition(Topic.PROGRESS, log.partitions + 1))
    row = table.rows.get(REQUEST_KEY)
    return codec.decode(row.value, Request) if row is not None and row.value else None


async def request(log: Log, sink: str, now_ms: int) -> None:
    """Ask whoever runs the sinks to publish."""
    envelope = Envelope(
        id=f"request:{sink}:{now_ms}",
        type="pypistream.request",
        subject="",
        time=now_ms / 1000,
        dataschema=dataschema(Topic.PROGRESS),
    )
    value, headers = codec.encode(Request(sink, now_ms)), codec.headers(envelope)
    partition = log.partitions + 1
    await log.append([Outgoing(Topic.PROGRESS, REQUEST_KEY, value, headers, partition)])

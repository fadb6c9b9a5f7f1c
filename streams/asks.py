"""Records of `refetch`, which any process may write to have a name fetched."""

from __future__ import annotations

from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.names import NormalizedName
from schemas.records import Ask
from schemas.topics import Topic
from streams.log import Outgoing


def ask_record(name: NormalizedName, ask: Ask, now_ms: int) -> Outgoing:
    """An ask: a plain write."""
    envelope = Envelope(
        id=f"{name}:{ask.serial}:{now_ms}",
        type=f"pypistream.ask.{ask.reason.value}",
        subject=name,
        time=now_ms / 1000,
        dataschema=dataschema(Topic.REFETCH),
    )
    return Outgoing(Topic.REFETCH, name, codec.encode(ask), codec.headers(envelope))

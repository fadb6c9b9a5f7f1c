"""The messages between a helper process of `sinks.ahead.Elsewhere` and its parent."""

from __future__ import annotations

import struct

import msgspec

from schemas.errors import Fatal, PypistreamError, Retriable
from schemas.records import Config
from schemas.topics import Offset, Topic
from sinks.sink import Positions
from streams.log import TopicPartition

LENGTH = struct.Struct("<Q")  # the length before each message

Places = list[tuple[Topic, int, Offset]]


class Order(msgspec.Struct, frozen=True):
    """The first line that the helper reads: what to read, how, and where its files go."""

    config: Config
    positions: Places
    due: Places
    aside: str


class Head(msgspec.Struct, frozen=True, array_like=True, tag="made"):
    """Rows were made of `count` records; where they are follows in a message of its own."""

    before: Places
    after: Places
    count: int


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The helper ends with this error."""

    error: str
    message: str
    hint: str

    def raised(self) -> PypistreamError:
        """The error as an exception; Fatal if no class has that name."""
        kinds: list[type[Retriable | Fatal]] = [Retriable, Fatal]
        for kind in kinds:
            kinds += kind.__subclasses__()
        found = next((kind for kind in kinds if kind.__name__ == self.error), Fatal)
        return found(self.message, hint=self.hint)


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """All that was asked for is made."""


TAKEN = b"\n"
"""Each line that follows: a batch was taken, so another one may come."""

Said = Head | Failed | Done
said_decoder = msgspec.json.Decoder(Said)
order_decoder = msgspec.json.Decoder(Order)


def places(positions: Positions) -> Places:
    """As they are written."""
    return [(at.topic, at.partition, offset) for at, offset in positions.items()]


def positions_in(found: Places) -> dict[TopicPartition, Offset]:
    """The reverse."""
    return {TopicPartition(topic, partition): offset for topic, partition, offset in found}

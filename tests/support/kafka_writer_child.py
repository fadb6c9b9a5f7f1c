"""A process that stops itself inside a transaction: `python -m … BOOTSTRAP PREFIX SECONDS`.

It commits `first`, then writes `never` and is SIGSTOPped before the commit. What became of that,
once somebody has let it go on, is its last line: the kind of the error, or `committed`. SECONDS is
how long its `commit` may take by its own clock.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from schemas.errors import PypistreamError
from schemas.topics import Topic
from streams import kafka_writer
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import NextOffsets, Outgoing

WRITER = "worker-0"
KEY = "a-project"


def record(value: str) -> Outgoing:
    """In partition 0 of `metadata`."""
    return Outgoing(Topic.METADATA, KEY, value.encode(), partition=0)


def _stopping(_: NextOffsets) -> list[Outgoing]:
    """The records are with the broker, the commit is not: stop here."""
    say("inside")
    os.kill(os.getpid(), signal.SIGSTOP)
    return [Outgoing(Topic.PROGRESS, "p", b"never", partition=0)]


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def main(bootstrap: str, prefix: str, seconds: float) -> None:
    """See the module's text."""
    kafka_writer.COMMIT_SECONDS_MAX = seconds
    log = await KafkaLog.open(KafkaSettings(bootstrap, prefix), create=False)
    writer = await log.writer(WRITER)
    await writer.commit([record("first")])
    try:
        await writer.commit([record("never")], _stopping)
    except PypistreamError as error:
        say(f"{type(error).__name__}: {error}")
    else:
        say("committed")
    await log.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

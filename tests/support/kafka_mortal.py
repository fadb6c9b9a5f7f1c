"""A broker that a test may kill: it comes back at the same address, with what it had on disk."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from tests.support import kafka_broker, tools
from tests.support.kafka_container import PORT, KafkaContainer

UP_SECONDS_MAX = 120.0  # of a start after a kill -9: 5 s on two idle cores
ANSWER_SECONDS_MAX = 2.0
# Kafka's protocol: length, ApiVersions (18), version 0, correlation id, no client id.
_HELLO = struct.pack(">ihhih", 10, 18, 0, 1, -1)
# The checks look at every record there ever was: nothing may be cleaned away meanwhile.
_PROPERTIES = {"log.cleaner.enable": "false"}


class MortalKafka(KafkaContainer):
    """One broker on a port that stays the same; its data lies in the container."""

    def __init__(self, image: str) -> None:
        super().__init__(image, _PROPERTIES)
        self.port = _free_port()
        ports: dict[str, Any] = self.ports
        ports[f"{PORT}/tcp"] = ("127.0.0.1", self.port)

    @property
    def address(self) -> str:
        """HOST:PORT, also while it is dead."""
        return f"127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """SIGKILL to everything in it; returns once it is gone."""
        container = self.get_wrapped_container()
        await asyncio.to_thread(container.kill, "SIGKILL")
        await asyncio.to_thread(container.wait)

    async def revive(self) -> float:
        """Start it again; Unix seconds at which it answered for the first time."""
        await asyncio.to_thread(self.get_wrapped_container().start)
        end = time.monotonic() + UP_SECONDS_MAX
        while not await asyncio.to_thread(self._answers):
            assert time.monotonic() < end, "the broker does not come back"
            await asyncio.sleep(0.05)
        return time.time()

    def _answers(self) -> bool:
        """Whether the broker itself does: Docker's proxy accepts connections before it."""
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS_MAX) as connection,
        ):
            connection.settimeout(ANSWER_SECONDS_MAX)
            connection.sendall(_HELLO)
            return bool(connection.recv(4))
        return False


@contextlib.contextmanager
def mortal_kafka() -> Iterator[MortalKafka]:
    """A broker of this test's own; skips where there is no Docker."""
    from docker.errors import DockerException

    tools.needs("docker")
    broker = MortalKafka(kafka_broker.image())
    try:
        broker.start()
    except (DockerException, TimeoutError) as error:
        broker.stop()
        tools.missing(f"a Kafka broker of its own: {kafka_broker.image()}: {error}")
    try:
        yield broker
    finally:
        broker.stop()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port

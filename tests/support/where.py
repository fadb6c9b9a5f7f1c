"""Where the log of a program under test lies: in its data directory, or on Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pypistream.data_dir import DataDir
from pypistream.settings import Settings
from pypistream.wiring import open_log_for_reading
from streams.log import Log
from tests.support.kafka_broker import drop_topics, fresh_prefix
from tests.support.process import Program


@dataclass(frozen=True)
class Where:
    """A log with so many partitions. `kafka` "" = embedded; else topics with that prefix there."""

    partitions: int = 1
    kafka: str = ""
    prefix: str = ""

    @property
    def embedded(self) -> bool:
        return not self.kafka

    @property
    def options(self) -> tuple[str, ...]:
        """What a command line says of it."""
        kafka = () if self.embedded else ("--kafka", self.kafka, "--kafka-prefix", self.prefix)
        return ("--partitions", str(self.partitions), *kafka)

    def settings(self, data: Path, **others: Any) -> Settings:
        """The same as settings."""
        found = Settings(data=data, partitions=self.partitions, **others)
        return (
            found if self.embedded else replace(found, kafka=self.kafka, kafka_prefix=self.prefix)
        )

    def another(self, name: str) -> Where:
        """A log of the same kind beside it, in another directory; dropped with this one."""
        return self if self.embedded else replace(self, prefix=f"{self.prefix}{name}.")

    def begun(self, program: Program) -> bool:
        """Whether commands find the log: a file is there before its tables, topics come singly."""
        return "following from serial" in program.text()

    @asynccontextmanager
    async def log(self, data: Path) -> AsyncIterator[Log]:
        """The log as it is, opened by what the program left in its data directory."""
        stored = {name: value for name, value in DataDir(data).stored().items() if value}
        assert stored.get("kafka", "") == self.kafka
        log = await open_log_for_reading(self.settings(data), DataDir(data))
        try:
            assert log.partitions == self.partitions
            yield log
        finally:
            await log.close()


def embedded(partitions: int) -> Any:
    """A parameter for `placed`."""
    return pytest.param(Where(partitions), id=f"{partitions}")


def on_kafka(partitions: int) -> Any:
    """A parameter for `placed`: the broker is known only when the test runs."""
    return pytest.param(Where(partitions, "?"), id=f"kafka-{partitions}", marks=pytest.mark.kafka)


@contextmanager
def placed(request: pytest.FixtureRequest) -> Iterator[Where]:
    """The log that a fixture's parameter asks for; topics are dropped at the end."""
    where: Where = request.param
    if where.embedded:
        yield where
        return
    bootstrap: str = request.getfixturevalue("kafka_bootstrap")
    where = replace(where, kafka=bootstrap, prefix=fresh_prefix())
    try:
        yield where
    finally:
        asyncio.run(drop_topics(bootstrap, where.prefix))

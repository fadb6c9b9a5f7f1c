"""A log of every adapter, with one partition and with several."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from streams.log import Log
from tests.support.logs import (
    EVERY,
    OpenedLog,
    opened_log,
)


@pytest_asyncio.fixture(
    params=[
        pytest.param((adapter, partitions), marks=pytest.mark.kafka if adapter == "kafka" else ())
        for adapter in EVERY
        for partitions in (1, 4, 12)
    ],
    ids=str,
)
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OpenedLog]:
    adapter, partitions = request.param
    if adapter == "kafka":
        request.getfixturevalue("kafka_bootstrap")
    async with opened_log(adapter, partitions, tmp_path) as opened:
        yield opened


@pytest.fixture
def log(opened: OpenedLog) -> Log:
    return opened.log

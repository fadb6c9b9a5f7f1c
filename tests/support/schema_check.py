"""Every record a test produces keeps to the published JSON Schemas.

Wrap a log in `ValidatingLog` and each record is checked before it is written; for a log that
another process wrote, `assert_log_valid` reads all of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jsonschema_rs

from schemas.topics import Offset, Topic
from streams.log import Closing, Log, NextOffsets, Outgoing, Record, Writer
from tests.support.passing_log import PassingLog

FOLDER = Path(__file__).parents[2] / "schemas"
BATCH_RECORDS = 1_000
VALUE_CHARACTERS_SHOWN = 500


@cache
def validator(file: str) -> jsonschema_rs.Draft202012Validator:
    """The validator of a committed schema; formats (`date-time`) are checked too."""
    schema = json.loads((FOLDER / file).read_text(encoding="utf-8"))
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True)


def assert_valid(record: Outgoing | Record) -> None:
    """Fail unless headers and value keep to the schemas of the record's topic."""
    names = [name for name, _ in record.headers]
    assert len(set(names)) == len(names), f"a header twice: {names}"
    headers = {name: value.decode() for name, value in record.headers}
    _check(f"{record.topic.value}.headers.v1.schema.json", headers, record)
    if record.value is not None:
        file = headers.get("ce_dataschema", f"{record.topic.value}.v1.schema.json")
        _check(file, json.loads(record.value), record)


async def assert_log_valid(log: Log) -> int:
    """Check every record that is still in the log; how many there were."""
    seen = 0
    for topic in Topic:
        starts, ends = await log.starts(topic), await log.ends(topic)
        reader = await log.reader(starts)
        while any(reader.position(at) < end for at, end in ends.items()):
            for record in await reader.read(BATCH_RECORDS, 0.1):
                assert_valid(record)
                seen += 1
        await reader.close()
    return seen


class ValidatingLog(PassingLog):
    """A log that checks each record before it hands it to the real one."""

    async def writer(self, writer_id: str) -> Writer:
        """Take the id."""
        return _ValidatingWriter(await self.inner.writer(writer_id))

    async def append(self, records: Sequence[Outgoing]) -> Sequence[Offset]:
        """Plain write."""
        for record in records:
            assert_valid(record)
        return await self.inner.append(records)


class _ValidatingWriter:
    def __init__(self, writer: Writer) -> None:
        self._inner = writer

    async def commit(
        self, records: Sequence[Outgoing], closing: Closing | None = None
    ) -> Sequence[Offset]:
        for record in records:
            assert_valid(record)

        def checked(ends: NextOffsets) -> Sequence[Outgoing]:
            last = closing(ends) if closing is not None else []
            for record in last:
                assert_valid(record)
            return last

        return await self._inner.commit(records, checked if closing is not None else None)

    async def close(self) -> None:
        await self._inner.close()


def _check(file: str, instance: object, record: Outgoing | Record) -> None:
    error = next(iter(validator(file).iter_errors(instance)), None)
    if error is None:
        return
    place = "/".join(map(str, error.instance_path))
    shown = json.dumps(instance, ensure_ascii=False)[:VALUE_CHARACTERS_SHOWN]
    raise AssertionError(
        f"{record.topic.value} {record.key}: {file} refuses {place!r}: {error.message}\n{shown}"
    )

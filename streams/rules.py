"""The rules of redaction as the log keeps them: plain records of `progress`, one key a rule.

Any process may write one, and none is ever taken back. So a reader knows the first so many of the
rules, and a count tells which these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from schemas import codec
from schemas.errors import LogCorrupt
from schemas.records import Config, Rule
from schemas.redaction import Rules, known_fields, rules_of
from schemas.topics import Topic
from streams.log import Log, Outgoing, Record, TopicPartition
from streams.progress import CONFIG_KEY, progress_record
from streams.watching import TableWatch, plain_place, tables_of

RULE_PREFIX = "redaction:"


def rule_key(rule: Rule) -> str:
    """The record's key, the same for rules that say the same."""
    return f"{RULE_PREFIX}{rule.name}:{','.join(sorted(rule.fields))}"


def rule_record(log: Log, rule: Rule, now_ms: int) -> Outgoing:
    """The record that makes a rule."""
    key = rule_key(rule)
    partition = plain_place(log).partition
    return progress_record(partition, key, rule, now_ms, of=key, kind="redaction")


async def read_rules(log: Log) -> Rules:
    """The rules as they are now. Raises LogCorrupt, LogUnavailable."""
    tables = await tables_of(log, _places(log))
    return _folded({at: table.rows for at, table in tables.items()})


async def rules_kept(log: Log) -> frozenset[str]:
    """Keys of the rules that were made. Raises LogCorrupt, LogUnavailable."""
    rows = (await log.table(plain_place(log))).rows
    return frozenset(key for key, record in rows.items() if _rule_of(key, record) is not None)


class RulesWatch:
    """Follows the rules; used as `async with`. Raises LogCorrupt, LogUnavailable."""

    def __init__(self, log: Log) -> None:
        self._watch = TableWatch(log, _places(log))
        self.rules = Rules()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._watch.__aexit__()

    async def look(self, wait_seconds: float = 0.0) -> Rules:
        """The rules as of now; waits at most so many seconds for something new there."""
        if await self._watch.look(wait_seconds):
            self.rules = _folded(self._watch.rows)
        return self.rules


def _folded(tables: Mapping[TopicPartition, Mapping[str, Record]]) -> Rules:
    config: Config | None = None
    rules: list[Rule] = []
    for rows in tables.values():
        for key, record in rows.items():
            if key == CONFIG_KEY and record.value is not None:
                config = codec.decode(record.value, Config)
            elif (rule := _rule_of(key, record)) is not None:
                rules.append(rule)
    return rules_of(config, rules)


def _rule_of(key: str, record: Record) -> Rule | None:
    """The rule in a record, None if it cannot be decoded: any process may write here."""
    if not key.startswith(RULE_PREFIX) or record.value is None:
        return None
    try:
        rule = codec.decode(record.value, Rule)
    except LogCorrupt:
        return None
    return rule if known_fields(rule.fields) else None


def _places(log: Log) -> list[TopicPartition]:
    return [TopicPartition(Topic.PROGRESS, log.partitions), plain_place(log)]

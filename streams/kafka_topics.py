"""Creates, checks and mends the log's topics on Kafka. Requirements: `kafka_configs`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from schemas.errors import LogMismatch, TopicsMissing
from schemas.topics import TOPICS, Topic, partition_count
from streams.kafka_admin import RETRY_SECONDS, Admin, Layout, NewTopic
from streams.kafka_configs import (
    NEW_LOG_PARTITIONS,
    REPLICATION_MAX,
    differences,
    log_partitions,
    mended,
    new_configs,
    partition_fault,
    topic_name,
)
from streams.kafka_settings import KafkaSettings
from streams.log import LogUnavailable
from streams.topic_report import Fault, LogReport, TopicReport

LEADER_SECONDS_MAX = 30.0  # until new topics can be written: an election after a broker's loss
_ANOTHER_LOG = "keys would move: fill another --kafka-prefix from a dump: pypistream bootstrap"
_MEND = "pypistream topics --mend"
_CREATE = "pypistream topics --create"
_FAULTS_SHOWN = 3  # in an error's one line; the command shows all


async def ensure_topics(
    settings: KafkaSettings,
    partitions: int | None = None,
    replication: int | None = None,
    *,
    create: bool,
) -> int:
    """Check that all topics exist and are as they should be; returns N.

    With `create` those that are missing are made: N = `partitions`, 12 if None, `replication`
    copies, if None 3 or as many as there are brokers. Several processes may do so at once.
    Configs are looked at only where the client has the right to.

    Raises TopicsMissing, LogMismatch, LogRefused (no right), LogUnavailable, UsageError (more
    copies than brokers).
    """
    async with Admin(settings) as admin:
        if create:
            await _create_missing(admin, settings, partitions, replication)
        report = await _look(admin, settings)
    return _accepted(report, settings, partitions)


async def create_topics(
    settings: KafkaSettings, partitions: int | None = None, replication: int | None = None
) -> LogReport:
    """Create missing topics, as `ensure_topics` does; other faults are in the report.

    Raises LogMismatch (another number of partitions is there), LogRefused, LogUnavailable,
    UsageError.
    """
    async with Admin(settings) as admin:
        await _create_missing(admin, settings, partitions, replication)
        return await _look(admin, settings)


async def inspect_topics(settings: KafkaSettings) -> LogReport:
    """How the topics are. Raises LogRefused, LogUnavailable."""
    async with Admin(settings) as admin:
        return await _look(admin, settings)


async def mend_topics(settings: KafkaSettings) -> LogReport:
    """Set every config that differs, then check again. No topic or partition is created.

    Raises LogRefused (no right to describe or alter a topic), LogUnavailable.
    """
    async with Admin(settings) as admin:
        names = _names(settings)
        layouts = await admin.layouts(list(names.values()))
        configs = await admin.configs(list(layouts))
        changes = {}
        for topic, name in names.items():
            found = configs.get(name)
            if found is not None:
                change = mended(topic, layouts[name].replication, found)
                if change:
                    changes[name] = change
        if changes:
            await admin.set_configs(changes)
        return await _settled(admin, settings, changes)


async def _create_missing(
    admin: Admin, settings: KafkaSettings, partitions: int | None, replication: int | None
) -> None:
    names = _names(settings)
    layouts = await admin.layouts(list(names.values()))
    if len(layouts) < len(names):
        there = {
            topic: layouts[name].partitions for topic, name in names.items() if name in layouts
        }
        count = log_partitions(there) or partitions or NEW_LOG_PARTITIONS
        _check_count(settings, count, partitions)
        copies = replication or min(REPLICATION_MAX, await admin.brokers())
        # One request for all: the controller handles it at once, so two processes never mix their
        # N.
        await admin.create(
            [
                NewTopic(name, partition_count(topic, count), copies, new_configs(topic, copies))
                for topic, name in names.items()
                if name not in layouts
            ]
        )
    await _wait_for_leaders(admin, list(names.values()))


async def _wait_for_leaders(admin: Admin, names: Sequence[str]) -> None:
    try:
        async with asyncio.timeout(LEADER_SECONDS_MAX):
            while True:
                layouts = await admin.layouts(names)
                if len(layouts) == len(names) and all(each.led for each in layouts.values()):
                    return
                await asyncio.sleep(RETRY_SECONDS)
    except TimeoutError as error:
        raise LogUnavailable(
            "the topics are there, but not every partition has a leader",
            hint="is a broker down that holds them? pypistream topics shows which",
        ) from error


async def _settled(
    admin: Admin, settings: KafkaSettings, changes: Mapping[str, Mapping[str, str]]
) -> LogReport:
    """The report, once a broker shows the new values, which it learns from the controller."""
    report = await _look(admin, settings)
    for _ in range(int(LEADER_SECONDS_MAX / RETRY_SECONDS)):
        shown = {each.name: each.configs or {} for each in report.topics}
        if all(shown[name].get(c) == v for name, set_ in changes.items() for c, v in set_.items()):
            break
        await asyncio.sleep(RETRY_SECONDS)
        report = await _look(admin, settings)
    return report


async def _look(admin: Admin, settings: KafkaSettings) -> LogReport:
    names = _names(settings)
    layouts = await admin.layouts(list(names.values()))
    configs = await admin.configs(list(layouts)) if layouts else {}
    counts = {topic: layouts[name].partitions for topic, name in names.items() if name in layouts}
    partitions = log_partitions(counts)
    return LogReport(
        partitions,
        tuple(
            _report(topic, name, layouts.get(name), configs.get(name), partitions)
            for topic, name in names.items()
        ),
    )


def _report(
    topic: Topic,
    name: str,
    layout: Layout | None,
    configs: Mapping[str, str] | None,
    partitions: int | None,
) -> TopicReport:
    if layout is None or partitions is None:
        return TopicReport(topic, name)
    faults = []
    count = partition_fault(topic, layout.partitions, partitions)
    if count:
        faults.append(Fault(count, _ANOTHER_LOG))
    if configs is not None:
        different = differences(topic, layout.replication, configs)
        faults.extend(Fault(str(each), _MEND) for each in different)
    return TopicReport(
        topic, name, layout.partitions, layout.replication, configs, layout.led, tuple(faults)
    )


def _accepted(report: LogReport, settings: KafkaSettings, partitions: int | None) -> int:
    missing = [each.name for each in report.topics if each.missing]
    if missing:
        raise TopicsMissing(
            f"Kafka at {settings.bootstrap} has no topic {_some(missing)}",
            hint=f"{_CREATE}, or another --kafka-prefix than {settings.prefix!r}",
        )
    assert report.partitions is not None
    _check_count(settings, report.partitions, partitions)
    faults = [(each.name, fault) for each in report.topics for fault in each.faults]
    if faults:
        raise LogMismatch(
            "of Kafka's topics " + _some([f"{name}: {fault.what}" for name, fault in faults]),
            hint=faults[0][1].mend,
        )
    return report.partitions


def _check_count(settings: KafkaSettings, found: int, asked: int | None) -> None:
    if asked is not None and asked != found:
        raise LogMismatch(
            f"the log {settings.prefix}* has {found} partitions, not {asked};"
            " their number is never changed",
            hint=f"leave --partitions out, or for another number: {_ANOTHER_LOG}",
        )


def _names(settings: KafkaSettings) -> dict[Topic, str]:
    return {topic: topic_name(settings.prefix, topic) for topic in TOPICS}


def _some(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:_FAULTS_SHOWN])
    left = len(texts) - _FAULTS_SHOWN
    return f"{shown} and {left} more" if left > 0 else shown

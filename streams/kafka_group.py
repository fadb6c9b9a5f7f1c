"""Assigns partitions to this process by a Kafka consumer group that does nothing else.

The group's consumer reads no record and stores no offset: positions are in `progress`, and the
transactional id is the only fence. The group only knows its members, and divides the work.

Facts of aiokafka 0.14 that shape this: callbacks are awaited before the next join, so they only
take notes; an assignor keeps its memory in its class, so each group has a class of its own; there
is no public sign that a heartbeat was answered, so the coordinator is asked who its members are
(DescribeGroups, which the right to read as that group includes).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as KafkaPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import KafkaError

from schemas.topics import Topic
from streams.assignment import Membership
from streams.kafka_ending import stopped
from streams.kafka_errors import translated
from streams.kafka_settings import KafkaSettings
from streams.log import LogUnavailable

GROUP_ID = "process"  # after the prefix
SESSION_MS = 10_000  # a killed process's partitions are free after this
HEARTBEAT_MS = 2_000  # so four may be lost; others learn of a change within one
POLL_MS = 500  # of one `getmany`, which is what tells aiokafka that somebody is at home
CONFIRM_SECONDS = 1.0  # between two looks at the group's members
ANSWER_SECONDS_MAX = 3.0  # of one such look; then the coordinator is looked up again
START_SECONDS_MAX = 30.0  # metadata and coordinator; joining is not waited for
# Without being a member: three times what a join takes when somebody's session has to end first.
# Then this client is thrown away and a new one made, whatever state it got itself into.
LOST_SECONDS_MAX = 30.0
LEAVE_SECONDS_MAX = 3.0  # leaving is a courtesy: otherwise the others wait for SESSION_MS

log_ = structlog.get_logger("group")


class KafkaGroup:
    """See `streams.assignment.Assignment`. Belongs to one event loop.

    `on_assigned` is called when the group has said what is assigned here.
    """

    def __init__(
        self, settings: KafkaSettings, total: int, on_assigned: Callable[[], object] = bool
    ) -> None:
        self._settings = settings
        self._on_assigned = on_assigned
        self._group_id = settings.prefix + GROUP_ID
        self._member = Membership(total, SESSION_MS / 1000)
        self._news = asyncio.Event()
        # Its memory outlives a connection: after an outage each asks for what it had last.
        self._assignor = type("Sticky", (StickyPartitionAssignor,), {})

    @property
    def partitions(self) -> frozenset[int]:
        """The last assignment by the group."""
        return self._member.partitions

    @property
    def known(self) -> bool:
        """Whether the group has ever answered."""
        return self._member.known

    @property
    def well(self) -> bool:
        """Whether the group has confirmed our membership recently."""
        return self._member.well(_now())

    def share(self) -> float:
        """The part of the rate that may be used now."""
        return self._member.share(_now())

    async def changed(self, known: frozenset[int]) -> frozenset[int]:
        """Wait until something else is assigned."""
        while self.partitions == known:
            self._news.clear()
            await self._news.wait()
        return self.partitions

    async def run(self) -> None:
        """Be a member until cancelled. Raises LogUnavailable, LogRefused."""
        name = f"pypistream-{uuid.uuid4().hex}"  # the coordinator lists us by this name
        connection = {**self._settings.connection(), "client_id": name}
        consumer = AIOKafkaConsumer(
            group_id=self._group_id,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=SESSION_MS,
            heartbeat_interval_ms=HEARTBEAT_MS,
            rebalance_timeout_ms=SESSION_MS,
            partition_assignment_strategy=[self._assignor],
            max_partition_fetch_bytes=1,  # the batch that may come before the pause is a small one
            **connection,
        )
        admin = AIOKafkaAdminClient(**connection)
        confirming: asyncio.Task[None] | None = None
        try:
            with self._translated():
                async with asyncio.timeout(START_SECONDS_MAX):
                    await consumer.start()
                    await admin.start()
                topic = self._settings.prefix + Topic.CHANGELOG
                consumer.subscribe([topic], listener=_Notes(self, consumer))
                confirming = asyncio.create_task(self._confirm(admin, name))
                well = _now()
                while _now() - well < LOST_SECONDS_MAX:
                    # Everything is paused: no record comes, only errors of aiokafka's own tasks.
                    await consumer.getmany(timeout_ms=POLL_MS)
                    if self._member.well(_now()):
                        well = _now()
            raise LogUnavailable(
                f"the group {self._group_id} has not known us for {LOST_SECONDS_MAX:g} s"
            )
        finally:
            self._member.denied(_now())  # whatever ended this, we are no longer a member
            if confirming is not None:
                confirming.cancel()
            await asyncio.gather(*(stopped(each, LEAVE_SECONDS_MAX) for each in (consumer, admin)))

    def _translated(self) -> AbstractContextManager[None]:
        return translated(f"join the group {self._group_id}", self._settings.security.principal)

    async def _confirm(self, admin: AIOKafkaAdminClient, name: str) -> None:
        while True:
            asked = _now()
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    [answer] = await admin.describe_consumer_groups([self._group_id])
            except (KafkaError, TimeoutError, OSError) as error:
                # No answer proves nothing: after half a session fetching stops by itself.
                log_.info("the group's coordinator did not answer", error=repr(error))
            else:
                self._heard(_client_ids(answer), name, asked)
            await asyncio.sleep(CONFIRM_SECONDS)

    def _heard(self, names: Collection[str] | None, name: str, asked: float) -> None:
        if names is None:
            return
        if name in names:
            self._member.confirmed(asked)
        else:
            self._member.denied(asked)

    def _rejoining(self) -> None:
        self._member.rejoining(_now())

    def _assigned(self, partitions: frozenset[int]) -> None:
        before, well = self.partitions, self._member.well(_now())
        self._member.assigned(partitions, _now())
        if partitions != before or not well:
            log_.info("assigned", partitions=sorted(partitions), group=self._group_id)
        self._news.set()
        self._on_assigned()


class _Notes(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka ships no types for it
    """Passes on what aiokafka's background task learns."""

    def __init__(self, group: KafkaGroup, consumer: AIOKafkaConsumer) -> None:
        self._group = group
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: Collection[KafkaPartition]) -> None:  # noqa: ARG002
        """Note it; work goes on until the next assignment is known."""
        self._group._rejoining()  # noqa: SLF001 (two halves of one thing)

    def on_partitions_assigned(self, assigned: Collection[KafkaPartition]) -> None:
        """Pause it, so that nothing is read, and pass it on."""
        self._consumer.pause(*assigned)
        self._group._assigned(frozenset(at.partition for at in assigned))  # noqa: SLF001


def _client_ids(answer: Any) -> set[str] | None:
    """Client ids of the group's members; None if the coordinator could not say."""
    [group] = answer.to_object()["groups"]
    if group["error_code"]:
        return None
    return {member["client_id"] for member in group["members"]}


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Requests to the brokers about topics: the I/O of `kafka_topics`.

aiokafka's own admin client asks for topics in a way that creates missing ones, with the broker's
defaults, and its AlterConfigs resets every config that it does not name. So its underlying client
is used, with two requests that do neither.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from aiokafka import errors as kafka
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.api import Request, Response
from aiokafka.protocol.metadata import MetadataRequest

from streams.kafka_diagnosis import diagnose
from streams.kafka_errors import translated
from streams.kafka_settings import KafkaSettings
from streams.kafka_wire import IncrementalAlterConfigs
from streams.log import LogUnavailable

CALL_SECONDS_MAX = 30.0  # for one order with all its repetitions: a controller's election takes 10
RETRY_SECONDS = 0.2  # between two: as long as a broker takes to learn what the controller knows
_TOPIC = 2  # ConfigResource.Type.TOPIC
_SET = 0  # AlterConfigOp.OpType.SET
_EXISTS = kafka.TopicAlreadyExistsError.errno
_UNKNOWN = kafka.UnknownTopicOrPartitionError.errno
_DENIED = kafka.TopicAuthorizationFailedError.errno


class Layout(NamedTuple):
    """A topic's partitions. `led` = each has a leader, so that it can be written and read."""

    partitions: int
    replication: int
    led: bool


class NewTopic(NamedTuple):
    """A topic to make."""

    name: str
    partitions: int
    replication: int
    configs: Mapping[str, str]


class Admin:
    """A connection for questions about topics; used as `async with`.

    Raises LogUnavailable, and when it opens what `diagnose` finds. A missing right is LogRefused.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._client: AIOKafkaClient | None = None

    async def __aenter__(self) -> Self:
        client = AIOKafkaClient(**self._settings.connection())
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                await client.bootstrap()
        except (kafka.KafkaError, OSError) as error:
            await client.close()
            raise await diagnose(self._settings) from error
        except BaseException:
            await client.close()
            raise
        self._client = client
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def brokers(self) -> int:
        """The number of live brokers."""
        response = await self._ask("list the brokers", MetadataRequest([], False))
        return len(response.to_object()["brokers"])

    async def layouts(self, names: Sequence[str]) -> dict[str, Layout]:
        """The existing topics among these names. Raises LogRefused without Describe on one."""
        request = MetadataRequest(list(names), False)  # False: a missing topic is not created
        response = await self._ask("look at the topics", request)
        found, denied = {}, set()
        for topic in response.to_object()["topics"]:
            name, code = topic["topic"], topic["error_code"]
            if code == _DENIED:
                denied.add(name)
            elif code and code != _UNKNOWN and not kafka.for_code(code).retriable:
                self._refuse("look at the topics", code, name, "")
            elif code != _UNKNOWN:
                found[name] = _layout(topic["partitions"], whole=not code)
        if denied:
            with translated("look at the topics", self._settings.security.principal):
                raise kafka.TopicAuthorizationFailedError(denied)
        return found

    async def create(self, topics: Sequence[NewTopic]) -> None:
        """Create them; an existing one is left as it is."""
        left = list(topics)
        async with _patience("create the topics"):
            while left:
                rows: list[Any] = [
                    (each.name, each.partitions, each.replication, [], list(each.configs.items()))
                    for each in left
                ]
                request = CreateTopicsRequest(rows, int(CALL_SECONDS_MAX * 1000), False)
                response = await self._ask("create the topics", request)
                again = set()
                for row in response.to_object()["topic_errors"]:
                    name, code = row["topic"], row["error_code"]
                    if code in (0, _EXISTS):
                        continue
                    if not kafka.for_code(code).retriable:
                        self._refuse(f"create the topic {name}", code, name, row["error_message"])
                    again.add(name)
                left = [each for each in left if each.name in again]
                if left:
                    await asyncio.sleep(RETRY_SECONDS)

    async def configs(self, names: Sequence[str]) -> dict[str, dict[str, str] | None]:
        """All effective configs of existing topics; None = no right to read them."""
        request = DescribeConfigsRequest([(_TOPIC, name, None) for name in names])
        found: dict[str, dict[str, str] | None] = {}
        async with _patience("describe the topics"):
            while len(found) < len(names):
                response = await self._ask("describe the topics", request)
                for row in response.to_object()["resources"]:
                    name, code = row["resource_name"], row["error_code"]
                    if code == _DENIED:
                        found[name] = None
                    elif not code:
                        entries = row["config_entries"]
                        found[name] = {e["config_names"]: e["config_value"] or "" for e in entries}
                    elif not kafka.for_code(code).retriable:
                        self._refuse(f"describe {name}", code, name, row["error_message"])
                if len(found) < len(names):  # another broker made them, this one has not heard
                    await asyncio.sleep(RETRY_SECONDS)
        return found

    async def set_configs(self, changes: Mapping[str, Mapping[str, str]]) -> None:
        """Set these configs of these topics; others stay as they are."""
        rows = [
            (_TOPIC, name, [(config, _SET, value) for config, value in configs.items()])
            for name, configs in changes.items()
        ]
        response = await self._ask("alter the topics", IncrementalAlterConfigs(rows))
        for row in response.to_object()["resources"]:
            if row["error_code"]:
                name, text = row["resource_name"], row["error_message"]
                self._refuse(f"alter the topic {name}", row["error_code"], name, text)

    def _refuse(self, action: str, code: int, name: str, text: str | None) -> None:
        """Raise the error for the code of one topic."""
        kind = kafka.for_code(code)
        with translated(action, self._settings.security.principal):
            raise kind(name) if code == _DENIED else kind(f"{name}: {text or kind.description}")

    async def _ask(self, action: str, request: Request[Any]) -> Response:
        """The answer of any broker; repeated while brokers come and go."""
        assert self._client is not None, "used outside of `async with`"
        last: kafka.KafkaError | None = None
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                while True:
                    try:
                        response: Response = await self._client.send(
                            self._client.get_random_node(), request
                        )
                    except kafka.KafkaError as error:
                        if not error.retriable:
                            raise
                        last = error
                        await self._client.force_metadata_update()
                        await asyncio.sleep(RETRY_SECONDS)
                    else:
                        return response
        except TimeoutError as error:
            if isinstance(last, kafka.NodeNotReadyError):  # brokers are named that we cannot reach
                raise await diagnose(self._settings) from error
            raise LogUnavailable(f"cannot {action}: no answer from Kafka in time") from error
        except kafka.KafkaError as error:
            with translated(action, self._settings.security.principal):
                raise error from None
        raise AssertionError


@contextlib.asynccontextmanager
async def _patience(action: str) -> AsyncIterator[None]:
    """A time limit for a request with its repetitions."""
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            yield
    except TimeoutError as error:
        raise LogUnavailable(f"cannot {action}: Kafka has not done it in time") from error


def _layout(partitions: Sequence[Mapping[str, Any]], *, whole: bool) -> Layout:
    led = whole and bool(partitions) and all(p["leader"] >= 0 for p in partitions)
    return Layout(len(partitions), min((len(p["replicas"]) for p in partitions), default=0), led)

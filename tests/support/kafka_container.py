"""A container with one Kafka broker, of the official image, made for short lives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any, Self

from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

HEAP_MB = 400  # the tests' largest run holds 30 MB of records; the rest is the broker's own caches
START_SECONDS_MAX = 120  # 5 s on two cores, more where other brokers start at the same time
LIFE_SECONDS_MAX = 4 * 3600
"""The container ends by then, whatever became of the tests (kill -9, a machine put to sleep)."""

PORT = 9092  # inside the container, for clients outside
INNER = "localhost:9093"  # inside the container, for clients inside
_START = "/tmp/start-broker.sh"
_PROPERTIES = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.quorum.voters": "1@localhost:9094",
    "controller.listener.names": "CONTROLLER",
    "listeners": f"PLAINTEXT://:{PORT},INNER://:9093,CONTROLLER://:9094",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "inter.broker.listener.name": "INNER",
    "log.dirs": "/tmp/kafka-logs",
    # a cluster of one
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # each partition of an internal topic is made and loaded at first use
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.num.partitions": "4",
    "num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    # a misspelt topic is an error, and none comes back that was dropped
    "auto.create.topics.enable": "false",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # 128 MB of the heap by default
}


class KafkaContainer(DockerContainer):
    """The official image with one broker. testcontainers' own class knows other images only.

    A broker tells its clients where to find it, and the port on this machine is known only once
    the container runs: so its entry point waits for a script that is put there then.
    """

    def __init__(self, image: str, properties: dict[str, str] | None = None) -> None:
        super().__init__(image)
        self.with_kwargs(
            entrypoint=["sh", "-c", f"until [ -x {_START} ]; do sleep 0.1; done; exec {_START}"],
        )
        ports: dict[str, Any] = self.ports  # declared narrower than what Docker's client takes
        ports[f"{PORT}/tcp"] = ("127.0.0.1",)  # a free one, on loopback only
        for name, value in {**_PROPERTIES, **(properties or {})}.items():
            self.with_env("KAFKA_" + name.upper().replace(".", "_"), value)
        self.with_env("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw")
        # Else each network thread keeps a direct buffer as large as the largest record it has sent.
        self.with_env("KAFKA_HEAP_OPTS", f"-Xmx{HEAP_MB}m -Djdk.nio.maxCachedBufferSize=262144")
        # the quick compiler: this broker lives for minutes
        self.with_env("KAFKA_JVM_PERFORMANCE_OPTS", "-XX:TieredStopAtLevel=1")

    def bootstrap(self) -> str:
        """HOST:PORT on this machine."""
        self.reload()
        ports = self.get_wrapped_container().attrs["NetworkSettings"]["Ports"]
        return f"127.0.0.1:{ports[f'{PORT}/tcp'][0]['HostPort']}"

    def start(self) -> Self:
        """Start, and return once the broker serves."""
        testcontainers_config.ryuk_disabled = True  # it would end the container with this process
        super().start()
        script = (
            "#!/bin/sh\n"
            f"export KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://{self.bootstrap()},INNER://{INNER}\n"
            f"exec timeout {LIFE_SECONDS_MAX} /etc/kafka/docker/run\n"
        )
        self.get_wrapped_container().put_archive("/tmp", _executable(_START, script))
        started = LogMessageWaitStrategy("Kafka Server started")
        started.with_startup_timeout(START_SECONDS_MAX).wait_until_ready(self)
        return self


def _executable(path: str, text: str) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        member = tarfile.TarInfo(Path(path).name)
        member.size, member.mode = len(text), 0o755
        tar.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()

"""One Kafka broker for a run of the tests, shared by its processes, and started when first needed.

`PYPISTREAM_TEST_KAFKA=HOST:PORT` names a broker that is up. Without it a container of
`PYPISTREAM_TEST_KAFKA_IMAGE` is started by the first process that asks, under a lock, and removed
by the process the user started (xdist's controller, or pytest itself), also on Ctrl-C.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.support import tools

ADDRESS = "PYPISTREAM_TEST_KAFKA"
IMAGE = "PYPISTREAM_TEST_KAFKA_IMAGE"
IMAGE_DEFAULT = "apache/kafka:4.3.1"
SHARED = "PYPISTREAM_TEST_KAFKA_SHARED"
"""Folder of this run: the lock, and the name of the container once somebody asked for it."""

_NAME = "pypistream-tests-"  # of containers, before the process id of the run they belong to
DROP_SECONDS_MAX = 10  # of asking the broker to delete topics; a test's end waits no longer


def image() -> str:
    """Name of the image that brokers and Kafka's own tools are taken from."""
    return os.environ.get(IMAGE) or IMAGE_DEFAULT


def container() -> str | None:
    """Name of this run's container; None if the broker was given by its address, or none runs."""
    name = _shared() / "container"
    return name.read_text() if (_shared() / "address").exists() else None


def inner() -> str:
    """Address of this run's broker for programs inside its container."""
    from tests.support.kafka_container import INNER

    return INNER


def bootstrap() -> str:
    """Address of the run's broker, started if need be; set as PYPISTREAM_TEST_KAFKA, too.

    Where there is none to be had the test is skipped, saying why; with CI=true it fails.
    """
    if not os.environ.get(ADDRESS):
        with _locked(_shared()):
            address = _shared() / "address"
            if not address.exists():
                address.write_text(_start())
            os.environ[ADDRESS] = address.read_text()
    return os.environ[ADDRESS]


def _start() -> str:
    from docker.errors import APIError, ImageNotFound  # half a second to import, for few tests

    from tests.support.kafka_container import KafkaContainer

    tools.needs("docker")
    remove_orphans()
    owner = (_shared() / "owner").read_text()
    name = f"{_NAME}{owner}-{secrets.token_hex(4)}"
    (_shared() / "container").write_text(name)  # before it runs: whoever ends the run removes it
    container = KafkaContainer(image()).with_name(name)
    docker = container.get_docker_client().client
    try:
        docker.images.get(image())
    except ImageNotFound:
        try:
            docker.images.pull(image())
        except APIError as error:
            tools.missing(f"the image {image()} ({error.explanation or error}), or {ADDRESS}")
    return container.start().bootstrap()


def remove_orphans() -> None:
    """Remove the brokers of runs that could not: those whose process is gone without a word."""
    listing = ["docker", "ps", "-a", "--filter", f"name={_NAME}", "--format", "{{.Names}}"]
    found = subprocess.run(listing, capture_output=True, text=True, check=False).stdout.split()
    for name in found:
        owner = name.removeprefix(_NAME).split("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            _remove(name)


def _remove(name: str) -> None:
    subprocess.run(["docker", "rm", "-fv", name], capture_output=True, check=False)


def prepare() -> None:
    """Before the run, in the process the user started: nothing starts yet."""
    os.environ[SHARED] = tempfile.mkdtemp(prefix="pypistream-kafka-")
    (_shared() / "owner").write_text(str(os.getpid()))


def stop() -> None:
    """After the run, in the process the user started: remove what any process started."""
    if not (folder := os.environ.pop(SHARED, None)):
        return
    name = Path(folder, "container")
    if name.exists():
        _remove(name.read_text())
    shutil.rmtree(folder, ignore_errors=True)


def _shared() -> Path:
    return Path(os.environ[SHARED])


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fresh_prefix() -> str:
    """A beginning for names of topics that nobody else uses."""
    return f"t{secrets.token_hex(5)}."


async def drop_topics(bootstrap: str, prefix: str) -> None:
    """Ask the broker to delete the topics with that prefix; a broker that is gone is no error."""
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.errors import KafkaError

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=5_000)
    with contextlib.suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(DROP_SECONDS_MAX):
            try:
                await admin.start()
                topics = [name for name in await admin.list_topics() if name.startswith(prefix)]
                if topics:
                    await admin.delete_topics(topics)
            finally:
                await admin.close()

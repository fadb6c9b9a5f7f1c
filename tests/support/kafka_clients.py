"""Clients that are not ours, as docs/kafka-clients.md shows them, and what they read."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from streams.log import Record
from tests.support import kafka_broker, tools

DOCUMENT = Path(__file__).parents[2] / "docs/kafka-clients.md"
PROGRAMS = Path(__file__).parent / "interop"
LIBRARIES = (
    "PYPISTREAM_TEST_KAFKA_LIBS"  # a folder with the jars of a Kafka, instead of the image's
)
PREFIX = "pypi."  # of the topics that the document names
CLIENT_SECONDS_MAX = 100.0  # a JVM takes 3 s to start on two cores, 20 s where all are busy
JVM = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m")  # it lives for seconds
JARS = ("kafka-clients-*", "slf4j-api-*", "zstd-jni-*", "lz4-java-*", "snappy-java-*")


class Seen(NamedTuple):
    """A record as a client shows it. `value` as parsed JSON; None = a tombstone."""

    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    value: Any


def by_place(seen: list[Seen]) -> list[Seen]:
    """In the order of partitions and offsets, which clients need not keep among partitions."""
    return sorted(seen, key=lambda one: one[:2])


def ours(records: list[Record]) -> list[Seen]:
    """The same of what our own reader gives."""
    seen: list[Seen] = []
    for one in records:
        headers = {name: value.decode() for name, value in one.headers}
        value = None if one.value is None else json.loads(one.value)
        seen.append(Seen(one.partition, one.offset, one.key or "", headers, value))
    return by_place(seen)


# --- what the document shows --------------------------------------------------------------------


def shown_command(program: str) -> list[str]:
    """Arguments of the one command of that program."""
    (line,) = re.findall(rf"^\$ ({program} .*)$", DOCUMENT.read_text(), re.MULTILINE)
    return shlex.split(line)


def shown_program(language: str, folder: Path, name: str) -> Path:
    """The one program in that language, as a file."""
    (text,) = re.findall(
        rf"^```{language}\n(.*?)^```", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL
    )
    path = folder / name
    path.write_text(text)
    return path


def directed(arguments: list[str], bootstrap: str, prefix: str, **changed: str) -> list[str]:
    """The same command to this broker's topics; words in `changed` replaced."""
    words = {"HOST:PORT": bootstrap, **changed}
    return [
        words.get(one, prefix + one.removeprefix(PREFIX) if PREFIX in one else one)
        for one in arguments
    ]


# --- running them -------------------------------------------------------------------------------


def output(arguments: list[str], given: str = "") -> str:
    """What it prints; fails with what it says if it fails."""
    ended = subprocess.run(
        arguments,
        input=given,
        capture_output=True,
        text=True,
        timeout=CLIENT_SECONDS_MAX,
        check=False,
    )
    assert ended.returncode == 0, f"{arguments}: {ended.returncode}\n{ended.stderr}"
    return ended.stdout


def kafka_tool(bootstrap: str) -> tuple[list[str], str]:
    """Words before a command of /opt/kafka/bin, and the broker's address from there."""
    docker = tools.needs("docker")
    if name := kafka_broker.container():
        return [docker, "exec", name], kafka_broker.inner()
    network = ["--network", "host", "--entrypoint", ""]
    return [docker, "run", "--rm", *network, kafka_broker.image()], bootstrap


def class_path(folder: Path) -> str:
    """Of Kafka's Java client; the jars are taken out of the broker's image."""
    if libraries := os.environ.get(LIBRARIES):
        return f"{libraries}/*"
    command = f"cd /opt/kafka/libs && tar -cf - {' '.join(jar + '.jar' for jar in JARS)}"
    image = kafka_broker.image()
    packed = subprocess.run(
        [tools.needs("docker"), "run", "--rm", "--entrypoint", "sh", image, "-c", command],
        capture_output=True,
        timeout=CLIENT_SECONDS_MAX,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    return f"{folder}/*"


def java(program: Path, libraries: str, *arguments: str, given: str = "") -> str:
    """What a single-file program prints; it is compiled on the way, by a JDK."""
    tools.needs("javac")
    start = [tools.needs("java"), *JVM, "-cp", libraries, str(program)]
    return output([*start, *arguments], given)


def python(program: Path, *arguments: str) -> str:
    """What a program prints."""
    return output([sys.executable, str(program), *arguments])


# --- reading what they print --------------------------------------------------------------------


def kcat_line(line: str) -> Seen:
    """A line of `kcat -J`."""
    found = json.loads(line)
    headers = dict(zip(found["headers"][::2], found["headers"][1::2], strict=True))
    return Seen(found["partition"], found["offset"], found["key"], headers, _json(found["payload"]))


def tabbed_line(line: str) -> Seen:
    """A line of the Java program."""
    partition, offset, key, headers, value = line.split("\t", 4)
    return Seen(int(partition), int(offset), key, _headers(headers), _json(value))


def console_line(line: str) -> Seen:
    """A line of Kafka's console consumer: its columns come in an order of its own."""
    partition, offset, headers, key, value = line.split("\t", 4)
    places = (partition.removeprefix("Partition:"), offset.removeprefix("Offset:"))
    return Seen(int(places[0]), int(places[1]), key, _headers(headers), _json(value))


def json_line(line: str) -> Seen:
    """A line of the Python program."""
    return Seen(**json.loads(line))


def _headers(text: str) -> dict[str, str]:
    return dict(one.split(":", 1) for one in text.split(","))


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)  # `null` stands for no value, too

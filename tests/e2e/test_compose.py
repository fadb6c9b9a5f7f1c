"""compose.yaml: up with one command, what it publishes is right, and a broker may die."""

from __future__ import annotations

import asyncio
import json
import shlex
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.kafka_settings import KafkaSettings
from streams.kafka_topics import inspect_topics
from tests.support.compose import Stack, stack
from tests.support.documents_run import Block, blocks, steps

PAGE = Path(__file__).parents[2] / "docs/kafka.md"
COMMANDS_MIN = 4
PROJECTS = 60
BROKERS = ("kafka-1", "kafka-2", "kafka-3")
PUBLISHING = ("sink-duckdb", "sink-dump", "serve")
CHANGES = ("release", "create", "yank", "remove-project", "release")
PYTHON = "/opt/pypistream/bin/python"
PUBLISHED_SECONDS_MAX = 120.0  # on an idle machine a few
RECOVERED_SECONDS_MAX = 60.0  # a new leader is chosen once the broker was silent for 9


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All of it as `docker compose up` starts it, filled."""
    with stack(tmp_path_factory.mktemp("cluster"), projects=PROJECTS) as it:
        it.until_published("filled", PUBLISHED_SECONDS_MAX)
        yield it
    print(*(f"{what}: {seconds:.0f} s" for what, seconds in it.times.items()), sep="\n")  # noqa: T201
    assert it.left() == ""


def bootstrap(it: Stack, broker: int = 1) -> KafkaSettings:
    """A broker as a client on this machine reaches it."""
    return KafkaSettings(f"localhost:{it.environment['PYPISTREAM_KAFKA_PORTS']}{broker}")


def published(service: str, it: Stack) -> set[tuple[str, int]]:
    """Address and port on this machine that lead to a service."""
    [container] = [each for each in it.containers() if each["Service"] == service]
    return {(at["URL"], at["PublishedPort"]) for at in container["Publishers"] or ()}


def test_every_service_is_up_and_healthy(cluster: Stack) -> None:
    """Brokers, stand-in, processors, sinks, the HTTP service; what runs once has ended."""
    states = [(each["Service"], each["State"], each["Health"]) for each in cluster.containers()]
    roles = ("produce", "process", "process", "serve", "sink-dump", "sink-duckdb", "upstream")
    expected = [(name, "running", "healthy") for name in (*BROKERS, *roles)]

    expected += [(name, "exited", "") for name in ("topics", "backfill")]

    assert sorted(expected) == sorted(states)


def test_ports_are_open_to_this_machine_alone(cluster: Stack) -> None:
    """Brokers, the stand-in and the service on 127.0.0.1; the others have none."""
    for service in (*BROKERS, "upstream", "serve"):
        assert {address for address, port in published(service, cluster) if port} == {"127.0.0.1"}
    assert {
        port for service in ("produce", "sink-dump") for _, port in published(service, cluster)
    } <= {0}


def test_nobody_is_root(cluster: Stack) -> None:
    """Not the brokers, not our roles; and ours can write to nothing but their data."""
    ids = {
        service: cluster.compose("exec", "-T", service, "id", "-u").strip()
        for service in ("kafka-1", "upstream", "produce", "process", *PUBLISHING)
    }
    assert ids.pop("kafka-1") != "0"
    assert set(ids.values()) == {"10001"}
    assert cluster.attempt("exec", "-T", "process", "touch", "/opt/pypistream/x").returncode != 0
    assert cluster.attempt("exec", "-T", "process", "touch", "/data/x").returncode == 0


def test_the_image_holds_no_tools_of_its_making(cluster: Stack) -> None:
    """No compiler, no build backend, no caches, no development packages."""
    look = (
        "import importlib.util as u, pathlib, shutil;"
        "print([n for n in ('pip', 'hatchling', 'pytest', 'mypy') if u.find_spec(n)],"
        " [n for n in ('gcc', 'make', 'git') if shutil.which(n)],"
        " [str(path) for folder in (pathlib.Path.home() / '.cache', '/var/cache/pip', '/src',"
        " '/dist') for path in pathlib.Path(folder).glob('*')])"
    )
    found = cluster.compose("exec", "-T", "--user", "0", "process", PYTHON, "-c", look)

    assert "[] [] []" == found.strip()


async def test_every_record_is_there_three_times(cluster: Stack) -> None:
    """Seen by a client on this machine, through each of the brokers' own ports."""
    for broker in (1, 2, 3):
        report = await inspect_topics(bootstrap(cluster, broker))
        assert {topic.replication for topic in report.topics} == {3}


def test_the_watermark_is_there(cluster: Stack) -> None:
    """Once the backfill has been through, every serial up to it is reflected."""
    status = json.loads(cluster.pypistream("sink-dump", "status", "--json"))

    assert status["watermark"] is not None
    assert status["watermark"] <= cluster.site.control("serial")["serial"]


def test_the_commands_of_the_page_work(cluster: Stack) -> None:
    """What docs/kafka.md says to type into a container, but for what waits for a change."""
    typed = [shlex.split(step.command, comments=True) for step in steps(the_block())]
    inside = [words[2:] for words in typed if "exec" in words and "follow" not in words]

    assert len(inside) >= COMMANDS_MIN
    for words in inside:
        done = cluster.attempt(*words)
        assert (0, "") != (done.returncode, done.stdout), words
        assert done.returncode == 0, done.stderr


def the_block() -> Block:
    """The block of the page in which a stack is looked at."""
    [block] = [each for each in blocks(PAGE) if "docker compose exec" in each.text]
    return block


def test_a_query_is_answered_in_the_sinks_container(cluster: Stack) -> None:
    """By the published file, which shows every project that has a document."""
    said = cluster.pypistream(
        "sink-duckdb", "query", "select count(*) from projects", "--format", "csv"
    )
    served = len(cluster.site.served_names())

    assert str(served) == said.split()[-1]


def test_the_service_answers(cluster: Stack) -> None:
    """On this machine: every project that has a document, and the dump of the sink beside it."""

    def lacking() -> str:
        told = cluster.service.ask("/v1/status").json()
        complete = told["watermark"] and told["projects"] == len(cluster.site.served_names())
        return "" if complete else str(told)

    cluster.until(lacking, "the service has it all", PUBLISHED_SECONDS_MAX)
    name = cluster.site.served_names()[0]

    assert 200 == cluster.service.ask(f"/pypi/{name}/json").status
    assert 200 == cluster.service.ask("/dumps/manifest.json").status
    assert 200 == cluster.service.ask("/simple/").status


def test_a_broker_may_die(cluster: Stack) -> None:
    """Killed, not stopped: what changes meanwhile is published; then it is back."""
    cluster.compose("kill", "kafka-2")
    for kind in CHANGES:
        cluster.site.change(kind)
    cluster.until_published("published by two brokers", PUBLISHED_SECONDS_MAX)
    [dead] = [each for each in cluster.containers() if each["Service"] == "kafka-2"]
    assert ("exited", 137) == (dead["State"], dead["ExitCode"])

    cluster.compose("start", "kafka-2")
    for kind in CHANGES:
        cluster.site.change(kind)
    cluster.until_published("published by three again", PUBLISHED_SECONDS_MAX)
    cluster.until(lambda: behind(cluster), "all copies are complete", RECOVERED_SECONDS_MAX)


def behind(it: Stack) -> str:
    """Partitions that lack a copy, as Kafka's own tool names them, or why it cannot; "" = none."""
    tool = "/opt/kafka/bin/kafka-topics.sh"
    at = ("--bootstrap-server", "localhost:9092", "--describe", "--under-replicated-partitions")
    done = it.attempt("exec", "-T", "kafka-1", tool, *at)  # a broker that just came may time out
    return done.stdout if done.returncode == 0 else done.stderr or "no answer"


def test_whoever_stops_stops_in_time(cluster: Stack) -> None:
    """SIGTERM ends every role of ours with exit 0, long before Docker would kill it."""
    begun = time.monotonic()
    cluster.compose("stop", "produce", "process", *PUBLISHING, "upstream")
    seconds = time.monotonic() - begun
    codes = {each["Service"]: each["ExitCode"] for each in cluster.containers()}

    assert {codes[name] for name in ("produce", "process", *PUBLISHING)} == {0}
    assert codes["upstream"] == 0
    assert seconds < 20


def test_one_broker_by_profile(tmp_path: Path) -> None:
    """`docker compose --profile single up`: the same on one broker, and right as well."""
    with stack(tmp_path, projects=PROJECTS, profile="single") as it:
        it.until_published("filled", PUBLISHED_SECONDS_MAX)
        brokers = {each["Service"] for each in it.containers() if "kafka" in each["Service"]}
        report = asyncio.run(inspect_topics(bootstrap(it)))

        assert {"kafka-single"} == brokers
        assert {1} == {topic.replication for topic in report.topics}
    assert it.left() == ""

"""Every command on a log that lies on Kafka: what `run` leaves there, the others find."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from schemas.records import Reason
from schemas.topics import Topic
from streams.kafka_log import KafkaLog
from streams.kafka_settings import KafkaSettings
from streams.log import Record
from tests.support.kafka_broker import drop_topics, fresh_prefix
from tests.support.logs import read_all
from tests.support.process import command, started, status
from tests.support.reading_world import json_lines
from tests.support.standin import Running, standin

PROJECTS = 50
PARTITIONS = 4
START_SECONDS_MAX, STOP_SECONDS_MAX = 40.0, 10.0
QUICK = ("--rate", "0", "--poll", "1", "--settle", "0.2")
PERIODS = ("--snapshot-every", "600", "--dump-every", "600")


@dataclass(frozen=True)
class World:
    """A log on Kafka with the documents of a stand-in, and the data directory of the `run`."""

    site: Running
    kafka: KafkaSettings
    data: Path

    @property
    def flags(self) -> tuple[str, ...]:
        return ("--kafka", self.kafka.bootstrap, "--kafka-prefix", self.kafka.prefix)

    @property
    def elsewhere(self) -> Path:
        """A directory to work in, where no settings file lies."""
        return self.data.parent


@pytest.fixture(scope="module")
def world(kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """What `run --once --backfill` made of 50 projects, and two changes after that."""
    root = tmp_path_factory.mktemp("kafka")
    prefix = fresh_prefix()
    with standin(projects=PROJECTS, changes_per_second=0) as site:
        made = World(site, KafkaSettings(kafka_bootstrap, prefix), root / "data")
        common = ("--upstream", site.url, "--data", str(made.data), *QUICK, "--once-wait", "2")
        once = ("run", "--once", *common, *made.flags, "--partitions", str(PARTITIONS))
        first = command(*once, "--backfill", cwd=root)
        assert first.returncode == 0, first.stderr
        for name in site.served_names()[:2]:
            site.change("release", name)
        second = command("run", "--once", *common, cwd=root)
        assert second.returncode == 0, second.stderr
        yield made
    asyncio.run(drop_topics(kafka_bootstrap, prefix))


def test_the_directory_names_the_log(world: World) -> None:
    """`--data` alone is enough, also for the second `run` above; no secret is stored."""
    stored = json.loads((world.data / "settings.json").read_text())
    found = status(world.data)

    assert (stored["kafka"], stored["kafka_prefix"]) == (world.kafka.bootstrap, world.kafka.prefix)
    assert [name for name in stored if "password" in name] == ["kafka_password_file"]
    assert not (world.data / "log.sqlite").exists()
    assert (found["kafka"], found["partitions"]) == (world.kafka.bootstrap, PARTITIONS)
    assert found["watermark"] == found["head"]
    assert found["names"]["ok"] == len(world.site.served_names())


def test_without_the_directory_the_address_is_enough(world: World, tmp_path: Path) -> None:
    """`status` and `follow` from any machine; nothing is made where they run."""
    said = command("status", "--brief", *world.flags, cwd=tmp_path)
    rows = command("follow", "--since", "0", "-c", "2", *world.flags, cwd=tmp_path)

    assert f"on {world.kafka.bootstrap}" in said.stdout
    assert [line["topic"] for line in json_lines(rows.stdout)] == ["changelog"] * 2
    assert list(tmp_path.iterdir()) == []


def test_follow_shows_every_document(world: World) -> None:
    """The topic of all projects, from its first record on."""
    names = world.site.served_names()
    count = str(len(names) + 2)
    ended = command(
        "follow", "--data", str(world.data), "--topic", "metadata", "--since", "0", "-c", count,
        cwd=world.elsewhere,
    )  # fmt: skip

    assert {line["key"] for line in json_lines(ended.stdout)} == set(names)


def test_follow_since_a_serial_begins_after_it(world: World) -> None:
    """Only the second of the two rows."""
    head = status(world.data)["head"]
    ended = command(
        "follow", "--data", str(world.data), "--since", str(head - 1), "-c", "1",
        cwd=world.elsewhere,
    )  # fmt: skip

    assert [line["serial"] for line in json_lines(ended.stdout)] == [head]


def test_snapshot_and_dump_are_made_of_it(world: World) -> None:
    """`query` reads what was published; `dump` and `rebuild` publish anew from the log."""
    data, count = ("--data", str(world.data)), len(world.site.served_names())
    before = (world.data / "pypi.duckdb").stat().st_mtime_ns
    rebuilt = command("rebuild", *data, cwd=world.elsewhere)
    dumped = command("dump", *data, cwd=world.elsewhere)
    asked = command("query", "select count(*) as n from projects", *data, cwd=world.elsewhere)
    manifest = json.loads((world.data / "dumps/manifest.json").read_text())

    assert (rebuilt.returncode, dumped.returncode) == (0, 0), rebuilt.stderr + dumped.stderr
    assert (world.data / "pypi.duckdb").stat().st_mtime_ns > before
    assert json.loads(asked.stdout) == {"n": count}
    assert manifest["watermark"] == status(world.data)["watermark"]


def test_a_dump_into_a_directory_that_was_not_there(world: World, tmp_path: Path) -> None:
    """Where the log is on Kafka any directory can hold a dump of it."""
    ended = command("dump", "--data", "new", *world.flags, cwd=tmp_path)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "new/dumps/manifest.json").exists()


def test_doctor_looks_at_broker_and_topics(world: World) -> None:
    """All is well, and it says with whom it spoke."""
    ended = command("doctor", "--data", str(world.data), cwd=world.elsewhere)
    lines = {line.split()[1]: line for line in ended.stdout.splitlines()}

    assert ended.returncode == 0, ended.stdout
    assert f"{world.kafka.bootstrap} answers" in lines["kafka"]
    assert f"{PARTITIONS} partitions" in lines["topics"]
    assert "all match" in lines["checksums"]


async def asks(world: World) -> list[Record]:
    """Everything that anybody asked to be fetched."""
    log = await KafkaLog.open(world.kafka, create=False)
    records = await read_all(log, (await log.ends(Topic.REFETCH)).keys())
    await log.close()
    return records


async def asked_for(world: World) -> Counter[str]:
    """How often each project was."""
    return Counter(record.key for record in await asks(world) if record.key)


async def test_verify_and_reconcile_on_kafka(world: World) -> None:
    """All is in order; then one project changes, and that one is asked for."""
    site = ("--upstream", world.site.url, "--data", str(world.data))
    order = command("verify", *site, cwd=world.elsewhere)
    changed = world.site.served_names()[-1]
    world.site.change("release", changed)
    before = await asked_for(world)
    differs = command("reconcile", *site, "--rate", "0", "--dry-run", cwd=world.elsewhere)
    between = await asked_for(world)
    asked = command("reconcile", *site, "--rate", "0", cwd=world.elsewhere)

    assert order.returncode == 0, order.stdout + order.stderr
    assert [line["name"] for line in json_lines(differs.stdout)] == [changed]
    assert asked.returncode == 0, asked.stderr
    assert before == between
    assert await asked_for(world) - between == {changed: 1}


async def test_dead_letters_asks_on_kafka(world: World) -> None:
    """The ask lies in `refetch`; whether anybody serves it now cannot be known here."""
    name = world.site.served_names()[0]
    none = command("dead-letters", "--data", str(world.data), cwd=world.elsewhere)
    asked = command(
        "dead-letters", "--data", str(world.data), "--replay", name, "--json", cwd=world.elsewhere
    )
    last = [record for record in await asks(world) if record.key == name][-1]

    assert none.stdout == "nothing is dead\n"
    assert json.loads(asked.stdout)["served_now"] is None
    assert json.loads(last.value or b"")["reason"] == Reason.OPERATOR.value


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["status"], "has no topic"),
        (["dump"], "has no topic"),
        (["sink", "dump"], "has no topic"),
        (["backfill", "--upstream", "http://127.0.0.1:9"], "has no topic"),
        (["doctor"], "there is no"),
    ],
)
def test_a_prefix_without_topics_is_said(
    kafka_bootstrap: str, tmp_path: Path, arguments: list[str], says: str
) -> None:
    """One line with the cause, one with what to do; no topic is made by who only reads."""
    flags = ("--kafka", kafka_bootstrap, "--kafka-prefix", fresh_prefix())
    ended = command(*arguments, *flags, "--data", "d", cwd=tmp_path)

    assert ended.returncode == 1
    assert says in ended.stderr + ended.stdout
    assert "pypistream topics --create" in ended.stderr + ended.stdout
    assert "Traceback" not in ended.stderr


def test_a_broker_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Within seconds, with its address."""
    ended = command("status", "--kafka", "127.0.0.1:9", cwd=tmp_path)

    assert ended.returncode == 1
    assert "127.0.0.1:9" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_sink_of_its_own_publishes_when_asked_and_ends_when_told(
    world: World, tmp_path: Path
) -> None:
    """It follows the log, serves `dump`, and is gone 10 s after SIGTERM at the latest."""
    with started(
        "sink", "dump", "--data", "d", *world.flags, *PERIODS, cwd=tmp_path, name="sink"
    ) as sink:
        manifest = tmp_path / "d/dumps/manifest.json"
        sink.until(manifest.exists, START_SECONDS_MAX, "first dump")
        before = manifest.stat().st_mtime_ns
        second = command("sink", "dump", "--data", "d", cwd=tmp_path)
        asked = command("dump", "--data", "d", cwd=tmp_path)
        assert manifest.stat().st_mtime_ns > before
        code = sink.stop(signal.SIGTERM, STOP_SECONDS_MAX)

    assert (asked.returncode, code) == (0, 0), asked.stderr
    assert "a process runs the sinks of this directory: it was asked" in asked.stderr
    assert (second.returncode, "is in use" in second.stderr) == (1, True)
    assert "sink dump: published" in sink.text()
    assert "sink dump: stopped" in sink.text()


def test_roles_apart_and_a_backfill_beside_them(
    kafka_bootstrap: str, kafka_prefix: str, tmp_path: Path
) -> None:
    """`produce`, `process`, `sink duckdb` and two backfills at once: every project is there."""
    flags = ("--kafka", kafka_bootstrap, "--kafka-prefix", kafka_prefix)
    with standin(projects=PROJECTS, changes_per_second=0) as site:
        names, upstream = len(site.served_names()), ("--upstream", site.url)
        with (
            started("produce", *flags, *upstream, "--poll", "1", cwd=tmp_path, name="p") as produce,
            started("process", *flags, *upstream, "--rate", "0", cwd=tmp_path, name="w") as process,
        ):
            produce.until(lambda: "serial" in produce.text(), START_SECONDS_MAX, "log")
            with started("backfill", *flags, *upstream, cwd=tmp_path, name="b") as other:
                mine = command("backfill", *flags, *upstream, cwd=tmp_path)
                assert other.wait() == 0, other.text()
            assert mine.returncode == 0, mine.stderr
            process.until(lambda: _ok(tmp_path, flags) == names, START_SECONDS_MAX, "names")
            with started(
                "sink", "duckdb", "--data", "d", *flags, "--snapshot-every", "1", cwd=tmp_path
            ) as sink:
                count = "select count(*) as n from projects"
                sink.until((tmp_path / "d/pypi.duckdb").exists, START_SECONDS_MAX, "snapshot")
                rows = command("query", count, "--data", "d", cwd=tmp_path)
            again = command("backfill", *flags, *upstream, cwd=tmp_path)
            assert process.alive
            assert produce.alive
            alive = json.loads(command("status", "--brief", "--json", *flags, cwd=tmp_path).stdout)

    assert f"process {produce.process.pid} on " in alive["roles"]["produce"]
    assert f"{PROJECTS} projects" in mine.stderr
    assert json.loads(rows.stdout) == {"n": names}
    assert "asked for 0 projects" in again.stdout


def _ok(place: Path, flags: tuple[str, ...]) -> int:
    """Names whose documents are published, and a watermark beside them; else -1."""
    found = json.loads(command("status", "--json", *flags, cwd=place).stdout)
    return int(found["names"]["ok"]) if found["watermark"] is not None else -1

"""A small log as `run` would leave it, written by hand, for the commands that only read."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pypistream.data_dir import DataDir
from schemas import codec
from schemas.codec import Envelope, dataschema
from schemas.records import (
    BackfillProgress,
    ChangelogEntry,
    Config,
    Cut,
    DeadLetter,
    EventSource,
    Head,
    Hold,
    Kind,
    Marker,
    State,
    Status,
)
from schemas.topics import Topic, partition_of
from streams.log import Log, Outgoing, TopicPartition
from streams.sqlite_log import SqliteLog
from tests.support.schema_check import ValidatingLog

BASE, HEAD = 100, 110
LOG_ID = "0d9c7c1e6f0e4b619c8e6c1f3f0f6f35"
HOSTILE = "add file \x1b[2J\x1b]0;owned\x07 \u202etxt.exe\u2066 a\u200bb"
HOSTILE_SHOWN = "add file \\x1b[2J\\x1b]0;owned\\x07 \\u202etxt.exe\\u2066 a\\u200bb"
SECONDS_MAX = 60  # for one command on a busy machine


@dataclass(frozen=True)
class World:
    """The directory, and the times that its records carry."""

    data: DataDir
    now: int
    partitions: int = 1

    @property
    def root(self) -> Path:
        return self.data.root


def row(serial: int, name: str, action: str, kind: Kind, version: str | None = None) -> Outgoing:
    """A row of the changelog, written at the serial's own second."""
    entry = ChangelogEntry(
        serial, name, version, 1_700_000_000 + serial, action, kind, EventSource.JOURNAL
    )
    key = name.lower()
    envelope = Envelope(
        id=str(serial),
        type=f"pypistream.changelog.{kind.value}",
        subject=key,
        time=entry.time,
        dataschema=dataschema(Topic.CHANGELOG),
        event_serial=serial,
        source="journal",
    )
    return Outgoing(Topic.CHANGELOG, key, codec.encode(entry), codec.headers(envelope))


ROWS = (
    row(101, "alpha", "create", Kind.CREATE),
    row(102, "Alpha", "new release", Kind.NEW_RELEASE, "1.0"),
    row(103, "beta", HOSTILE, Kind.ADD_FILE, "2.0"),
    row(104, "gamma", "remove project", Kind.REMOVE_PROJECT),
    row(106, "alpha", "yank release", Kind.YANK, "1.0"),
    row(108, "delta", "new release", Kind.NEW_RELEASE, "0.1"),
    row(110, "epsilon", "new release", Kind.NEW_RELEASE, "3"),
)


def marker(serial: int, now: int, partition: int) -> Outgoing:
    """The promise that everything up to `serial` lies before it."""
    envelope = Envelope(
        id=f"marker:{serial}:{now}",
        type=codec.MARKER_TYPE,
        subject="",
        time=now,
        dataschema="marker.v1.schema.json",
    )
    value = codec.encode(Marker(BASE, serial, now))
    return Outgoing(Topic.CHANGELOG, None, value, codec.headers(envelope), partition)


def document(
    topic: Topic, name: str, serial: int, value: object, *, stale: bool = False
) -> Outgoing:
    """A document of metadata or releases; `value` None = a tombstone."""
    envelope = Envelope(
        id=f"{name}:{serial}",
        type=f"pypistream.{topic.value}",
        subject=name,
        time=1_700_000_000 + serial,
        dataschema=dataschema(topic),
        event_serial=serial,
        serial=None if value is None else serial,
        stale=True if stale else None,
        reason="removed" if value is None else None,
    )
    # With line ends, as upstream might send them: a JSON line must still be one line.
    body = None if value is None else json.dumps(value, indent=1).encode()
    return Outgoing(topic, name, body, codec.headers(envelope))


def _metadata(name: str, version: str, serial: int) -> dict[str, object]:
    return {"info": {"name": name, "version": version}, "last_serial": serial, "releases": {}}


def _releases(name: str, serial: int) -> dict[str, object]:
    return {
        "name": name, "display_name": name, "serial": serial, "latest": "1.0",
        "releases": {"0.9": [], "1.0": []},
    }  # fmt: skip


DOCUMENTS = (
    document(Topic.METADATA, "gamma", 90, _metadata("gamma", "5", 90)),
    document(Topic.METADATA, "beta", 103, _metadata("beta", "2\x1b[31m", 99), stale=True),
    document(Topic.METADATA, "alpha", 106, _metadata("Alpha", "1.0", 106)),
    document(Topic.METADATA, "gamma", 104, None),
    document(Topic.RELEASES, "alpha", 106, _releases("alpha", 106)),
)


def state(name: str, state: State, now: int) -> Outgoing:
    """A row of `state`."""
    envelope = Envelope(
        id=f"{name}:{now}",
        type="pypistream.state",
        subject=name,
        time=now,
        dataschema=dataschema(Topic.STATE),
    )
    return Outgoing(Topic.STATE, name, codec.encode(state), codec.headers(envelope))


def _states(now: int) -> list[Outgoing]:
    due_ms = (now + 30) * 1000
    known = {
        "alpha": State(Status.OK, 106, 106, name="Alpha"),
        "beta": State(Status.STALE, 103, 99, name="beta", attempts=11, reason="stale"),
        "gamma": State(Status.OK, 104, 90, gone=104, name="gamma"),
        "delta": State(Status.DEAD, 108, name="Delta", attempts=11, reason="not-json"),
        "epsilon": State(
            Status.PARKED, 110, name="epsilon", attempts=2, next_ms=due_ms, reason="http-503"
        ),
        "zeta": State(Status.ABSENT, 80, name="zeta", attempts=1, next_ms=due_ms + 600_000),
        "eta": State(Status.OK, 85, 85, name="eta"),
    }
    first = state("delta", State(Status.OK, 70, 70, name="Delta"), now)  # replaced further on
    return [first, *(state(name, value, now) for name, value in known.items())]


def dead_letter(key: str | None, letter: DeadLetter) -> Outgoing:
    """Evidence; without a key it is of a journal row."""
    envelope = Envelope(
        id=f"{key}:{letter.serial}:{letter.time_ms}",
        type="pypistream.dead-letter",
        subject=key or "",
        time=letter.time_ms / 1000,
        dataschema=dataschema(Topic.DEAD_LETTER),
        reason=letter.reason,
    )
    partition = 0 if key is None else None
    value = codec.encode(letter)
    return Outgoing(Topic.DEAD_LETTER, key, value, codec.headers(envelope), partition)


LETTERS = (
    dead_letter("delta", DeadLetter("Delta", "http-500", 60, 11, 1_700_000_060_000)),
    dead_letter("eta", DeadLetter("eta", "not-json", 84, 11, 1_700_000_084_000, "", "<html>")),
    dead_letter(None, DeadLetter("", "bad-row: shape", 105, 1, 1_700_000_105_000, "", "(1, 2)")),
    dead_letter(
        "delta",
        DeadLetter("Delta", "not-json", 108, 11, 1_700_000_108_000, "ab", "<b>\x1b[2J\u202e</b>"),
    ),
)


def progress(key: str, value: object, partition: int, now: int) -> Outgoing:
    """A row of `progress`."""
    envelope = Envelope(
        id=f"{key}:{partition}:{now}",
        type=f"pypistream.{'cut' if key == 'p' else key}",
        subject="",
        time=now,
        dataschema=dataschema(Topic.PROGRESS),
    )
    return Outgoing(
        Topic.PROGRESS, key, codec.encode(value), codec.headers(envelope), partition=partition
    )


async def build(
    root: Path,
    *,
    partitions: int = 1,
    marker_age: int = 4,
    backfill: tuple[int, int] | None = None,
    hold_seconds: int = 0,
) -> World:
    """Make a data directory. `backfill` = (done, names) of one that is open."""
    now = int(time.time())
    data = DataDir(root)
    data.create()
    data.store({"upstream": "http://127.0.0.1:9"})
    log: Log = ValidatingLog(await SqliteLog.open(data.log, partitions))
    config = Config(LOG_ID, partitions, schema_version=1, created=now)
    await log.append([progress("config", config, partitions, now)])
    await log.append(ROWS)
    marked = now - marker_age
    await log.append([marker(HEAD, marked, partition) for partition in range(partitions)])
    await log.append([*DOCUMENTS, *_states(now), *LETTERS])
    ends = {topic: await log.ends(topic) for topic in Topic}
    offsets = tuple(end for _, end in sorted(ends[Topic.CHANGELOG].items()))
    records = [progress("head", Head(HEAD, BASE, marked, offsets), partitions, now)]
    for partition in range(partitions):
        end_of = {t: ends[t][TopicPartition(t, partition)] for t in Topic}
        cut = Cut(
            changelog=end_of[Topic.CHANGELOG],
            refetch=end_of[Topic.REFETCH],
            metadata=end_of[Topic.METADATA],
            releases=end_of[Topic.RELEASES],
            state=end_of[Topic.STATE],
            base=BASE if backfill else 0,
            serial=HEAD,
            time=marked,
            low=0 if backfill else BASE,
            backfill=BackfillProgress("run-1", backfill[1], backfill[0]) if backfill else None,
        )
        records.append(progress("p", cut, partition, now))
    if hold_seconds:
        hold = Hold((now + hold_seconds) * 1000, "429 \x1b[1m")
        records.append(progress("hold", hold, partitions + 1, now))
    await log.append(records)
    await log.close()
    return World(data, now, partitions)


def command_line(*arguments: str) -> list[str]:
    """How the program is started."""
    return [sys.executable, "-m", "pypistream", *arguments]


def run(
    *arguments: str, cwd: Path, environment: dict[str, str] | None = None, given: str = ""
) -> subprocess.CompletedProcess[str]:
    """One command to its end, as a process."""
    return subprocess.run(
        command_line(*arguments),
        cwd=cwd,
        env={**os.environ, **(environment or {})},
        input=given,
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def json_lines(text: str) -> list[dict[str, object]]:
    """Every line of an output, each of which must be a JSON object."""
    return [dict(json.loads(line)) for line in text.splitlines()]


def serials(lines: Sequence[dict[str, object]]) -> list[object]:
    """What `follow` says the serials are."""
    return [line["serial"] for line in lines]


def where(name: str, world: World) -> int:
    """The partition of a name."""
    return partition_of(name, world.partitions)


async def append_rows(world: World, *serials_new: int) -> None:
    """As another process would: rows with these serials, and a marker behind them."""
    log = await SqliteLog.open(world.data.log)
    rows = [row(serial, "theta", "new release", Kind.NEW_RELEASE, "1") for serial in serials_new]
    await log.append(rows)
    await log.append([marker(serials_new[-1], world.now, p) for p in range(world.partitions)])
    await log.close()


def on_terminal(world: World, *arguments: str) -> str:
    """Run a command with a terminal of its own; what it shows."""
    control, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(
        command_line(*arguments), cwd=world.root, env=environment,
        stdin=terminal, stdout=terminal, stderr=terminal,
    ) as process:  # fmt: skip
        os.close(terminal)
        shown = b""
        deadline = time.monotonic() + SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                piece = os.read(control, 65_536)
            except OSError:  # Linux's way to say that the other side was closed
                break
            if not piece:
                break
            shown += piece
        os.close(control)
        assert process.wait(SECONDS_MAX) == 0
    return shown.decode()

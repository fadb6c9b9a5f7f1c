"""A dump sink fed by hand, and what its files must hold: told without the code under test."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from schemas.records import Config, Cut
from schemas.topics import COMPACTED, Offset, Topic
from sinks.dump.sink import DumpSink
from sinks.sink import Batch, Published, Reached, Sink, Vector
from streams.log import Record, TopicPartition

CONFIG = Config("log-1", partitions=1, schema_version=1)
HEADERS = (
    ("event-serial", b"7"),
    ("serial", b"6"),
    ("stale", b"true"),
    ("source", b"json"),
    ("fetched-at", b"2026-01-01T00:00:00Z"),
)
JSON_FILES = ("packages.jsonl.zst", "pypicache.json.zst", "releases.jsonl.zst", "state.jsonl.zst")
LATEST_FILE = "latest.csv.zst"
FILES = (*JSON_FILES, LATEST_FILE)
NOW_MS = 1_800_000_000_000

Change = tuple[Topic, str, bytes | None]


def record(topic: Topic, name: str, value: bytes | None, offset: int = 0) -> Record:
    """A record with the headers of a fetched document."""
    return Record(topic, 0, Offset(offset), NOW_MS, name, value, HEADERS)


def compact(value: object) -> bytes:
    """Compact JSON by the standard library."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def document(name: str, salt: str = "", size: int = 0) -> bytes:
    """A trimmed document that lacks nothing, of about `size` bytes that do not compress well."""
    noise = hashlib.sha256(f"{name}{salt}".encode()).hexdigest()
    license_text = "".join(
        hashlib.sha256(f"{noise}{i}".encode()).hexdigest() for i in range(size // 64)
    )
    file = {"filename": f"{name}.whl", "url": f"https://files.example.org/{noise}", "yanked": False}
    info = {
        "author_email": None, "home_page": None, "license": license_text, "name": name,
        "project_url": None, "project_urls": None, "summary": f"{salt} ünïcode", "version": "1.0",
    }  # fmt: skip
    return compact({"info": info, "last_serial": 6, "releases": {"1.0": [file]}, "urls": [file]})


class World:
    """One data directory with its sink; `topics` is the truth it must show."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dumps = root / "dumps"
        self.frames = root / "state" / "frames"
        self.topics: dict[Topic, dict[str, bytes]] = {topic: {} for topic in COMPACTED}
        self.offset = 0
        self.sink: Sink = DumpSink(self.dumps, self.frames)

    def apply(self, changes: Iterable[Change]) -> None:
        """Feed one batch."""
        records = []
        for topic, name, value in changes:
            records.append(record(topic, name, value, self.offset))
            self.offset += 1
            if value is None:
                self.topics[topic].pop(name, None)
            else:
                self.topics[topic][name] = value
        self.sink.apply(Batch(CONFIG, records, self.positions()))

    def positions(self) -> dict[TopicPartition, Offset]:
        """Where the sink stands now."""
        return {TopicPartition(topic, 0): Offset(self.offset) for topic in COMPACTED}

    def cut(self) -> Cut:
        """The cut it stands at."""
        return Cut(0, 0, self.offset, self.offset, self.offset)

    def publish(self, now_ms: int = NOW_MS) -> Published:
        """Reach the cut and publish."""
        self.sink.reached(Reached(Vector(CONFIG.log_id, (self.cut(),)), CONFIG, None))
        return self.sink.publish(now_ms)

    def reopen(self) -> None:
        """End and start again."""
        self.sink.close()
        self.sink = DumpSink(self.dumps, self.frames)

    def files(self) -> dict[str, bytes]:
        """The plain names as they are, manifest not included."""
        return {name: (self.dumps / name).read_bytes() for name in FILES}


def project(name: str, salt: str = "", size: int = 0) -> list[Change]:
    """A project's records in the three topics."""
    return [
        (Topic.METADATA, name, document(name, salt, size)),
        (Topic.RELEASES, name, compact({"name": name, "releases": {"1.0": [], "0.9": [salt]}})),
        (Topic.STATE, name, compact({"status": "ok", "event": 6, "body": 6, "name": name.title()})),
    ]


def removed(name: str) -> list[Change]:
    """A project's removal: tombstones, and a state that says so."""
    return [
        (Topic.METADATA, name, None),
        (Topic.RELEASES, name, None),
        (Topic.STATE, name, compact({"status": "ok", "event": 9, "body": 6, "gone": 9})),
    ]


def many_published(tmp_path: Path) -> World:
    """300 projects published, some removed, some in trouble."""
    world = World(tmp_path / "data")
    world.apply([change for i in range(300) for change in project(f"p{i}", "x", 400)])
    world.apply([change for i in range(0, 300, 50) for change in removed(f"p{i}")])
    troubled = {"parked": "p7", "dead": "p8", "absent": "never-was"}
    world.apply(
        [
            (Topic.STATE, name, compact({"status": status, "event": 9, "attempts": 1}))
            for status, name in troubled.items()
        ]
    )
    world.publish()
    return world


def cli_lines(path: Path) -> list[str]:
    """What `zstd -dc` makes of a file, by lines."""
    done = subprocess.run(["zstd", "-dcq", str(path)], capture_output=True, check=True)
    return done.stdout.decode().splitlines()


def expected(topics: Mapping[Topic, Mapping[str, bytes]]) -> dict[str, list[object]]:
    """What the files hold, as parsed JSON, for documents that lack no key of Repology's."""
    metadata = sorted(topics[Topic.METADATA].items())
    latest: list[object] = [[name, _version(json.loads(value)), "6"] for name, value in metadata]
    return {
        LATEST_FILE: latest,
        "packages.jsonl.zst": [
            {
                "name": name, "serial": 6, "event_serial": 7, "event_time": None, "stale": True,
                "source": "json", "fetched_at": "2026-01-01T00:00:00Z",
                "document": json.loads(value),
            }
            for name, value in metadata
        ],
        "pypicache.json.zst": [json.loads(value) for _, value in metadata],
        "releases.jsonl.zst": [
            {"name": name, "serial": 6, "releases_omitted": 0, "document": json.loads(value)}
            for name, value in sorted(topics[Topic.RELEASES].items())
        ],
        "state.jsonl.zst": [
            _state_line(name, json.loads(value))
            for name, value in sorted(topics[Topic.STATE].items())
        ],
    }  # fmt: skip


def found(dumps: Path) -> dict[str, list[object]]:
    """The same as the `zstd` command and the standard library read it."""
    held: dict[str, list[object]] = {}
    for name in FILES:
        lines = cli_lines(dumps / name)
        array = name == "pypicache.json.zst"
        if name == LATEST_FILE:
            assert lines.pop(0) == "name,version,serial"
        held[name] = (
            json.loads("\n".join(lines)) if array else [parsed(name, line) for line in lines]
        )
    return held


def _version(parsed_document: object) -> str:
    info = parsed_document.get("info") if isinstance(parsed_document, dict) else None
    return str(info.get("version", "")) if isinstance(info, dict) else ""


def parsed(name: str, line: bytes | str) -> object:
    """A line or an element of a file."""
    if name != LATEST_FILE:
        return json.loads(line)
    text = line if isinstance(line, str) else line.decode()
    return next(csv.reader([text]))


def _state_line(name: str, state: dict[str, object]) -> dict[str, object]:
    display_name = state.pop("name", None)
    head = {"name": name} if display_name is None else {"name": name, "display_name": display_name}
    return {**head, **state}

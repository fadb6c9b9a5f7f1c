"""What a data directory shows to its readers, held against what is true upstream.

Reads with the stdlib, zstandard and DuckDB alone; imports nothing of the project but the oracles.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import zstandard

from tests.support import repology, view_oracle
from tests.support.oracle import oracle_slim, oracle_trim

ABSENT_LOOKS = 2
DROP_IN, PACKAGES = "pypicache.json.zst", "packages.jsonl.zst"
RELEASES, STATE = "releases.jsonl.zst", "state.jsonl.zst"
SHOWN_MAX = 20


class Truth(NamedTuple):
    """What is true of a normalised name. `document` None = there is none to be had."""

    name: str
    serial: int
    document: dict[str, Any] | None

    @property
    def body_serial(self) -> int:
        """The document's own serial, or the header's where it has none."""
        return int((self.document or {}).get("last_serial") or self.serial)


def truths(lines: bytes) -> dict[str, Truth]:
    """By name, from what the stand-in's control route says."""
    known = (json.loads(line) for line in lines.splitlines())
    return {each["name"]: Truth(each["name"], each["serial"], each["document"]) for each in known}


@dataclass
class Dump:
    """The files of a dump, each line by its name, and the manifest."""

    manifest: dict[str, Any]
    packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    drop_in: bytes = b""

    @property
    def exceptions(self) -> dict[str, dict[str, Any]]:
        """Names the watermark does not speak for."""
        return {name: state for name, state in self.states.items() if is_exception(state)}


def is_exception(state: Mapping[str, Any]) -> bool:
    """Pending, parked, stale, dead, or absent only once."""
    if state["status"] == "absent":
        return int(state.get("attempts", 0)) < ABSENT_LOOKS
    return bool(state["status"] != "ok")


def read_dump(root: Path) -> Dump:
    """The published dump; fails unless every file is what the manifest says."""
    folder = root / "dumps"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    contents = {}
    for name, told in manifest["files"].items():
        raw = (folder / name).read_bytes()
        assert told["bytes"] == len(raw), name
        assert told["sha256"] == hashlib.sha256(raw).hexdigest(), name
        contents[name] = decompressed(raw) if name.endswith(".zst") else raw
        assert told["uncompressed_bytes"] == len(contents[name]), name
    dump = Dump(manifest, drop_in=contents[DROP_IN])
    for name, lines in (
        (PACKAGES, dump.packages),
        (RELEASES, dump.releases),
        (STATE, dump.states),
    ):
        for line in contents[name].splitlines():
            row = json.loads(line)
            assert row["name"] not in lines, f"{row['name']} twice in {name}"
            lines[row["name"]] = row
        assert list(lines) == sorted(lines), f"{name} is not in name order"
        assert manifest["files"][name]["rows"] == len(lines), name
    return dump


class _Own(threading.local):
    """One of each thread: to make one takes five times as long as to decompress a small file."""

    def __init__(self) -> None:
        self.decompressor = zstandard.ZstdDecompressor()


_own = _Own()


def decompressed(raw: bytes) -> bytes:
    """All frames of a zstd file; raises zstandard.ZstdError for a damaged or cut one."""
    parts = []
    while raw:
        one = _own.decompressor.decompressobj()
        parts.append(one.decompress(raw))
        assert one.eof, "a frame is cut"
        raw = one.unused_data
    return b"".join(parts)


def query(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a snapshot, lists as tuples so that they can be counted."""
    with asking(path) as ask:
        return ask(sql)


@contextlib.contextmanager
def asking(path: Path) -> Iterator[Callable[[str], list[tuple[Any, ...]]]]:
    """The same for many queries: to open a snapshot takes longer than to ask it."""
    with duckdb.connect(str(path), read_only=True) as connection:

        def ask(sql: str) -> list[tuple[Any, ...]]:
            rows = connection.execute(sql).fetchall()
            return [tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in rows]

        yield ask


def dump_differences(dump: Dump, truth: Mapping[str, Truth]) -> list[str]:
    """What dump and truth do not agree upon, exceptions left out; [] = nothing."""
    wrong = [f"{name}: in the dump, never heard of" for name in dump.packages.keys() - truth.keys()]
    exceptions = dump.exceptions
    for name, true in truth.items():
        if name not in exceptions:
            wrong += (f"{name}: {text}" for text in _name_differences(dump, true))
    if dump.packages.keys() != dump.releases.keys():
        wrong.append(f"packages and releases: {dump.packages.keys() ^ dump.releases.keys()}")
    return wrong


def _name_differences(dump: Dump, true: Truth) -> Iterator[str]:
    line, slim = dump.packages.get(true.name), dump.releases.get(true.name)
    state = dump.states.get(true.name)
    if true.document is None:
        if line is not None or slim is not None:
            yield "in the dump, gone upstream"
        if state is not None and state["status"] != "absent":
            yield f"gone upstream, and its state is {state}"
        return
    if line is None or slim is None or state is None:
        yield "not in the dump"
        return
    if line["document"] != oracle_trim(true.document):
        yield f"another document, serial {line['serial']} for {true.body_serial}"
    if slim["document"] != oracle_slim(true.document, true.name, true.body_serial):
        yield "another slim form"
    # `stale` says what was true when it was written: later a serial map may have settled the event.
    if line["serial"] != true.body_serial or (line["stale"] and state["event"] <= line["serial"]):
        yield f"serial {line['serial']}, stale {line['stale']} for {true.body_serial}"
    if (state["status"], state["body"]) != ("ok", true.body_serial):
        yield f"state {state}"


def drop_in_differences(dump: Dump) -> list[str]:
    """Read as Repology reads it, and document for document as in packages but for added keys."""
    packages = list(repology.read(dump.drop_in))
    documents = list(repology.documents(dump.drop_in.decode()))
    names = [view_oracle.normalized(package.info["name"]) for package in packages]
    wrong = (
        [] if names == list(dump.packages) else ["the drop-in has other names, or another order"]
    )
    for name, document in zip(names, documents, strict=True):
        if document != _with_added_keys(dump.packages[name]["document"]):
            wrong.append(f"{name}: another document in the drop-in")
    return wrong


def _with_added_keys(document: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads(json.dumps(document))
    for key in repology.INFO_KEYS:
        whole["info"].setdefault(key, None)
    for files in whole.setdefault("releases", {}).values():
        for file in files:
            file.setdefault("yanked", False)
            file.setdefault("url", None)
    return whole


def view_differences(
    path: Path, truth: Mapping[str, Truth], exceptions: Iterable[str]
) -> list[str]:
    """What the DuckDB file and truth do not agree upon, exceptions left out."""
    excepted = set(exceptions)
    wrong: list[str] = []
    expected: dict[str, list[view_oracle.Row]] = {view: [] for view in view_oracle.QUERIES}
    for name, true in truth.items():
        if true.document is not None and name not in excepted:
            for view, its in view_oracle.rows_of(true.document, name, true.body_serial).items():
                expected[view] += its
    with asking(path) as ask:
        shown = {view: ask(sql) for view, sql in view_oracle.QUERIES.items()}
        owed = {row[0] for row in ask("SELECT name FROM exceptions")}
    for view, rows in shown.items():
        found = Counter(row for row in rows if row[0] not in excepted)
        due = Counter(
            tuple(tuple(v) if isinstance(v, list) else v for v in row) for row in expected[view]
        )
        wrong += (f"{view}: missing {row}" for row in (due - found))
        wrong += (f"{view}: should not be {row}" for row in (found - due))
    if owed != excepted:
        wrong.append(f"exceptions: {owed ^ excepted}")
    return wrong


def assert_none(wrong: list[str]) -> None:
    """Fail with the first of them."""
    shown = "\n".join(each[:400] for each in wrong[:SHOWN_MAX])
    assert not wrong, f"{len(wrong)} differences:\n{shown}"


def assert_journal_once(path: Path, journal: Iterable[Iterable[Any]], base: int) -> int:
    """Every journal row after `base` exactly once in `changelog`, and nothing else; how many."""
    due = Counter((row[4], row[0], row[1], row[3]) for row in map(tuple, journal) if row[4] > base)
    sql = "SELECT serial, display_name, version, action FROM changelog"
    found = Counter(query(path, sql))
    assert found == due, f"missing {list(due - found)[:5]}, too many {list(found - due)[:5]}"
    return due.total()

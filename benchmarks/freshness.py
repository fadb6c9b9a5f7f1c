"""How soon a change is seen: `python -m benchmarks.freshness [--projects N] [--json]`.

A stand-in and `pypistream run` are processes of their own; `pypistream follow --topic metadata` is
a third. Once a second something changes upstream by one journal row; measured is the time from that
row to the line in `follow` with the project's new serial, and from that line to the first published
snapshot and dump that hold it. Each setting runs amid a backfill of all projects, and without one.

The rate is 50 fetches/s, so that a backfill of 100 000 lasts over half an hour and the event waits
behind documents in flight as it would for a day at PyPI's 10/s; `flat-out` is the same without any
limit, when every core is busy.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

PROJECTS = 100_000
CHANGES = 40
CHANGE_SECONDS = 1.0  # between two changes
PUBLISH_SECONDS = 15.0  # period of snapshot and dump, instead of 60 and 600
PATIENCE_SECONDS = 60.0  # for the last change to be seen, and for a publication after that
START_SECONDS = 600.0  # a corpus of 100 000 is made in half a minute, once
LOOK_SECONDS = 0.1
CACHE = Path(tempfile.gettempdir()) / "pypistream-benchmark-corpus"
PROGRAM = (sys.executable, "-m", "pypistream")
KINDS = ("role", "yank", "add-file")  # of one row each: the moment of that row is known


class Setting(NamedTuple):
    """How the program is started. Seconds; `limit` is what the median has to be below."""

    name: str
    poll: float
    settle: float
    rate: float
    backfill: bool
    limit: float


SETTINGS = tuple(
    Setting(f"{name}{'' if backfill else ', no backfill'}", poll, settle, rate, backfill, limit)
    for name, poll, settle, rate, limit in (
        ("default delays", 10, 3, 50, 8),
        ("poll 5", 5, 3, 50, 5),
        ("poll 1, settle 1", 1, 1, 50, 3),
        ("poll 1, settle 1, flat-out", 1, 1, 0, 3),
    )
    for backfill in (True, False)
    if backfill or rate
)


class Change(NamedTuple):
    """A change upstream: `serial` of its row, written at `seconds` (monotonic)."""

    project: str
    serial: int
    seconds: float


class Seen(NamedTuple):
    """A line of `follow`."""

    partition: int
    offset: int
    seconds: float


class Measured(NamedTuple):
    """Seconds. Publications count from the line in `follow`; None = none came in time."""

    changes: int
    seen: int
    median: float
    p95: float
    worst: float
    snapshot_worst: float | None
    dump_worst: float | None
    fetches: int
    backfill_done: int | None


@dataclass
class Follower:
    """Reads `follow` in a thread; `lines` by project and serial, the first of each."""

    process: subprocess.Popen[bytes]
    lines: dict[str, list[tuple[int, Seen]]] = field(default_factory=dict)

    def read(self) -> None:
        """Until the process ends."""
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            now = time.monotonic()
            line = json.loads(raw)
            if line["serial"] is not None:
                seen = Seen(line["partition"], line["offset"], now)
                self.lines.setdefault(line["key"], []).append((line["serial"], seen))

    def first(self, change: Change) -> Seen | None:
        """When the change was seen first."""
        lines = self.lines.get(change.project, [])
        return next((seen for serial, seen in lines if serial >= change.serial), None)


@dataclass
class Publications:
    """Watches the published files in a thread: (moment, next metadata offset per partition)."""

    data: Path
    ended: threading.Event = field(default_factory=threading.Event)
    snapshots: list[tuple[float, list[int]]] = field(default_factory=list)
    dumps: list[tuple[float, list[int]]] = field(default_factory=list)

    def watch(self) -> None:
        """Until `ended`."""
        inodes: dict[Path, int] = {}
        snapshot, dump = self.data / "pypi.duckdb", self.data / "dumps" / "manifest.json"
        while not self.ended.wait(LOOK_SECONDS):
            for path, read, found in (
                (snapshot, _snapshot_offsets, self.snapshots),
                (dump, _dump_offsets, self.dumps),
            ):
                if path.exists() and inodes.get(path) != path.stat().st_ino:
                    inodes[path] = path.stat().st_ino
                    found.append((time.monotonic(), read(path)))


def _snapshot_offsets(path: Path) -> list[int]:
    with duckdb.connect(str(path), read_only=True) as connection:
        sql = "SELECT unnest(vector).metadata FROM progress"
        return [offset for (offset,) in connection.execute(sql).fetchall()]


def _dump_offsets(path: Path) -> list[int]:
    vector = json.loads(path.read_bytes())["vector"]
    return [cut["metadata"] if cut else 0 for cut in vector]


def waits(seen: Sequence[Seen], published: Sequence[tuple[float, list[int]]]) -> list[float | None]:
    """How long after each line the first publication with it came; None = none did."""
    return [
        next(
            (
                max(0.0, moment - one.seconds)
                for moment, offsets in published
                if len(offsets) > one.partition and offsets[one.partition] > one.offset
            ),
            None,
        )
        for one in seen
    ]


@contextmanager
def standin(projects: int) -> Iterator[str]:
    """URL of a stand-in with small documents that lives as long as the block."""
    CACHE.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "upstream.standin", "--port", "0", "--cache", str(CACHE)]
    command += ["--sizes", "small", "--projects", str(projects)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line.startswith("listening on "):
                raise SystemExit("the stand-in did not start")
            yield line.removeprefix("listening on ").strip()
        finally:
            process.terminate()


@contextmanager
def background(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A command of the program that lives as long as the block."""
    process = subprocess.Popen([*PROGRAM, *arguments], **options)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ask(url: str, body: dict[str, Any] | None = None) -> Any:
    """JSON of a control route of the stand-in."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data)) as answer:  # noqa: S310  loopback
        return json.load(answer)


def status(data: Path) -> dict[str, Any] | None:
    """`pypistream status`; None as long as there is no log."""
    command = [*PROGRAM, "status", "--brief", "--json", "--data", str(data)]
    ended = subprocess.run(command, check=False, capture_output=True)
    return json.loads(ended.stdout) if ended.returncode == 0 else None


def measure(
    url: str,
    setting: Setting,
    data: Path,
    changes: int,
    publish: float = PUBLISH_SECONDS,
    more: Sequence[str] = (),
) -> Measured:
    """Run one setting on a new directory; `publish` = period of snapshot and dump in seconds.

    `more` are further options, for a log that lies elsewhere.
    """
    arguments = [
        "run", "--data", str(data), "--upstream", url, "--rate", str(setting.rate),
        "--poll", str(setting.poll), "--settle", str(setting.settle),
        "--snapshot-every", str(publish), "--dump-every", str(publish), *more,
    ]  # fmt: skip
    if setting.backfill:
        arguments.append("--backfill")
    before = ask(f"{url}/_control/stats")["requests"]
    with (
        background(*arguments, stderr=subprocess.DEVNULL),
        followed(url, data, setting) as (follower, publications),
    ):
        made = make_changes(url, changes)
        seen = wait_for(follower, made)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and not _all_published(seen, publications):
            time.sleep(LOOK_SECONDS)
        backfill = (status(data) or {})["backfill"]
    after = ask(f"{url}/_control/stats")["requests"]
    delays = [seen[change].seconds - change.seconds for change in made if change in seen]
    lines = list(seen.values())
    return Measured(
        changes=len(made),
        seen=len(delays),
        median=round(statistics.median(delays), 2),
        p95=round(statistics.quantiles(delays, n=20)[-1], 2),
        worst=round(max(delays), 2),
        snapshot_worst=_worst(waits(lines, publications.snapshots)),
        dump_worst=_worst(waits(lines, publications.dumps)),
        fetches=_documents(after) - _documents(before),
        backfill_done=backfill["done"] if backfill else None,
    )


def _documents(requests: dict[str, dict[str, int]]) -> int:
    return sum(requests.get("json", {}).values())


def _worst(found: Sequence[float | None]) -> float | None:
    known = [one for one in found if one is not None]
    return round(max(known), 2) if known and len(known) == len(found) else None


def _all_published(seen: dict[Change, Seen], publications: Publications) -> bool:
    lines = list(seen.values())
    both = waits(lines, publications.snapshots) + waits(lines, publications.dumps)
    return None not in both


@contextmanager
def followed(url: str, data: Path, setting: Setting) -> Iterator[tuple[Follower, Publications]]:
    """`follow` and a look at the files, once the log is there and the backfill under way."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not _under_way(status(data), setting):
        if time.monotonic() > deadline:
            raise SystemExit("the program did not get under way")
        time.sleep(LOOK_SECONDS)
    publications = Publications(data)
    # None of our changes is missed, however long `follow` takes to start.
    since = str(ask(f"{url}/_control/serial")["serial"])
    follow = ("follow", "--data", str(data), "--topic", "metadata", "--since", since)
    with background(*follow, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        follower = Follower(process)
        threads = [threading.Thread(target=follower.read, daemon=True)]
        threads.append(threading.Thread(target=publications.watch, daemon=True))
        for thread in threads:
            thread.start()
        time.sleep(2.0)  # until `follow` stands at the end
        yield follower, publications
        publications.ended.set()
        process.terminate()
        for thread in threads:
            thread.join()


def _under_way(report: dict[str, Any] | None, setting: Setting) -> bool:
    if report is None:
        return False
    if not setting.backfill:
        return report["head"] is not None
    return report["backfill"] is not None and report["backfill"]["done"] > 0


def make_changes(url: str, count: int) -> list[Change]:
    """So many, evenly, each of another project and of one row."""
    made: list[Change] = []
    begun = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, begun + number * CHANGE_SECONDS - time.monotonic()))
        before = time.monotonic()
        change = ask(f"{url}/_control/change", {"kind": KINDS[number % len(KINDS)]})
        if change["status"] == "ok":
            # The row was written between the two: half of a few milliseconds is close enough.
            moment = (before + time.monotonic()) / 2
            made.append(Change(change["project"], change["serial"], moment))
    return made


def wait_for(follower: Follower, made: Sequence[Change]) -> dict[Change, Seen]:
    """Lines of all changes, or of those that came in time."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline and not all(follower.first(change) for change in made):
        time.sleep(LOOK_SECONDS)
    found = ((change, follower.first(change)) for change in made)
    return {change: seen for change, seen in found if seen is not None}


def table(results: dict[str, Measured]) -> str:
    """For a person."""
    heads = ("median", "limit", "p95", "worst", "snapshot", "dump", "seen")
    rows = [f"{'seconds':42}" + "".join(f"{head:>10}" for head in heads)]
    limits = {setting.name: setting.limit for setting in SETTINGS}
    for name, found in results.items():
        cells = (
            found.median, limits[name], found.p95, found.worst, found.snapshot_worst,
            found.dump_worst, f"{found.seen}/{found.changes}",
        )  # fmt: skip
        rows.append(
            f"{name:42}" + "".join(f"{cell if cell is not None else '-':>10}" for cell in cells)
        )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Measure, then print a table, or JSON with --json."""
    parser = argparse.ArgumentParser(prog="benchmarks.freshness", description=__doc__)
    parser.add_argument("--projects", type=int, default=PROJECTS)
    parser.add_argument("--changes", type=int, default=CHANGES)
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    given = parser.parse_args(arguments)
    results: dict[str, Measured] = {}
    with standin(given.projects) as url, tempfile.TemporaryDirectory() as folder:
        for number, setting in enumerate(SETTINGS):
            print(f"{setting.name} …", file=sys.stderr, flush=True)
            results[setting.name] = measure(url, setting, Path(folder) / str(number), given.changes)
    if given.json:
        found = {name: measured._asdict() for name, measured in results.items()}
        print(json.dumps({"projects": given.projects, "settings": found}))
    else:
        print(table(results))


if __name__ == "__main__":
    main()

"""`pypistream status` and `dead-letters`, as processes: what they say of a log."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from schemas.records import Reason
from schemas.topics import Topic
from streams.sqlite_log import SqliteLog
from tests.support.logs import read_all
from tests.support.reading_world import (
    HEAD,
    LOG_ID,
    SECONDS_MAX,
    World,
    append_rows,
    build,
    command_line,
    json_lines,
    on_terminal,
    run,
)

DEAD_LETTER_TABLE_LINES = 2  # header, and the one name that is dead


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return asyncio.run(build(tmp_path / "data"))


def _status(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("status", "--data", str(world.root), *arguments, cwd=world.root)


def test_status_as_json_says_everything(world: World) -> None:
    """Serials, watermark and its age, names by status, what is owed, positions, files."""
    done = _status(world, "--json")

    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["log_id"] == LOG_ID
    assert report["upstream"] == "http://127.0.0.1:9"
    assert (report["head"], report["watermark"], report["lag_serials"]) == (HEAD, HEAD, 0)
    assert 4 <= report["lag_seconds"] < 4 + SECONDS_MAX
    assert report["names"] == {
        "ok": 3, "absent": 1, "pending": 0, "parked": 1, "stale": 1, "dead": 1,
    }  # fmt: skip
    assert (report["due"]["now"], report["due"]["minute"], report["due"]["later"]) == (0, 1, 1)
    assert [(each["name"], each["status"], each["reason"]) for each in report["exceptions"]] == [
        ("delta", "dead", "not-json"), ("epsilon", "parked", "http-503"),
        ("beta", "stale", "stale"),
    ]  # fmt: skip
    assert report["positions"] == [
        {"partition": 0, "serial": HEAD, "changelog": 8, "changelog_end": 8,
         "refetch": 0, "refetch_end": 0},
    ]  # fmt: skip
    assert (report["roles"], report["hold"], report["backfill"]) == ({}, None, None)
    assert (report["snapshot"], report["dump"]) == (None, None)
    assert {file["path"] for file in report["files"]} >= {"log.sqlite", "state/"}


def test_status_of_an_open_backfill(tmp_path: Path) -> None:
    """No watermark is claimed; how far the backfill is, and since when changes are in, is said."""
    world = asyncio.run(build(tmp_path / "data", backfill=(40, 100), hold_seconds=60))
    report = json.loads(_status(world, "--json").stdout)
    text = _status(world).stdout

    assert report["watermark"] is None
    assert (report["lag_serials"], report["lag_seconds"]) == (None, None)
    assert report["backfill"] == {"done": 40, "names": 100}
    assert report["base"] == 100
    assert 0 < report["hold"]["seconds"] <= 60
    assert "null; backfill 40/100; changes since serial 100 are in up to 110" in text
    assert "429 \\x1b[1m" in text


@pytest.mark.parametrize(("age", "limit", "code"), [(4, "600", 0), (400, "60", 3), (4, "0", 3)])
def test_status_exits_3_when_stale(tmp_path: Path, age: int, limit: str, code: int) -> None:
    """For scripts: the age of the marker that the watermark rests on decides."""
    world = asyncio.run(build(tmp_path / "data", marker_age=age))
    done = _status(world, "--brief", "--max-lag", limit)

    assert done.returncode == code
    assert ("stale:" in done.stderr) == (code != 0)


def test_status_without_a_watermark_is_stale(tmp_path: Path) -> None:
    """Null is never fresh; how far the backfill is, is said."""
    world = asyncio.run(build(tmp_path / "data", backfill=(1, 2)))
    done = _status(world, "--max-lag", "999999")

    assert done.returncode == 3
    assert done.stderr == "stale: the watermark is null; backfill 1/2 so far\n"


def test_status_names_the_processes(world: World) -> None:
    """A role is held as long as its process lives: a lock file left behind counts for nothing."""
    (world.data.state / "dump.lock").write_text("process 1")
    lock = world.data.hold("produce")
    try:
        text = _status(world, "--brief").stdout
    finally:
        lock.release()

    assert f"process {os.getpid()} (produce)" in text
    assert "dump" not in next(line for line in text.splitlines() if line.startswith("roles"))
    assert "no process is running" in _status(world).stdout


def test_status_on_a_terminal_and_in_a_pipe(world: World) -> None:
    """The names that need attention are listed with their reason; a pipe gets no escapes."""
    shown = on_terminal(world, "status", "--data", ".")
    piped = _status(world).stdout

    assert "delta  not-json  (serial 108, attempts 11)" in piped
    assert "delta  not-json  (serial 108, attempts 11)" in shown
    assert "\x1b" not in piped
    assert "watermark" in shown


def test_status_watch_goes_on_until_stopped(world: World) -> None:
    """A report a second, each one new; Ctrl-C ends it with 0."""
    with subprocess.Popen(
        command_line("status", "--data", str(world.root), "--watch", "--json"),
        cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        asyncio.run(append_rows(world, HEAD + 1))
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)

        assert process.wait(SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert second["time"] > first["time"]
    ends = [report["positions"][0]["changelog_end"] for report in (first, second)]
    assert ends[1] - ends[0] == 2  # the row and its marker


def _letters(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("dead-letters", "--data", str(world.root), *arguments, cwd=world.root)


def test_dead_letters_show_who_is_dead_now(world: World) -> None:
    """The newest letter of each name that is still dead; --all shows the whole topic."""
    now, everything = _letters(world, "--json"), _letters(world, "--json", "--all")

    [letter] = json_lines(now.stdout)
    assert letter == {
        "name": "delta", "display_name": "Delta", "dead": True, "reason": "not-json",
        "serial": 108, "attempts": 11, "time": "2023-11-14T22:15:08Z", "hash": "ab",
        "excerpt": "<b>\x1b[2J\u202e</b>",
    }  # fmt: skip
    assert [(each["name"], each["dead"]) for each in json_lines(everything.stdout)] == [
        ("delta", True), ("eta", False), ("", False), ("delta", True),
    ]  # fmt: skip


def test_dead_letters_escape_what_upstream_sent(world: World) -> None:
    """Neither on a terminal nor in a file that is looked at later."""
    for text in (_letters(world).stdout, on_terminal(world, "dead-letters", "--data", ".")):
        assert "<b>\\x1b[2J\\u202e</b>" in text
        assert "\u202e" not in text
    assert len(_letters(world).stdout.splitlines()) == DEAD_LETTER_TABLE_LINES


async def test_replay_asks_once_more(world: World) -> None:
    """The ask goes into `refetch` under the normalised name, with the serial that is owed."""
    done = _letters(world, "--replay", "Delta")
    lock = world.data.hold("process")
    try:
        again = _letters(world, "--replay", "delta", "--json")
    finally:
        lock.release()

    assert done.returncode == 0
    assert "asked for delta (was dead, serial 108)" in done.stdout
    assert f"`pypistream run --data {world.root}` will fetch it" in done.stdout
    assert json.loads(again.stdout) == {
        "asked": "delta", "serial": 108, "status": "dead", "offset": 1, "served_now": True,
    }  # fmt: skip
    log = await SqliteLog.open(world.data.log)
    records = await read_all(log, (await log.ends(Topic.REFETCH)).keys())
    await log.close()
    asks = [(record.key, json.loads(record.value or b"")) for record in records]
    expected = {"name": "Delta", "reason": Reason.OPERATOR.value, "serial": 108}
    assert asks == [("delta", expected), ("delta", expected)]


@pytest.mark.parametrize(
    ("name", "says"), [("omega", "knows no project 'omega'"), ("a b", "is not a project name")]
)
async def test_replay_of_an_unknown_name_asks_nothing(world: World, name: str, says: str) -> None:
    """All names are checked before the first ask is written."""
    done = _letters(world, "--replay", "delta", "--replay", name)
    log = await SqliteLog.open(world.data.log)
    ends = await log.ends(Topic.REFETCH)
    await log.close()

    assert done.returncode == 2
    assert says in done.stderr
    assert "Next:" in done.stderr
    assert set(ends.values()) == {0}

"""The commands that read, as processes on a small log that another process wrote."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from schemas.records import Kind, Reason
from schemas.topics import Topic
from streams.sqlite_log import SqliteLog
from tests.support.logs import read_all
from tests.support.reading_world import (
    HEAD,
    HOSTILE_SHOWN,
    LOG_ID,
    SECONDS_MAX,
    World,
    build,
    command_line,
    json_lines,
    marker,
    row,
    run,
    serials,
)

WAKE_SECONDS_MAX = 1.0  # from another process's commit to our line
DEAD_LETTER_TABLE_LINES = 2  # header, and the one name that is dead


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return asyncio.run(build(tmp_path / "data"))


async def _append(world: World, *serials_new: int) -> None:
    log = await SqliteLog.open(world.data.log)
    rows = [row(serial, "theta", "new release", Kind.NEW_RELEASE, "1") for serial in serials_new]
    await log.append(rows)
    await log.append([marker(serials_new[-1], world.now, p) for p in range(world.partitions)])
    await log.close()


def _follow(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("follow", "--data", str(world.root), *arguments, cwd=world.root)


def _on_terminal(world: World, *arguments: str) -> str:
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


# --- follow ---------------------------------------------------------------------------------------


def test_follow_prints_json_lines_without_markers(world: World) -> None:
    """Every key of the contract is there, in order, and the value is the row itself."""
    done = _follow(world, "--since", "0", "-c", "7")

    lines = json_lines(done.stdout)
    assert done.returncode == 0
    assert serials(lines) == [101, 102, 103, 104, 106, 108, 110]
    assert list(lines[0]) == [
        "topic", "partition", "offset", "key", "serial", "time", "headers", "value",
    ]  # fmt: skip
    assert lines[1]["key"] == "alpha"
    assert lines[1]["time"] == "2023-11-14T22:15:02Z"
    assert lines[1]["headers"]["ce_type"] == "pypistream.changelog.new-release"  # type: ignore[index]
    assert lines[1]["value"] == {
        "serial": 102, "name": "Alpha", "version": "1.0", "time": 1_700_000_102,
        "action": "new release", "kind": "new-release", "source": "journal",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("since", "expected"), [(101, [102, 103]), (104, [106, 108]), (105, [106, 108]), (109, [110])]
)
def test_follow_since_begins_after_the_serial(
    world: World, since: int, expected: list[int]
) -> None:
    """Also when no row has that very serial."""
    done = _follow(world, "--since", str(since), "-c", str(len(expected)))

    assert serials(json_lines(done.stdout)) == expected


def test_follow_says_when_the_log_starts_later(world: World) -> None:
    """Asked for serials that the log never had, it says so, on stderr."""
    done = _follow(world, "--since", "7", "-c", "1")

    assert "starts after serial 100" in done.stderr
    assert len(done.stdout.splitlines()) == 1


def test_follow_filters_by_project_and_kind(world: World) -> None:
    """Globs are written as people write names; both filters together narrow further."""
    by_project = _follow(world, "--since", "0", "--project", "AL*", "--project", "gamma", "-c", "4")
    by_both = _follow(world, "--since", "0", "--project", "Al*", "--kind", "yank", "-c", "1")

    assert serials(json_lines(by_project.stdout)) == [101, 102, 104, 106]
    assert serials(json_lines(by_both.stdout)) == [106]


def test_follow_shows_documents_and_tombstones(world: World) -> None:
    """`serial` is the event's; compaction or not, what is above SERIAL comes, a removal as null."""
    done = _follow(world, "--topic", "metadata", "--since", "90", "-c", "3")

    lines = json_lines(done.stdout)
    assert [(line["key"], line["serial"]) for line in lines] == [
        ("beta", 103), ("alpha", 106), ("gamma", 104),
    ]  # fmt: skip
    assert lines[0]["headers"]["stale"] == "true"  # type: ignore[index]
    assert lines[1]["value"] == {
        "info": {"name": "Alpha", "version": "1.0"}, "last_serial": 106, "releases": {},
    }  # fmt: skip
    assert lines[2]["value"] is None
    assert lines[2]["headers"]["reason"] == "removed"  # type: ignore[index]


def test_follow_takes_several_topics_and_partitions(tmp_path: Path) -> None:
    """With several partitions every record comes once, each partition in its own order."""
    world = asyncio.run(build(tmp_path / "data", partitions=4))
    done = _follow(
        world, "--topic", "changelog", "--topic", "releases", "--since", "102", "-c", "6"
    )

    lines = json_lines(done.stdout)
    assert sorted(map(str, serials(lines))) == ["103", "104", "106", "106", "108", "110"]
    assert {line["topic"] for line in lines} == {"changelog", "releases"}


def test_follow_refuses_a_kind_of_something_else(world: World) -> None:
    """A filter that could never match is a mistake, not an endless wait."""
    done = _follow(world, "--topic", "metadata", "--kind", "yank")

    assert done.returncode == 2
    assert "--kind is about journal rows" in done.stderr


def test_follow_sees_another_process_at_once(world: World) -> None:
    """From its end on: a record committed by another process is on stdout in under a second."""
    with subprocess.Popen(
        command_line("follow", "--data", str(world.root), "--since", str(HEAD - 1)),
        cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["serial"] == HEAD
        waits = []
        for serial in range(HEAD + 1, HEAD + 6):
            asyncio.run(_append(world, serial))
            begun = time.monotonic()
            assert select.select([process.stdout], [], [], SECONDS_MAX)[0]
            line = process.stdout.readline()
            waits.append(time.monotonic() - begun)
            assert json.loads(line)["serial"] == serial
        process.send_signal(signal.SIGINT)

        assert process.wait(SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert max(waits) < WAKE_SECONDS_MAX


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow_from_now_on_ends_quietly(world: World, number: signal.Signals) -> None:
    """Without --since only what comes is shown; either signal ends it with 0 and no word."""
    with subprocess.Popen(
        command_line("follow", "--data", str(world.root)),
        cwd=world.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        serial = HEAD
        while not select.select([process.stdout], [], [], 0.1)[0]:  # it may still be starting
            assert process.poll() is None
            serial += 1
            asyncio.run(_append(world, serial))
        first = json.loads(process.stdout.readline())
        process.send_signal(number)
        code = process.wait(SECONDS_MAX)

        assert first["serial"] > HEAD
        assert code == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize("topic", ["changelog", "metadata"])
def test_a_finished_pipe_ends_follow(world: World, topic: str) -> None:
    """`| head -n 1`: the reader goes, nothing more is ever written, and it ends all the same."""
    follow = " ".join(command_line("follow", "--data", str(world.root), "--since", "0"))
    done = subprocess.run(
        ["bash", "-c", f"{follow} --topic {topic} | head -n 1; exit ${{PIPESTATUS[0]}}"],
        cwd=world.root, capture_output=True, text=True, timeout=SECONDS_MAX, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert len(json_lines(done.stdout)) == 1
    assert "Traceback" not in done.stderr
    assert "Broken" not in done.stderr


def test_follow_on_a_terminal_is_readable_and_harmless(world: World) -> None:
    """One line a record; what could steer the terminal or reorder text is shown as an escape."""
    shown = _on_terminal(world, "follow", "--data", ".", "--since", "0", "-c", "7")

    lines = shown.replace("\r\n", "\n").splitlines()[1:]  # the first says where the log starts
    assert [line.split()[0] for line in lines] == ["101", "102", "103", "104", "106", "108", "110"]
    assert lines[1].split() == ["102", "2023-11-14", "22:15:02", "Alpha", "1.0", "new", "release"]
    assert lines[2].endswith(HOSTILE_SHOWN)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_documents_on_a_terminal(world: World) -> None:
    """Version, a note on stale ones, and removals in words."""
    shown = _on_terminal(
        world, "follow", "--data", ".", "--topic", "metadata", "--since", "90", "-c", "3"
    )

    lines = shown.splitlines()
    assert "beta" in lines[0]
    assert "2\\x1b[31m" in lines[0]
    assert "stale" in lines[0]
    assert lines[2].split()[-3:] == ["metadata:", "gone", "(removed)"]
    assert "\x1b" not in shown


# --- status ---------------------------------------------------------------------------------------


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
    """Null is never fresh."""
    world = asyncio.run(build(tmp_path / "data", backfill=(1, 2)))

    assert _status(world, "--max-lag", "999999").returncode == 3


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
    shown = _on_terminal(world, "status", "--data", ".")
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
        asyncio.run(_append(world, HEAD + 1))
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)

        assert process.wait(SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert second["time"] > first["time"]
    ends = [report["positions"][0]["changelog_end"] for report in (first, second)]
    assert ends[1] - ends[0] == 2  # the row and its marker


# --- dead-letters ---------------------------------------------------------------------------------


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
    for text in (_letters(world).stdout, _on_terminal(world, "dead-letters", "--data", ".")):
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


# --- errors that all of them share ----------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [["follow"], ["status"], ["dead-letters"], ["query", "select 1"]]
)
def test_without_a_log_it_says_how_to_start(tmp_path: Path, command: list[str]) -> None:
    """What is missing, and the command that makes it; nothing is created."""
    done = run(*command, "--data", "nothing-here", cwd=tmp_path)

    assert done.returncode == 2
    assert "in nothing-here" in done.stderr
    assert "pypistream run --data nothing-here" in done.stderr
    assert not (tmp_path / "nothing-here").exists()


@pytest.mark.parametrize("command", [["follow"], ["status"], ["dead-letters"]])
def test_a_file_that_is_no_log_is_refused(world: World, command: list[str]) -> None:
    """One clear error instead of SQLite's."""
    world.data.log.unlink()
    for rest in world.root.glob("log.sqlite-*"):
        rest.unlink()
    world.data.log.write_bytes(b"not a database at all" * 100)
    done = run(*command, "--data", str(world.root), cwd=world.root)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "Next:" in done.stderr


@pytest.mark.parametrize("command", [["follow"], ["status"], ["doctor"], ["query", "select 1"]])
def test_another_versions_directory_is_refused(world: World, command: list[str]) -> None:
    """A directory of a layout to come is left alone."""
    (world.root / "settings.json").write_text('{"format": 999}')
    done = run(*command, "--data", str(world.root), cwd=world.root)

    assert done.returncode == 1
    assert "layout 999" in done.stdout + done.stderr

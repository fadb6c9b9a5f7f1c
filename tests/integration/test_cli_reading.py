"""The commands that read, as processes on a small log that another process wrote."""

from __future__ import annotations

import asyncio
import json
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pypistream.read.following import wanted_kinds
from sinks.http.streams.selection import selection
from tests.support.reading_world import (
    HEAD,
    HOSTILE_SHOWN,
    SECONDS_MAX,
    World,
    append_rows,
    build,
    command_line,
    json_lines,
    on_terminal,
    run,
    serials,
)

WAKE_SECONDS_MAX = 1.0  # from another process's commit to our line


@pytest.fixture(name="world")
def _world(tmp_path: Path) -> World:
    return asyncio.run(build(tmp_path / "data"))


def _follow(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run("follow", "--data", str(world.root), *arguments, cwd=world.root)


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


def test_follow_knows_the_kind_that_stands_for_several(world: World) -> None:
    """The same kinds as `kind=security` over HTTP, beside what else is named."""
    alone = _follow(world, "--since", "0", "--kind", "security", "-c", "2")
    both = _follow(world, "--since", "0", "--kind", "security", "--kind", "create", "-c", "3")

    assert serials(json_lines(alone.stdout)) == [104, 106]
    assert serials(json_lines(both.stdout)) == [101, 104, 106]
    assert wanted_kinds(["security"]) == selection({"kind": ["security"]}).kinds


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
            asyncio.run(append_rows(world, serial))
            begun = time.monotonic()
            assert select.select([process.stdout], [], [], SECONDS_MAX)[0]
            line = process.stdout.readline()
            waits.append(time.monotonic() - begun)
            assert json.loads(line)["serial"] == serial
        process.send_signal(signal.SIGINT)

        assert process.wait(SECONDS_MAX) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert min(waits) < WAKE_SECONDS_MAX  # the others had to wait for the machine


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
            asyncio.run(append_rows(world, serial))
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
    shown = on_terminal(world, "follow", "--data", ".", "--since", "0", "-c", "7")

    lines = shown.replace("\r\n", "\n").splitlines()[1:]  # the first says where the log starts
    assert [line.split()[0] for line in lines] == ["101", "102", "103", "104", "106", "108", "110"]
    assert lines[1].split() == ["102", "2023-11-14", "22:15:02", "Alpha", "1.0", "new", "release"]
    assert lines[2].endswith(HOSTILE_SHOWN)
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_documents_on_a_terminal(world: World) -> None:
    """Version, a note on stale ones, and removals in words."""
    shown = on_terminal(
        world, "follow", "--data", ".", "--topic", "metadata", "--since", "90", "-c", "3"
    )

    lines = shown.splitlines()
    assert "beta" in lines[0]
    assert "2\\x1b[31m" in lines[0]
    assert "stale" in lines[0]
    assert lines[2].split()[-3:] == ["metadata:", "gone", "(removed)"]
    assert "\x1b" not in shown


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

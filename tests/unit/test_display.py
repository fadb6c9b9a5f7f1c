"""What a run shows a person: the table, the lines, and commands that can be copied."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import pytest
from rich.console import Console

from pypistream.run import demo
from pypistream.run.display import LineDisplay, line_of, unpublished
from pypistream.run.facts import Facts
from pypistream.run.table import TableDisplay, table_of
from pypistream.terminal import duration
from schemas.errors import UsageError
from schemas.records import Status
from streams.progress import Watermark

NAMES = {**dict.fromkeys(Status, 0), Status.OK: 1234, Status.PARKED: 2}


def facts(mark: Watermark, **more: object) -> Facts:
    values: dict[str, object] = {
        "seconds": 1.0, "head": 40_000_000, "watermark": mark, "names": NAMES, "fetched": 5,
        "fetch_rate": 5.0, "changes_per_minute": 60.0, "last_snapshot": None, "last_dump": None,
        "trouble": "",
    }  # fmt: skip
    return Facts(**(values | more))  # type: ignore[arg-type]  # a test's short form


def mark(serial: int | None = None, done: int | None = None, names: int | None = None) -> Watermark:
    return Watermark(serial, 0, serial or 0, done, names)


def text_of(value: Facts, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table_of(value))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_table_fits_a_narrow_terminal_with_a_backfill_open() -> None:
    text = text_of(facts(mark(done=12_345, names=886_000), trouble="HTTP 503"), width=80)

    assert max(map(len, text.splitlines())) <= 80
    assert "null, backfill 12,345/886,000" in text
    assert "trouble: HTTP 503" in text


def test_table_and_line_write_numbers_alike() -> None:
    value = facts(mark(39_999_000))

    for text in (text_of(value), line_of(value)):
        assert "40,000,000" in text
        assert "39,999,000" in text
        assert re.search(r"projects up to date +1,234\b", text)  # not all that have a document
    assert "parked 2" in line_of(value)


def test_a_long_command_reaches_the_terminal_in_one_piece() -> None:
    command = "pypistream query --data /a/rather/long/path " + "x" * 200
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    display = TableDisplay(console)
    display.say(command)
    display.show(facts(mark(1)))
    display.close()

    assert isinstance(console.file, io.StringIO)
    assert command in console.file.getvalue()


def test_what_upstream_says_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """U+009B begins an escape sequence as ESC and [ do; U+202E turns the rest of a line round."""
    evil = "HTTP 503: \x9b2J\u202e"
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    display = TableDisplay(console)
    display.say(evil)
    display.show(facts(mark(1), trouble=evil))
    display.close()
    LineDisplay().say(evil)

    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue() + capsys.readouterr().err
    assert shown.count("\\x9b2J\\u202e") >= 3
    assert not {"\x9b", "\u202e"} & set(shown)


def test_lines_come_no_faster_than_a_person_reads(capsys: pytest.CaptureFixture[str]) -> None:
    display = LineDisplay()
    for _ in range(5):
        display.show(facts(mark(1)))

    assert 1 == len(capsys.readouterr().err.splitlines())


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(5, "5 s"), (65, "1 min 5 s"), (3 * 3600 + 120, "3 h 2 min"), (90_000, "1 d 1 h")],
)
def test_durations_name_their_two_largest_units(seconds: float, text: str) -> None:
    assert text == duration(seconds)


def test_commands_to_paste_survive_a_directory_with_blanks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "with blank" / "pypistream")])
    place = tmp_path / "a b"

    notes = demo._notes(place, "127.0.0.1:8000")
    commands = [shlex.split(note) for note in notes if note.startswith("  ")]

    assert "in a browser: http://127.0.0.1:8000/" in notes
    assert 3 == len(commands)
    assert [str(place)] * 2 == [line[line.index("--data") + 1] for line in commands[:2]]
    assert str(place / "dumps/packages.jsonl.zst") in commands[2]
    assert commands[0][0] == str(tmp_path / "with blank" / "pypistream")


def test_a_demo_does_not_write_into_a_log_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_bytes(b"")

    with pytest.raises(UsageError, match="holds a log already"):
        demo.demo({"data": tmp_path, "projects": 1, "changes_per_second": 0.0})


def test_the_rest_that_a_stopped_run_leaves_is_said_to_be_in_the_log() -> None:
    """Since when, and the command that publishes it."""
    told = [
        unpublished(facts(mark(), last_snapshot=at), 134.0, "pypistream dump")
        for at in (None, 100.0)
    ]

    assert told[0].startswith("what was fetched is in the log: ")
    assert told[1].startswith("what was fetched after the last snapshot, 34 s ago, is in the log: ")
    assert all("`pypistream dump`" in text for text in told)

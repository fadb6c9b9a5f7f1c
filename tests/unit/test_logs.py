"""The program's own words: lines for a person, JSON for everything else."""

from __future__ import annotations

import errno
import io
import json
from typing import Any

import pytest
import structlog

from pypistream import logs
from pypistream.run.display import LineDisplay


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str) -> str:
    """What an event with odd values looks like."""
    monkeypatch.setenv("PYPISTREAM_LOG", form)
    logs.log_to_stderr()
    try:
        structlog.get_logger("a.part").warning(
            "it\x1b[2J waits", why="two words\n", number=7, large=2**64, level_=None, lone="\ud800"
        )
        return capsys.readouterr().err
    finally:
        structlog.reset_defaults()


def test_elsewhere_than_on_a_terminal_it_is_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One object a line: when, how bad, who, what; numbers stay numbers where readers hold them."""
    text = said(capsys, monkeypatch, "")
    value: dict[str, Any] = json.loads(text)

    assert text.count("\n") == 1
    assert list(value)[:4] == ["time", "level", "logger", "event"]
    assert value["time"].endswith("Z")
    assert (value["level"], value["logger"]) == ("warning", "a.part")
    assert value["event"] == "it\x1b[2J waits"
    assert (value["why"], value["number"], value["large"]) == ("two words\n", 7, str(2**64))
    assert (value["level_"], value["lone"]) == (None, "?")


def test_text_steers_no_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = said(capsys, monkeypatch, "text")

    assert "warning: it\\x1b[2J waits  why='two words\\n'  number=7" in text
    assert "\x1b" not in text


def test_an_exception_is_part_of_its_event(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same line: a journal would take each line of a traceback for a message."""
    monkeypatch.setenv("PYPISTREAM_LOG", "json")
    logs.log_to_stderr()
    try:
        structlog.get_logger().error("failed", exc_info=ValueError("x" * 30_000), level="mine")
    finally:
        structlog.reset_defaults()
    text = capsys.readouterr().err
    value = json.loads(text)

    assert text.count("\n") == 1
    assert "ValueError: xxx" in value["exception"]
    assert len(value["exception"]) <= logs.TRACE_CHARACTERS_MAX
    assert value["level"] == "error"


@pytest.mark.parametrize("form", ["json", "text", ""])
def test_what_is_said_beside_the_log_is_an_event_if_json_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """Then every line is an object; else a line for a person stays one, also in a pipe."""
    monkeypatch.setenv("PYPISTREAM_LOG", form)
    logs.log_to_stderr()
    try:
        LineDisplay().say("serial 5")
        logs.say("sink dump: \x1b[2J stopped", "sink")
    finally:
        structlog.reset_defaults()
    lines = capsys.readouterr().err.splitlines()

    if form == "json":
        said = [(event["logger"], event["event"]) for event in map(json.loads, lines)]
        assert said == [("run", "serial 5"), ("sink", "sink dump: \x1b[2J stopped")]
    else:
        assert lines == ["serial 5", "sink dump: \\x1b[2J stopped"]


@pytest.mark.parametrize("code", [errno.EPIPE, errno.ENOSPC])
def test_a_line_that_cannot_be_written_ends_nothing(
    monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """Neither what is said nor what is logged: least of all when a role has just failed."""

    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(code, "refused")

    monkeypatch.setattr("sys.stderr", Gone())
    logs.say("stopped", "sink")
    logs.log_to_stderr()
    try:
        for method in ("debug", "info", "warning", "error", "critical", "exception"):
            getattr(structlog.get_logger("x"), method)("failed")
    finally:
        structlog.reset_defaults()
